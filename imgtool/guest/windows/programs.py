"""Installed programs and updates, as the registry lists them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from imgtool.guest.windows.registry import Hive, Key

UNINSTALL = "Microsoft\\Windows\\CurrentVersion\\Uninstall"
TREES = ((UNINSTALL, False), (f"Wow6432Node\\{UNINSTALL}", True))
PACKAGES = "Microsoft\\Windows\\CurrentVersion\\Component Based Servicing\\Packages"
IN_PLACE = (0x50, 0x70, 0x80)
"""CurrentState of a package whose content is in place: superseded by a later one that has it as well,
installed, permanent (0x40: staged; 0x60: install pending)."""


@dataclass(frozen=True)
class Program:
    """An entry of Programs and Features. of_32_bits: from the tree of 32-bit programs on a 64-bit Windows."""

    name: str
    version: str
    publisher: str
    key: str
    of_32_bits: bool
    by_installer: bool = False
    """Installed by Windows Installer: its key is its product code."""


@dataclass(frozen=True)
class Update:
    """kb: "KB4474419"; package: its full name in the component store."""

    kb: str
    package: str


@dataclass(frozen=True)
class Rollup:
    """A monthly rollup, whose package has no KB number: 7601, 24545."""

    build: int
    revision: int


def read_programs(software: Hive) -> tuple[Program, ...]:
    """Raises GuestReadFailed."""
    return tuple(_programs(software))


def _programs(software: Hive) -> Iterator[Program]:
    for path, of_32_bits in TREES:
        top = software.key(path)
        for key in top.keys() if top is not None else ():
            name = key.text("DisplayName")
            if name:
                yield Program(
                    name[:256],
                    (key.text("DisplayVersion") or "")[:64],
                    (key.text("Publisher") or "")[:256],
                    f"SOFTWARE\\{key.path}",
                    of_32_bits,
                    key.number("WindowsInstaller") == 1,
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


def read_rollups(software: Hive) -> tuple[Rollup, ...]:
    """Package_for_RollupFix~...~~7601.24545.1.6, oldest first. Raises GuestReadFailed."""
    top = software.key(PACKAGES)
    found: set[tuple[int, int]] = set()
    for key in top.keys() if top is not None else ():
        named = re.search(r"^Package_for_RollupFix~.*~([0-9]{4,6})\.([0-9]{1,6})\.", key.name)
        if named and _installed(key):
            found.add((int(named[1]), int(named[2])))
    return tuple(Rollup(build, revision) for build, revision in sorted(found))


def _installed(package: Key) -> bool:
    return package.number("CurrentState") in IN_PLACE
