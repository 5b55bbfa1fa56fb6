"""A kernel's file: its version and architecture from its header, and the configuration inside it.

x86: Documentation/arch/x86/boot.rst of Linux ("HdrS"); arm64: Documentation/arch/arm64/booting.rst
("ARM\\x64").
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from imgtool.guest import compression
from imgtool.records import dataclass

HEADER = 64 << 10
CONFIG_START = b"IKCFG_ST\x1f\x8b\x08"
CONFIG_END = b"IKCFG_ED"
LARGEST_CONFIG = 4 << 20

_PE_MACHINES = {0xAA64: "arm64", 0x8664: "x86_64"}
_VERSION = re.compile(rb"[0-9]+\.[0-9][!-~]{0,120}")


@dataclass(frozen=True)
class KernelHeader:
    """version: "" where the header has none; architecture: x86_64, i386, arm64, or "" where it can't be
    told; size: bytes that the whole file has at least, 0 where the header does not say."""

    version: str
    architecture: str
    size: int = 0


def read_header(stream: BinaryIO) -> KernelHeader | None:
    """What the header of a bzImage or an arm64 Image says; None for any other file. Raises CannotRead."""
    head = stream.read(HEADER)
    if head[0x202:0x206] == b"HdrS":
        return KernelHeader(_x86_version(head), _x86_architecture(head), _x86_size(head))
    if head[56:60] == b"ARM\x64":
        return KernelHeader("", "arm64")
    if head[:2] == b"MZ" and head[4:8] == b"zimg":  # CONFIG_EFI_ZBOOT: an EFI program that unpacks the kernel
        return KernelHeader("", _PE_MACHINES.get(_pe_machine(head), ""))
    if compression.identify(head[:6]) == "gzip":  # arm64 of Ubuntu and others: Image.gz
        return KernelHeader("", "")
    return None


def _x86_version(head: bytes) -> str:
    (pointer,) = struct.unpack_from("<H", head, 0x20E)
    found = _VERSION.match(head, pointer + 0x200) if pointer else None
    return found[0].decode("ascii") if found else ""


def _x86_size(head: bytes) -> int:
    """The setup code and the rest, whose length the header gives in 16 bytes."""
    (protocol,) = struct.unpack_from("<H", head, 0x206)
    (units,) = struct.unpack_from("<I" if protocol >= 0x204 else "<H", head, 0x1F4)
    return ((head[0x1F1] or 4) + 1) * 512 + int(units) * 16


def _pe_machine(head: bytes) -> int:
    (at,) = struct.unpack_from("<I", head.ljust(0x40, b"\0"), 0x3C)
    return int.from_bytes(head[at + 4 : at + 6], "little") if head[at : at + 4] == b"PE\0\0" else 0


def _x86_architecture(head: bytes) -> str:
    (protocol,) = struct.unpack_from("<H", head, 0x206)
    if protocol < 0x20C:  # xloadflags came with 2.12 (Linux 3.8)
        return ""
    (flags,) = struct.unpack_from("<H", head, 0x236)
    return "x86_64" if flags & 1 else "i386"


def embedded_config(stream: BinaryIO, budget: compression.Budget) -> str | None:
    """The configuration that CONFIG_IKCONFIG put into the kernel; None where none is found.

    Raises CannotRead where the file can't be read, or the kernel in it is too large to be one.
    """
    head = stream.read(HEADER)
    if head[0x202:0x206] == b"HdrS":
        protocol, setup = struct.unpack_from("<H", head, 0x206)[0], head[0x1F1] or 4
        if protocol < 0x208:
            return None
        (offset,) = struct.unpack_from("<I", head, 0x248)
        stream.seek((setup + 1) * 512 + offset)
    else:
        stream.seek(0)
    source = compression.Source(stream)
    name = compression.identify(source.peek(compression.LONGEST_MAGIC))
    return _find_config(compression.decompress(name, source, budget) if name else _plain(source, budget))


def _plain(source: compression.Source, budget: compression.Budget) -> Iterator[bytes]:
    while piece := source.piece():
        budget.spend(len(piece))
        yield piece


def _find_config(pieces: Iterator[bytes]) -> str | None:
    tail = b""
    try:
        for piece in pieces:
            data = tail + piece
            found = data.find(CONFIG_START)
            if found >= 0:
                return _unpack(data[found + len(b"IKCFG_ST") :], pieces)
            tail = data[-len(CONFIG_START) :]
    except compression.DamagedStream:
        return (
            None  # among others: behind LZ4, which has no end mark, the kernel's build puts the unpacked size
        )
    return None


def _unpack(data: bytes, pieces: Iterator[bytes]) -> str | None:
    decoder = zlib.decompressobj(31)
    text = b""
    try:
        while not decoder.eof and len(text) < LARGEST_CONFIG:
            text += decoder.decompress(data, LARGEST_CONFIG)
            data = decoder.unconsumed_tail or next(pieces, b"")
            if not data:
                break
    except zlib.error:
        return None
    return text.decode("utf-8", "replace") if decoder.eof else None
