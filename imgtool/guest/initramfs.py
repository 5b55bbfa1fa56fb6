"""What an initramfs holds: its members by name, listed from a stream, as Linux would unpack them.

Rules of init/initramfs.c: any number of archives one behind the other, each compressed or not, zero bytes
between them, an uncompressed one on a multiple of 4; of two members with one name the later counts. What
follows the last archive and is none ends the unpacking, and what was unpacked stays.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead
from imgtool.guest import compression, cpio
from imgtool.guest.read_ahead import ReadAhead
from imgtool.records import dataclass, field
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

MOST_BYTES = 2 << 30
MOST_SECONDS = 8.0  # of the processor; the largest real ones take one
MOST_ARCHIVES = 100

_MODULE = re.compile(r"(?:usr/)?lib/modules/([^/]+)/(?:.*/)?([^/]+)\.ko(?:\.(?:xz|zst|gz|bz2))?")
_OLD_MODULE = re.compile(r"lib/([^/]+)\.ko")  # mkinitrd of RHEL 5 keeps them without a version
_SETTINGS = re.compile(
    r"(?:etc|run|usr/lib|lib)/modprobe\.d/[^/]+\.conf|etc/modprobe\.conf|conf/modules|.*-imgtool-virtio\.sh"
    r"|etc/lvm/lvm(?:local)?\.conf"
)
_BUILTIN = re.compile(r"(?:usr/)?lib/modules/([^/]+)/modules\.builtin")


@dataclass(frozen=True)
class Archive:
    """One archive: where it starts in the file, how it is compressed ("" for not), how many members it
    has."""

    offset: int
    compression: str
    members: int


@dataclass(frozen=True)
class Initramfs:
    """The members of one initramfs, or of several that the boot loader loads one behind the other.

    builtin: the text of modules.builtin by kernel version. tail: the offset of bytes behind the last archive
    that are no archive; None where there are none. settings: the data of what says which modules to load or
    not, and which disks LVM looks at. kept: the data of the members that were asked for.
    """

    members: dict[str, cpio.Member]
    archives: tuple[Archive, ...] = ()
    builtin: dict[str, str] | None = None
    tail: int | None = None
    settings: Mapping[str, bytes] = field(default_factory=dict)
    kept: Mapping[str, bytes] = field(default_factory=dict)

    @cached_property
    def modules(self) -> dict[str, dict[str, str]]:
        """By kernel version: the module's name (with underscores) and its path. "" for files without a
        version."""
        found: dict[str, dict[str, str]] = {}
        for name, member in self.members.items():
            if not (member.is_file or member.is_link):
                continue
            match = _MODULE.fullmatch(name)
            if match:
                found.setdefault(match[1], {})[match[2].replace("-", "_")] = name
            elif match := _OLD_MODULE.fullmatch(name):
                found.setdefault("", {})[match[1].replace("-", "_")] = name
        return found

    @property
    def versions(self) -> tuple[str, ...]:
        """The kernel versions that it has modules for."""
        return tuple(sorted(version for version in self.modules if version))

    def path_of(self, module: str, version: str) -> str | None:
        """Where it keeps a module for a kernel version. None where it has none.

        Files that lie in /lib itself count for any kernel when there is no folder for one.
        """
        name = module.replace("-", "_")
        modules = self.modules
        found = modules.get(version, {}).get(name)
        if found is None and not self.versions:
            found = modules.get("", {}).get(name)
        return found

    def builtin_modules(self, version: str) -> frozenset[str]:
        """The names in its own modules.builtin for the kernel version."""
        from imgtool.guest.modules import parse_builtin

        return parse_builtin((self.builtin or {}).get(version, ""))


class DamagedInitramfs(CannotRead):
    """An initramfs that could be read only in part, or not at all. `read`: what came before the damage."""

    def __init__(self, path: str, why: Text, read: Initramfs) -> None:
        super().__init__(
            Text(
                en=f"{path} can't be read as an initramfs: {why.en}",
                zh=f"无法将 {path} 作为 initramfs 读取：{why.zh}",
            )
        )
        self.path = path
        self.why = why
        self.read = read

    def __reduce__(self) -> tuple[type[DamagedInitramfs], tuple[str, Text, Initramfs]]:
        return DamagedInitramfs, (self.path, self.why, self.read)


def read_initramfs(
    tree: Tree, path: str, budget: compression.Budget | None = None, keep: Collection[str] = ()
) -> Initramfs:
    """List the initramfs at a path of the guest. Raises DamagedInitramfs, NotInGuest, GuestReadFailed."""
    with tree.open(path) as stream, ReadAhead(stream, compression.INPUT_PIECE) as ahead:
        return list_members(ahead, path, budget, keep)


def list_members(
    stream: compression.Readable,
    path: str,
    budget: compression.Budget | None = None,
    keep: Collection[str] = (),
) -> Initramfs:
    """List an initramfs from a stream. path: what it is called in errors. Raises DamagedInitramfs.

    budget: what may be spent on unpacking, MOST_BYTES and MOST_SECONDS if not given. keep: the names of
    members whose data is wanted.
    """
    budget = budget or compression.Budget(MOST_BYTES, MOST_SECONDS)
    budget.begin()
    reading = _Reading(compression.Source(stream), budget, keep)
    try:
        reading.run()
    except CannotRead as error:
        raise DamagedInitramfs(path, error.statement(), reading.result()) from error
    return reading.result()


def together(parts: Iterable[Initramfs]) -> Initramfs:
    """What several files give that the boot loader loads one behind the other."""
    parts = list(parts)
    return Initramfs(
        members={name: member for part in parts for name, member in part.members.items()},
        archives=tuple(archive for part in parts for archive in part.archives),
        builtin={version: text for part in parts for version, text in (part.builtin or {}).items()},
        tail=next((part.tail for part in parts if part.tail is not None), None),
        settings={name: data for part in parts for name, data in part.settings.items()},
    )


class _Reading:
    """The listing so far: it is of use also when the rest can't be read."""

    def __init__(
        self, source: compression.Source, budget: compression.Budget, keep: Collection[str] = ()
    ) -> None:
        self.source = source
        self.budget = budget
        self.keep = keep
        self.kept: dict[str, bytes] = {}
        self.members: dict[str, cpio.Member] = {}
        self.archives: list[Archive] = []
        self.builtin: dict[str, str] = {}
        self.settings: dict[str, bytes] = {}
        self.tail: int | None = None

    def run(self) -> None:
        """Read archive after archive. Raises CannotRead."""
        while True:
            self.source.skip_zeros(self.budget)
            head = self.source.peek(compression.LONGEST_MAGIC)
            if not head:
                break
            plain = head in cpio.MAGICS and self.source.offset % 4 == 0
            name = "" if plain else compression.identify(head)
            if name is None:
                if not self.members or all(_early(member) for member in self.members):
                    raise CannotRead(_no_archive(self.source.offset, head))
                self.tail = self.source.offset
                return
            if len(self.archives) >= MOST_ARCHIVES:
                raise CannotRead(
                    Text(
                        en=f"It has more than {MOST_ARCHIVES} archives.",
                        zh=f"其中的归档超过 {MOST_ARCHIVES} 个。",
                    )
                )
            self._archive(name)
        if not self.archives:
            raise CannotRead(Text(en="It holds no archive.", zh="其中没有任何归档。"))

    def _archive(self, name: str) -> None:
        reader = cpio.Reader(keep=self._is_kept)
        offset = self.source.offset
        try:
            if name:
                for piece in compression.decompress(name, self.source, self.budget):
                    reader.feed(piece)
            else:
                self._plain(reader)
            reader.finish()
        finally:
            self._add(reader, offset, name)

    def _is_kept(self, name: str) -> bool:
        return name in self.keep or bool(_BUILTIN.fullmatch(name) or _SETTINGS.fullmatch(name))

    def _plain(self, reader: cpio.Reader) -> None:
        while not reader.trailers and (piece := self.source.piece()):
            self.budget.spend(len(piece))
            used = reader.feed(piece, stop=True)
            self.source.give_back(piece[used:])

    def _add(self, reader: cpio.Reader, offset: int, name: str) -> None:
        self.members.update((member.name, member) for member in reader.members)
        self.archives.append(Archive(offset, name, len(reader.members)))
        self.kept.update((name, data) for name, data in reader.kept.items() if name in self.keep)
        for path, data in reader.kept.items():
            if _SETTINGS.fullmatch(path):
                self.settings[path] = data
            found = _BUILTIN.fullmatch(path)
            if found:
                self.builtin[found[1]] = data.decode("utf-8", "replace")

    def result(self) -> Initramfs:
        return Initramfs(
            self.members, tuple(self.archives), self.builtin, self.tail, self.settings, self.kept
        )


def _early(member: str) -> bool:
    """Whether it is of those that the kernel takes before it unpacks anything: microcode, ACPI tables."""
    return member == "kernel" or member.startswith("kernel/") or member in (".", "early_cpio")


def _no_archive(offset: int, head: bytes) -> Text:
    return Text(
        en=f"at byte {offset} there is no archive that Linux could unpack (it begins with {head.hex(' ')}).",
        zh=f"第 {offset} 字节处不是 Linux 可以解包的归档（开头为 {head.hex(' ')}）。",
    )
