"""The GUID partition table: both headers, their checksums, and the entries (UEFI specification 2.10, 5.3)."""

from __future__ import annotations

import zlib
from typing import Any

from construct import Bytes, Const, Int32ul, Int64ul, Struct

from imgtool.disk.blocks import Blocks, ReadFailed
from imgtool.disk.partitions import Partition, Problem
from imgtool.records import dataclass
from imgtool.text import Text

SIGNATURE = b"EFI PART"
SECTOR_SIZES = (512, 4096)
LARGEST_ENTRIES = 1024 * 1024  # bytes of one entry array; 128 entries, the usual table, take 16 KiB

HEADER = Struct(
    "signature" / Const(SIGNATURE),
    "revision" / Int32ul,
    "header_size" / Int32ul,
    "header_crc" / Int32ul,
    "reserved" / Int32ul,
    "own_sector" / Int64ul,
    "other_sector" / Int64ul,
    "first_usable" / Int64ul,
    "last_usable" / Int64ul,
    "disk_guid" / Bytes(16),
    "entries_sector" / Int64ul,
    "entry_count" / Int32ul,
    "entry_size" / Int32ul,
    "entries_crc" / Int32ul,
)
HEADER_SIZE = 92
ENTRY = Struct(
    "type" / Bytes(16),
    "guid" / Bytes(16),
    "first" / Int64ul,
    "last" / Int64ul,
    "attributes" / Int64ul,
    "name" / Bytes(72),
)
ENTRY_SIZE = 128
LEGACY_BOOT = 1 << 2  # attribute: a BIOS boots from here


@dataclass(frozen=True)
class Gpt:
    """The partitions of the table in use. usable: one header and its entries are whole."""

    sector_size: int
    usable: bool
    disk_id: str
    partitions: tuple[Partition, ...]
    problems: tuple[Problem, ...]


class _Broken(Exception):
    def __init__(self, check: str, en: str, zh: str) -> None:
        super().__init__(en)
        self.check = check
        self.en = en
        self.zh = zh


def guid(data: bytes) -> str:
    """A GUID of 16 bytes, mixed-endian as GPT has it, in lower case."""
    a, b, c = (data[start:end][::-1].hex() for start, end in ((0, 4), (4, 6), (6, 8)))
    return f"{a}-{b}-{c}-{data[8:10].hex()}-{data[10:].hex()}"


def read_gpt(blocks: Blocks) -> Gpt | None:
    """The GPT of a disk, None when neither end of the disk has a header.

    The primary table counts, and where it is broken the backup; whatever is wrong with either is a problem.
    """
    size = next((size for size in SECTOR_SIZES if _signed(blocks, size, 1)), 0)
    if not size:
        size = next((size for size in SECTOR_SIZES if _signed(blocks, size, blocks.size // size - 1)), 0)
    if not size:
        return None
    problems: list[Problem] = []
    if size != 512:
        problems.append(_large_sectors(size))
    primary = backup = None
    last = blocks.size // size - 1
    try:
        primary = _table(blocks, size, 1)
    except _Broken as broken:
        problems.append(_problem("gpt_primary", "primary", "主", broken))
    where = primary[0].other_sector if primary else last
    try:
        backup = _table(blocks, size, where)
        if primary and guid(backup[0].disk_guid) != guid(primary[0].disk_guid):
            raise _Broken("differs", "it belongs to another disk", "它属于另一块磁盘")
    except _Broken as broken:
        problems.append(_problem("gpt_backup", "backup", "备份", broken))
    if primary and backup:
        if primary[1] != backup[1]:
            problems.append(_entries_differ())
        if where != last:
            problems.append(_backup_elsewhere(where, last))
    chosen = primary or backup
    if chosen is None:
        return Gpt(size, False, "", (), tuple(problems))
    header, entries = chosen
    return Gpt(size, True, guid(header.disk_guid), _partitions(header, entries, size), tuple(problems))


def _signed(blocks: Blocks, sector_size: int, sector: int) -> bool:
    if sector < 1 or (sector + 1) * sector_size > blocks.size:
        return False
    try:
        return blocks.read(sector * sector_size, 8) == SIGNATURE
    except ReadFailed:
        return False


def _table(blocks: Blocks, sector_size: int, sector: int) -> tuple[Any, bytes]:
    """A header and its entry array, both checked. Raises _Broken."""
    if sector < 1 or (sector + 1) * sector_size > blocks.size:
        raise _Broken("missing", f"sector {sector} lies outside the disk", f"{sector} 号扇区在磁盘之外")
    try:
        data = blocks.read(sector * sector_size, sector_size)
    except ReadFailed as error:
        raise _Broken("missing", f"sector {sector} can't be read", f"无法读取 {sector} 号扇区") from error
    if data[:8] != SIGNATURE:
        raise _Broken("missing", f"there is none at sector {sector}", f"{sector} 号扇区处没有")
    header = HEADER.parse(data)
    if not HEADER_SIZE <= header.header_size <= sector_size:
        size = header.header_size
        raise _Broken("header_size", f"its header has an impossible size, {size}", f"头大小 {size} 不合理")
    if zlib.crc32(data[:16] + bytes(4) + data[20 : header.header_size]) != header.header_crc:
        raise _Broken("header_crc", "the checksum of its header is wrong", "头的校验和错误")
    if header.own_sector != sector:
        own = header.own_sector
        raise _Broken("sector", f"it says that it lies at sector {own}", f"其记录的自身位置为 {own} 号扇区")
    return header, _entries(blocks, header, sector_size)


def _entries(blocks: Blocks, header: Any, sector_size: int) -> bytes:
    count, size = header.entry_count, header.entry_size
    if size != ENTRY_SIZE or not 0 < count * size <= LARGEST_ENTRIES:  # Linux takes 128 only, too
        raise _Broken(
            "entries_size",
            f"it claims {count} entries of {size} bytes",
            f"声称有 {count} 个 {size} 字节的表项",
        )
    try:
        entries = blocks.read(header.entries_sector * sector_size, count * size)
    except ReadFailed as error:
        raise _Broken("entries_missing", "its entries lie outside the disk", "表项位于磁盘之外") from error
    if zlib.crc32(entries) != header.entries_crc:
        raise _Broken("entries_crc", "the checksum of its entries is wrong", "表项的校验和错误")
    return entries


def _partitions(header: Any, entries: bytes, sector_size: int) -> tuple[Partition, ...]:
    found = []
    for index in range(header.entry_count):
        data = entries[index * ENTRY_SIZE : (index + 1) * ENTRY_SIZE]
        if not any(data[:16]):
            continue
        entry = ENTRY.parse(data)
        found.append(
            Partition(
                number=index + 1,
                start=entry.first * sector_size,
                length=max(entry.last + 1 - entry.first, 0) * sector_size,
                type=guid(entry.type),
                active=bool(entry.attributes & LEGACY_BOOT),
                name=entry.name.decode("utf-16-le", "replace").split("\0")[0],
                uuid=guid(entry.guid),
                logical=False,
            )
        )
    return tuple(found)


def _problem(prefix: str, which: str, which_zh: str, broken: _Broken) -> Problem:
    return Problem(
        f"{prefix}_{broken.check}",
        Text(en=f"The {which} GPT is not usable: {broken.en}.", zh=f"{which_zh} GPT 不可用：{broken.zh}。"),
    )


def _large_sectors(size: int) -> Problem:
    return Problem(
        "gpt_sector_size",
        Text(
            en=f"The GPT was made for a disk with sectors of {size} bytes. A disk with 512-byte sectors,"
            " which is what a virtual machine gets, looks for it in another place and finds nothing.",
            zh=f"该 GPT 是为扇区大小 {size} 字节的磁盘创建的。虚拟机的磁盘扇区为 512 字节，会到别处寻找 GPT，"
            "因而找不到任何分区。",
        ),
    )


def _entries_differ() -> Problem:
    return Problem(
        "gpt_backup_differs",
        Text(
            en="The backup GPT lists other partitions than the primary one.",
            zh="备份 GPT 与主 GPT 中的分区不一致。",
        ),
    )


def _backup_elsewhere(where: int, last: int) -> Problem:
    return Problem(
        "gpt_backup_not_at_end",
        Text(
            en=f"The backup GPT lies at sector {where}, not at the end of the disk (sector {last}): the"
            " disk was enlarged after it was partitioned.",
            zh=f"备份 GPT 位于 {where} 号扇区，而不在磁盘末尾（{last} 号扇区）：磁盘在分区之后被扩大过。",
        ),
    )
