"""Interfaces of ifupdown: /etc/network/interfaces and what it reads (interfaces(5))."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.guest.network import LARGEST_FILE, MOST_FILES, MOST_INTERFACES, Interface
from imgtool.records import dataclass, field, replace

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

MAIN = "/etc/network/interfaces"
_AUTOMATIC = ("auto", "allow-auto", "allow-hotplug")
_VIRTUAL = re.compile(r"(lo|br|bond|virbr|docker|tun|tap|dummy|wg|vlan)[0-9]*|.*\.[0-9]+")
_DEEPEST = 5


@dataclass
class _Stanza:
    name: str
    family: str
    method: str
    path: str
    line: int
    windows: bool
    options: dict[str, str] = field(default_factory=dict)


def sources(text: str) -> list[str]:
    """The patterns after `source` and the folders after `source-directory`."""
    return [
        word
        for _, words in _lines(text)
        if len(words) > 1 and words[0] in ("source", "source-directory")
        for word in words[1:]
    ]


def read_interfaces(tree: Tree) -> list[Interface]:
    """Every interface but the loopback one. Raises GuestReadFailed."""
    reader = _Reader(tree)
    reader.file(MAIN, 0)
    joined: dict[tuple[str, str], Interface] = {}
    ports: dict[str, str] = {}
    for stanza in reader.stanzas:
        for key in ("bridge_ports", "bridge-ports", "bond-slaves", "slaves"):
            for port in stanza.options.get(key, "").split():
                ports[port] = stanza.name
        found = _interface(stanza, stanza.name in reader.automatic)
        held = joined.get((found.name, found.path))
        # inet and inet6 of one interface are two stanzas
        if held is None or held.method in ("ipv6", "none"):
            joined[found.name, found.path] = replace(found, line=held.line) if held else found
    return [replace(it, inside=ports[it.name]) if it.name in ports else it for it in joined.values()]


class _Reader:
    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.stanzas: list[_Stanza] = []
        self.automatic: set[str] = set()
        self.files = 0

    def file(self, path: str, depth: int) -> None:
        self.files += 1
        if depth > _DEEPEST or self.files > MOST_FILES:
            return
        stanza: _Stanza | None = None
        windows = self.tree.is_file(path) and b"\r\n" in self.tree.read(path, LARGEST_FILE)
        for number, words in _lines(self.tree.text_if_there(path, LARGEST_FILE) or ""):
            if words[0] in ("source", "source-directory"):
                stanza = None
                for word in words[1:16]:
                    for inner in self._included(word, words[0] == "source-directory"):
                        self.file(inner, depth + 1)
            elif words[0] in _AUTOMATIC:
                stanza = None
                self.automatic.update(words[1:64])
            elif words[0] == "iface" and len(words) > 1:
                family, method = (words[2], words[3]) if len(words) > 3 else ("inet", "inherits")
                stanza = _Stanza(words[1], family, method, path, number, windows)
                if len(self.stanzas) < MOST_INTERFACES:
                    self.stanzas.append(stanza)
            elif words[0] in ("mapping", "rename") or words[0].startswith("allow-"):
                stanza = None
            elif stanza is not None and len(words) > 1:
                stanza.options.setdefault(words[0], " ".join(words[1:]))

    def _included(self, pattern: str, folder: bool) -> list[str]:
        absolute = pattern if pattern.startswith("/") else posixpath.join("/etc/network", pattern)
        if folder:
            paths = self.tree.glob(f"{absolute.rstrip('/')}/*")
            paths = [path for path in paths if re.fullmatch(r"[\w-]+", path.rsplit("/", 1)[1])]
        else:
            paths = self.tree.glob(absolute)
        return [path for path in paths if self.tree.is_file(path)]


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """Lines with their numbers, those that end in a backslash joined."""
    waiting, began = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not waiting:
            began = number
            if line.lstrip().startswith("#"):
                continue
        if line.endswith("\\") and len(waiting) < 65536:
            waiting += line[:-1]
            continue
        words = (waiting + line)[:65536].split()
        waiting = ""
        if words:
            yield began, words


def _interface(stanza: _Stanza, automatic: bool) -> Interface:
    address = stanza.options.get("address", "")
    six = stanza.family == "inet6"
    return Interface(
        name=stanza.name,
        system="ifupdown",
        method="ipv6"
        if six and stanza.method in ("dhcp", "auto", "static", "v4tunnel")
        else "dhcp"
        if stanza.method in ("dhcp", "bootp")
        else "static"
        if stanza.method == "static"
        else "none",
        path=stanza.path,
        line=stanza.line,
        addresses=(address,) if address else (),
        at_boot=automatic,
        windows_line_ends=stanza.windows,
        virtual=bool(_VIRTUAL.fullmatch(stanza.name))
        or any(
            key.replace("-", "_") in ("bridge_ports", "bond_slaves", "vlan_raw_device")
            for key in stanza.options
        ),
    )
