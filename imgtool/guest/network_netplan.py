"""Interfaces of netplan: YAML files of three folders, merged (netplan(5))."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from imgtool.guest.cloud_config import NotYaml, parse_mapping
from imgtool.guest.network import LARGEST_FILE, MOST_FILES, Interface, Method

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

FOLDERS = ("/lib/netplan", "/etc/netplan")  # the later replaces a file of the same name; /run is on no disk
_GROUPS = ("ethernets", "bridges", "bonds", "vlans")
_Key = tuple[str, str]  # group and name


def read_netplan(tree: Tree) -> list[Interface]:
    """Every interface; what is no YAML, netplan refuses as a whole: such a file is left out.

    Raises GuestReadFailed.
    """
    files: dict[str, str] = {}
    for folder in FOLDERS:
        for path in tree.glob(f"{folder}/*.yaml"):
            files[path.rsplit("/", 1)[1]] = path
    merged: dict[_Key, dict[str, Any]] = {}
    places: dict[_Key, str] = {}
    for _, path in sorted(files.items())[:MOST_FILES]:
        if not tree.is_file(path):
            continue
        try:
            values, _ = parse_mapping(tree.text_if_there(path, LARGEST_FILE) or "")
        except NotYaml:
            continue
        for key, settings in _described(values.get("network")):
            merged.setdefault(key, {}).update(settings)
            places[key] = path
    return _interfaces(merged, places)


def interfaces_of(network: object, path: str) -> list[Interface]:
    """Those of one mapping in netplan's format, whose file is `path`."""
    found = dict(_described(network))
    return _interfaces(found, dict.fromkeys(found, path))


def as_list(value: object) -> list[Any]:
    """The value where it is a list; else an empty one."""
    return value if isinstance(value, list) else []


def _described(network: object) -> Iterator[tuple[_Key, dict[str, Any]]]:
    """(group, name) and settings of each interface that `network:` describes."""
    for group in _GROUPS if isinstance(network, dict) else ():
        found = network.get(group) if isinstance(network, dict) else None
        for name, settings in found.items() if isinstance(found, dict) else ():
            yield (group, str(name)), settings if isinstance(settings, dict) else {}


def _interfaces(described: dict[_Key, dict[str, Any]], places: dict[_Key, str]) -> list[Interface]:
    inside = {
        str(port): name
        for (group, name), settings in described.items()
        if group in ("bridges", "bonds")
        for port in as_list(settings.get("interfaces"))
    }
    return [
        _interface(name, group, settings, places[group, name], inside.get(name, ""))
        for (group, name), settings in described.items()
    ]


def _interface(name: str, group: str, settings: dict[str, Any], path: str, inside: str) -> Interface:
    match = settings.get("match")
    match = match if isinstance(match, dict) else None
    addresses = tuple(
        str(next(iter(it), "")) if isinstance(it, dict) else str(it)
        for it in as_list(settings.get("addresses"))
    )
    four = tuple(it for it in addresses if ":" not in it)
    method: Method = "none"
    if _yes(settings.get("dhcp4")):
        method = "dhcp"
    elif four:
        method = "static"
    elif addresses or _yes(settings.get("dhcp6")):
        method = "ipv6"
    if match is None:
        matched, mac = name, ""
    else:
        matched, mac = str(match.get("name") or ""), str(match.get("macaddress") or "").lower()
    return Interface(
        name=matched,
        system="netplan",
        method=method,
        path=path,
        addresses=addresses[:16],
        mac=mac,
        inside=inside,
        virtual=group != "ethernets",
        at_boot=str(settings.get("activation-mode") or "") not in ("manual", "off"),
    )


def _yes(value: object) -> bool:
    return str(value).lower() in ("true", "yes", "on", "y")
