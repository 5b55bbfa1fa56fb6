"""The partition table of a disk: MBR with logical partitions, GPT, or none."""

from __future__ import annotations

from typing import Literal

from imgtool.disk.blocks import Blocks
from imgtool.records import dataclass
from imgtool.text import Text

SECTOR = 512
BOOT_CODE = 440  # bytes of sector 0 before the disk identifier
PROBLEMS_OF_A_KIND = 16  # named one by one; a hostile table could have millions


@dataclass(frozen=True)
class Partition:
    """One partition. start and length in bytes, as the table says them, even past the end of the disk.

    number: as Linux numbers it (logical ones from 5). type: two hex digits (MBR) or a lower-case GUID.
    uuid: PARTUUID as Linux says it, "" if none.
    """

    number: int
    start: int
    length: int
    type: str
    active: bool
    name: str
    uuid: str
    logical: bool

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.start + self.length

    @property
    def extended(self) -> bool:
        """A primary MBR partition that only holds logical ones."""
        return self.type in EXTENDED and not self.logical


EXTENDED = ("05", "0f", "85")


@dataclass(frozen=True)
class Problem:
    """Something wrong with a table; `check` is its stable name, such as gpt_header_crc or overlap."""

    check: str
    statement: Text


@dataclass(frozen=True)
class PartitionTable:
    """What the table says, and what is wrong with it.

    sector_size: bytes; the unit that the table counts in. hybrid: a GPT whose MBR lists partitions too.
    disk_id: MBR signature as 8 hex digits or the GPT's disk GUID, "" if none. boot_code: sector 0 holds some.
    """

    kind: Literal["mbr", "gpt", "none"]
    sector_size: int
    partitions: tuple[Partition, ...]
    problems: tuple[Problem, ...]
    hybrid: bool
    disk_id: str
    boot_code: bool
    boot_code_bytes: bytes


def read_partition_table(blocks: Blocks) -> PartitionTable:
    """Read the table as Linux and UEFI would, with what they would refuse or warn of as problems.

    A GPT counts when the MBR announces it (a partition of type ee) or holds nothing else; UEFI specification
    2.10, 5.2 and 5.3; Linux block/partitions/{msdos,efi}.c. Raises ReadFailed for sector 0.
    """
    from imgtool.disk.gpt import read_gpt
    from imgtool.disk.mbr import read_logical, read_mbr

    first = blocks.read(0, min(SECTOR, blocks.size)).ljust(SECTOR, b"\0")
    boot_code = first[:BOOT_CODE]
    mbr = read_mbr(first)
    listed = mbr.partitions if mbr else ()
    announced = any(partition.type == "ee" for partition in listed)
    ordinary = [partition for partition in listed if partition.type != "ee"]
    gpt = read_gpt(blocks) if announced or not ordinary else None
    if gpt is not None and (gpt.usable or announced):
        problems = [*gpt.problems, *_protective(announced, listed, gpt.sector_size)]
        if ordinary:
            problems += _hybrid(ordinary, gpt.partitions)
        return PartitionTable(
            kind="gpt",
            sector_size=gpt.sector_size,
            partitions=gpt.partitions,
            problems=(*problems, *_bounds(blocks.size, gpt.partitions)),
            hybrid=announced and bool(ordinary),
            disk_id=gpt.disk_id,
            boot_code=any(boot_code),
            boot_code_bytes=boot_code,
        )
    if mbr is None:
        return PartitionTable(
            kind="none",
            sector_size=SECTOR,
            partitions=(),
            problems=(*(gpt.problems if gpt else ()), _no_table(first)),
            hybrid=False,
            disk_id="",
            boot_code=any(boot_code),
            boot_code_bytes=boot_code,
        )
    logical, chain = read_logical(blocks, mbr)
    partitions = (*listed, *logical)
    problems = [*chain, *_bounds(blocks.size, partitions)]
    if announced and not ordinary:
        problems.append(
            Problem(
                "gpt_missing",
                Text(
                    en="The MBR announces a GPT (type ee), and there is no GPT header, neither at the start"
                    " nor at the end of the disk.",
                    zh="MBR 声明存在 GPT（类型 ee），但磁盘开头和末尾都没有 GPT 头。",
                ),
            )
        )
    elif not partitions:
        problems.append(
            Problem(
                "empty_table",
                Text(en="The partition table lists no partition.", zh="分区表中没有任何分区。"),
            )
        )
    return PartitionTable(
        kind="mbr",
        sector_size=SECTOR,
        partitions=partitions,
        problems=tuple(problems),
        hybrid=False,
        disk_id=mbr.disk_id,
        boot_code=any(boot_code),
        boot_code_bytes=boot_code,
    )


def _no_table(first: bytes) -> Problem:
    from imgtool.disk.mbr import boot_sector_of

    filesystem = boot_sector_of(first)
    if filesystem:
        statement = Text(
            en=f"Sector 0 is the boot sector of a {filesystem} filesystem, not a partition table.",
            zh=f"0 号扇区是 {filesystem} 文件系统的引导扇区，而不是分区表。",
        )
    elif not any(first):
        statement = Text(en="Sector 0 is empty.", zh="0 号扇区为空。")
    elif first[510:] != b"\x55\xaa":
        statement = Text(
            en="Sector 0 has no boot signature (55 AA) and there is no GPT.",
            zh="0 号扇区没有引导签名（55 AA），也没有 GPT。",
        )
    else:
        statement = Text(
            en="Sector 0 has a boot signature, but what should be its partition table is something else.",
            zh="0 号扇区有引导签名，但分区表位置上的内容不是分区表。",
        )
    return Problem("no_table", statement)


def _protective(announced: bool, listed: tuple[Partition, ...], sector_size: int) -> list[Problem]:
    """What keeps Linux (is_pmbr_valid) and UEFI firmware from looking at a GPT."""
    if not announced:
        return [
            Problem(
                "protective_mbr_missing",
                Text(
                    en="There is a GPT, but no protective MBR (a partition of type ee): Linux and UEFI ignore"
                    " the GPT.",
                    zh="存在 GPT，但没有保护性 MBR（类型为 ee 的分区）：Linux 和 UEFI 会忽略该 GPT。",
                ),
            )
        ]
    if all(partition.start != SECTOR for partition in listed if partition.type == "ee"):
        return [
            Problem(
                "protective_mbr_start",
                Text(
                    en="The protective MBR partition (type ee) does not start at sector 1: Linux ignores the"
                    " GPT.",
                    zh="保护性 MBR 分区（类型 ee）不是从 1 号扇区开始：Linux 会忽略该 GPT。",
                ),
            )
        ]
    return []


def _hybrid(ordinary: list[Partition], partitions: tuple[Partition, ...]) -> list[Problem]:
    """Partitions of a hybrid MBR that the GPT does not have."""
    known = {partition.start for partition in partitions}
    return [
        Problem(
            "hybrid_mismatch",
            Text(
                en=f"The hybrid MBR has a partition of type {partition.type} at byte {partition.start} that"
                " the GPT does not have.",
                zh=f"混合 MBR 中有一个位于字节 {partition.start}、类型为 {partition.type} 的分区，"
                "GPT 中没有。",
            ),
        )
        for partition in ordinary
        if partition.start not in known
    ]


def _bounds(size: int, partitions: tuple[Partition, ...]) -> list[Problem]:
    """Partitions past the end of the disk (`size` bytes), without length, or over one another."""
    empty = [_zero_length(partition) for partition in partitions if not partition.length]
    past = [
        _past_end(partition, size) for partition in partitions if partition.length and partition.end > size
    ]
    # the partition of a hybrid ISO starts at 0 and covers the disk, its ESP included, by design
    lying = [partition for partition in partitions if partition.length and partition.start]
    over = _overlaps([partition for partition in lying if not partition.extended])
    if any(partition.extended for partition in lying):  # holds the logical ones, and nothing else
        primary = _overlaps([partition for partition in lying if not partition.logical])
        over += [problem for problem in primary if problem not in over]
    return [*empty[:PROBLEMS_OF_A_KIND], *past[:PROBLEMS_OF_A_KIND], *over[:PROBLEMS_OF_A_KIND]]


def _overlaps(partitions: list[Partition]) -> list[Problem]:
    found = []
    previous: Partition | None = None
    for partition in sorted(partitions, key=lambda partition: partition.start):
        if previous is not None and partition.start < previous.end:
            found.append(_overlap(previous, partition))
        if previous is None or partition.end > previous.end:
            previous = partition
    return found


def _zero_length(partition: Partition) -> Problem:
    return Problem(
        "zero_length",
        Text(
            en=f"Partition {partition.number} has no length.",
            zh=f"分区 {partition.number} 的长度为零。",
        ),
    )


def _past_end(partition: Partition, size: int) -> Problem:
    return Problem(
        "past_end",
        Text(
            en=f"Partition {partition.number} ends at byte {partition.end}, {partition.end - size} bytes past"
            f" the end of the disk ({size} bytes).",
            zh=f"分区 {partition.number} 结束于字节 {partition.end}，超出磁盘末尾（{size} 字节）"
            f" {partition.end - size} 字节。",
        ),
    )


def _overlap(one: Partition, other: Partition) -> Problem:
    return Problem(
        "overlap",
        Text(
            en=f"Partitions {one.number} and {other.number} overlap: partition {other.number} starts at byte"
            f" {other.start}, partition {one.number} ends at byte {one.end}.",
            zh=f"分区 {one.number} 与分区 {other.number} 重叠：分区 {other.number} 起始于字节 {other.start}，"
            f"而分区 {one.number} 结束于字节 {one.end}。",
        ),
    )
