"""ISO 9660 images: installer CDs, also "hybrid" ones that carry an MBR or GPT to start from a USB stick.

Specification: ECMA-119. A disk that was once overwritten with an ISO may keep its volume descriptor in
the gap before the first partition: that is a disk, not an ISO.
"""

from __future__ import annotations

from collections.abc import Iterator

from construct import (
    Array,
    Bytes,
    Const,
    Int8ul,
    Int16ub,
    Int16ul,
    Int32ub,
    Int32ul,
    Int64ul,
    Padding,
    Struct,
)

from imgtool.disk.formats.image_file import ImageFile, escaped
from imgtool.disk.formats.source import Source, parse

DESCRIPTOR_OFFSET = 32768
DESCRIPTOR = Struct(
    "type" / Const(b"\1"),
    "id" / Const(b"CD001"),
    "version" / Const(b"\1"),
    Padding(1 + 32),
    "volume_id" / Bytes(32),
    Padding(8),
    "blocks" / Int32ul,
    "blocks_big" / Int32ub,
    Padding(32 + 8),
    "block_size" / Int16ul,
    "block_size_big" / Int16ub,
)
SECTOR = 512
MBR_TABLE = Struct(
    Padding(446),
    "entries"
    / Array(
        4,
        Struct(
            "active" / Int8ul, Padding(3), "type" / Int8ul, Padding(3), "start" / Int32ul, "count" / Int32ul
        ),
    ),
    "signature" / Const(b"\x55\xaa"),
)
GPT_PROTECTIVE = 0xEE
GPT_HEADER = Struct(
    "signature" / Const(b"EFI PART"),
    Padding(64),
    "entries_at" / Int64ul,
    "count" / Int32ul,
    "entry_size" / Int32ul,
)
GPT_ENTRY = Struct("type" / Bytes(16), "id" / Bytes(16), "first" / Int64ul, "last" / Int64ul)


def recognise(source: Source) -> ImageFile | None:
    """The file as an ISO 9660 image; None when it is none, or a disk that has remains of one."""
    volume = parse(DESCRIPTOR, source.head[DESCRIPTOR_OFFSET:])
    if volume is None or volume.blocks != volume.blocks_big or volume.block_size != volume.block_size_big:
        return None
    if volume.block_size not in {512, 1024, 2048} or not volume.blocks:
        return None
    partitions = list(_partitions(source))
    covered = any(first <= DESCRIPTOR_OFFSET // SECTOR <= last for first, last in partitions)
    # Some hybrid ISOs (SUSE's) have no partition over the descriptor, but like all of them fill the file.
    fills_the_file = volume.blocks * volume.block_size >= source.size * 0.9
    if partitions and not covered and not fills_the_file:
        return None
    label = escaped(volume.volume_id.rstrip(b" \0"), 32)
    return source.described(
        "iso",
        "hybrid" if partitions else None,
        virtual_size=source.size,
        features=(f"label={label}",) if label else (),
    )


def _partitions(source: Source) -> Iterator[tuple[int, int]]:
    """First and last sector of every partition, also of those that isohybrid gives the type 0."""
    table = parse(MBR_TABLE, source.head)
    if table is None or any(entry.active not in {0, 0x80} for entry in table.entries):
        return
    for entry in table.entries:
        if entry.count and entry.type != GPT_PROTECTIVE:
            yield entry.start, entry.start + entry.count - 1
    header = parse(GPT_HEADER, source.head[SECTOR:])
    if header is None or header.entry_size < 128:
        return
    for number in range(min(header.count, 128)):
        entry = parse(GPT_ENTRY, source.read(header.entries_at * SECTOR + number * header.entry_size, 48))
        if entry is not None and any(entry.type):
            yield entry.first, entry.last
