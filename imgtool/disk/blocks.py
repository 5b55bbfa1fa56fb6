"""Random access to the bytes of a disk, as the guest would see them."""

from __future__ import annotations

from typing import Protocol

from imgtool.errors import CannotRead
from imgtool.text import Text


class ReadFailed(CannotRead):
    """Bytes of the disk could not be read: past its end, or the file under it is damaged."""

    def __init__(self, offset: int, length: int, why: str) -> None:
        super().__init__(
            Text(
                en=f"{length} bytes at offset {offset} of the disk can't be read: {why}.",
                zh=f"无法读取磁盘偏移 {offset} 处的 {length} 字节：{why}。",
            )
        )
        self.offset = offset
        self.length = length


class Blocks(Protocol):
    """Read-only bytes by offset. Implementations: RawBlocks, NbdBlocks, Slice, Cached."""

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`. Raises ReadFailed."""
