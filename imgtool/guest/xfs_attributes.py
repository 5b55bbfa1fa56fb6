"""Extended attributes of XFS: short ones in the inode, more of them in one block of their own."""

from __future__ import annotations

import struct

from imgtool.guest.filesystem import damaged, unsupported

FLAGS = {"trusted.": 0x02, "security.": 0x04}  # XFS_ATTR_ROOT, XFS_ATTR_SECURE
LOCAL = 0x01
# magic of a leaf block: the length of its header
LEAVES = {0xFBEE: 32, 0x3BEE: 80}
NODES = (0xFEBE, 0x3EBE)


def in_inode(fork: bytes, number: int, name: str) -> bytes | None:
    """The value of an attribute in short form (struct xfs_attr_shortform)."""
    wanted, flag = _key(name)
    if len(fork) < 4:
        raise damaged("extended attributes", f"those of inode {number} are cut short")
    total, count = struct.unpack_from(">HB", fork)
    at = 4
    for _ in range(count):
        if at + 3 > min(total, len(fork)):
            raise damaged("extended attributes", f"those of inode {number} are cut short")
        length, size, flags = struct.unpack_from(">BBB", fork, at)
        end = at + 3 + length + size
        if end > len(fork):
            raise damaged("extended attributes", f"those of inode {number} are cut short")
        if fork[at + 3 : at + 3 + length] == wanted and flags & 0x06 == flag:
            return fork[at + 3 + length : end]
        at = end
    return None


def in_leaf(block: bytes, number: int, name: str) -> bytes | None:
    """The value of an attribute in a block of attributes (struct xfs_attr_leafblock)."""
    wanted, flag = _key(name)
    magic = int.from_bytes(block[8:10], "big")
    if magic in NODES:
        raise unsupported("XFS", f"a tree of extended attributes (inode {number})")
    header = LEAVES.get(magic)
    if header is None:
        raise damaged("extended attributes", f"the block of inode {number} has no header")
    at = 56 if header == 80 else 12
    count = int.from_bytes(block[at : at + 2], "big")
    if header + count * 8 > len(block):
        raise damaged("extended attributes", f"inode {number} has {count} of them in one block")
    for index in range(count):
        _, place, flags = struct.unpack_from(">IHB", block, header + index * 8)
        if flags & 0x06 != flag or place + 3 > len(block):
            continue
        if not flags & LOCAL:  # a value in blocks of its own: none that is asked for here is so long
            continue
        size, length = struct.unpack_from(">HB", block, place)
        if block[place + 3 : place + 3 + length] == wanted:
            return block[place + 3 + length : place + 3 + length + size]
    return None


def _key(name: str) -> tuple[bytes, int]:
    prefix = next((it for it in (*FLAGS, "user.") if name.startswith(it)), "")
    return name.removeprefix(prefix).encode(), FLAGS.get(prefix, 0)
