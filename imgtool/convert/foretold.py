"""What an archive tells of the image in it, before anything is unpacked.

Read are the headers at the beginning, the directory of a zip, and what compressed files say at their ends:
tens of MiB at most, whatever the archive holds. It is for estimates, and promises nothing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from imgtool.convert.archives import COMPANIONS, COMPRESSED, HEAD, SUFFIXES, small_directory
from imgtool.convert.unpacked_size import GZIP_MODULUS, least_size
from imgtool.convert.unpacking import Damaged, unpacked_stream
from imgtool.disk.formats.archives import is_tar
from imgtool.disk.probe import ImageFile, probe
from imgtool.errors import CannotRead
from imgtool.text import Text

BUDGET = 64 << 20  # bytes of a stream that may come out: zstd's come in pieces of up to 32 MiB
MOST_HEADERS = 1000
LIKELY_IMAGE = 1 << 20  # bytes of a member without a telling name
LARGEST_PAX = 64 << 10
DEFLATE = 1032  # bytes that come out of one, at most
SECTOR = 512
_LARGEST = 16 << 40  # bytes: a claim beyond it is none
_UNTOLD = {
    "gzip": Text("gzip keeps sizes modulo 4 GiB", "gzip 只保存对 4 GiB 取模后的大小"),
    "bzip2": Text("bzip2 keeps no size", "bzip2 不保存原始大小"),
    "xz": Text("the xz has no readable index", "xz 文件没有可读的索引"),
    "zstd": Text("this zstd keeps no size", "此 zstd 文件未保存原始大小"),
}
_UNSEEN = Text("no image is seen in its first part", "在其开头部分未见镜像")


@dataclass(frozen=True)
class Foretold:
    """format: of the image in the archive. unpacked: bytes that come out; packed: bytes that it takes in a
    compressed archive; virtual: bytes of the disk. None where the archive does not say; why says it then.
    """

    format: str
    unpacked: int | None
    packed: int | None
    virtual: int | None
    why: Text | None


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    head: bytes


def foretell(archive: ImageFile) -> Foretold:
    """What is known of the image in an archive. An archive that can't be read is one that says nothing."""
    kind, path = archive.format, archive.path
    why, member, packed = _UNSEEN, None, None
    with suppress(OSError, Damaged, CannotRead, ValueError, RuntimeError, NotImplementedError):
        if kind == "zip":
            member, packed = _in_zip(path)
        elif kind in COMPRESSED:
            packed = os.stat(path).st_size
            with open(path, "rb") as file:
                stream = unpacked_stream(kind, file, BUDGET)
                head = _up_to(stream, HEAD)
                if is_tar(head):
                    member = _in_tar(stream, head)
                else:
                    size = _size_of_stream(kind, path, packed, head)
                    why = _UNTOLD[kind]
                    member = _Member("", -1 if size is None else size, head)
        else:
            with open(path, "rb") as file:
                member = _in_tar(file, b"")
    if member is None:
        return Foretold("", None, packed, None, why)
    unpacked = member.size if 0 <= member.size <= _LARGEST else None
    format_, virtual = _inside(member.head, unpacked)
    return Foretold(format_, unpacked, packed, virtual, why if unpacked is None or virtual is None else None)


def _inside(head: bytes, unpacked: int | None) -> tuple[str, int | None]:
    """Format and virtual size of an image that begins so: probed as a file with nothing behind its head."""
    with suppress(OSError, CannotRead, OverflowError), tempfile.NamedTemporaryFile() as file:
        file.write(head)
        file.flush()
        os.truncate(file.name, max(len(head), unpacked or 0))
        found = probe(Path(file.name))
        if found.format != "raw":
            return found.format, found.virtual_size
    return "raw", unpacked


def _size_of_stream(kind: str, path: Path, packed: int, head: bytes) -> int | None:
    said = least_size(kind, path, 0)
    if kind != "gzip" or said is None or packed * DEFLATE < GZIP_MODULUS:
        return said
    end = _end_of_disk(head)  # the disk's own table tells which of the sizes it is
    return None if end is None else said + -(-max(end - said, 0) // GZIP_MODULUS) * GZIP_MODULUS


def _end_of_disk(head: bytes) -> int | None:
    """Where the disk ends, or its last partition, in bytes, of a raw one with a GPT or an MBR."""
    if head[SECTOR : SECTOR + 8] == b"EFI PART":
        return (int.from_bytes(head[SECTOR + 32 : SECTOR + 40], "little") + 1) * SECTOR
    if head[510:512] != b"\x55\xaa":
        return None
    entries = [head[at : at + 16] for at in range(446, 510, 16)]
    ends = [int.from_bytes(it[8:12], "little") + int.from_bytes(it[12:16], "little") for it in entries]
    return max(ends) * SECTOR or None


def _in_zip(path: Path) -> tuple[_Member | None, int | None]:
    import zipfile

    small_directory(path)
    with zipfile.ZipFile(path) as opened:
        for member in opened.infolist()[:MOST_HEADERS]:
            if _likely(member.filename, member.file_size):
                with opened.open(member) as content:
                    head = _up_to(cast(BinaryIO, content), HEAD)
                return _Member(member.filename, member.file_size, head), member.compress_size
    return None, None


def _in_tar(stream: BinaryIO, head: bytes) -> _Member | None:
    """The first member that looks like an image. POSIX.1-2024, pax and ustar; GNU's long sizes and sparse
    files.
    """
    reader = _Reader(stream, head)
    for name, size, length in _headers(reader):
        if _likely(name, size):
            return _Member(name, size, reader.read(min(HEAD, length)))
        reader.skip(-(-length // SECTOR) * SECTOR)
    return None


def _headers(reader: _Reader) -> Iterator[tuple[str, int, int]]:
    """(name, size, bytes in the archive) of the files."""
    told: dict[str, str] = {}
    for _ in range(MOST_HEADERS):
        block = reader.read(SECTOR)
        if len(block) < SECTOR or not block.strip(b"\0"):
            return
        length, kind = _number(block[124:136]), block[156:157]
        if kind in (b"x", b"g", b"L", b"K"):
            if length > LARGEST_PAX:
                return
            content = reader.read(-(-length // SECTOR) * SECTOR)[:length]
            if kind == b"x":
                told |= _pax(content)
            elif kind == b"L":
                told["path"] = content.rstrip(b"\0").decode("utf-8", "replace")
            continue
        name = told.get("path") or block[:100].rstrip(b"\0").decode("utf-8", "replace")
        length = int(told.get("size") or length)
        if length < 0:
            return
        size = int(told.get("GNU.sparse.realsize") or told.get("GNU.sparse.size") or length)
        if kind == b"S":
            size = _number(block[483:495])
        if kind in (b"0", b"\0", b"7", b"S"):
            yield told.get("GNU.sparse.name") or name, size, length
        else:
            reader.skip(-(-length // SECTOR) * SECTOR)
        told = {}


def _pax(content: bytes) -> dict[str, str]:
    """Records "LENGTH KEY=VALUE\\n"; those with line ends in them are of no interest here."""
    lines = content.decode("utf-8", "replace").split("\n")
    pairs = (line.partition(" ")[2].partition("=") for line in lines)
    return {key: value for key, equals, value in pairs if equals}


def _number(field: bytes) -> int:
    """Octal digits, or GNU's base 256. Raises ValueError."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    return int(field.strip(b" \0") or b"0", 8)


def _likely(name: str, size: int) -> bool:
    lower = name.lower()
    return not lower.endswith(COMPANIONS) and (lower.endswith(SUFFIXES) or size >= LIKELY_IMAGE)


class _Reader:
    """A stream whose beginning was read already; files are skipped by seeking."""

    def __init__(self, stream: BinaryIO, head: bytes) -> None:
        self._stream, self._head = stream, head

    def read(self, size: int) -> bytes:
        data, self._head = self._head[:size], self._head[size:]
        return data + _up_to(self._stream, size - len(data))

    def skip(self, size: int) -> None:
        """Raises Bomb (a CannotRead) beyond the budget of a compressed stream."""
        size -= len(self.read(min(size, len(self._head))))
        if self._stream.seekable():
            self._stream.seek(size, os.SEEK_CUR)
            return
        while size > 0 and (piece := self._stream.read(min(size, HEAD))):
            size -= len(piece)


def _up_to(stream: BinaryIO, size: int) -> bytes:
    found = b""
    while len(found) < size and (piece := stream.read(size - len(found))):
        found += piece
    return found
