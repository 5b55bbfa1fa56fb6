"""How a guest brings its network up: by which system, what each of its files says, and what renames
interfaces.

Only files that a system reads which the boot starts count. The formats have modules of their own beside this
one.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Literal

from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.release import Release
    from imgtool.guest.services import Services
    from imgtool.guest.tree import Tree

System = Literal["ifcfg", "wicked", "ifupdown", "netplan", "networkmanager", "networkd", "cloud-init"]
Method = Literal["dhcp", "static", "ipv6", "none"]

MOST_FILES = 200
MOST_INTERFACES = 500
LARGEST_FILE = 1 << 20  # bytes
FIRST = "eth0"
"""The interface that the platform gives (ref 01)."""
_RULES = "/etc/udev/rules.d"
_RENAMING = ("80-net-setup-link.rules", "80-net-name-slot.rules")
_RULE_FOLDERS = ("/etc/udev/rules.d", "/usr/lib/udev/rules.d", "/lib/udev/rules.d")


@dataclass(frozen=True)
class Interface:
    """What one file, or one part of it, says of an interface.

    name: as the file has it, a pattern where it has one, "" for one known by its hardware address alone.
    method: how it gets IPv4; "ipv6": only IPv6; "none": no address of its own (a bridge's port, a bond's).
    mac: the hardware address that it is bound to. inside: the bridge, bond or team that it is a part of.
    windows_line_ends: of a file whose reader takes the carriage return for a part of each value.
    at_boot: brought up without anyone asking. path, line: where it stands; line 0 for the whole file.
    """

    name: str
    system: System
    method: Method
    path: str
    line: int = 0
    addresses: tuple[str, ...] = ()
    mac: str = ""
    at_boot: bool = True
    inside: str = ""
    virtual: bool = False
    windows_line_ends: bool = False

    @property
    def source(self) -> str:
        """As evidence: `/etc/sysconfig/network-scripts/ifcfg-ens192: ens192, static 192.168.1.5`."""
        place = f"{self.path}:{self.line}" if self.line else self.path
        addresses = f" {', '.join(self.addresses[:3])}" if self.addresses else ""
        mac = f", only {self.mac}" if self.mac else ""
        return f"{place}: {self.name[:40] or 'any'}, {self.method}{addresses}{mac}"

    def covers(self, name: str) -> bool:
        """Whether it is about an interface of this name."""
        return not self.name or fnmatch.fnmatchcase(name, self.name)

    @property
    def is_pattern(self) -> bool:
        """The name fits several interfaces, or any."""
        return not self.name or bool(re.search(r"[*?\[]", self.name))


@dataclass(frozen=True)
class Rename:
    """A line that gives the interface with a hardware address a name."""

    name: str
    mac: str
    path: str
    line: int

    @property
    def source(self) -> str:
        """As evidence: `/etc/udev/rules.d/70-persistent-net.rules:3: 00:50:56:ab:cd:ef is eth0`."""
        return f"{self.path}:{self.line}: {self.mac} is {self.name[:40]}"


@dataclass(frozen=True)
class Network:
    """systems: those that the boot starts. dhcp_by_default: why an interface that no file names gets DHCP.

    keeps_eth0: the first interface is called eth0, as the kernel calls it; None where that is not known.
    naming: what says so.
    """

    systems: tuple[System, ...]
    interfaces: tuple[Interface, ...]
    renames: tuple[Rename, ...]
    dhcp_by_default: str
    keeps_eth0: bool | None
    naming: str


def read_network(tree: Tree, services: Services, arguments: str, release: Release) -> Network:
    """The facts. arguments: the kernel's. Raises CannotRead."""
    systems = _systems(tree, services)
    interfaces: list[Interface] = []
    if "netplan" in systems:
        from imgtool.guest.network_netplan import read_netplan

        interfaces += read_netplan(tree)
    if "ifupdown" in systems:
        from imgtool.guest.network_ifupdown import read_interfaces

        interfaces += read_interfaces(tree)
    if "ifcfg" in systems or "wicked" in systems:
        from imgtool.guest.network_ifcfg import read_redhat, read_suse

        interfaces += read_suse(tree) if "wicked" in systems else read_redhat(tree)
    if "networkmanager" in systems:
        from imgtool.guest.network_keyfiles import read_connections

        interfaces += read_connections(tree)
    if "networkd" in systems:
        from imgtool.guest.network_keyfiles import read_networkd

        interfaces += read_networkd(tree)
    keeps, naming = _naming(tree, arguments, release)
    return Network(
        systems=systems,
        interfaces=tuple(it for it in interfaces[:MOST_INTERFACES] if it.name.partition(":")[0] != "lo"),
        renames=tuple(_renames(tree)),
        dhcp_by_default=_default(tree, systems),
        keeps_eth0=keeps,
        naming=naming,
    )


def _systems(tree: Tree, services: Services) -> tuple[System, ...]:
    found: list[System] = []
    manager = services.find("NetworkManager").starts
    script = services.find("network").starts
    if any(tree.exists(path) for path in ("/usr/sbin/netplan", "/usr/lib/netplan", "/lib/netplan/generate")):
        found.append("netplan")
    if tree.exists("/etc/network/interfaces") and services.find("networking").starts:
        found.append("ifupdown")
    if tree.is_dir("/etc/sysconfig/network-scripts") and (manager or script):
        found.append("ifcfg")
    if tree.is_dir("/etc/sysconfig/network") and (services.find("wicked").starts or script):
        found.append("wicked")
    if manager:
        found.append("networkmanager")
    if services.find("systemd-networkd").starts:
        found.append("networkd")
    return tuple(found)


def _default(tree: Tree, systems: tuple[System, ...]) -> str:
    """NetworkManager makes a connection with DHCP for what no file names (NetworkManager.conf(5))."""
    if "networkmanager" not in systems:
        return ""
    from imgtool.guest.network_keyfiles import no_automatic_connection

    return "" if no_automatic_connection(tree) else "NetworkManager: DHCP for what no connection names"


def _naming(tree: Tree, arguments: str, release: Release) -> tuple[bool | None, str]:
    """Whether udev leaves the kernel's name: (answer, what says so).

    It renames by slot (ens3) since systemd 197 where a rule asks for it; virtio devices only since 229, so
    not on RHEL 7 and Debian 8. SUSE leaves the name where nothing else is asked.
    """
    spoken = [word for word in arguments.split() if word.startswith("net.ifnames=")]
    if spoken:
        return spoken[-1].endswith("=0"), spoken[-1]
    for name in _RENAMING:
        if _is_empty(tree, f"{_RULES}/{name}"):
            return True, f"{_RULES}/{name}"
    link = "/etc/systemd/network/99-default.link"
    if _is_empty(tree, link):
        return True, link
    policies = re.findall(r"^NamePolicy=(.*)$", tree.text_if_there(link, LARGEST_FILE) or "", re.MULTILINE)
    if policies:
        return policies[-1].split() in ([], ["kernel"], ["keep", "kernel"]), link
    rule = next(
        (path for folder in _RULE_FOLDERS for name in _RENAMING if tree.exists(path := f"{folder}/{name}")),
        "",
    )
    if not rule:
        return True, "udev has no rule that renames interfaces"
    major = release.major or 0
    if (release.family == "redhat" and release.id != "fedora" and major <= 7) or (
        release.id == "debian" and 0 < major <= 8
    ):
        return True, f"{release.pretty} leaves the names of virtio devices"
    if release.family == "suse":
        return None, ""
    return False, rule


def _is_empty(tree: Tree, path: str) -> bool:
    """The file is masked: empty, or a link to /dev/null."""
    if not tree.glob(path):
        return False
    stat = tree.lstat(path)
    if stat.kind == "symlink":
        return tree.readlink(path) == "/dev/null"
    return stat.kind == "file" and stat.size == 0


def _renames(tree: Tree) -> list[Rename]:
    """udev rules and .link files that give a hardware address a name."""
    from imgtool.guest.network_keyfiles import read_links

    found: list[Rename] = []
    for path in tree.glob(f"{_RULES}/*.rules")[:MOST_FILES]:
        text = (tree.text_if_there(path, LARGEST_FILE) or "") if tree.is_file(path) else ""
        for number, line in enumerate(text.split("\n"), start=1):
            if line.lstrip().startswith("#") or len(line) > 4096 or "NAME" not in line:
                continue
            name = re.search(r'(?<![A-Z])NAME\s*:?=\s*"([^"]+)"', line)
            mac = re.search(r'(?:ATTRS?|SYSFS)\{address\}\s*==\s*"([0-9A-Fa-f:]{17})"', line)
            if name and mac and re.search(r'SUBSYSTEMS?\s*==\s*"net"|KERNEL\s*==\s*"eth', line):
                found.append(Rename(name[1], mac[1].lower(), path, number))
    return [*found, *read_links(tree)][:MOST_FILES]
