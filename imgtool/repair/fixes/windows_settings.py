"""Settings of Windows that decide how an instance is reached: Remote Desktop, CD-ROM, hibernation, clock."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.checks.windows_state import CDROM_FILE, cdrom_denials
from imgtool.repair.editor import RegistryValue
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.repair.windows_drivers import SOFTWARE, SYSTEM, dword, service_key, sz
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.remote_desktop import RemoteDesktop

POLICY = "Policies\\Microsoft\\Windows NT\\Terminal Services"
RULE = "v2.10|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort={}|Name=Remote Desktop (imgtool)|"


@fix("windows.remote-desktop")
def let_people_in(work: Work) -> None:
    """Connections on, the service startable, its listener on every adapter, the firewall open."""
    from imgtool.guest.windows.remote_desktop import STATION, TERMINAL_SERVER, read_remote_desktop

    guest, draft = work.image.windows, work.draft
    found, here = read_remote_desktop(guest), guest.control_set.path
    if found.public.by_policy and not found.public.reachable:
        raise CannotMend(
            Text(
                en="Group policy closes the firewall, and would do so again: change the policy.",
                zh="防火墙由组策略关闭端口，修改后仍会被还原：请修改该策略。",
            )
        )
    if not found.enabled:
        draft.registry_set(SYSTEM, f"{here}\\{TERMINAL_SERVER}", "fDenyTSConnections", dword(0))
        policy = guest.software.key(POLICY)
        if policy is not None and policy.number("fDenyTSConnections"):
            draft.registry_set(SOFTWARE, POLICY, "fDenyTSConnections", dword(0))
    if found.service_disabled:
        if guest.services.get("termservice") is None:
            raise CannotMend(Text(en="There is no service TermService.", zh="没有 TermService 服务。"))
        draft.registry_set(SYSTEM, service_key(guest, "TermService"), "Start", dword(3))
        draft.registry_delete(SYSTEM, f"{service_key(guest, 'TermService')}\\StartOverride")
    if found.listener_off:
        draft.registry_set(SYSTEM, f"{here}\\{STATION}", "fEnableWinStation", dword(1))
    if found.adapter:
        draft.registry_set(SYSTEM, f"{here}\\{STATION}", "LanAdapter", dword(0))
    if not found.public.reachable:
        _open_the_firewall(work, found)


def _open_the_firewall(work: Work, found: RemoteDesktop) -> None:
    """On a public network: what keeps the port closed taken away, and a rule of its own for it."""
    from imgtool.guest.windows.firewall import FIREWALL

    top = f"{work.image.windows.control_set.path}\\{FIREWALL}"
    if found.public.verdict == "shut":
        work.draft.registry_set(SYSTEM, f"{top}\\PublicProfile", "DoNotAllowExceptions", dword(0))
    for rule in found.public.rules:
        if not rule.allows:
            idle = re.sub(r"(?i)\|active=true\|", "|Active=FALSE|", rule.text)
            work.draft.registry_set(SYSTEM, f"{top}\\FirewallRules", rule.id, sz(idle))
    value = sz(RULE.format(found.port))
    work.draft.registry_set(SYSTEM, f"{top}\\FirewallRules", "RemoteDesktop-In-TCP-imgtool", value)


@fix("windows.cdrom")
def read_discs(work: Work) -> None:
    """The driver started by the system, no policy against it, no filter before it that can't be loaded."""
    from imgtool.guest.windows.class_filters import CDROM_CLASS as FILTERED
    from imgtool.guest.windows.class_filters import cannot_load, read_class_filters

    guest, draft = work.image.windows, work.draft
    service = guest.services.get("cdrom")
    path = (service.file if service is not None else None) or CDROM_FILE
    if not guest.tree.is_file(path):
        raise CannotMend(Text(en=f"{path} is not there.", zh=f"缺少 {path}。"))
    key = service_key(guest, "cdrom")
    if service is None:
        for name, value in {
            "Type": dword(1),
            "ErrorControl": dword(1),
            "Group": sz("SCSI CDROM Class"),
        }.items():
            draft.registry_set(SYSTEM, key, name, value)
    if service is None or service.disabled:
        draft.registry_set(SYSTEM, key, "Start", dword(1))
        draft.registry_delete(SYSTEM, f"{key}\\StartOverride")
    for policy, name in cdrom_denials(guest):
        draft.registry_set(SOFTWARE, policy, name, dword(0))
    for filters in read_class_filters(guest, [FILTERED]):
        kept = tuple(it for it in filters.drivers if not cannot_load(guest, it))
        if kept != filters.drivers:
            value = RegistryValue("multi_sz", kept)
            draft.registry_set(SYSTEM, filters.key, filters.list_name, value)


@fix("windows.volume")
def shut_down_for_good(work: Work) -> None:
    """Fast start-up and hibernation off."""
    from imgtool.guest.windows.settings import read_hibernation

    guest, draft = work.image.windows, work.draft
    found = read_hibernation(guest)
    if not found.fast_startup:
        raise CannotMend(
            Text(
                en="Windows replays its registry's logs at its next start.",
                zh="Windows 会在下次启动时回放注册表日志。",
            )
        )
    here = guest.control_set.path
    draft.registry_set(SYSTEM, f"{here}\\Control\\Session Manager\\Power", "HiberbootEnabled", dword(0))
    draft.registry_set(SYSTEM, f"{here}\\Control\\Power", "HibernateEnabled", dword(0))


@fix("windows.clock")
def local_time(work: Work) -> None:
    """The hardware clock taken as local time."""
    key = f"{work.image.windows.control_set.path}\\Control\\TimeZoneInformation"
    work.draft.registry_set(SYSTEM, key, "RealTimeIsUniversal", dword(0))


@fix("windows.san-policy")
def bring_disks_online(work: Work) -> None:
    """Disks that are added come online."""
    key = f"{service_key(work.image.windows, 'partmgr')}\\Parameters"
    work.draft.registry_set(SYSTEM, key, "SanPolicy", dword(1))
