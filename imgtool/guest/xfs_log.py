"""Whether an XFS log is clean: its last record, right before its head, is that of an unmount.

Written after the kernel's fs/xfs/xfs_log_recover.c (xlog_find_head, xlog_check_unmount_rec) and the chapter
"Journaling Log" of "XFS Algorithms & Data Structures". The log is a ring of 512-byte blocks; each carries the
number of the cycle in which it was written.
"""

from __future__ import annotations

import struct
from typing import Literal

from imgtool.disk.blocks import Blocks
from imgtool.guest.filesystem import damaged, read_volume, unsupported
from imgtool.guest.xfs_superblock import Superblock

BLOCK = 512
MAGIC = 0xFEEDBABE
VERSION_2, HEADER_HOLDS = 2, 32 << 10
LONGEST_RECORD = (256 << 10) // BLOCK + 8 + 1
"""Blocks of the longest record, its headers counted."""
UNMOUNT = 0x20
CHUNK = 32


def log_state(blocks: Blocks, superblock: Superblock) -> Literal["clean", "dirty"]:
    """Judge the log inside a filesystem. Raises GuestReadFailed when it is elsewhere or unlike any log."""
    return _Log(blocks, superblock).state()


class _Log:
    def __init__(self, blocks: Blocks, superblock: Superblock) -> None:
        if superblock.log_start == 0:
            raise unsupported("XFS", "a log on another device")
        group = superblock.log_start >> superblock.group_bits
        block = superblock.log_start & ((1 << superblock.group_bits) - 1)
        if group >= superblock.groups or block + superblock.log_blocks > superblock.group_blocks:
            raise damaged("superblock", "its log is outside an allocation group")
        self._blocks = blocks
        self._start = (group * superblock.group_blocks + block) * superblock.block_size
        self.length = superblock.log_blocks * superblock.block_size // BLOCK
        if self.length < 2:
            raise damaged("superblock", "its log has no blocks")

    def state(self) -> Literal["clean", "dirty"]:
        """Find the head, the record before it, and look whether it says unmount."""
        head = self._head()
        if head is None:
            return "clean"
        start = self._record_before(head)
        if start is None:
            raise damaged("XFS log", "no record lies before its head")
        header = self._read(start, 1)
        (version, length) = struct.unpack_from(">II", header, 8)
        (operations,) = struct.unpack_from(">I", header, 40)
        (size,) = struct.unpack_from(">I", header, 320)
        headers = max(1, -(-size // HEADER_HOLDS)) if version & VERSION_2 else 1
        if headers > 8:
            raise damaged("XFS log", "the header of its last record is wrong")
        after = (start + headers + -(-length // BLOCK)) % self.length
        if after != head or operations != 1:
            return "dirty"
        return "clean" if self._read((start + headers) % self.length, 1)[9] & UNMOUNT else "dirty"

    def _read(self, block: int, count: int) -> bytes:
        return read_volume(self._blocks, self._start + block * BLOCK, count * BLOCK, "XFS log")

    def _cycle(self, block: int) -> int:
        raw = self._read(block, 1)
        first = int.from_bytes(raw[:4], "big")
        return int.from_bytes(raw[4:8], "big") if first == MAGIC else first

    def _head(self) -> int | None:
        """The block that would be written next; None for a log that was never written."""
        first, last = self._cycle(0), self._cycle(self.length - 1)
        if first == 0:
            if last != 0:
                raise damaged("XFS log", "its cycles are out of order")
            return None
        if first == last:
            return 0
        if last not in (0, first - 1):
            raise damaged("XFS log", "its cycles are out of order")
        low, high = 0, self.length - 1  # low is of the first cycle, high is not
        while high - low > 1:
            middle = (low + high) // 2
            if self._cycle(middle) == first:
                low = middle
            else:
                high = middle
        return high

    def _record_before(self, head: int) -> int | None:
        """The block of the last record header before the head, going round the ring."""
        seen = 0
        end = head or self.length
        while seen < min(LONGEST_RECORD, self.length):
            start = max(0, end - CHUNK)
            raw = self._read(start, end - start)
            for block in range(end - 1, start - 1, -1):
                at = (block - start) * BLOCK
                if int.from_bytes(raw[at : at + 4], "big") == MAGIC:
                    return block
            seen += end - start
            end = start or self.length
        return None
