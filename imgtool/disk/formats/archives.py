"""Archives and compressed files, which hold an image at best: named, with what is inside where that is cheap.

Believed from their magic and the fields after it: RFC 1952 (gzip), RFC 8878 (zstd), POSIX ustar, PKWARE's
APPNOTE (zip), the .xz and bzip2 formats.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.disk.formats.image_file import ImageFile, escaped
from imgtool.disk.formats.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

TAR_BLOCK = 512
PEEK_INPUT = 64 * 1024
PEEK_OUTPUT = 4096
XZ_MEMORY = 66 * 1024**2

_OCTAL = re.compile(rb"[ 0]*([0-7]{1,6})[ \0]")
_BZIP2 = re.compile(rb"BZh[1-9](?:\x31\x41\x59\x26\x53\x59|\x17\x72\x45\x38\x50\x90)")


def recognise(source: Source) -> ImageFile | None:
    """The file as an archive; None when it is none. variant: "tar" where a tar is inside."""
    head = source.head
    if is_tar(head):
        name = head[:100].rstrip(b"\0")
        # OVF 1.1, 5.1: the descriptor is the first file of the package.
        kind = "ova" if name.lower().endswith(b".ovf") else "tar"
        return source.described(kind, features=(f"first={escaped(name, 100)}",))
    kind = _compressed(head)
    if kind in _PEEK:
        inside = _PEEK[kind](head[:PEEK_INPUT])
        return source.described(kind, "tar" if is_tar(inside) else None)
    if kind:
        return source.described(kind)
    return None


def is_tar(head: bytes) -> bool:
    """Whether a tar header is here: its checksum, with the checksum's own field taken as blanks, is right."""
    field = _OCTAL.match(head[148:156]) if len(head) >= TAR_BLOCK and head[0] else None
    if field is None:
        return False
    return int(field[1], 8) == sum(head[:148]) + 8 * 32 + sum(head[156:TAR_BLOCK])


def _compressed(head: bytes) -> str:
    if head.startswith(b"\x1f\x8b\x08") and len(head) >= 18 and not head[3] & 0xE0:
        return "gzip"
    if head.startswith(b"\xfd7zXZ\0") and head[6:7] == b"\0":
        return "xz"
    if _BZIP2.match(head):
        return "bzip2"
    if head.startswith(b"\x28\xb5\x2f\xfd") and len(head) > 5 and not head[4] & 0x08:
        return "zstd"
    if head.startswith(b"PK\5\6") or (head.startswith(b"PK\3\4") and len(head) >= 30 and head[5] < 20):
        return "zip"
    if head.startswith(b"7z\xbc\xaf\x27\x1c"):
        return "7z"
    if head.startswith(b"Rar!\x1a\x07"):
        return "rar"
    if head.startswith(b"\x04\x22\x4d\x18") and len(head) > 6 and head[4] >> 6 == 1:
        return "lz4"
    return ""


def _gzip(data: bytes) -> bytes:
    import zlib

    try:
        return zlib.decompressobj(31).decompress(data, PEEK_OUTPUT)
    except zlib.error:
        return b""


def _xz(data: bytes) -> bytes:
    import lzma

    try:
        # A dictionary larger than this is not needed to name what is inside.
        return lzma.LZMADecompressor(memlimit=XZ_MEMORY).decompress(data, PEEK_OUTPUT)
    except lzma.LZMAError:
        return b""


def _bzip2(data: bytes) -> bytes:
    import bz2

    try:
        return bz2.BZ2Decompressor().decompress(data, PEEK_OUTPUT)
    except OSError:
        return b""


def _zstd(data: bytes) -> bytes:
    import zstandard

    try:
        return zstandard.ZstdDecompressor(max_window_size=32 * 1024**2).stream_reader(data).read(PEEK_OUTPUT)
    except zstandard.ZstdError:
        return b""


_PEEK: dict[str, Callable[[bytes], bytes]] = {"gzip": _gzip, "xz": _xz, "bzip2": _bzip2, "zstd": _zstd}
