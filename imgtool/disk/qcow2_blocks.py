"""The bytes of a plain qcow2 image, read in process: two tables, then the data or a compressed cluster.

Specification: docs/interop/qcow2.rst in QEMU's source; where it leaves something open this does as
block/qcow2.c and block/qcow2-cluster.c do. Only undamaged images without a backing file, an external data
file, encryption, snapshots, bitmaps or subclusters are read so (`is_plain`); QEMU serves the rest.
Against qemu-nbd this saves its start (8 to 40 ms) and 80 µs a read.
"""

from __future__ import annotations

import os
import sys
import zlib
from array import array
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING

from imgtool.disk.blocks import CACHE_LIMIT, ReadFailed, opened, within
from imgtool.disk.formats.qcow2 import EXTENDED_L2, KNOWN_FEATURES, read_header
from imgtool.disk.formats.qcow2_tables import COMPRESSED, OFFSET_MASK
from imgtool.disk.formats.source import Source
from imgtool.errors import CannotRead
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.formats.qcow2 import Header
    from imgtool.disk.probe import ImageFile

READS_ZEROS = 1
SECTOR = 512
SLICE = 512  # entries of an L2 table that are read and kept together: 32 MiB of disk in the usual clusters
SLICES_KEPT = 256
LARGEST_WINDOW = 8 << 20  # of zstd; a cluster has at most 2 MiB
SPECIAL = ("extended_l2", "bitmaps")


def is_plain(file: ImageFile) -> bool:
    """Whether `Qcow2Blocks` reads a probed image. What is odd about an image, QEMU itself is to judge."""
    return (
        file.format == "qcow2"
        and not (file.hazards or file.damage or file.snapshots)
        and not any(feature in SPECIAL for feature in file.features)
    )


class Qcow2Blocks:
    """The disk inside a plain qcow2 file. A context manager; several threads may read it.

    Memory: at most CACHE_LIMIT bytes of unpacked clusters, and SLICES_KEPT slices of 4 KiB.
    """

    bears_processes = True  # a copy of this process may read it too

    def __init__(self, path: Path) -> None:
        """Raises CannotRead when the file can't be opened, or is no longer what the probe saw."""
        self._file = opened(path)
        try:
            status = os.fstat(self._file)
            self._length = status.st_size
            header = _plain_header(Source(self._file, path, status.st_size, status.st_blocks * 512))
        except BaseException:
            os.close(self._file)
            raise
        self._size = header.size // SECTOR * SECTOR
        self._version = header.version
        self._zstd = header.compression == "zstd"
        self._bits = header.cluster_bits
        self._cluster = header.cluster_size
        self._l1_offset = header.l1_offset
        self._table_bits = header.cluster_bits - 3  # an entry has 8 bytes
        self._slice_bits = min(self._table_bits, SLICE.bit_length() - 1)
        self._turn = Lock()
        self._slices: OrderedDict[int, array[int]] = OrderedDict()
        self._unpacked: OrderedDict[int, bytes] = OrderedDict()

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`. Raises ReadFailed, also where tables contradict themselves."""
        within(self, offset, length)
        with self._turn:
            return self._read(offset, length)

    def _read(self, offset: int, length: int) -> bytes:
        parts: list[bytes] = []
        end = offset + length
        while offset < end:
            number, inside = offset >> self._bits, offset & self._cluster - 1
            host = self._host(number)
            until = min(end, (number + 1) << self._bits)
            if host is not None and host >= 0:
                while until < end and self._host(until >> self._bits) == host + until - offset + inside:
                    until = min(end, until + self._cluster)
                parts.append(self._stored(host, inside, until - offset))
            elif host is None:
                while until < end and self._host(until >> self._bits) is None:
                    until = min(end, until + self._cluster)
                parts.append(bytes(until - offset))
            else:
                parts.append(self._packed(number)[inside : inside + until - offset])
            offset = until
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _host(self, number: int) -> int | None:
        """Where a cluster of the disk lies in the file; None: it reads as zeros; -1: it is compressed."""
        entry = self._entry(number)
        if entry & COMPRESSED:
            return -1
        if entry & READS_ZEROS:
            if self._version < 3:
                raise self._contradiction(number, "version 2 has no entries that read as zeros")
            return None
        host = entry & OFFSET_MASK
        if host & self._cluster - 1:
            raise self._contradiction(number, f"it lies at byte {host}, which does not start a cluster")
        return host or None

    def _entry(self, number: int) -> int:
        """The L2 entry of a cluster of the disk; 0 where it has no L2 table."""
        key = number >> self._slice_bits
        entries = self._slices.get(key)
        if entries is None:
            entries = self._read_slice(key)
            if len(self._slices) >= SLICES_KEPT:
                self._slices.popitem(last=False)
            self._slices[key] = entries
        return entries[number & (1 << self._slice_bits) - 1] if entries else 0

    def _read_slice(self, key: int) -> array[int]:
        """A slice of an L2 table; empty where there is no table."""
        first = key << self._slice_bits
        (pointer,) = self._words(self._l1_offset + (first >> self._table_bits) * 8, 1, first)
        table = pointer & OFFSET_MASK
        if not table:
            return array("Q")
        if table & self._cluster - 1:
            raise self._contradiction(
                first, f"its table lies at byte {table}, which does not start a cluster"
            )
        return self._words(table + (first & (1 << self._table_bits) - 1) * 8, 1 << self._slice_bits, first)

    def _words(self, offset: int, count: int, number: int) -> array[int]:
        words = array("Q", self._pread(offset, count * 8, number))
        if len(words) < count:
            raise self._contradiction(number, "its table is past the end of the file")
        if sys.byteorder == "little":
            words.byteswap()
        return words

    def _stored(self, host: int, inside: int, length: int) -> bytes:
        """Bytes of clusters that follow one another in the file from `host` on.

        QEMU may leave the rest of a file's last cluster unwritten; it reads as zeros.
        """
        data = self._pread(host + inside, length, host >> self._bits)
        if len(data) < length:
            last = (host + inside + length - 1) & -self._cluster
            if last >= self._length:
                raise ReadFailed(host + inside, length, "the file ends before it")
            data = data.ljust(length, b"\0")
        return data

    def _packed(self, number: int) -> bytes:
        """The bytes of a compressed cluster; the last few are kept."""
        kept = self._unpacked.get(number)
        if kept is not None:
            self._unpacked.move_to_end(number)
            return kept
        entry = self._entry(number)
        shift = 62 - (self._bits - 8)
        start = entry & (1 << shift) - 1
        sectors = (entry >> shift & (1 << (self._bits - 8)) - 1) + 1
        packed = self._pread(start, sectors * SECTOR - start % SECTOR, number)
        data = (_unzstd if self._zstd else _inflated)(packed, self._cluster)
        if len(data) != self._cluster:
            raise self._contradiction(number, "its compressed data is damaged")
        if len(self._unpacked) >= max(CACHE_LIMIT >> self._bits, 1):
            self._unpacked.popitem(last=False)
        self._unpacked[number] = data
        return data

    def _pread(self, offset: int, length: int, number: int) -> bytes:
        """At most `length` bytes of the file; fewer only at its end."""
        parts: list[bytes] = []
        if offset > sys.maxsize:
            return b""  # as behind any file's end; pread(2) does not take it
        while length:
            try:
                part = os.pread(self._file, length, offset)
            except OSError as error:
                raise self._contradiction(number, error.strerror or str(error)) from error
            if not part:
                break
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _contradiction(self, number: int, why: str) -> ReadFailed:
        return ReadFailed(number << self._bits, self._cluster, why)

    def __enter__(self) -> Qcow2Blocks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)
        self._file = -1


def _plain_header(source: Source) -> Header:
    """The header, looked at again: the file may be another one than the probe saw. Raises CannotRead."""
    header = None
    if source.head.startswith(b"QFI\xfb"):
        header, damage = read_header(source)
        if damage or (header and not _is_ours(header)):
            header = None
    if header is None:
        raise CannotRead(
            Text(
                en=f"{source.path} changed while it was read. Check it again when nothing writes to it.",
                zh=f"{source.path} 在读取过程中发生变化。请在没有程序写入时重新检查。",
            )
        )
    return header


def _is_ours(header: Header) -> bool:
    unread = header.incompatible & (~KNOWN_FEATURES | EXTENDED_L2) or header.data_file
    backed = header.backing_offset and header.backing_size
    return not (unread or backed or header.crypt_method or header.bitmaps[0])


def _inflated(packed: bytes, size: int) -> bytes:
    """Raw deflate as QEMU reads it: a window of 4 KiB, and nothing matters behind the last byte wanted."""
    try:
        return zlib.decompressobj(-12).decompress(packed, size)
    except zlib.error:
        return b""


def _unzstd(packed: bytes, size: int) -> bytes:
    import zstandard

    decoder = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
    try:
        with decoder.stream_reader(packed, read_across_frames=True) as reader:
            return reader.read(size)
    except zstandard.ZstdError:
        return b""
