"""What a Windows program or driver file says of itself: the machine it is for, and how it was signed.

Microsoft PE and COFF Specification: 2.3 (COFF header), 3.4.1 and 5.7 (the certificate table).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

MACHINES = {0x8664: "x86_64", 0x014C: "i386", 0xAA64: "arm64", 0x0200: "ia64"}
HEAD = 4096
SHA1 = bytes.fromhex("06052b0e03021a")
SHA256 = bytes.fromhex("0609608648016503040201")
ALGORITHMS_WITHIN = 96
"""Bytes from a certificate's start in which PKCS #7 has named its digest algorithms."""
LARGEST_TABLE = 1 << 20


@dataclass(frozen=True)
class ProgramFile:
    """machine: x86_64, i386, arm64, "" for another; digests: of its embedded signatures: "sha1", "sha256"."""

    machine: str
    digests: tuple[str, ...]


def read_program_file(tree: Tree, path: str) -> ProgramFile | None:
    """None for a file that is no program. Raises CannotRead."""
    with tree.open(path) as stream:
        head = stream.read(HEAD)
        if head[:2] != b"MZ" or len(head) < 0x40:
            return None
        (at,) = struct.unpack_from("<I", head, 0x3C)
        if at + 24 > len(head) or head[at : at + 4] != b"PE\0\0":
            return None
        machine = MACHINES.get(struct.unpack_from("<H", head, at + 4)[0], "")
        where, size = _certificates(head, at + 24)
        table = b""
        if where and size:
            stream.seek(where)
            table = stream.read(min(size, LARGEST_TABLE))
    return ProgramFile(machine, _digests(table))


def _certificates(head: bytes, optional: int) -> tuple[int, int]:
    """File offset and size of the certificate table, the fifth data directory."""
    magic = head[optional : optional + 2]
    directories = optional + (112 if magic == b"\x0b\x02" else 96)
    if magic not in (b"\x0b\x02", b"\x0b\x01") or directories + 40 > len(head):
        return 0, 0
    where, size = struct.unpack_from("<II", head, directories + 32)
    return where, size


def _digests(table: bytes) -> tuple[str, ...]:
    """The digest algorithms at the head of each signature; a nested one lies inside another's attributes."""
    found: list[str] = []
    at = 0
    while at + 8 <= len(table) and len(found) < 8:
        (length,) = struct.unpack_from("<I", table, at)
        if length < 8:
            break
        start = table[at + 8 : at + 8 + ALGORITHMS_WITHIN]
        found += [name for name, oid in (("sha1", SHA1), ("sha256", SHA256)) if oid in start]
        at += -(-length // 8) * 8
    return tuple(dict.fromkeys(found))
