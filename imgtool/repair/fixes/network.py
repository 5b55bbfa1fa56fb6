"""The network left to cloud-init where that sets it up; else every file that fits no new machine asks for an
address by DHCP."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from imgtool.checks import network as rules
from imgtool.checks.cloud_init_cache import AS_ASKED, INTERFACES
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.network import Interface

NAMING = "/etc/udev/rules.d/80-net-setup-link.rules"
LOOPBACK = "auto lo\niface lo inet loopback\n"
DHCP = "\nauto eth0\niface eth0 inet dhcp\n"


@fix("linux.network")
def ask_the_platform(work: Work) -> None:
    """Files bound to the old machine go; where nothing else brings the network up, DHCP does."""
    guest, draft = work.guest, work.draft
    found = guest.network
    by_cloud_init = rules.by_cloud_init_at_boot(work.image, guest)
    told = rules.told_elsewhere(work.image, guest)
    wrong = [
        it
        for it in found.interfaces
        if it.path not in told and list(rules.faults_of(found, it, by_cloud_init))
    ]
    for path in dict.fromkeys(it.path for it in found.renames if it.path not in told):
        draft.remove(path)
    if by_cloud_init:
        of_cloud_init = rules.of_cloud_init(guest)
        wrong += [it for it in of_cloud_init if list(rules.faults_of(found, it, by_cloud_init=False))]
    for interface in {it.path: it for it in wrong}.values():
        _take_away(work, interface, by_cloud_init)
    if found.keeps_eth0 is False and work.image.options.force_import:
        draft.symlink(NAMING, "/dev/null")
    if not by_cloud_init:
        _bring_up(work, wrong)


def _take_away(work: Work, interface: Interface, by_cloud_init: bool) -> None:
    """The file goes; /etc/network/interfaces stays, as ref 05 has it.

    Raises CannotMend for settings of cloud-init's beside which there are others.
    """
    if interface.system == "cloud-init" and not rules.holds_network_alone(work.guest, interface.path):
        raise CannotMend(
            Text(
                en=f"{interface.path} holds other settings than `network:`, and is left to a person.",
                zh=f"{interface.path} 中除 `network:` 外还有其他配置，请人工处理。",
            )
        )
    if interface.path == INTERFACES:
        lines = "\n".join(AS_ASKED) + f"\n\n{LOOPBACK}"
        work.draft.write(INTERFACES, lines if by_cloud_init else lines + DHCP)
    else:
        work.draft.remove(interface.path)


def _bring_up(work: Work, wrong: list[Interface]) -> None:
    """A file that asks for an address, for the system that brings the network up, unless another does."""
    from imgtool.guest.linux import LinuxGuest

    draft = work.draft
    later = LinuxGuest(replace(work.guest.root, tree=draft.tree), work.image.disk)
    if not list(rules.nobody(later)):
        return
    systems = work.guest.network.systems
    system = wrong[0].system if wrong else systems[0] if systems else ""
    if system == "networkmanager" and "ifcfg" in systems:
        system = "ifcfg"
    if system == "ifupdown":
        draft.write(INTERFACES, "\n".join(AS_ASKED) + f"\n\n{LOOPBACK}{DHCP}")
        return
    if system not in rules.DHCP_FILES:
        raise CannotMend(
            Text(
                en="No system that brings a network up was found in the guest.",
                zh="未在客户机中找到可配置网络的服务。",
            )
        )
    path, lines, mode = rules.DHCP_FILES[system]
    draft.write(path, lines.replace("\\n", "\n"), mode=int(mode, 8) if mode else 0o644)
