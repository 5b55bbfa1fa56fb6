"""cpio archives as Linux unpacks them from an initramfs: "newc" (070701) and "crc" (070702), pushed in by
pieces.

Format: Documentation/driver-api/early-userspace/buffer-format.rst and init/initramfs.c of Linux.
"""

from __future__ import annotations

import binascii
import stat
import struct
from collections.abc import Callable
from typing import NamedTuple

from imgtool.errors import CannotRead
from imgtool.text import Text

MAGICS = (b"070701", b"070702")
HEADER = 110
LONGEST_NAME = 4096  # PATH_MAX: the kernel passes over members with longer ones
MOST_MEMBERS = 200_000
MOST_NAME_BYTES = 16 << 20
LARGEST_KEPT = 2 << 20
MOST_KEPT = 8 << 20
TRAILER = "TRAILER!!!"

_FIELDS = struct.Struct(">13I")


class DamagedArchive(CannotRead):
    """Bytes that are no cpio member where one should begin, or an archive cut short."""


class Member(NamedTuple):
    """One entry. name: without leading ./ and /; mode: type and permissions; size: bytes of data; links: how
    many names the file has (all but the last of them have no data here)."""

    name: str
    mode: int
    size: int
    links: int

    @property
    def is_file(self) -> bool:
        """A regular file that has data, here or under another of its names."""
        return stat.S_ISREG(self.mode) and (self.size > 0 or self.links > 1)

    @property
    def is_link(self) -> bool:
        """A symbolic link."""
        return stat.S_ISLNK(self.mode)


class Reader:
    """Takes an archive, or several with zero bytes between them, piece by piece, and lists its members.

    keep: for which names the data is kept (in `kept`, at most LARGEST_KEPT bytes of each); all other data is
    stepped over. `between` is true where an archive has ended and none has begun.
    """

    def __init__(self, keep: Callable[[str], bool] = lambda name: False) -> None:
        self.members: list[Member] = []
        self.kept: dict[str, bytes] = {}
        self.trailers = 0
        self.between = True
        self.offset = 0  # bytes used up
        self._keep = keep
        self._rest = b""  # the beginning of what was not complete
        self._skip = 0  # bytes of data still to step over
        self._into = ""  # name whose data comes now, to be kept
        self._wanted = 0  # bytes of it
        self._data = bytearray()  # as much of it as has come
        self._name_bytes = 0
        self._kept_bytes = 0

    def feed(self, piece: bytes, *, stop: bool = False) -> int:
        """Take a piece; how many of its bytes were used.

        All of them, unless `stop`: then the reader stops behind a trailer, for what follows may be no cpio.
        Raises DamagedArchive.
        """
        before = len(self._rest)
        if self._skip >= len(piece) and not before:
            self._skip -= len(piece)
            self.offset += len(piece)
            return len(piece)
        data = self._rest + piece if before else piece
        self._rest = b""
        at, end = 0, len(data)
        while at < end:
            if self._skip:
                step = min(self._skip, end - at)
                at += step
                self._skip -= step
                continue
            if self._into:
                step = min(self._wanted - len(self._data), end - at)
                self._data += data[at : at + step]
                at += step
                if len(self._data) == self._wanted:
                    self.kept[self._into] = bytes(self._data)
                    self._skip = -(self.offset + at) % 4
                    self._into = ""
                continue
            if self.between:
                if stop and self.trailers:
                    break
                at = _behind_zeros(data, at)
                if at >= end:
                    break
                if (self.offset + at) % 4:
                    raise _not_cpio(self.offset + at)
            used = self._member(data, at)
            if used == 0:
                break
            at += used
        self.offset += at
        if stop and self.between and self.trailers:
            return at - before
        self._rest = data[at:]
        return len(piece)

    def finish(self) -> None:
        """There is no more. Raises DamagedArchive when the archive is cut short."""
        if self._rest or self._skip > 3 or self._into or not self.between:
            raise DamagedArchive(
                Text(
                    en="The cpio archive is cut short: its end mark is missing.",
                    zh="cpio 归档不完整：缺少结束标记。",
                )
            )

    def _member(self, data: bytes, at: int) -> int:
        """Read the header and name at `at`; how many bytes they took, 0 when they are not complete yet."""
        header = data[at : at + HEADER]
        if header[:6] not in MAGICS and not any(magic.startswith(header[:6]) for magic in MAGICS):
            raise _not_cpio(self.offset + at)
        if len(header) < HEADER:
            return 0
        try:
            fields: tuple[int, ...] = _FIELDS.unpack(binascii.unhexlify(header[6:]))
        except binascii.Error:
            raise _not_cpio(self.offset + at) from None
        mode, links, size, length = fields[1], fields[4], fields[6], fields[11]
        name_end = HEADER + length
        padded = name_end + -(self.offset + at + name_end) % 4
        if not 0 < length <= LONGEST_NAME:
            self.between = False
            self._skip = padded - HEADER + size + -size % 4
            return HEADER
        if len(data) - at < name_end:
            return 0
        raw = data[at + HEADER : at + name_end].split(b"\0", 1)[0]
        self._skip = padded - name_end
        name = raw.decode("utf-8", "surrogateescape")
        if name == TRAILER:
            self.trailers += 1
            self.between = True
            self._skip += size + -size % 4
            return name_end
        self.between = False
        self._count(raw)
        name = _plain(name)
        self.members.append(Member(name, mode, size, links))
        self._kept_bytes += size if self._keep(name) else 0
        if 0 < size <= LARGEST_KEPT and self._kept_bytes <= MOST_KEPT and self._keep(name):
            self._into, self._wanted, self._data = name, size, bytearray()
        else:
            self._skip += size + -size % 4
        return name_end

    def _count(self, name: bytes) -> None:
        self._name_bytes += len(name)
        if len(self.members) >= MOST_MEMBERS or self._name_bytes > MOST_NAME_BYTES:
            raise DamagedArchive(
                Text(
                    en=f"The cpio archive has more than {MOST_MEMBERS} members, or absurdly long names.",
                    zh=f"cpio 归档的成员超过 {MOST_MEMBERS} 个，或名称过长。",
                )
            )


def _plain(name: str) -> str:
    while name.startswith(("./", "/")):
        name = name[2:] if name[0] == "." else name[1:]
    return name


def _behind_zeros(data: bytes, at: int) -> int:
    if data[at : at + 1] != b"\0":
        return at
    rest = data[at:].lstrip(b"\0")
    return len(data) - len(rest)


def _not_cpio(offset: int) -> DamagedArchive:
    return DamagedArchive(
        Text(
            en=f"No cpio member begins at byte {offset} of the unpacked archive.",
            zh=f"解包后归档的第 {offset} 字节处不是 cpio 成员。",
        )
    )
