"""Extended attributes of ext2, ext3 and ext4: in the inode behind its fields, and in a block of their own."""

from __future__ import annotations

import struct

from imgtool.guest.filesystem import damaged

MAGIC = 0xEA020000
BLOCK_HEADER = 32
# e_name_index: which prefix the name goes without
PREFIXES = {"user.": 1, "trusted.": 4, "security.": 6, "system.": 7}
INODE_SIZE_1 = 128  # of the fields that every inode has


def in_inode(raw: bytes, number: int, name: str) -> bytes | None:
    """The value of an attribute that an inode holds itself. raw: the whole inode."""
    if len(raw) <= INODE_SIZE_1:
        return None
    start = INODE_SIZE_1 + int.from_bytes(raw[0x80:0x82], "little")
    if start + 4 > len(raw) or int.from_bytes(raw[start : start + 4], "little") != MAGIC:
        return None
    return _find(raw, start + 4, start + 4, number, name)


def in_block(block: bytes, number: int, name: str) -> bytes | None:
    """The value of an attribute in an inode's block of attributes (i_file_acl)."""
    if int.from_bytes(block[:4], "little") != MAGIC:
        raise damaged("extended attributes", f"the block of inode {number} has no header")
    return _find(block, BLOCK_HEADER, 0, number, name)


def _find(raw: bytes, at: int, base: int, number: int, name: str) -> bytes | None:
    """Walk the entries from `at`; offsets of values count from `base`."""
    prefix = next((it for it in PREFIXES if name.startswith(it)), "")
    wanted = name.removeprefix(prefix).encode()
    while at + 16 <= len(raw) and raw[at : at + 4] != bytes(4):
        length, index, offset, inode, size = struct.unpack_from("<BBHII", raw, at)
        if index == PREFIXES.get(prefix, 0) and raw[at + 16 : at + 16 + length] == wanted:
            if inode or base + offset + size > len(raw):
                raise damaged("extended attributes", f"{name} of inode {number} lies outside")
            return raw[base + offset : base + offset + size]
        at += 16 + (length + 3 & ~3)
    return None
