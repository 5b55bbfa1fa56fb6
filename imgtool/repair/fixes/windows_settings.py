"""Settings of Windows that decide how an instance is reached: Remote Desktop, CD-ROM, hibernation, clock."""

from __future__ import annotations

from imgtool.checks.windows_state import CDROM_CLASS, CDROM_DENIED, CDROM_FILE
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.repair.windows_drivers import SOFTWARE, SYSTEM, dword, service_key, sz
from imgtool.text import Text

POLICY = "Policies\\Microsoft\\Windows NT\\Terminal Services"
RULE = "v2.10|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort={}|Name=Remote Desktop (imgtool)|"


@fix("windows.remote-desktop")
def let_people_in(work: Work) -> None:
    """Connections on, the service startable, a firewall rule for the port."""
    from imgtool.guest.windows.firewall import FIREWALL
    from imgtool.guest.windows.remote_desktop import TERMINAL_SERVER, read_remote_desktop

    guest, draft = work.image.windows, work.draft
    found, here = read_remote_desktop(guest), guest.control_set.path
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
    if "Public" in found.blocked_in:
        rules = f"{here}\\{FIREWALL}\\FirewallRules"
        draft.registry_set(SYSTEM, rules, "RemoteDesktop-In-TCP-imgtool", sz(RULE.format(found.port)))


@fix("windows.cdrom")
def read_discs(work: Work) -> None:
    """The driver started by the system, and no policy against it."""
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
    if service is None or service.effective_start in (4, None):
        draft.registry_set(SYSTEM, key, "Start", dword(1))
        draft.registry_delete(SYSTEM, f"{key}\\StartOverride")
    policy = guest.software.key(CDROM_DENIED)
    if policy is not None and policy.number("Deny_All"):
        draft.registry_set(SOFTWARE, CDROM_DENIED, "Deny_All", dword(0))
    if policy is not None and policy.key(CDROM_CLASS) is not None:
        draft.registry_delete(SOFTWARE, f"{CDROM_DENIED}\\{CDROM_CLASS}")


@fix("windows.volume")
def shut_down_for_good(work: Work) -> None:
    """Fast start-up and hibernation off; what is hibernated is left to Windows itself."""
    from imgtool.guest.windows.settings import read_hibernation

    guest, draft = work.image.windows, work.draft
    found = read_hibernation(guest)
    if found.state == "hibernated":
        raise CannotMend(
            Text(
                en="Windows is hibernated: nothing may be written to its volume. Start it and shut it down.",
                zh="Windows 处于休眠状态，不能写入其卷。请启动后正常关机。",
            )
        )
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
