"""An image under judgement whose Windows is a handful of keys and files, for the tests of the Windows rules.

It is made from the same trees as the disks of `fixtures.windows`, so that one change of those is one fact of
the world here as well; only hives and NTFS are left out. That these keys answer as a real hive's do is
tested.
"""

from __future__ import annotations

import fnmatch
import posixpath
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fixtures.windows.disk import RESERVED_AT, SIGNATURE, SYSTEM_AT, Windows, windows
from fixtures.windows.releases import RELEASES
from imgtool.disk.partitions import Partition
from imgtool.disk.signatures import Signature
from imgtool.disk.volumes import Volume
from imgtool.errors import CannotRead
from imgtool.guest.boot_mode import SECTOR
from imgtool.guest.root import Root, RootSearch
from imgtool.guest.windows.bcd import read_bcd
from imgtool.guest.windows.boot import BIOS_STORE, Store, WindowsBoot
from imgtool.guest.windows.guest import WindowsGuest
from imgtool.image import Image, Options
from imgtool.lazy import preset
from imgtool.profiles import load_profile
from imgtool.rules import Finding, Outcome, Rule, discover, run
from imgtool.text import Text
from tests.guest import stand_in
from tests.guest.memory_tree import MemoryTree

RULES = {name: rule for name, rule in discover().items() if name.startswith("windows.")}
BOOT_CODE = b"Invalid partition table\0Error loading operating system\0"
STRINGS = (1, 2, 6)


class MemoryKey:
    """A stand-in for imgtool.guest.windows.registry.Key over the trees of `fixtures.windows.hive`."""

    def __init__(self, path: str, values: Mapping[str, str]) -> None:
        self.path = path
        self.written = values
        self.below: dict[str, MemoryKey] = {}
        self.hive = SimpleNamespace(path="/hive")

    @property
    def name(self) -> str:
        return self.path.rpartition("\\")[2]

    def key(self, path: str) -> MemoryKey | None:
        here: MemoryKey | None = self
        for name in path.split("\\"):
            here = here.below.get(name.upper()) if here is not None else None
        return here

    def keys(self) -> Iterator[MemoryKey]:
        return (self.below[name] for name in sorted(self.below))

    def names(self) -> list[str]:
        return [it.name for it in self.keys()]

    def values(self) -> list[str]:
        return list(self.written)

    def _value(self, name: str) -> tuple[int, bytes] | None:
        written = next((it for key, it in self.written.items() if key.upper() == name.upper()), None)
        if written is None:
            return None
        if written.startswith("dword:"):
            return 4, struct.pack("<I", int(written[6:], 16))
        kind, _, data = written.removeprefix("hex(").partition("):")
        return int(kind, 16), bytes(int(byte, 16) for byte in data.split(",") if byte)

    def text(self, name: str) -> str | None:
        type_, data = self._value(name) or (0, b"")
        return data.decode("utf-16-le", "replace").split("\0")[0] if type_ in STRINGS else None

    def texts(self, name: str) -> tuple[str, ...] | None:
        type_, data = self._value(name) or (0, b"")
        if type_ not in (*STRINGS, 7):
            return None
        return tuple(part for part in data.decode("utf-16-le", "replace").split("\0") if part)

    def number(self, name: str) -> int | None:
        type_, data = self._value(name) or (0, b"")
        return int.from_bytes(data, "little") if type_ in (3, 4) and len(data) == 4 else None

    def data(self, name: str) -> bytes | None:
        found = self._value(name)
        return None if found is None else found[1]

    def type_of(self, name: str) -> int | None:
        found = self._value(name)
        return None if found is None else found[0]

    def has(self, name: str) -> bool:
        return self._value(name) is not None


class MemoryHive(MemoryKey):
    """A stand-in for Hive: its top key."""

    dirty = False

    def __init__(self, tree: Mapping[str, Mapping[str, str]]) -> None:
        super().__init__("", {})
        for path, values in tree.items():
            here: MemoryKey = self
            for name in path.split("\\"):
                below = f"{here.path}\\{name}".lstrip("\\")
                here = here.below.setdefault(name.upper(), MemoryKey(below, {}))
            here.written = values

    @property
    def root(self) -> MemoryKey:
        return self


class WindowsTree(MemoryTree):
    """Files whose names are found in any case, with alternate streams."""

    def __init__(self, files: Mapping[str, bytes | None], streams: Mapping[tuple[str, str], bytes]) -> None:
        super().__init__({f"/{path}": data for path, data in files.items() if data is not None})
        for path, data in files.items():
            if data is None:
                folder = f"/{path}"
                while folder != "/":
                    self.directories.add(folder)
                    folder = posixpath.dirname(folder)
        self.streams = {(f"/{path}".lower(), name): data for (path, name), data in streams.items()}
        self._written = {path.lower(): path for path in (*self.directories, *self.files)}

    def _resolve(self, path: str, follow: bool, left: int = 40) -> str:
        plain = posixpath.normpath(path)
        return super()._resolve(self._written.get(plain.lower(), plain), follow, left)

    def glob(self, pattern: str) -> list[str]:
        parts = pattern.lower().strip("/").split("/")
        return sorted(
            path
            for path in (*self.files, *self.directories)
            if len(path.strip("/").split("/")) == len(parts)
            and all(
                fnmatch.fnmatchcase(name, part)
                for name, part in zip(path.lower().strip("/").split("/"), parts, strict=True)
            )
        )

    def stream(self, path: str, name: str, limit: int) -> bytes | None:
        return self.streams.get((path.lower(), name), b"")[:limit] or None


def partition(number: int, start: int, *, active: bool = False, logical: bool = False) -> Partition:
    return Partition(number, start, 16 << 20, "07", active, "", f"6a2d1f0e-{number:02x}", logical)


def image(
    release: str = "2016", *changes: Callable[[Windows], None], mode: str = "bios", **options: Any
) -> Image:
    """A good Windows of a release but for the changes."""
    made = windows(RELEASES[release], more_services=0)
    for change in changes:
        change(made)
    return image_of(made, mode=mode, **options)


def image_of(made: Windows, *, mode: str = "bios", logical: bool = False, **options: Any) -> Image:
    start = RESERVED_AT if made.one_partition else SYSTEM_AT
    active = made.active and mode == "bios"
    blocks = stand_in.ZeroBlocks(parts={RESERVED_AT: b"\xeb\x52\x90".ljust(510, b"\0") + b"\x55\xaa"})
    system = _volume(2 if not made.one_partition else 1, start, active and made.one_partition, logical)
    volumes = [system] if made.one_partition else [_volume(1, RESERVED_AT, active), system]
    disk: Any = stand_in.disk(*volumes, boot_code=BOOT_CODE, blocks=blocks)
    object.__setattr__(disk.table, "disk_id", f"{SIGNATURE:08x}")
    tree: Any = WindowsTree({**made.files, **(made.reserved if made.one_partition else {})}, made.streams)
    root = Root("windows", tree, system, agrees=True)
    guest = WindowsGuest(root, disk)
    preset(guest, system=MemoryHive(made.system), software=MemoryHive(made.software), dirty_hives=())
    preset(guest, drivers=MemoryHive(made.drivers) if made.drivers else None)
    for name in ("SYSTEM", "SOFTWARE"):
        if not getattr(made, name.lower()):
            error = CannotRead(Text.same(f"The registry hive {name} is not there."))
            guest.__dict__["_facts"][name.lower()] = (None, error)
        else:
            tree.files[f"/Windows/System32/config/{name}"] = b"regf"
            tree._written[f"/windows/system32/config/{name}".lower()] = f"/Windows/System32/config/{name}"
    preset(guest, boot=_boot(guest, made, volumes[0] if active else None))
    found = Image(Path("disk.vmdk"), load_profile("tce"), Options(**options))
    preset(found, file=SimpleNamespace(format="vmdk", qemu_format="vmdk"), disk=disk, windows=guest)
    preset(found, search=RootSearch((root,), (), "unknown"))
    return found


def _volume(number: int, start: int, active: bool = False, logical: bool = False) -> Volume:
    blocks: Any = stand_in.ZeroBlocks(16 << 20)
    part = partition(number, start, active=active, logical=logical)
    return Volume(f"partition {number}", "partition", blocks, Signature("ntfs", "", ""), part)


def _boot(guest: WindowsGuest, made: Windows, active: Volume | None) -> WindowsBoot:
    boot = WindowsBoot(guest)
    tree: Any = guest.tree if made.one_partition else WindowsTree(made.reserved, {})
    hive: Any = MemoryHive(made.boot)
    first = guest.disk.volumes[0]
    store = Store(first, BIOS_STORE, tree) if made.boot else None
    preset(boot, active=active, boot_sector=made.boot_sector.decode().lower() or "nothing known")
    preset(boot, store=store if active is not None else None)
    preset(boot, other_stores=(store,) if store is not None and active is None else ())
    if active is not None:
        preset(boot, active_tree=tree)
    if active is not None and made.boot:
        preset(boot, configuration=read_bcd(hive))
    return boot


def judge(name: str, given: Image) -> list[Outcome]:
    """What one rule says."""
    return list(RULES[name].judge(given))


def level(name: str, outcome: Outcome) -> str:
    """ "kept", "undecided", "not judged", or the severity of what is broken."""
    rule: Rule = RULES[name]
    return outcome.kind if outcome.kind != "broken" else (outcome.severity or rule.severity).value


def levels(name: str, given: Image) -> list[str]:
    return [level(name, it) for it in judge(name, given)]


def first(name: str, given: Image) -> Outcome:
    """The first thing that a rule finds broken."""
    return next(it for it in judge(name, given) if it.kind == "broken")


def remedy(name: str, given: Image) -> str:
    """What the first broken outcome tells to do, once both languages have it."""
    found = first(name, given).remedy
    assert found is not None
    assert found.zh
    return found.en


def lines(name: str, given: Image) -> list[str]:
    """The command lines of that remedy, as the report shows them."""
    from imgtool.report.remedy import remedy_lines

    return [text for text, is_command in remedy_lines(remedy(name, given)) if is_command]


def findings(given: Image) -> list[Finding]:
    """What all rules of Windows find."""
    return run(given, discover(), list(RULES))


__all__ = ["RULES", "SECTOR", "image", "judge"]
