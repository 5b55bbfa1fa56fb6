"""How much a compressed file says that comes out of it, without unpacking it.

gzip: RFC 1952, the size modulo 4 GiB at the end. xz: The .xz File Format 1.2, the index at the end. zstd:
RFC 8878, the first frame's header. bzip2 says nothing. All of them speak of one stream, and a file may have
several: what they say is the least that comes out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

GZIP_MODULUS = 1 << 32
XZ_FOOTER = 12  # CRC32, backward size / 4 - 1, flags, "YZ"
LARGEST_INDEX = 1 << 20  # bytes of an xz index that are read; a block is MiBs
ZSTD_HEADER = 18


def least_size(kind: str, path: Path, already: int) -> int | None:
    """Bytes that come out of a file at least, `already` of which did; None where it does not say."""
    with open(path, "rb") as file:
        if kind == "gzip":
            said = _gzip(file)
            return said + -(-max(already - said, 0) // GZIP_MODULUS) * GZIP_MODULUS
        said = _xz(file) if kind == "xz" else _zstd(file) if kind == "zstd" else 0
    return said if said >= max(already, 1) else None


def _gzip(file: BinaryIO) -> int:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - 4, 0))
    return int.from_bytes(file.read(4), "little")


def _xz(file: BinaryIO) -> int:
    """The sum of the blocks' sizes; 0 when the end is not as it should be."""
    size = max(file.seek(0, os.SEEK_END) - XZ_FOOTER, 0)
    file.seek(size)
    footer = file.read(XZ_FOOTER)
    length = (int.from_bytes(footer[4:8], "little") + 1) * 4
    if footer[10:] != b"YZ" or length > min(size, LARGEST_INDEX):
        return 0
    file.seek(size - length)
    numbers = _numbers(file.read(length)[1:])  # behind the indicator
    blocks = next(numbers, 0)
    sizes = list(islice(numbers, 2 * blocks))[1::2]  # packed and unpacked by turns
    return sum(sizes) if len(sizes) == blocks else 0


def _numbers(data: bytes) -> Iterator[int]:
    """xz's integers, 7 bits a byte, the lowest first; the highest bit says that another follows."""
    value = shift = 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            yield value
            value = shift = 0


def _zstd(file: BinaryIO) -> int:
    import zstandard

    try:
        return max(zstandard.frame_content_size(file.read(ZSTD_HEADER)), 0)
    except zstandard.ZstdError:
        return 0
