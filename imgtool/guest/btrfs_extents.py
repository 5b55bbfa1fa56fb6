"""The bytes of a btrfs file: inline, in extents, compressed, or nowhere (holes)."""

from __future__ import annotations

import struct
import zlib
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING

from imgtool.guest.btrfs_trees import reading
from imgtool.guest.filesystem import damaged, unsupported
from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.btrfs_trees import Store, Tree

EXTENT_DATA = 108
INLINE, REGULAR, PREALLOCATED = 0, 1, 2
NONE, ZLIB, LZO, ZSTD = 0, 1, 2, 3
MOST_EXTENTS = 300_000
LARGEST_COMPRESSED = 1 << 20
"""Of one extent, on disk and unpacked; Linux makes them of 128 KiB."""
KEPT_FILES = 64
KEPT_UNPACKED = 32


@dataclass(frozen=True)
class Extent:
    """start: where in the file; length: bytes of it. address 0: a hole. inline: the data itself.

    size: bytes on disk; offset: into the unpacked extent; unpacked: its size.
    """

    start: int
    length: int
    compression: int = NONE
    address: int = 0
    size: int = 0
    offset: int = 0
    unpacked: int = 0
    inline: bytes | None = None


class Files:
    """Reads files of one btrfs; remembers the extents of some, and what was unpacked last."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._extents: OrderedDict[tuple[int, int], list[Extent]] = OrderedDict()
        self._unpacked: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def read(self, tree: Tree, number: tuple[int, int], offset: int, length: int) -> bytes:
        """Bytes of the file `number` (subvolume, inode), zeros where it has none; the caller knows its end.

        Raises GuestReadFailed.
        """
        extents = self._of(tree, number)
        parts: list[bytes] = []
        at, end = offset, offset + length
        index = max(bisect_right([it.start for it in extents], at) - 1, 0)
        while at < end:
            while index < len(extents) and extents[index].start + extents[index].length <= at:
                index += 1
            if index == len(extents) or extents[index].start >= end:
                parts.append(bytes(end - at))
                break
            extent = extents[index]
            if extent.start > at:
                parts.append(bytes(extent.start - at))
                at = extent.start
            inside = at - extent.start
            size = min(extent.length - inside, end - at)
            parts.append(self._part(extent, inside, size))
            at += size
        return b"".join(parts)

    def _of(self, tree: Tree, number: tuple[int, int]) -> list[Extent]:
        found = self._extents.get(number)
        if found is None:
            found = []
            with reading(f"btrfs file (inode {number[1]})"):
                for start, data in tree.items(number[1], EXTENT_DATA):
                    found.append(_extent(start, data))
                    if len(found) > MOST_EXTENTS:
                        raise damaged("btrfs file", f"inode {number[1]} has more than {MOST_EXTENTS} extents")
            self._extents[number] = found
            if len(self._extents) > KEPT_FILES:
                self._extents.popitem(last=False)
        return found

    def _part(self, extent: Extent, inside: int, size: int) -> bytes:
        if extent.inline is None and not extent.address:
            return bytes(size)
        at = extent.offset + inside
        if extent.compression == NONE:
            if extent.inline is not None:
                return extent.inline[at : at + size].ljust(size, b"\0")
            return self._store.chunks.read(extent.address + at, size)
        data = self._unpack(extent)
        if at + size > len(data):
            data = data.ljust(at + size, b"\0")  # the kernel fills the rest of the last page with zeros
        return data[at : at + size]

    def _unpack(self, extent: Extent) -> bytes:
        where = (extent.address, extent.unpacked)
        kept = self._unpacked.get(where) if extent.inline is None else None
        if kept is not None:
            self._unpacked.move_to_end(where)
            return kept
        packed = extent.inline
        if packed is None:
            packed = self._store.chunks.read(extent.address, extent.size)
        data = unpack(packed, extent.compression, extent.unpacked, self._store.superblock.sector_size)
        if extent.inline is None:
            self._unpacked[where] = data
            if len(self._unpacked) > KEPT_UNPACKED:
                self._unpacked.popitem(last=False)
        return data


def _extent(start: int, data: bytes) -> Extent:
    """An item of type EXTENT_DATA (Linux include/uapi/linux/btrfs_tree.h, btrfs_file_extent_item)."""
    _, unpacked, compression, encryption, _, kind = struct.unpack_from("<2Q2BHB", data)
    if encryption:
        raise unsupported("btrfs", "encrypted files")
    if compression > ZSTD:
        raise unsupported("btrfs", f"compression {compression}")
    if compression and unpacked > LARGEST_COMPRESSED:
        raise damaged("btrfs extent", f"{unpacked} bytes in one compressed extent")
    if kind == INLINE:
        if unpacked > LARGEST_COMPRESSED:
            raise damaged("btrfs extent", f"{unpacked} bytes inline")
        return Extent(start, unpacked, compression, unpacked=unpacked, inline=data[21:])
    if kind not in (REGULAR, PREALLOCATED):
        raise damaged("btrfs extent", f"type {kind}")
    address, size, offset, length = struct.unpack_from("<4Q", data, 21)
    if compression and size > LARGEST_COMPRESSED:
        raise damaged("btrfs extent", f"{size} bytes in one compressed extent")
    if kind == PREALLOCATED:
        address = 0  # nothing was written there yet
    return Extent(start, length, compression, address, size, offset, unpacked)


def unpack(data: bytes, compression: int, size: int, sector: int) -> bytes:
    """At most `size` bytes of a compressed extent. Raises GuestReadFailed."""
    import zstandard

    try:
        if compression == ZLIB:
            return zlib.decompressobj().decompress(data, size)
        if compression == LZO:
            return _unpack_lzo(data, size, sector)
        with zstandard.ZstdDecompressor(max_window_size=LARGEST_COMPRESSED).stream_reader(data) as stream:
            return stream.read(size)
    except (zlib.error, zstandard.ZstdError, ValueError, struct.error, RuntimeError, MemoryError) as error:
        raise damaged("btrfs extent", f"it can't be unpacked: {error}"[:200]) from error


def _unpack_lzo(data: bytes, size: int, sector: int) -> bytes:
    """Segments of at most a sector, each behind its length, which no sector's end cuts (Linux, lzo.c)."""
    from dissect.util.compression import lzo

    end = min(struct.unpack_from("<I", data)[0], len(data))
    parts: list[bytes] = []
    at, done = 4, 0
    while at + 4 <= end and done < size:
        if sector - at % sector < 4:
            at += sector - at % sector
        (length,) = struct.unpack_from("<I", data, at)
        if not length or at + 4 + length > end:
            raise ValueError(f"a segment of {length} bytes at {at} of {end}")
        part = lzo.decompress(data[at + 4 : at + 4 + length], False, min(sector, size - done))
        parts.append(part)
        done += len(part)
        at += 4 + length
    return b"".join(parts)
