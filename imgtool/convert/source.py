"""What a conversion reads: the bytes of the disk inside an image, and which of its ranges hold any.

Raw images and fixed VHDs are read directly, and the file system tells the holes (SEEK_DATA, lseek(2)). The
rest comes through qemu-nbd, whose block status tells the zeroes (base:allocation, see imgtool.disk.nbd).
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from imgtool.convert.unchanged import InputChanged, Moment
from imgtool.disk.blocks import ReadFailed
from imgtool.errors import CannotRead
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.nbd import NbdBlocks
    from imgtool.disk.probe import ImageFile

SECTOR = 512
TIME_LIMIT = 60.0  # seconds for one read: a disk may have to start turning, a network to come back
Range = tuple[int, int, bool]  # offset and length in bytes; reads as zeroes for certain


@dataclass(frozen=True)
class Extent:
    """A range of the disk, in bytes. zero: it reads as zeroes for certain; data may be zeroes too."""

    offset: int
    length: int
    kind: Literal["data", "zero"]


class Backend(Protocol):
    """Where the bytes come from. Both may be called from several threads.

    descriptor: of the file that is read, where a copy of this process may read it too, at the same time.
    """

    @property
    def descriptor(self) -> int | None: ...

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill a buffer with the bytes from `offset` on. Raises ReadFailed."""

    def ranges(self) -> Iterator[Range]:
        """The whole disk in order, as it is told. Raises ReadFailed."""


class Source:
    """A disk that is being converted. `size` in bytes, whole sectors; `path`: the file read.

    descriptor: of the file, where processes that are copied from this one may read it too, all at once.
    """

    def __init__(self, path: Path, size: int, backend: Backend, moment: Moment) -> None:
        self.path = path
        self.size = size
        self.descriptor = backend.descriptor
        self._backend = backend
        self._moment = moment

    def extents(self) -> Iterator[Extent]:
        """The whole disk in order, without gaps, neighbours of one kind merged; told bit by bit.

        Raises ReadFailed.
        """
        start, until, zero = 0, 0, False
        for offset, length, is_zero in self._backend.ranges():
            if is_zero != zero and until > start:
                yield Extent(start, until - start, "zero" if zero else "data")
                start = until
            zero, until = is_zero, offset + length
        if until > start:
            yield Extent(start, until - start, "zero" if zero else "data")

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`; safe from several threads. Raises ReadFailed."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ReadFailed(offset, length, f"it has {self.size} bytes")
        data = bytearray(length)
        self._backend.read_into(memoryview(data), offset)
        return bytes(data)

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill a buffer with the bytes from `offset` on; safe from several threads. Raises ReadFailed."""
        if offset < 0 or offset + len(buffer) > self.size:
            raise ReadFailed(offset, len(buffer), f"it has {self.size} bytes")
        self._backend.read_into(buffer, offset)

    def changed(self) -> bool:
        """Has one of the image's files been written to, resized or replaced since it was opened?"""
        try:
            self._moment.check()
        except InputChanged:
            return True
        return False


class _RawFile:
    """The disk's bytes as they lie in an open file; a last sector that is cut short ends in zeroes."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor = self._file = descriptor
        self._size = size
        self._held = os.fstat(descriptor).st_size

    def read_into(self, buffer: memoryview, offset: int) -> None:
        while buffer:
            try:
                count = os.preadv(self._file, [buffer], offset)
            except OSError as error:
                raise ReadFailed(offset, len(buffer), error.strerror or str(error)) from error
            if not count:
                if offset < self._held or self._size - self._held >= SECTOR:
                    raise ReadFailed(offset, len(buffer), "the file ends before it")
                count = len(buffer)
                buffer[:] = bytes(count)
            buffer = buffer[count:]
            offset += count

    def ranges(self) -> Iterator[Range]:
        held = min(self._held, self._size)
        at = 0
        while at < held:
            data = min(self._seek(at, os.SEEK_DATA, held), held)
            if data > at:
                yield at, data - at, True
            at = max(min(self._seek(data, os.SEEK_HOLE, held), held), data) if data < held else held
            if at > data:
                yield data, at - data, False
        if held < self._size:
            yield held, self._size - held, False  # reading it tells whether it is just the last sector's rest

    def _seek(self, offset: int, whence: int, end: int) -> int:
        try:
            return os.lseek(self._file, offset, whence)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data from here on
                if os.fstat(self._file).st_size < end:
                    raise ReadFailed(offset, end - offset, "the file became shorter") from error
                return end
            if error.errno in (errno.EINVAL, errno.ENOTSUP):  # a file system that tells no holes
                return offset if whence == os.SEEK_DATA else end
            raise ReadFailed(offset, 1, error.strerror or str(error)) from error


class _Served:
    """The disk behind qemu-nbd; its connection answers one thread at a time."""

    descriptor = None

    def __init__(self, blocks: NbdBlocks) -> None:
        self._blocks = blocks
        self._turn = threading.Lock()

    def read_into(self, buffer: memoryview, offset: int) -> None:
        with self._turn:
            buffer[:] = self._blocks.read(offset, len(buffer))

    def ranges(self) -> Iterator[Range]:
        at = 0
        while at < self._blocks.size:
            with self._turn:
                told = self._blocks.zeroes(at)
            for length, zero in told:
                until = min(at + length, self._blocks.size)
                if until > at:
                    yield at, until - at, zero
                at = until


@contextmanager
def open_source(file: ImageFile, data_path: Path | None = None) -> Iterator[Source]:
    """Open the disk inside an image; leaving the context ends whatever serves it.

    data_path: where the image's bytes lie when not at file.path. Raises UnsafeImage when the probe names a
    hazard, CannotRead for what is no disk image or does not open, MachineLacks without qemu-nbd.
    """
    from imgtool.convert.qemu_img import reading

    driver, options = reading(file)
    path = data_path or file.path
    moment = Moment.of((path, *file.other_files))
    if driver == "raw":
        descriptor = _opened(path)
        try:
            size = os.fstat(descriptor).st_size if file.format == "raw" else file.virtual_size or 0
            size = -(-size // SECTOR) * SECTOR
            yield Source(path, size, _RawFile(descriptor, size), moment)
        finally:
            os.close(descriptor)
        return
    from imgtool.disk.nbd import serve

    with serve(path, driver, options, allocation=True, time_limit=TIME_LIMIT) as blocks:
        yield Source(path, blocks.size, _Served(blocks), moment)


def _opened(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        why = error.strerror or str(error)
        raise CannotRead(
            Text(en=f"{path!a} can't be opened: {why}.", zh=f"无法打开 {path!a}：{why}。")
        ) from error
