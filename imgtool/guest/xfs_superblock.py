"""The superblock of XFS, versions 4 and 5, and which of their features can be read."""

from __future__ import annotations

import struct

from imgtool.disk.blocks import Blocks
from imgtool.guest.crc32c import crc32c
from imgtool.guest.filesystem import damaged, read_volume, unsupported
from imgtool.records import dataclass

# sb_features_incompat
FTYPE = 0x1
READABLE = (
    0xFF  # ftype, sparse inodes, meta UUID, bigtime, needs repair, nrext64, exchange range, parent pointers
)
NAMED = {0x100: "a metadata directory (metadir)", 0x200: "zones", 0x400: "zone gaps"}
FTYPE_V4 = 0x200  # sb_features2
# sb_versionnum of version 4
DIRECTORY_2, MORE_BITS = 0x2000, 0x8000


@dataclass(frozen=True)
class Superblock:
    """The fields of struct xfs_dsb that reading needs. Sizes in bytes, `_bits` as powers of two."""

    version: int
    block_size: int
    blocks: int
    uuid: bytes
    log_start: int
    root: int
    group_blocks: int
    groups: int
    log_blocks: int
    inode_size: int
    label: str
    inodes_per_block_bits: int
    group_bits: int
    directory_block: int
    log_sector: int
    incompatible: int
    typed: bool


def read_superblock(blocks: Blocks) -> Superblock:
    """The primary superblock. Raises GuestReadFailed when damaged or of a format that is not understood."""
    raw = read_volume(blocks, 0, 512, "superblock")
    if raw[:4] != b"XFSB":
        raise damaged("superblock", "its magic number is missing")
    block_size, total = struct.unpack_from(">IQ", raw, 4)
    log_start, root = struct.unpack_from(">QQ", raw, 48)
    group_blocks, groups, _, log_blocks, version_bits, sector, inode_size = struct.unpack_from(
        ">IIIIHHH", raw, 84
    )
    block_bits, sector_bits, inode_bits, per_block_bits, group_bits = struct.unpack_from(">5B", raw, 120)
    directory_bits, _, log_sector = struct.unpack_from(">BBH", raw, 192)
    (features2,) = struct.unpack_from(">I", raw, 200)
    (incompatible,) = struct.unpack_from(">I", raw, 216)
    version = version_bits & 0xF
    if version not in (4, 5) or (version == 4 and not version_bits & DIRECTORY_2):
        raise unsupported("XFS", f"format version {version}")
    if version == 4:
        incompatible = 0
    if unknown := incompatible & ~READABLE:
        names = [name for bit, name in NAMED.items() if unknown & bit]
        raise unsupported("XFS", ", ".join(names) or f"incompatible features {unknown:#x}")
    if (
        not 9 <= block_bits <= 16
        or block_size != 1 << block_bits
        or not 9 <= sector_bits <= 15
        or sector != 1 << sector_bits
        or not 8 <= inode_bits <= 11
        or inode_size != 1 << inode_bits
        or per_block_bits != block_bits - inode_bits
        or block_bits + directory_bits > 16
        or groups == 0
        or not 0 < group_blocks <= 1 << group_bits
        or group_bits > 31
        or not 0 < total <= groups * group_blocks
    ):
        raise damaged("superblock", "its sizes contradict each other")
    if version == 5:
        whole = bytearray(read_volume(blocks, 0, sector, "superblock"))
        stated = int.from_bytes(whole[224:228], "little")
        whole[224:228] = bytes(4)
        if crc32c(bytes(whole)) ^ 0xFFFFFFFF != stated:
            raise damaged("superblock", "its checksum is wrong")
    return Superblock(
        version=version,
        block_size=block_size,
        blocks=total,
        uuid=raw[32:48],
        log_start=log_start,
        root=root,
        group_blocks=group_blocks,
        groups=groups,
        log_blocks=log_blocks,
        inode_size=inode_size,
        label=raw[108:120].split(b"\0")[0].decode("utf-8", "replace"),
        inodes_per_block_bits=per_block_bits,
        group_bits=group_bits,
        directory_block=block_size << directory_bits,
        log_sector=log_sector or 512,
        incompatible=incompatible,
        typed=bool(
            incompatible & FTYPE if version == 5 else version_bits & MORE_BITS and features2 & FTYPE_V4
        ),
    )
