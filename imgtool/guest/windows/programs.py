"""Installed programs and updates, as the registry lists them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from imgtool.guest.windows.registry import Hive, Key

UNINSTALL = "Microsoft\\Windows\\CurrentVersion\\Uninstall"
TREES = ((UNINSTALL, False), (f"Wow6432Node\\{UNINSTALL}", True))
PACKAGES = "Microsoft\\Windows\\CurrentVersion\\Component Based Servicing\\Packages"
INSTALLED = 0x70
"""CurrentState of a package that is in place (0x40: staged, 0x50: superseded)."""
MOST_PROGRAMS = 5_000


@dataclass(frozen=True)
class Program:
    """An entry of Programs and Features. of_32_bits: from the tree of 32-bit programs on a 64-bit Windows."""

    name: str
    version: str
    publisher: str
    key: str
    of_32_bits: bool


@dataclass(frozen=True)
class Update:
    """kb: "KB4474419"; package: its full name in the component store."""

    kb: str
    package: str


def read_programs(software: Hive) -> tuple[Program, ...]:
    """Raises GuestReadFailed."""
    return tuple(_programs(software))


def _programs(software: Hive) -> Iterator[Program]:
    for path, of_32_bits in TREES:
        top = software.key(path)
        for number, key in enumerate(top.keys() if top is not None else ()):
            if number >= MOST_PROGRAMS:
                break
            name = key.text("DisplayName")
            if name:
                yield Program(
                    name[:256],
                    (key.text("DisplayVersion") or "")[:64],
                    (key.text("Publisher") or "")[:256],
                    f"SOFTWARE\\{key.path}",
                    of_32_bits,
                )


def read_updates(software: Hive) -> tuple[Update, ...]:
    """Sorted by number, each once. Raises GuestReadFailed."""
    top = software.key(PACKAGES)
    found: dict[str, Update] = {}
    for key in top.keys() if top is not None else ():
        named = re.search(r"(?:^|_)(KB[0-9]{5,8})(?:_|~)", key.name)
        if named and named[1] not in found and _installed(key):
            found[named[1]] = Update(named[1], key.name)
    return tuple(sorted(found.values(), key=lambda it: int(it.kb[2:])))


def _installed(package: Key) -> bool:
    return package.number("CurrentState") == INSTALLED
