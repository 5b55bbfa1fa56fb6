"""Interfaces in files of sections: NetworkManager's connections, systemd-networkd's .network and .link."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

from imgtool.guest.network import LARGEST_FILE, MOST_FILES, Interface, Method, Rename

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

CONNECTIONS = (
    "/usr/lib/NetworkManager/system-connections",
    "/etc/NetworkManager/system-connections",
)
NETWORKD = (
    "/lib/systemd/network",
    "/usr/lib/systemd/network",
    "/usr/local/lib/systemd/network",
    "/etc/systemd/network",
)
MANAGER_CONFIGS = (
    "/usr/lib/NetworkManager/conf.d/*.conf",
    "/etc/NetworkManager/NetworkManager.conf",
    "/etc/NetworkManager/conf.d/*.conf",
)
_ETHERNET = ("ethernet", "802-3-ethernet", "")
_UNSET = "0.0.0.0/"  # networkd takes a free address
_PORTS = ("slave-type", "port-type", "master", "controller")

Sections = list[tuple[str, dict[str, list[str]]]]


def parse_sections(text: str) -> Sections:
    """The sections in order, each with its keys and all their values; names as written."""
    found: Sections = []
    for line in text.splitlines()[:100_000]:
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if stripped[0] == "[" and stripped.endswith("]"):
            found.append((stripped[1:-1].strip(), {}))
        elif found and "=" in stripped:
            key, _, value = stripped.partition("=")
            found[-1][1].setdefault(key.strip(), []).append(value.strip())
    return found


def _last(sections: Sections, names: tuple[str, ...], key: str) -> str:
    values = [value for name, keys in sections if name in names for value in keys.get(key, ())]
    return values[-1] if values else ""


def read_connections(tree: Tree) -> list[Interface]:
    """NetworkManager's own files (nm-settings-keyfile(5)); those that others may read it does not take.

    Raises GuestReadFailed.
    """
    found = []
    for path in (path for folder in CONNECTIONS for path in tree.glob(f"{folder}/*")[:MOST_FILES]):
        if not tree.is_file(path) or path.endswith(("~", ".bak", ".swp", ".rpmsave", ".rpmnew")):
            continue
        stat = tree.stat(path)
        if path.startswith("/etc/") and (stat.mode & 0o077 or stat.uid != 0):
            continue
        sections = parse_sections(tree.text_if_there(path, LARGEST_FILE) or "")
        kind = _last(sections, ("connection",), "type")
        virtual = kind in ("bridge", "bond", "team", "vlan")
        if kind not in _ETHERNET and not virtual:
            continue
        mac = _last(sections, ("ethernet", "802-3-ethernet"), "mac-address").lower()
        name = _last(sections, ("connection",), "interface-name")
        patterns = [
            word for word in re.split(r"[;, ]+", _last(sections, ("match",), "interface-name")) if word
        ]
        if not name and len(patterns) == 1:
            name = patterns[0]
        port = any(_last(sections, ("connection",), key) for key in _PORTS)
        four = _last(sections, ("ipv4",), "method") or "auto"
        six = _last(sections, ("ipv6",), "method") or "auto"
        addresses = _addresses(sections)
        method: Method = "none"
        if port:
            method = "none"
        elif four == "auto":
            method = "dhcp"
        elif four == "manual":
            method = "static"
        elif six in ("auto", "dhcp", "manual"):
            method = "ipv6"
        found.append(
            Interface(
                name=name,
                system="networkmanager",
                method=method,
                path=path,
                addresses=addresses,
                mac=mac,
                at_boot=_last(sections, ("connection",), "autoconnect").lower() not in ("false", "no", "0"),
                inside=_last(sections, ("connection",), "master")
                or _last(sections, ("connection",), "controller"),
                virtual=virtual,
            )
        )
    return found


def _addresses(sections: Sections) -> tuple[str, ...]:
    found = []
    for name, keys in sections:
        for key, values in keys.items() if name == "ipv4" else ():
            if re.fullmatch(r"address(es)?[0-9]*", key):
                found += [re.split(r"[,;]", value)[0] for value in values if value]
    return tuple(found[:16])


def no_automatic_connection(tree: Tree) -> str:
    """The file that keeps NetworkManager from connecting what no file names; "" for none."""
    last = ""
    for path in (path for pattern in MANAGER_CONFIGS for path in tree.glob(pattern)[:MOST_FILES]):
        if not tree.is_file(path):
            continue
        sections = parse_sections(tree.text_if_there(path, LARGEST_FILE) or "")
        for name, keys in sections:
            if name == "main" and "no-auto-default" in keys:
                last = path if keys["no-auto-default"][-1].strip() in ("*", "type:ethernet") else ""
    return last


def read_networkd(tree: Tree) -> list[Interface]:
    """systemd-networkd's .network files, in the order in which it asks them (systemd.network(5)).

    What matches no ethernet card of a virtual machine (containers' ends, wireless cards) is left out. Raises
    GuestReadFailed.
    """
    found = []
    for path in _files(tree, ".network"):
        sections = parse_sections(tree.text_if_there(path, LARGEST_FILE) or "")
        matches = [keys for name, keys in sections if name == "Match"]
        if not matches or not _of_machine(matches[-1]):
            continue
        names = " ".join(matches[-1].get("Name", [])).split()
        mac = " ".join(
            [*matches[-1].get("MACAddress", []), *matches[-1].get("PermanentMACAddress", [])]
        ).lower()
        if any(name.startswith("!") for name in names):
            names = [] if not fnmatch_any(names, "eth0") else ["*"]
            if not names:
                continue
        dhcp = _last(sections, ("Network",), "DHCP").lower()
        addresses = tuple(
            value
            for name, keys in sections
            if name in ("Network", "Address")
            for value in keys.get("Address", ())
            if value
        )
        four = tuple(it for it in addresses if ":" not in it and not it.startswith(_UNSET))
        method: Method = "none"
        if dhcp in ("yes", "ipv4", "true", "both", "v4", "1", "on"):
            method = "dhcp"
        elif four:
            method = "static"
        elif addresses or dhcp in ("ipv6", "v6"):
            method = "ipv6"
        inside = next(
            (value for key in ("Bridge", "Bond") if (value := _last(sections, ("Network",), key))), ""
        )
        for name in names or [""]:
            found.append(
                Interface(
                    name=name,
                    system="networkd",
                    method=method,
                    path=path,
                    addresses=four,
                    mac=mac,
                    inside=inside,
                    at_boot=_last(sections, ("Link",), "Unmanaged").lower() not in ("yes", "true", "1", "on"),
                )
            )
    return found


def fnmatch_any(patterns: list[str], name: str) -> bool:
    """networkd's list of names, where a leading `!` turns the whole list round."""
    negated = patterns[0].startswith("!")
    words = [word.lstrip("!") for word in patterns]
    return any(fnmatch.fnmatchcase(name, word) for word in words) != negated


def _of_machine(match: dict[str, list[str]]) -> bool:
    """The section can be about an ethernet card of a virtual machine."""
    kinds = " ".join(match.get("Type", ())).split()
    where = " ".join(match.get("Virtualization", ())).split()
    drivers = " ".join(match.get("Driver", ())).split()
    if kinds and not {"ether", "*"} & set(kinds):
        return False
    if where and not {"yes", "true", "1", "vm", "kvm", "qemu"} & set(where) and not where[0].startswith("!"):
        return False
    if drivers and not any(fnmatch.fnmatchcase("virtio_net", word) for word in drivers):
        return False
    return "Path" not in match and "Kind" not in match


def _files(tree: Tree, suffix: str) -> list[str]:
    """By name; a file of /etc hides one of the same name in /usr/lib, and a link to /dev/null hides both."""
    files: dict[str, str] = {}
    for folder in NETWORKD:
        for path in tree.glob(f"{folder}/*{suffix}"):
            files[path.rsplit("/", 1)[1]] = path
    return [path for _, path in sorted(files.items()) if tree.is_file(path)][:MOST_FILES]


def read_links(tree: Tree) -> list[Rename]:
    """.link files that name an interface by its hardware address (systemd.link(5))."""
    found = []
    for path in (path for path in tree.glob(f"{NETWORKD[-1]}/*.link")[:MOST_FILES] if tree.is_file(path)):
        text = tree.text_if_there(path, LARGEST_FILE) or ""
        sections = parse_sections(text)
        mac = _last(sections, ("Match",), "MACAddress") or _last(sections, ("Match",), "PermanentMACAddress")
        name = _last(sections, ("Link",), "Name")
        if mac and name:
            number = text[: text.index("Name=")].count("\n") + 1 if "Name=" in text else 1
            found.append(Rename(name, mac.lower()[:60], path, number))
    return found
