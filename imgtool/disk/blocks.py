"""Random access to the bytes of a disk, as the guest would see them."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Protocol

from imgtool.errors import CannotRead
from imgtool.text import Text

BLOCK = 64 * 1024
CACHE_LIMIT = 16 * 1024 * 1024
READ_AHEAD = 1024 * 1024
STREAMS = 8


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
    """Read-only bytes by offset. RawBlocks, NbdBlocks, Slice, Cached and their like.

    What `open_disk` gives may be read by several threads; NbdBlocks alone may not.
    """

    @property
    def size(self) -> int:
        """Length in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`. Raises ReadFailed."""


def within(blocks: Blocks, offset: int, length: int) -> None:
    """Raise ReadFailed unless the range lies inside `blocks`."""
    if offset < 0 or length < 0 or offset + length > blocks.size:
        raise ReadFailed(offset, length, f"it has {blocks.size} bytes")


def opened(path: Path) -> int:
    """A descriptor of an image file, to read from; never waits for a FIFO's other end. Raises CannotRead."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise CannotRead(
            Text(
                en=f"{path} can't be opened: {error.strerror}.",
                zh=f"无法打开 {path}：{error.strerror}。",
            )
        ) from error


class RawBlocks:
    """The bytes of a raw image file. A context manager.

    `size` is the length of the disk where it differs from the file's: a fixed VHD's footer lies behind it.
    """

    bears_processes = True  # a copy of this process may read it too

    def __init__(self, path: Path, size: int | None = None) -> None:
        """Raises CannotRead when the file cannot be opened."""
        self._file = opened(path)
        self._size = os.fstat(self._file).st_size if size is None else size

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        within(self, offset, length)
        parts: list[bytes] = []
        while length:
            try:
                part = os.pread(self._file, length, offset)
            except OSError as error:
                raise ReadFailed(offset, length, error.strerror or str(error)) from error
            if not part:
                raise ReadFailed(offset, length, "the file ends before it")
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def __enter__(self) -> RawBlocks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
        self._file = -1


class Slice:
    """A range of other blocks: a partition. What lies past the end of those blocks cannot be read."""

    def __init__(self, blocks: Blocks, start: int, length: int) -> None:
        if start < 0 or length < 0:
            raise ValueError((start, length))
        self._blocks = blocks
        self._start = start
        self._size = length

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        within(self, offset, length)
        return self._blocks.read(self._start + offset, length)


class Extents:
    """Ranges of other blocks, one after the other: a linear logical volume."""

    def __init__(self, extents: list[tuple[Blocks, int, int]]) -> None:
        """extents: (blocks, start, length), in bytes."""
        from itertools import accumulate

        self._extents = extents
        self._ends = list(accumulate(length for _, _, length in extents))

    @property
    def size(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, offset: int, length: int) -> bytes:
        from bisect import bisect_right

        within(self, offset, length)
        parts: list[bytes] = []
        number = bisect_right(self._ends, offset)
        while length:
            blocks, start, size = self._extents[number]
            inside = offset - (self._ends[number] - size)
            part = min(length, size - inside)
            if part:
                parts.append(blocks.read(start + inside, part))
            offset += part
            length -= part
            number += 1
        return b"".join(parts)


class Striped:
    """Stripes of `stripe` bytes, taken by turns from several places: a striped logical volume."""

    def __init__(self, places: list[tuple[Blocks, int]], stripe: int, length: int) -> None:
        """places: (blocks, start); length: of the whole, in bytes."""
        self._places = places
        self._stripe = stripe
        self._size = length

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        within(self, offset, length)
        parts: list[bytes] = []
        while length:
            stripe, inside = divmod(offset, self._stripe)
            row, place = divmod(stripe, len(self._places))
            blocks, start = self._places[place]
            part = min(length, self._stripe - inside)
            parts.append(blocks.read(start + row * self._stripe + inside, part))
            offset += part
            length -= part
        return b"".join(parts)


class Unreadable:
    """A volume that is known to be there and cannot be read."""

    def __init__(self, size: int, why: str) -> None:
        self._size = size
        self._why = why

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        raise ReadFailed(offset, length, self._why)


class Cached:
    """Blocks kept in memory after their first reading, the least recently used going first.

    Reading on from where an earlier read ended fetches ahead, doubling up to READ_AHEAD: an initramfs read
    in small pieces costs a few dozen requests, and scattered reads fetch nothing that was not asked for.
    STREAMS such reads may go on side by side: a file's data and the metadata that leads to it.
    """

    def __init__(self, blocks: Blocks, block: int = BLOCK, limit: int = CACHE_LIMIT) -> None:
        self._blocks = blocks
        self._block = block
        self._limit = max(limit // block, 1)
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._turn = Lock()
        self._streams: OrderedDict[int, int] = OrderedDict()  # block that a stream reads next: blocks ahead

    @property
    def size(self) -> int:
        return self._blocks.size

    def read(self, offset: int, length: int) -> bytes:
        within(self, offset, length)
        if not length:
            return b""
        with self._turn:
            return self._read_kept(offset, length)

    def _read_kept(self, offset: int, length: int) -> bytes:
        first, last = offset // self._block, (offset + length - 1) // self._block
        inside = offset - first * self._block
        if first == last and (kept := self._kept.get(first)) is not None:
            self._kept.move_to_end(first)
            return kept[inside : inside + length]
        if last - first >= self._limit // 2:
            return self._blocks.read(offset, length)  # larger than is worth keeping
        parts = self._gather(first, last)
        return b"".join(parts)[inside : inside + length]

    def _gather(self, first: int, last: int) -> list[bytes]:
        """The blocks first to last; what is missing is fetched in as few reads as the gaps allow."""
        parts: list[bytes] = []
        number = first
        while number <= last:
            kept = self._kept.get(number)
            if kept is not None:
                self._kept.move_to_end(number)
                parts.append(kept)
                number += 1
                continue
            end = number
            while end < last and end + 1 not in self._kept:
                end += 1
            fetched = self._fetch(number, end)
            parts += fetched[: end - number + 1]
            number = end + 1
        return parts

    def _fetch(self, first: int, last: int) -> list[bytes]:
        """Read the blocks first to last, and some after them when the reading is sequential."""
        before = self._streams.pop(first, None)
        ahead = 0 if before is None else min(max(before * 2, 1), READ_AHEAD // self._block, self._limit // 2)
        try:
            data = self._read(first, last + ahead)
        except ReadFailed:
            if not ahead:
                raise
            data = self._read(first, last)  # the damage may lie in what was not asked for
        blocks = [data[start : start + self._block] for start in range(0, len(data), self._block)]
        self._streams[first + len(blocks)] = ahead
        if len(self._streams) > STREAMS:
            self._streams.popitem(last=False)
        for number, content in enumerate(blocks, first):
            self._kept[number] = content
            self._kept.move_to_end(number)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return blocks

    def _read(self, first: int, last: int) -> bytes:
        start = first * self._block
        return self._blocks.read(start, min((last + 1) * self._block, self.size) - start)


class BlockFile:
    """Blocks as the read-only file that libyal's *_file_object functions read from."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._offset = 0

    def read(self, size: int | None = -1) -> bytes:
        """At most `size` bytes from the current offset; fewer only at the end."""
        left = max(self._blocks.size - self._offset, 0)
        length = left if size is None or size < 0 else min(size, left)
        data = self._blocks.read(self._offset, length) if length else b""
        self._offset += length
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self._blocks.size}[whence]
        if start + offset < 0:
            raise OSError(22, "Invalid argument")
        self._offset = start + offset
        return self._offset

    def tell(self) -> int:
        return self._offset

    def get_offset(self) -> int:
        return self._offset

    def get_size(self) -> int:
        return self._blocks.size
