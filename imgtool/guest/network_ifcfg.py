"""Interfaces in files of shell assignments: ifcfg-* of Red Hat's initscripts and of SUSE's wicked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.guest.network import LARGEST_FILE, MOST_FILES, Interface, Method
from imgtool.guest.release import parse_os_release

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

REDHAT = "/etc/sysconfig/network-scripts"
SUSE = "/etc/sysconfig/network"
# What the initscripts read over (network-functions, __sed_discard_ignored_files), and aliases
_IGNORED = re.compile(
    r".*(~|\.(bak|old|orig|rpmnew|rpmorig|rpmsave|swp|tmp))|ifcfg-lo|ifcfg-(?!eth-id-).*:.*|.*-range[0-9]*"
)
_VIRTUAL = re.compile(r"bridge|bond|team|vlan|ovs.*|tunnel|wireguard|dummy|tap|tun", re.IGNORECASE)
_VIRTUAL_NAME = re.compile(
    r"(lo|br|bond|team|virbr|docker|tun|tap|dummy|wg|sit|ovs)[0-9]*|.*\.[0-9]+|vlan[0-9]+"
)


def read_redhat(tree: Tree) -> list[Interface]:
    """From /etc/sysconfig/network-scripts (sysconfig.txt of initscripts). Raises GuestReadFailed."""
    found = []
    for path in _files(tree, REDHAT):
        values = _values(tree, path)
        name = values.get("DEVICE") or _name(path)
        protocol = values.get("BOOTPROTO", "").lower()
        addresses = _addresses(values)
        inside = values.get("MASTER") or values.get("BRIDGE") or values.get("TEAM_MASTER") or ""
        six = _yes(values.get("IPV6INIT", "")) and (
            _yes(values.get("DHCPV6C", ""))
            or bool(values.get("IPV6ADDR"))
            or _yes(values.get("IPV6_AUTOCONF", ""))
        )
        found.append(
            Interface(
                name=name if values.get("DEVICE") or not values.get("HWADDR") else "",
                system="ifcfg",
                method=_method(protocol in ("dhcp", "bootp"), addresses, six),
                path=path,
                addresses=addresses,
                mac=values.get("HWADDR", "").lower(),
                at_boot=_yes(values.get("ONBOOT", "yes")),
                inside=inside,
                windows_line_ends=_windows(tree, path),
                virtual=bool(
                    _VIRTUAL.fullmatch(values.get("TYPE", ""))
                    or _yes(values.get("VLAN", ""))
                    or _VIRTUAL_NAME.fullmatch(name)
                ),
            )
        )
    return found


def read_suse(tree: Tree) -> list[Interface]:
    """From /etc/sysconfig/network (ifcfg(5) of wicked and sysconfig). Raises GuestReadFailed."""
    found = []
    ports: dict[str, str] = {}
    for path in _files(tree, SUSE):
        values = _values(tree, path)
        name = _name(path)
        protocol = values.get("BOOTPROTO", "static").lower()
        addresses = _addresses(values)
        for port in values.get("BRIDGE_PORTS", "").split() + [
            value for key, value in values.items() if re.fullmatch(r"BONDING_SLAVE[_0-9]*", key)
        ]:
            ports[port] = name
        four = [address for address in addresses if ":" not in address]
        six = protocol in ("dhcp6", "auto6") or (bool(addresses) and not four)
        by_mac = re.fullmatch(r"eth-id-([0-9A-Fa-f:]{17})", name)  # up to SUSE 11
        found.append(
            Interface(
                name="" if by_mac else name,
                system="wicked",
                method=_method(protocol in ("dhcp", "dhcp4", "dhcp+autoip"), tuple(four), six),
                path=path,
                addresses=addresses,
                mac=by_mac[1].lower() if by_mac else "",
                windows_line_ends=_windows(tree, path),
                at_boot=values.get("STARTMODE", "manual").lower()
                in ("auto", "onboot", "boot", "on", "hotplug", "ifplugd", "nfsroot"),
                virtual=any(
                    key.startswith(("BRIDGE", "BONDING_MASTER", "ETHERDEVICE", "TEAM_")) for key in values
                )
                or bool(_VIRTUAL_NAME.fullmatch(name)),
            )
        )
    from dataclasses import replace

    return [replace(it, inside=ports[it.name]) if it.name in ports else it for it in found]


def _files(tree: Tree, folder: str) -> list[str]:
    names = tree.list(folder) if tree.is_dir(folder) else []
    paths = [f"{folder}/{it}" for it in names if it.startswith("ifcfg-") and not _IGNORED.fullmatch(it)]
    return [path for path in paths[:MOST_FILES] if tree.is_file(path)]


def _values(tree: Tree, path: str) -> dict[str, str]:
    found = parse_os_release(tree.text_if_there(path, LARGEST_FILE) or "")
    return {key.upper(): value.strip() for key, value in found.items()}


def _windows(tree: Tree, path: str) -> bool:
    """The shell that reads it would have `dhcp` and a carriage return for a protocol."""
    return b"\r\n" in tree.read(path, LARGEST_FILE)


def _name(path: str) -> str:
    return path.rsplit("/", 1)[1].removeprefix("ifcfg-")


def _addresses(values: dict[str, str]) -> tuple[str, ...]:
    """Those that are written out; Red Hat's IPADDR, IPADDR0 …, SUSE's IPADDR, IPADDR_1 …"""
    keys = sorted(key for key in values if re.fullmatch(r"IPADDR(_?[A-Z0-9]{0,8})?", key))
    return tuple(values[key] for key in keys if values[key])[:16]


def _method(dhcp: bool, addresses: tuple[str, ...], six: bool) -> Method:
    if dhcp:
        return "dhcp"
    if addresses:
        return "static"
    return "ipv6" if six else "none"


def _yes(value: str) -> bool:
    return value.lower() in ("yes", "true", "t", "y", "1", "on")
