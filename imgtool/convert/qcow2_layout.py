"""How a compressed qcow2 file is laid out while it grows: what host clusters hold, and how often they count.

Specification: docs/interop/qcow2.rst in QEMU's source. Compressed clusters follow one another to the byte, as
QEMU writes them; everything else begins at a cluster's start. The header is at the start of the file, the
refcount blocks are at its end, where their number is known. L1 table and refcount table are where the data of
the disk's first three quarters ends: from there on the header is known, and what is before can be hashed.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass
from typing import Literal

from imgtool.errors import UsageError
from imgtool.text import Text

Compat = Literal["1.1", "0.10"]

MAGIC = b"QFI\xfb"
HEADER_LENGTH = {"0.10": 72, "1.1": 104}  # 104: without the compression type, which QEMU < 5.1 does not know
REFCOUNT_ORDER = 4  # 16 bits; version 2 has no others
REFCOUNT_BYTES = 2
ENTRY_BYTES = 8
SECTOR = 512
COPIED = 1 << 63  # exactly one reference: may be written in place
COMPRESSED = 1 << 62
LARGEST_L1 = 32 * 1024 * 1024  # bytes; QEMU opens no larger one (QCOW_MAX_L1_SIZE)
CLUSTER_SIZES = tuple(1 << bits for bits in range(12, 22))


@dataclass(frozen=True)
class Geometry:
    """The sizes that follow from the disk's and the cluster's. All in bytes unless they say otherwise.

    disk_size: whole sectors. Raises UsageError for a cluster size that is none, or a disk that such clusters
    can't hold.
    """

    disk_size: int
    cluster_size: int

    def __post_init__(self) -> None:
        if self.cluster_size not in CLUSTER_SIZES:
            raise UsageError(
                Text(
                    en=f"A qcow2 cluster has 4096 to 2097152 bytes, a power of two; not {self.cluster_size}.",
                    zh=f"qcow2 簇大小须为 4096 到 2097152 字节之间的 2 的幂，而不是 {self.cluster_size}。",
                )
            )
        if self.l1_entries * ENTRY_BYTES > LARGEST_L1:
            raise UsageError(
                Text(
                    en=f"A disk of {self.disk_size} bytes is too large for qcow2 with clusters of "
                    f"{self.cluster_size} bytes.",
                    zh=f"{self.disk_size} 字节的磁盘过大，qcow2 无法以 {self.cluster_size} 字节的簇存放。",
                )
            )

    @property
    def cluster_bits(self) -> int:
        return self.cluster_size.bit_length() - 1

    @property
    def l2_entries(self) -> int:
        """Clusters that one L2 table maps."""
        return self.cluster_size // ENTRY_BYTES

    @property
    def l1_entries(self) -> int:
        return -(-self.disk_size // (self.cluster_size * self.l2_entries))

    @property
    def l1_clusters(self) -> int:
        """Clusters that the L1 table takes."""
        return -(-self.l1_entries * ENTRY_BYTES // self.cluster_size)

    @property
    def counts_in_block(self) -> int:
        """Host clusters that one refcount block counts."""
        return self.cluster_size // REFCOUNT_BYTES


@dataclass(frozen=True)
class Tail:
    """What ends the file, in clusters: L1 and refcount table unless they are placed already, refcount
    blocks."""

    l1: int
    table: int
    blocks: int

    @property
    def clusters(self) -> int:
        return self.l1 + self.table + self.blocks


class Allocation:
    """Host clusters given out from the file's start on, and their reference counts.

    Memory: 2 bytes a host cluster, 32 KiB a GiB of output at the usual cluster size.
    """

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._counts = array("H", [1])  # the header's cluster
        self._packed = 0  # where the next compressed cluster goes, in bytes
        self._room = 0  # bytes that belong to compressed clusters from there on
        self.tables: tuple[int, int, int] | None = None  # see place_tables

    @property
    def clusters(self) -> int:
        """Host clusters given out."""
        return len(self._counts)

    def whole(self, count: int = 1) -> int:
        """The offset of `count` new clusters in a row, each referred to once."""
        offset = len(self._counts) * self.geometry.cluster_size
        self._counts.extend([1] * count)
        return offset

    def packed(self, size: int) -> int:
        """The offset of `size` bytes for a compressed cluster; each host cluster it touches counts it.

        It goes behind the last one, into new clusters too if these follow; else into a new one.
        """
        cluster_size = self.geometry.cluster_size
        if size > self._room:
            end = len(self._counts) * cluster_size
            if self._packed + self._room != end:
                self._packed, self._room = end, 0
            more = -(-(size - self._room) // cluster_size)
            self._counts.extend([0] * more)
            self._room += more * cluster_size
        offset = self._packed
        self._packed += size
        self._room -= size
        for cluster in range(offset // cluster_size, (offset + size - 1) // cluster_size + 1):
            self._counts[cluster] += 1
        return offset

    def place_tables(self) -> tuple[int, int, int]:
        """Give L1 table and refcount table their place here and now; nothing is put before them any more.

        The offsets of both, and the clusters of the refcount table: enough for the largest file that this
        disk can become, which is nothing but whole clusters and a table for each run of them.
        """
        geometry = self.geometry
        self._packed = self._room = 0
        most = 2 + 2 * -(-geometry.disk_size // geometry.cluster_size) + geometry.l1_entries
        table = Allocation._refcounts(geometry, self.clusters + most)[0]
        self.tables = self.whole(geometry.l1_clusters), self.whole(table), table
        return self.tables

    def tail(self, extra: int = 0) -> Tail:
        """What would end the file after `extra` clusters more. The refcount blocks count themselves too."""
        clusters = self.clusters + extra
        if self.tables is not None:
            return Tail(0, 0, self._refcounts(self.geometry, clusters, self.tables[2])[1])
        l1 = self.geometry.l1_clusters
        return Tail(l1, *self._refcounts(self.geometry, clusters + l1))

    @staticmethod
    def _refcounts(geometry: Geometry, clusters: int, placed: int | None = None) -> tuple[int, int]:
        """Clusters of the refcount table, unless `placed` already, and of its blocks; they count too."""
        table = blocks = 0
        while True:
            need = -(-(clusters + table + blocks) // geometry.counts_in_block)
            need_table = -(-need * ENTRY_BYTES // geometry.cluster_size) if placed is None else 0
            if (need, need_table) == (blocks, table):
                return table, blocks
            blocks, table = need, need_table

    def size_with_tail(self, extra: int = 0) -> int:
        """The whole file's size in bytes, if it ended after `extra` clusters more."""
        return (self.clusters + extra + self.tail(extra).clusters) * self.geometry.cluster_size

    def refcount_blocks(self, first: int, count: int) -> bytes:
        """The contents of `count` refcount blocks from number `first` on."""
        each = self.geometry.counts_in_block
        return big_endian(self._counts[first * each : (first + count) * each]).ljust(
            count * self.geometry.cluster_size, b"\0"
        )


def compressed_entry(geometry: Geometry, offset: int, size: int) -> int:
    """The L2 entry of a compressed cluster: host offset, and the sectors it touches beyond the first."""
    shift = 62 - (geometry.cluster_bits - 8)
    sectors = (offset + size - 1) // SECTOR - offset // SECTOR
    return COMPRESSED | sectors << shift | offset


def header(geometry: Geometry, compat: Compat, l1_offset: int, table_offset: int, table: int) -> bytes:
    """The file's first bytes: header, and the mark that no extensions follow; then zeroes.

    table: clusters of the refcount table.
    """
    fields = MAGIC + (2 if compat == "0.10" else 3).to_bytes(4, "big")
    fields += bytes(12)  # no backing file
    fields += geometry.cluster_bits.to_bytes(4, "big") + geometry.disk_size.to_bytes(8, "big")
    fields += bytes(4)  # not encrypted
    fields += geometry.l1_entries.to_bytes(4, "big") + l1_offset.to_bytes(8, "big")
    fields += table_offset.to_bytes(8, "big") + table.to_bytes(4, "big")
    fields += bytes(12)  # no snapshots
    if compat == "1.1":
        fields += bytes(24)  # no features
        fields += REFCOUNT_ORDER.to_bytes(4, "big") + HEADER_LENGTH[compat].to_bytes(4, "big")
    assert len(fields) == HEADER_LENGTH[compat]  # noqa: S101 - the format, not the input
    return fields + bytes(8)


def big_endian(numbers: array[int]) -> bytes:
    """An array's numbers as they stand in the file."""
    if sys.byteorder == "little":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()
