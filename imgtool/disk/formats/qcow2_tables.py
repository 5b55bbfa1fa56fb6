"""Whether a qcow2 file holds what its own tables point to, without reading all of them.

Reading every L2 table takes time that grows with the disk. A file cut short lacks what was allocated last, so
three bounded looks find it:

1. the tables that the header names, and every L2 table and refcount block, lie inside the file;
2. the refcounts say which cluster of the file is the last one in use: one look at the last block in use;
3. of the L2 tables, those allocated last (they point to the latest clusters), MiB by MiB: 1 MiB of
   them normally, up to 64 MiB to prove the case when the refcounts point past the end (which alone may be a
   cluster that was reserved and never written, and is no loss).

QEMU itself may leave the last cluster of a file partly unwritten, and its own check allows for it: only what
exceeds the file by a whole cluster or more is missing.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from heapq import nlargest

from imgtool.disk.formats.image_file import Damage, beyond_the_end
from imgtool.disk.formats.qcow2 import EXTERNAL_DATA, Header, SnapshotTable
from imgtool.disk.formats.source import CHUNK, Source
from imgtool.records import dataclass
from imgtool.text import Text

OFFSET_MASK = 0x00FFFFFFFFFFFE00
REFCOUNT_BLOCK_MASK = 0xFFFFFFFFFFFFFE00
COMPRESSED = 1 << 62
USUAL_L2_BYTES = 1024**2
PROOF_L2_BYTES = 64 * 1024**2
L2_TABLES_KEPT = 1024  # 64 MiB of them where clusters have the usual 64 KiB
MAX_SNAPSHOTS_PROVEN = 16
SNAPSHOT_L1_READ = 64 * 1024  # entries: a disk of 32 TiB where clusters have the usual 64 KiB
REFCOUNT_BLOCKS_READ = 8


@dataclass(frozen=True)
class TableCheck:
    """What the look at the tables found. compressed: some cluster is."""

    damage: tuple[Damage, ...]
    compressed: bool = False


def check(source: Source, header: Header, snapshots: SnapshotTable) -> TableCheck:
    """Look at the tables of an image whose header is consistent. At most one damage: the first found."""
    outside = next(_outside(source, header, snapshots), None)
    if outside is not None:
        return TableCheck((outside,))
    l1 = source.words(header.l1_offset, header.l1_size, "Q", "big")
    l2_offsets, missing = _tables(source, header, l1, OFFSET_MASK, Text(en="L2 table", zh="L2 表"))
    if missing is not None:
        return TableCheck((missing,))
    last_in_use, missing = _last_cluster_in_use(source, header)
    if missing is not None:
        return TableCheck((missing,))
    budget = USUAL_L2_BYTES
    if last_in_use is not None and last_in_use << header.cluster_bits >= source.size:
        budget = PROOF_L2_BYTES
        for offset, entries in snapshots.l1_tables[:MAX_SNAPSHOTS_PROVEN]:
            l1 = source.words(offset, min(entries, header.l1_size, SNAPSHOT_L1_READ), "Q", "big")
            more, _ = _tables(source, header, l1, OFFSET_MASK, Text(en="L2 table", zh="L2 表"))
            l2_offsets = _latest({*l2_offsets, *more})
    return _look_at_l2(source, header, l2_offsets, budget)


def _outside(source: Source, header: Header, snapshots: SnapshotTable) -> Iterator[Damage]:
    parts = [
        (Text(en="L1 table", zh="L1 表"), header.l1_offset, header.l1_size * 8),
        (
            Text(en="refcount table", zh="引用计数表"),
            header.refcount_table_offset,
            header.refcount_table_clusters * header.cluster_size,
        ),
        (Text(en="bitmap directory", zh="位图目录"), *header.bitmaps),
        (Text(en="encryption header", zh="加密头"), *header.encryption),
    ]
    if snapshots.end:
        length = snapshots.end - header.snapshots_offset
        parts.append((Text(en="snapshot table", zh="快照表"), header.snapshots_offset, length))
    parts += [
        (Text(en="L1 table of a snapshot", zh="快照的 L1 表"), offset, entries * 8)
        for offset, entries in snapshots.l1_tables
    ]
    for part, offset, length in parts:
        if _lacks(source, header, offset, length):
            yield _damage(part, offset + length, source, header)


def _lacks(source: Source, header: Header, offset: int, length: int) -> bool:
    """Whether a table is missing: it begins behind the file's end, or its last cluster would."""
    return length > 0 and (offset >= source.size or offset + length - source.size >= header.cluster_size)


def _damage(part: Text, needs: int, source: Source, header: Header) -> Damage:
    return beyond_the_end(part, needs, source.size, header.largest_whole_file)


def _tables(
    source: Source, header: Header, pointers: Iterable[array[int]], mask: int, part: Text
) -> tuple[list[int], Damage | None]:
    """The tables of one cluster that `pointers` name, the last in the file first, as many as are ever read;
    and damage where one is not in the file at all, or not at the start of a cluster.
    """
    latest: list[int] = []
    inside = header.cluster_size - 1
    for chunk in pointers:
        offsets = set(map(mask.__and__, chunk)) - {0}
        unaligned = next((offset for offset in offsets if offset & inside), None)
        if unaligned is not None:
            return [], Damage(
                "table_invalid",
                Text(
                    en=f"A table is damaged: its {part.en} at byte {unaligned} does not start a cluster.",
                    zh=f"元数据表已损坏：{part.zh}指向第 {unaligned} 字节，未按簇对齐。",
                ),
            )
        last = max(offsets, default=0)
        if last and _lacks(source, header, last, header.cluster_size):
            return [], _damage(part, last + header.cluster_size, source, header)
        latest = _latest(offsets.union(latest))
    return latest, None


def _latest(offsets: set[int]) -> list[int]:
    return nlargest(L2_TABLES_KEPT, offsets)


def _last_cluster_in_use(source: Source, header: Header) -> tuple[int | None, Damage | None]:
    """The number of the last cluster whose reference count is not 0; damage where a refcount block is lost.

    None where the last blocks hold no count at all: no reader makes such a file, nothing follows from it.
    """
    count = header.refcount_table_clusters * header.cluster_size // 8
    part = Text(en="refcount block", zh="引用计数块")
    table = source.words(header.refcount_table_offset, count, "Q", "big")
    _, missing = _tables(source, header, table, REFCOUNT_BLOCK_MASK, part)
    if missing is not None:
        return None, missing
    last_blocks: list[tuple[int, int]] = []
    number = 0
    for chunk in source.words(header.refcount_table_offset, count, "Q", "big"):
        named = ((number + index, entry) for index, entry in enumerate(chunk) if entry)
        last_blocks = [*last_blocks, *deque(named, REFCOUNT_BLOCKS_READ)][-REFCOUNT_BLOCKS_READ:]
        number += len(chunk)
    clusters_per_block = header.cluster_size * 8 // header.refcount_bits
    for number, entry in reversed(last_blocks):
        used = _cluster(source, header, entry & REFCOUNT_BLOCK_MASK).rstrip(b"\0")
        if used:
            inside = (len(used) - 1) * 8 // header.refcount_bits
            if header.refcount_bits < 8:  # several counts to the byte, lowest bits first
                inside += (used[-1].bit_length() - 1) // header.refcount_bits
            return number * clusters_per_block + inside, None
    return None, None


def _cluster(source: Source, header: Header, offset: int) -> bytes:
    starts = range(offset, offset + header.cluster_size, CHUNK)
    return b"".join(source.read(start, min(header.cluster_size, CHUNK)) for start in starts)


def _look_at_l2(source: Source, header: Header, offsets: list[int], budget: int) -> TableCheck:
    """Read the L2 tables that were allocated last, until one points past the end or the budget is spent."""
    compressed = False
    sector_bits = header.cluster_bits - 8
    offset_bits = 62 - sector_bits
    for l2_offset in offsets:
        if budget <= 0:
            break
        budget -= header.cluster_size
        for table in source.words_but(b"\0", l2_offset, header.cluster_size // 8, "Q", "big"):
            entries = table[::2] if header.l2_entry_size == 16 else table
            packed = [entry for entry in entries if entry & COMPRESSED]
            plain = (entry for entry in entries if not entry & COMPRESSED) if packed else entries
            if not header.incompatible & EXTERNAL_DATA:
                last = max(map(OFFSET_MASK.__and__, plain), default=0)
                if last >= source.size:
                    return TableCheck((_lost(last + header.cluster_size, source, header),), compressed)
            if packed:
                compressed = True
                end, start = max(
                    (_packed_end(entry, offset_bits, sector_bits), entry & (1 << offset_bits) - 1)
                    for entry in packed
                )
                lost = start >= source.size or (
                    end - source.size >= 512 and not _unpacks(source, header, start, end)
                )
                if lost:
                    return TableCheck((_lost(end, source, header),), compressed)
    return TableCheck((), compressed)


def _lost(needs: int, source: Source, header: Header) -> Damage:
    return _damage(Text(en="last data cluster", zh="末尾的数据簇"), needs, source, header)


def _packed_end(entry: int, offset_bits: int, sector_bits: int) -> int:
    """Where a compressed cluster's last sector ends: it need not fill it."""
    offset = entry & (1 << offset_bits) - 1
    sectors = (entry >> offset_bits & (1 << sector_bits) - 1) + 1
    return (offset & ~511) + sectors * 512


def _unpacks(source: Source, header: Header, start: int, end: int) -> bool:
    """Whether a compressed cluster is whole all the same: a writer may name more sectors than it filled."""
    if header.compression != "deflate":
        return True
    import zlib

    packed = source.read(start, end - start)
    try:
        return len(zlib.decompressobj(-15).decompress(packed, header.cluster_size)) == header.cluster_size
    except zlib.error:
        return False
