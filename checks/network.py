"""The network: eth0 gets its address from the platform, and nothing is tied to the old machine's card."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead
from imgtool.remedy import GRUB_DEFAULTS, if_known, in_guest, quoted
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.linux import LinuxGuest
    from imgtool.guest.network import Interface, Network
    from imgtool.image import Image

# For each system the file that asks for an address by DHCP, its lines and its mode
DHCP_FILES = {
    "ifcfg": (
        "/etc/sysconfig/network-scripts/ifcfg-eth0",
        "DEVICE=eth0\\nTYPE=Ethernet\\nBOOTPROTO=dhcp\\nONBOOT=yes\\n",
        "",
    ),
    "wicked": ("/etc/sysconfig/network/ifcfg-eth0", "BOOTPROTO=dhcp\\nSTARTMODE=auto\\n", ""),
    "netplan": (
        "/etc/netplan/01-dhcp.yaml",
        "network:\\n  version: 2\\n  ethernets:\\n    any:\\n"
        '      match: {name: "e*"}\\n      dhcp4: true\\n',
        "600",
    ),
    "networkd": (
        "/etc/systemd/network/50-dhcp.network",
        "[Match]\\nName=e*\\n[Network]\\nDHCP=ipv4\\n",
        "",
    ),
    "networkmanager": (
        "/etc/NetworkManager/system-connections/eth0.nmconnection",
        "[connection]\\nid=eth0\\ntype=ethernet\\n[ipv4]\\nmethod=auto\\n",
        "600",
    ),
}
MOST_FAULTS = 16
SHOWN = 8


@rule(
    "linux.network",
    Text("Network configuration", "网络配置"),
    severity=Severity.WARNING,
    source="ref 01, 06",
    family="linux",
    requires=("disk.root",),
    fixable=True,
)
def network(image: Image) -> Iterator[Outcome]:
    """eth0 gets its address by DHCP or from cloud-init, whatever the card's hardware address.

    The platform gives a machine one interface, eth0, with an address of its own choice; IPv6 is not supported
    (ref 01, 06). A static address is that of the old network; a file bound to the old card's hardware
    address, or a rule that gives that card the name eth0 (70-persistent-net.rules), does not fit the new
    card, which then becomes eth1 and stays down; a file for ens192 or eno1 waits for an interface that is not
    there. Read are ifcfg files, netplan, ifupdown, NetworkManager's connections, wicked and systemd-networkd,
    each where the boot starts it. Where cloud-init sets the network up, the guest needs no file of its own; a
    `network:` in cloud-init's own settings, as Ubuntu's installer leaves it (90-installer-network.cfg), comes
    before what the platform hands over, and is read as well. Names by slot (ens3) are told as information
    where nothing depends on them.

    Evidence: the file and line. Example: `/etc/sysconfig/network-scripts/ifcfg-ens192: ens192, static
    192.168.1.5`. The fix is the file that this guest's system should have, or its removal.
    """
    guest = image.linux
    if guest.services.init == "unknown":
        yield undecided(
            Text("The guest's init system is not known (/sbin/init).", "无法识别系统的 init（/sbin/init）。")
        )
        return
    found = guest.network
    by_cloud_init = by_cloud_init_at_boot(image, guest)
    told = told_elsewhere(image, guest)
    faults = [
        *_interfaces(guest, [it for it in found.interfaces if it.path not in told], by_cloud_init),
        *_interfaces(guest, of_cloud_init(guest) if by_cloud_init else [], by_cloud_init=False),
        *_renames(guest, told),
    ]
    if not faults and not by_cloud_init:
        faults = list(nobody(guest))
        if faults and not image.options.force_import and not guest.network_disabled:
            yield not_judged(
                Text(
                    "Setting the network up is left to cloud-init, which does not run; that is judged by"
                    " itself.",
                    "网络留待 cloud-init 配置，而它不会运行；该问题另行判定。",
                )
            )
            return
    if not faults:
        faults = list(_names(image, guest, by_cloud_init))
    yield from faults[:MOST_FAULTS]
    if not any(outcome.severity is not Severity.INFO for outcome in faults):
        dhcp = [it.source for it in found.interfaces if it.method == "dhcp" and it.at_boot]
        how = (
            Text("cloud-init sets the network up.", "由 cloud-init 配置网络。")
            if by_cloud_init
            else Text("The guest asks for its address by DHCP.", "系统通过 DHCP 获取地址。")
        )
        yield kept(how, *dhcp[:SHOWN], *([found.naming] if found.naming else []))


def by_cloud_init_at_boot(image: Image, guest: LinuxGuest) -> bool:
    """cloud-init writes the network's configuration at the first boot."""
    if image.options.force_import:
        return False
    try:
        return guest.cloud_init_starts and not guest.network_disabled
    except CannotRead:
        return True  # the rules on cloud-init say why


def of_cloud_init(guest: LinuxGuest) -> list[Interface]:
    """The interfaces of cloud-init's own settings, which come before the platform's."""
    from imgtool.guest.cloud_network import read_cloud_network

    try:
        return read_cloud_network(guest.cloud_config)
    except CannotRead:
        return []  # the rules on cloud-init say why


def told_elsewhere(image: Image, guest: LinuxGuest) -> frozenset[str]:
    """Files that linux.cloud-init.cache names: one fault, one finding."""
    if image.options.force_import or guest.cloud_init.kind != "cloud-init":
        return frozenset()
    return frozenset(guest.cloud_cache.network)


def _interfaces(guest: LinuxGuest, interfaces: list[Interface], by_cloud_init: bool) -> Iterator[Outcome]:
    """What is wrong with each interface that a file describes, all of it in one finding."""
    from imgtool.guest.tree import shown

    for interface in interfaces:
        why = list(faults_of(guest.network, interface, by_cloud_init))
        if why:
            name = shown(interface.name or interface.path)[:120]
            yield broken(
                Text(
                    f"{name} {' and '.join(it.en for it in why)}.",
                    f"{name} {'，且'.join(it.zh for it in why)}。",
                ),
                interface.source,
                remedy=_mend(guest, interface, by_cloud_init),
            )


def faults_of(found: Network, interface: Interface, by_cloud_init: bool) -> Iterator[Text]:
    """What is wrong with an interface, as the end of a sentence that begins with its name."""
    from imgtool.guest.network import FIRST

    if not interface.at_boot:
        asked = not by_cloud_init and interface.method == "dhcp" and interface.covers(FIRST)
        if asked and not interface.mac and not interface.virtual:
            yield Text("is not brought up at boot", "启动时不会启用")
        return
    if interface.virtual and interface.method != "static":
        return
    if interface.method == "static":
        address = ascii(", ".join(interface.addresses[:2]))[1:80].rstrip("'") or "?"
        yield Text(
            f"gets the static address {address}, which is not the one that the platform gives",
            f"使用静态地址 {address}，与平台分配的地址不符",
        )
    elif interface.method == "ipv6":
        yield Text(
            "gets an IPv6 address only, and the platform has IPv4", "仅配置了 IPv6 地址，而平台使用 IPv4"
        )
    if interface.virtual:
        return
    if interface.windows_line_ends:
        yield Text(
            "has Windows line ends, which are read as a part of every value",
            "使用了 Windows 换行符，会被当作配置值的一部分",
        )
    if interface.mac:
        yield Text(
            f"is bound to the hardware address {interface.mac[:60]} of the old machine",
            f"绑定了原机器的网卡地址 {interface.mac[:60]}",
        )
    if interface.is_pattern:
        return
    if interface.name != FIRST and found.keeps_eth0 is not False and _absent(interface.name):
        yield Text(
            "is an interface that is not there: the platform's is eth0", "该网卡不存在：平台的网卡为 eth0"
        )
    elif found.keeps_eth0 is False and not interface.mac and not by_cloud_init:
        yield Text(
            "is named, but names go by the slot (ens3) and may differ",
            "以名称指定网卡，但网卡名由插槽决定（如 ens3），届时可能不同",
        )
    elif found.keeps_eth0 is False and interface.name != FIRST and interface.method == "dhcp":
        yield Text(
            "is named by the old machine's slot, and may have another name",
            "该名称由原机器的插槽决定，届时可能不同",
        )


def _absent(name: str) -> bool:
    """A second or third card may be added later: eth1 is no mistake."""
    return not (name.startswith("eth") and name[3:].isdecimal())


def _renames(guest: LinuxGuest, told: frozenset[str]) -> Iterator[Outcome]:
    from imgtool.guest.tree import shown

    files: dict[str, list[str]] = {}
    for rename in guest.network.renames:
        if rename.path not in told:
            files.setdefault(rename.path, []).append(rename.source)
    for path, lines in files.items():
        yield broken(
            Text(
                f"{shown(path)} gives the old machine's card its name: the new one gets another, and no"
                " network.",
                f"{shown(path)} 将网卡名绑定到原机器的网卡：新网卡会得到其他名称，无法联网。",
            ),
            *lines[:SHOWN],
            remedy=in_guest(f"rm -f {quoted(path)}"),
        )


def nobody(guest: LinuxGuest) -> Iterator[Outcome]:
    """Without cloud-init, something of the guest's own must ask for an address."""
    from imgtool.guest.network import FIRST

    found = guest.network
    name = FIRST if found.keeps_eth0 is not False else "ens3"
    if found.dhcp_by_default:
        return
    for interface in found.interfaces:
        if interface.at_boot and interface.method == "dhcp" and interface.covers(name):
            return
        if interface.at_boot and interface.inside and interface.covers(name):
            return  # a bridge's or a bond's, which was judged above
    systems = ", ".join(found.systems) or "none"
    yield broken(
        Text(
            "Nothing brings the network up: cloud-init does not, and no file of the guest's own asks for an"
            " address.",
            "没有任何组件配置网络：cloud-init 不会配置，系统自身也没有通过 DHCP 获取地址的配置。",
        ),
        f"network services that the boot starts: {systems}",
        *(it.source for it in found.interfaces[:SHOWN]),
        remedy=_dhcp(guest, None),
    )


def _names(image: Image, guest: LinuxGuest, by_cloud_init: bool) -> Iterator[Outcome]:
    """Names by slot: the forced import's os.conf speaks of eth0 (ref 02); otherwise no harm is known."""
    found = guest.network
    if found.keeps_eth0 is not False:
        return
    yield broken(
        Text(
            "Interfaces are named by their slot (ens3); the platform speaks of eth0.",
            "网卡名由插槽决定（如 ens3），而平台使用 eth0。",
        ),
        found.naming,
        severity=None if image.options.force_import else Severity.INFO,
        remedy=_keep_names(guest),
    )


@if_known
def _keep_names(guest: LinuxGuest) -> Text | None:
    """The kernel argument that leaves interfaces the names they have from the kernel."""
    loader = guest.bootloader
    if "/loader/entries/" in (loader.default.source if loader.default else ""):
        return in_guest('grubby --update-kernel=ALL --args="net.ifnames=0"')
    rebuild = guest.release.bootloader_command(loader.config_path or "") if loader.kind == "grub2" else ""
    if rebuild and guest.tree.is_file(GRUB_DEFAULTS):
        return in_guest(f"sed -i 's/^GRUB_CMDLINE_LINUX=\"/&net.ifnames=0 /' {GRUB_DEFAULTS} && {rebuild}")
    return in_guest("ln -s /dev/null /etc/udev/rules.d/80-net-setup-link.rules")


def _mend(guest: LinuxGuest, interface: Interface, by_cloud_init: bool) -> Text | None:
    path = quoted(interface.path)
    if interface.system == "cloud-init":
        return _leave_to_platform(guest, interface.path)
    if by_cloud_init and interface.system != "ifupdown":
        return Text(
            f"cloud-init sets the network up; take the file away. In the guest, as root:\nrm {path}",
            f"网络由 cloud-init 配置，请删除该文件。在系统内以 root 执行：\nrm {path}",
        )
    return _dhcp(guest, interface)


def _leave_to_platform(guest: LinuxGuest, path: str) -> Text:
    if holds_network_alone(guest, path):
        return in_guest(f"rm {quoted(path)}")
    return Text(
        f"Take `network:` and what is below it out of {path}: the platform hands the network over.",
        f"请从 {path} 中删除 `network:` 及其下的内容：网络配置由平台下发。",
    )


def holds_network_alone(guest: LinuxGuest, path: str) -> bool:
    """Whether a file of cloud-init's settings says nothing but `network:`."""
    from imgtool.guest.cloud_config import NotYaml, parse_mapping

    try:
        return set(parse_mapping(guest.tree.text_if_there(path, 1 << 20) or "")[0]) == {"network"}
    except NotYaml:
        return False


def _dhcp(guest: LinuxGuest, interface: Interface | None) -> Text | None:
    """The file that asks for an address by DHCP, for the system that brings the network up here."""
    systems = guest.network.systems
    system = interface.system if interface else systems[0] if systems else ""
    if system == "networkmanager" and "ifcfg" in systems:
        system = "ifcfg"
    gone = f"rm {quoted(interface.path)}" if interface else ""
    if system == "ifupdown":
        return _dhcp_ifupdown(interface)
    if system not in DHCP_FILES:
        return None
    path, lines, mode = DHCP_FILES[system]
    return _write(gone, lines, path, mode)


def _dhcp_ifupdown(interface: Interface | None) -> Text:
    path = interface.path if interface else "/etc/network/interfaces"
    head = ""
    if path == "/etc/network/interfaces":
        head = "source /etc/network/interfaces.d/*\\nauto lo\\niface lo inet loopback\\n"
    return _write("", f"{head}auto eth0\\niface eth0 inet dhcp\\n", path)


def _write(first: str, lines: str, path: str, mode: str = "") -> Text:
    commands = [first] if first and first != f"rm {path}" else []
    commands.append(f"printf '{lines}' > {quoted(path)}")
    if mode:
        commands.append(f"chmod {mode} {quoted(path)}")
    return in_guest(*commands)
