"""Our own writer of compressed qcow2: one pass over the source, bounded memory, the same bytes every time.

The calling thread lays out and writes what others compress, in the disk's order, so nothing in the file
depends on their timing. Specification: docs/interop/qcow2.rst in QEMU's source.

Digests: SHA-256 takes bytes in file order only, and the header, which comes first, names the L1 table's
place. That is chosen when three quarters of the disk are done. What is before it is final then, and is hashed
while the last quarter is compressed; what is behind it is hashed at the end, from the page cache.
"""

from __future__ import annotations

import fcntl
import os
from array import array
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from imgtool.convert.compressing import LEVELS, MOST_THREADS, Piece, compressed_pieces, runs
from imgtool.convert.qcow2_layout import (
    COPIED,
    ENTRY_BYTES,
    HEADER_LENGTH,
    Allocation,
    Compat,
    Geometry,
    big_endian,
    compressed_entry,
    header,
)
from imgtool.errors import ImgtoolError
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.convert.digests import FileDigests
    from imgtool.convert.source import Source

WRITE = 1024 * 1024  # bytes collected before they are written
HELD = 2 * 1024 * 1024  # bytes of incompressible clusters held back, so that they rarely part compressed ones
MOST_PARTS = 1024  # IOV_MAX of Linux
BLOCKS_AT_A_TIME = 64


class OutputTooLarge(ImgtoolError):
    """The output would be larger than the caller allows; found before that much is written."""

    exit_code: ClassVar[int] = 3

    def __init__(self, limit: int, disk_done: int, disk_size: int) -> None:
        """limit: bytes allowed; disk_done: bytes of the disk that were dealt with, of disk_size."""
        super().__init__(limit, disk_done, disk_size)
        self.limit = limit
        self.disk_done = disk_done
        self.disk_size = disk_size

    def statement(self) -> Text:
        share = 100 * self.disk_done // max(self.disk_size, 1)
        return Text(
            en=f"The compressed image would have more than the {self.limit} bytes allowed; {share} % of the "
            "disk was converted when that became clear.",
            zh=f"压缩后的镜像将超过允许的 {self.limit} 字节；转换到磁盘的 {share}% 时即已确定。",
        )


@dataclass(frozen=True)
class Written:
    """What was written.

    size: of the file in bytes; sha256 (hex) and crc64 (CRC-64/XZ) of all of it, None where not made;
    data_clusters: clusters of the disk that are not all zeroes; compressed_clusters: how many of them shrank.
    """

    size: int
    sha256: str | None
    crc64: int | None
    virtual_size: int
    data_clusters: int
    compressed_clusters: int


def write_compressed(
    source: Source,
    out: BinaryIO | int,
    *,
    level: int = 1,
    compat: Compat | str = "1.1",
    cluster_size: int = 65536,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
    limit: int | None = None,
    digests: bool = True,
) -> Written:
    """Write the disk into `out`, an empty regular file (or its descriptor), as compressed qcow2.

    level: ISA-L's, 1 to 3; compat: "1.1" (QEMU 1.1 and later) or "0.10" (any); threads: or processes,
    default one a CPU; progress: told from this thread how many bytes of the disk are done; it may raise to
    stop the work; limit: bytes that the file may have; digests: read the file again for SHA-256 and CRC-64.
    However it ends, they have ended. On an error the file is incomplete. Raises OutputTooLarge,
    ReadFailed, MachineLacks without ISA-L, UsageError for sizes that qcow2 can't have, OSError when writing
    fails.
    """
    if level not in LEVELS or compat not in HEADER_LENGTH:
        raise ValueError((level, compat))
    geometry = Geometry(-(-source.size // 512) * 512, cluster_size)
    count = max(1, min(threads or len(os.sched_getaffinity(0)), MOST_THREADS))
    report = progress or (lambda done: None)
    descriptor = out if isinstance(out, int) else out.fileno()
    wanted = runs(source.extents(), cluster_size)
    pieces = compressed_pieces(source, wanted, cluster_size=cluster_size, level=level, threads=count)
    with _digests_of(descriptor, digests) as hashed, closing(pieces):
        writer = _Writer(descriptor, geometry, "0.10" if compat == "0.10" else "1.1", limit, hashed)
        for piece in pieces:
            writer.take(piece)
            report(min(piece.until * cluster_size, source.size))
        size = writer.finish()
        sha256, crc64 = hashed.finish(size) if hashed else (None, None)
    report(source.size)
    return Written(size, sha256, crc64, geometry.disk_size, writer.data_clusters, writer.compressed_clusters)


@contextmanager
def _digests_of(descriptor: int, wanted: bool) -> Iterator[FileDigests | None]:
    """For the digests of the file behind a descriptor that may be open for writing only."""
    if not wanted:
        yield None
        return
    from imgtool.convert.digests import FileDigests

    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR:
        with FileDigests(descriptor) as digests:
            yield digests
        return
    reading = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with FileDigests(reading) as digests:
            yield digests
    finally:
        os.close(reading)


class _Writer:
    """The file while it grows: one L2 table at a time, since clusters come in the disk's order."""

    def __init__(
        self,
        descriptor: int,
        geometry: Geometry,
        compat: Compat,
        limit: int | None,
        digests: FileDigests | None,
    ) -> None:
        self._file = descriptor
        self._geometry = geometry
        self._compat = compat
        self._digests = digests
        # a cluster of the disk; the later, the less is left to hash at the end, and the less time before it
        self._tables_before = geometry.disk_size // geometry.cluster_size * 3 // 4
        self._limit = limit
        self._allocation = Allocation(geometry)
        self._l1 = array("Q", bytes(geometry.l1_entries * ENTRY_BYTES))
        self._l2 = array("Q", bytes(geometry.cluster_size))
        self._l2_number: int | None = None
        self._parts: list[memoryview] = []  # compressed clusters that follow one another, not yet written
        self._parts_at = 0
        self._parts_size = 0
        self._held: list[tuple[int, memoryview]] = []
        self._kept = memoryview(bytearray(max(HELD, geometry.cluster_size)))
        self._copied = 0  # of those held: the first so many are in `kept`
        self.data_clusters = 0
        self.compressed_clusters = 0

    def take(self, piece: Piece) -> None:
        """Put the clusters of a piece into the file. Raises OutputTooLarge, OSError."""
        for stored in piece.stored():
            if stored.cluster >= self._tables_before and self._allocation.tables is None:
                self._place_tables()
            number, index = divmod(stored.cluster, self._geometry.l2_entries)
            if number != self._l2_number:
                self._end_table()
                self._l2_number = number
            if stored.compressed:
                offset = self._allocation.packed(len(stored.data))
                self._l2[index] = compressed_entry(self._geometry, offset, len(stored.data))
                self._append(offset, stored.data)
                self.compressed_clusters += 1
            else:
                self._held.append((index, stored.data))
                if len(self._held) * self._geometry.cluster_size >= HELD:
                    self._place_held()
            self.data_clusters += 1
        self._flush()
        self._keep_held()
        self._within_limit(piece.until)

    def finish(self) -> int:
        """Write what is left; the file's size. Raises OutputTooLarge, OSError."""
        self._end_table()
        geometry, allocation = self._geometry, self._allocation
        self._within_limit(-(-geometry.disk_size // geometry.cluster_size))
        if allocation.tables is None:
            self._place_tables()
        l1_offset, table_offset, _ = allocation.tables or (0, 0, 0)
        self._flush()
        tail = allocation.tail()
        blocks_offset = allocation.whole(tail.blocks)
        size = allocation.clusters * geometry.cluster_size
        os.ftruncate(self._file, size)
        self._write(l1_offset, big_endian(self._l1))
        table = array("Q", range(blocks_offset, size, geometry.cluster_size))
        self._write(table_offset, big_endian(table))
        for first in range(0, tail.blocks, BLOCKS_AT_A_TIME):
            count = min(BLOCKS_AT_A_TIME, tail.blocks - first)
            offset = blocks_offset + first * geometry.cluster_size
            self._write(offset, allocation.refcount_blocks(first, count))
        return size

    def _place_tables(self) -> None:
        """Give L1 and refcount table their places, behind which the file goes on; what is before is final."""
        self._flush()
        l1_offset, table_offset, table = self._allocation.place_tables()
        self._write(0, header(self._geometry, self._compat, l1_offset, table_offset, table))
        os.ftruncate(self._file, self._allocation.clusters * self._geometry.cluster_size)
        if self._digests is not None:
            self._digests.begin(l1_offset)

    def _append(self, offset: int, data: memoryview) -> None:
        """Collect a compressed cluster; write the collected ones when it does not follow them."""
        if offset != self._parts_at + self._parts_size or self._parts_size >= WRITE:
            self._flush()
            self._parts_at = offset
        self._parts.append(data)
        self._parts_size += len(data)

    def _flush(self) -> None:
        if self._parts:
            self._write_all(self._parts_at, self._parts)
        self._parts, self._parts_size = [], 0

    def _place_held(self) -> None:
        """Give the clusters that did not shrink their places, in a row."""
        if not self._held:
            return
        offset = self._allocation.whole(len(self._held))
        self._write_all(offset, [data for _, data in self._held])
        for index, _ in self._held:
            self._l2[index] = offset | COPIED
            offset += self._geometry.cluster_size
        self._held, self._copied = [], 0

    def _keep_held(self) -> None:
        """Copy the clusters held back out of their piece, whose memory is used again."""
        size = self._geometry.cluster_size
        for number, (index, data) in enumerate(self._held[self._copied :], self._copied):
            kept = self._kept[number * size : (number + 1) * size]
            kept[:] = data
            self._held[number] = index, kept
        self._copied = len(self._held)

    def _end_table(self) -> None:
        """Write the L2 table at work."""
        if self._l2_number is None:
            return
        self._place_held()
        offset = self._allocation.whole()
        self._write(offset, big_endian(self._l2))
        self._l1[self._l2_number] = offset | COPIED
        self._l2 = array("Q", bytes(self._geometry.cluster_size))
        self._l2_number = None

    def _within_limit(self, done: int) -> None:
        """Raise OutputTooLarge if the file would be, should nothing but zeroes follow cluster `done`."""
        if self._limit is None:
            return
        open_table = 0 if self._l2_number is None else 1
        if self._allocation.size_with_tail(len(self._held) + open_table) > self._limit:
            size = self._geometry.disk_size
            raise OutputTooLarge(self._limit, min(done * self._geometry.cluster_size, size), size)

    def _write_all(self, offset: int, parts: list[memoryview]) -> None:
        """Write what follows one another, without copying it together first."""
        for first in range(0, len(parts), MOST_PARTS):
            group = parts[first : first + MOST_PARTS]
            size = sum(map(len, group))
            written = os.pwritev(self._file, group, offset)
            if written < size:
                self._write(offset + written, b"".join(group)[written:])
            offset += size

    def _write(self, offset: int, data: bytes) -> None:
        left = memoryview(data)
        while left:
            written = os.pwrite(self._file, left, offset)
            left = left[written:]
            offset += written
