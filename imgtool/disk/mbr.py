"""The master boot record and its chain of logical partitions."""

from __future__ import annotations

from construct import Array, Bytes, Const, Int8ul, Int16ul, Int32ul, Struct

from imgtool.disk.blocks import Blocks, ReadFailed
from imgtool.disk.partitions import EXTENDED, SECTOR, Partition, Problem
from imgtool.records import dataclass
from imgtool.text import Text

LONGEST_CHAIN = 256  # logical partitions; Linux stops at 100
SIGNATURE = b"\x55\xaa"

ENTRY = Struct(
    "status" / Int8ul,
    "first_chs" / Bytes(3),
    "type" / Int8ul,
    "last_chs" / Bytes(3),
    "first" / Int32ul,  # sectors
    "count" / Int32ul,  # sectors
)
BOOT_RECORD = Struct(
    "boot_code" / Bytes(440),
    "disk_id" / Int32ul,
    "reserved" / Int16ul,
    "entries" / Array(4, ENTRY),
    "signature" / Const(SIGNATURE),
)


@dataclass(frozen=True)
class Mbr:
    """The primary partitions; disk_id: 8 hex digits, "" when zero."""

    disk_id: str
    partitions: tuple[Partition, ...]


def read_mbr(sector: bytes) -> Mbr | None:
    """The table in sector 0 (512 bytes), or None when what is there is no table.

    A FAT or NTFS boot sector has the same signature; its code is not read as partitions: every status byte of
    a table is 00 or 80, and where a filesystem's parameters are valid, so must the table's entries be.
    """
    if sector[510:512] != SIGNATURE or any(sector[offset] & 0x7F for offset in range(446, 510, 16)):
        return None
    record = BOOT_RECORD.parse(sector)
    used = [(number, entry) for number, entry in enumerate(record.entries, 1) if entry.type]
    if boot_sector_of(sector) and (not used or any(not (entry.first and entry.count) for _, entry in used)):
        return None
    disk_id = f"{record.disk_id:08x}" if record.disk_id else ""
    return Mbr(disk_id, tuple(_partition(number, entry, 0, disk_id, logical=False) for number, entry in used))


def boot_sector_of(sector: bytes) -> str:
    """The filesystem whose boot sector this is (`vfat`, `ntfs`, `exfat`, `BitLocker`), "" for none."""
    known = {b"NTFS    ": "ntfs", b"EXFAT   ": "exfat", b"-FVE-FS-": "BitLocker"}.get(sector[3:11])
    if known:
        return known
    sector_size = int.from_bytes(sector[11:13], "little")
    per_cluster, reserved, tables, media = sector[13], sector[14] | sector[15] << 8, sector[16], sector[21]
    is_fat = (
        sector_size in (512, 1024, 2048, 4096)
        and per_cluster
        and not per_cluster & (per_cluster - 1)
        and reserved
        and tables in (1, 2)
        and (media == 0xF0 or media >= 0xF8)
    )
    return "vfat" if is_fat else ""


def _partition(number: int, entry: object, base: int, disk_id: str, *, logical: bool) -> Partition:
    """base: the sector that the entry's first sector counts from."""
    first, count, kind, status = (getattr(entry, name) for name in ("first", "count", "type", "status"))
    return Partition(
        number=number,
        start=(base + first) * SECTOR,
        length=count * SECTOR,
        type=f"{kind:02x}",
        active=bool(status & 0x80),
        name="",
        uuid=f"{disk_id}-{number:02x}" if disk_id else "",
        logical=logical,
    )


def read_logical(blocks: Blocks, mbr: Mbr) -> tuple[tuple[Partition, ...], tuple[Problem, ...]]:
    """The logical partitions, numbered from 5, and what is wrong with the chain that lists them."""
    found: list[Partition] = []
    for extended in mbr.partitions:
        if extended.type not in EXTENDED or not extended.length:
            continue
        base = extended.start // SECTOR
        position: int | None = base
        seen: set[int] = set()
        while position is not None:
            if position in seen:
                return tuple(found), (_chain_loops(position),)
            if len(seen) == LONGEST_CHAIN:
                return tuple(found), (_chain_too_long(),)
            seen.add(position)
            try:
                sector = blocks.read(position * SECTOR, SECTOR)
            except ReadFailed:
                where = ("logical_unreadable", position)
                return tuple(found), (_chain_broken(*where, "it can't be read", "无法读取"),)
            if sector[510:] != SIGNATURE:
                where = ("logical_chain", position)
                return tuple(found), (_chain_broken(*where, "it has no signature 55 AA", "缺少签名 55 AA"),)
            entries = BOOT_RECORD.parse(sector).entries
            data = [entry for entry in entries[:2] if entry.count and f"{entry.type:02x}" not in EXTENDED]
            links = [entry for entry in entries[:2] if entry.count and f"{entry.type:02x}" in EXTENDED]
            if data and data[0].type:
                number = 5 + len(found)
                found.append(_partition(number, data[0], position, mbr.disk_id, logical=True))
            position = base + links[0].first if links else None
        break  # Linux and Windows know one extended partition
    return tuple(found), ()


def _chain_loops(position: int) -> Problem:
    return Problem(
        "logical_loop",
        Text(
            en=f"The chain of logical partitions returns to sector {position}.",
            zh=f"逻辑分区链回到了 {position} 号扇区，形成循环。",
        ),
    )


def _chain_too_long() -> Problem:
    return Problem(
        "logical_too_many",
        Text(
            en=f"There are more than {LONGEST_CHAIN} logical partitions; the rest was not read.",
            zh=f"逻辑分区超过 {LONGEST_CHAIN} 个，其余未读取。",
        ),
    )


def _chain_broken(check: str, position: int, why: str, why_zh: str) -> Problem:
    return Problem(
        check,
        Text(
            en=f"The record of a logical partition at sector {position} is broken: {why}.",
            zh=f"位于 {position} 号扇区的逻辑分区记录已损坏：{why_zh}。",
        ),
    )
