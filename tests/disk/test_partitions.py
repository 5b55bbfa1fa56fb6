"""Partitions against the disk and against each other."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from imgtool.disk.blocks import RawBlocks
from imgtool.disk.partitions import PartitionTable, read_partition_table
from tests.disk.made import MIB, mbr, write
from tests.disk.test_blocks import Memory

LOGICAL = """\
1 : start=2048,size=10M,type=83
2 : size=40M,type=5
5 : size=5M,type=83
6 : size=5M,type=83
"""


def table(path: Path) -> PartitionTable:
    with RawBlocks(path) as blocks:
        return read_partition_table(blocks)


def checks(found: PartitionTable) -> list[str]:
    return [problem.check for problem in found.problems]


def entry(kind: int, first: int, count: int) -> bytes:
    return struct.pack("<B3sB3sII", 0, b"", kind, b"", first, count)


def test_a_dd_with_too_small_a_count_leaves_a_partition_past_the_end(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", "2048,20M,83\n,30M,83\n")
    os.truncate(path, 40 * MIB)
    found = table(path)
    assert checks(found) == ["past_end"]
    assert f"{51 * MIB - 40 * MIB} bytes past the end" in found.problems[0].statement.en


def test_a_partition_that_ends_with_the_disk_is_within_it(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", "2048,,83\n")
    assert table(path).partitions[0].end == path.stat().st_size
    assert checks(table(path)) == []


def test_a_disk_that_does_not_end_on_a_sector_is_read_all_the_same(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", "2048,20M,83\n")
    os.truncate(path, 30 * MIB + 7)
    assert checks(table(path)) == []


def test_overlapping_partitions_are_named_in_pairs(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", "2048,20M,83\n,20M,83\n")
    write(path, 446 + 16, entry(0x83, 30000, 2048))
    found = table(path)
    assert checks(found) == ["overlap"]
    assert "Partitions 1 and 2 overlap" in found.problems[0].statement.en


def test_a_partition_inside_another_is_an_overlap_also_behind_a_third(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", "2048,50M,83\n")
    write(path, 446 + 16, entry(0x83, 4096, 100) + entry(0x83, 80000, 100))
    assert checks(table(path)) == ["overlap", "overlap"]


def test_logical_partitions_do_not_overlap_their_extended_one(tmp_path: Path) -> None:
    assert checks(table(mbr(tmp_path / "disk", LOGICAL))) == []


def test_a_primary_partition_over_the_extended_one_is_an_overlap(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", LOGICAL)
    write(path, 446 + 32, entry(0x83, 2048 + 12 * 2048, 100))
    assert "overlap" in checks(table(path))


def test_a_hybrid_isos_partitions_over_one_another_are_as_they_should_be() -> None:
    disk = bytearray(4 * MIB)
    disk[446:478] = entry(0x17, 0, 8000) + entry(0xEF, 200, 1000)
    disk[510:512] = b"\x55\xaa"
    assert checks(read_partition_table(Memory(bytes(disk)))) == []


def test_problems_of_one_kind_are_bounded() -> None:
    import zlib

    from tests.disk.test_gpt import resealed

    size = 8 * MIB
    last = size // 512 - 1
    disk = bytearray(size)
    disk[446:462] = entry(0xEE, 1, last)
    disk[510:512] = b"\x55\xaa"
    one = bytes(range(1, 17)) * 2 + struct.pack("<QQQ", 1 << 40, 1 << 41, 0) + bytes(72)
    entries = one * 4096
    disk[1024 : 1024 + len(entries)] = entries
    disk[512:604] = struct.pack(
        "<8sIIIIQQQQ16sQIII",
        b"EFI PART",
        0x10000,
        92,
        0,
        0,
        1,
        last,
        34,
        last - 34,
        b"x" * 16,
        2,
        4096,
        128,
        zlib.crc32(entries),
    )
    found = read_partition_table(Memory(resealed(bytes(disk), {})))
    assert len(found.partitions) == 4096
    assert len(found.problems) < 50
