"""The MBR: what sfdisk writes is what is read, and what is no table is not taken for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.disk.blocks import RawBlocks
from imgtool.disk.mbr import boot_sector_of, read_mbr
from imgtool.disk.partitions import PartitionTable, read_partition_table
from tests.disk.made import MIB, mbr, sparse, tool, write
from tests.disk.test_blocks import Memory


def table(path: Path) -> PartitionTable:
    with RawBlocks(path) as blocks:
        return read_partition_table(blocks)


def checks(found: PartitionTable) -> list[str]:
    return [problem.check for problem in found.problems]


LOGICAL = """\
1 : start=2048,size=1M,type=83,bootable
2 : size=1M,type=82
4 : size=8M,type=5
5 : size=1M,type=83
6 : size=1M,type=82
7 : size=2M,type=8e
"""
CHAIN = "1 : start=2048,size=8M,type=5\n5 : size=1M,type=83\n6 : size=1M,type=83\n"


@pytest.mark.parametrize("script", ["2048,10M,83,*\n", "2048,1M,7\n,1M,c\n,1M,8e\n,,fd\n", LOGICAL])
def test_partitions_are_those_that_sfdisk_lists(script: str, tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", script)
    listed = json.loads(tool("sfdisk", "--json", path))["partitiontable"]["partitions"]
    found = table(path)
    assert (found.kind, found.sector_size, found.disk_id, found.problems) == ("mbr", 512, "abcd1234", ())
    assert [
        (int(row["node"][len(str(path)) :]), row["start"] * 512, row["size"] * 512, row["type"])
        for row in listed
    ] == [(part.number, part.start, part.length, part.type.lstrip("0")) for part in found.partitions]
    assert [part.active for part in found.partitions] == [bool(row.get("bootable")) for row in listed]
    assert [part.logical for part in found.partitions] == [part.number > 4 for part in found.partitions]
    assert [part.uuid for part in found.partitions] == [f"abcd1234-{p.number:02x}" for p in found.partitions]


def test_boot_code_is_seen_and_kept(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", "2048,,83\n")
    assert not table(path).boot_code
    write(path, 0, b"\xeb\x63\x90")
    found = table(path)
    assert found.boot_code
    assert found.boot_code_bytes == b"\xeb\x63\x90" + bytes(437)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (["mkfs.vfat", "-F", "12"], "vfat"),
        (["mkfs.vfat", "-F", "16"], "vfat"),
        (["mkfs.vfat", "-F", "32"], "vfat"),
        (["mkfs.ntfs", "-Q", "-F", "-q"], "ntfs"),
        (["mkfs.exfat"], "exfat"),
    ],
)
def test_a_filesystems_boot_sector_is_no_partition_table(make: list[str], name: str, tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", 40 * MIB)
    tool(*make, path)
    assert path.read_bytes()[510:512] == b"\x55\xaa"
    found = table(path)
    assert (found.kind, found.partitions, checks(found)) == ("none", (), ["no_table"])
    assert f"boot sector of a {name} filesystem" in found.problems[0].statement.en


def test_a_boot_sector_with_a_fat_in_front_and_a_real_table_is_a_table(tmp_path: Path) -> None:
    """Super-floppies made bootable from a partitioned stick carry both: the entries decide."""
    path = sparse(tmp_path / "disk", 40 * MIB)
    tool("mkfs.vfat", "-F", "16", path)
    entry = bytes.fromhex("80000000 0c000000 00080000 00080000")
    write(path, 446, entry + bytes(48))
    assert [part.type for part in table(path).partitions] == ["0c"]


def test_an_empty_disk_has_no_table(tmp_path: Path) -> None:
    found = table(sparse(tmp_path / "disk", MIB))
    assert (found.kind, checks(found)) == ("none", ["no_table"])
    assert found.problems[0].statement.en == "Sector 0 is empty."


def test_a_disk_smaller_than_a_sector_has_no_table(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"x")
    assert checks(table(path)) == ["no_table"]


def test_a_table_without_partitions_is_said_to_be_empty(tmp_path: Path) -> None:
    found = table(mbr(tmp_path / "disk", ""))
    assert (found.kind, checks(found)) == ("mbr", ["empty_table"])


def test_status_bytes_that_are_neither_00_nor_80_are_no_table(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", "2048,,83\n")
    write(path, 446 + 48, b"\x41")
    assert table(path).kind == "none"


EXTENDED = 2048 * 512  # where the chain of the disks below starts


def test_a_chain_of_logical_partitions_that_loops_ends(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", CHAIN)
    data = path.read_bytes()
    second = int.from_bytes(data[EXTENDED + 470 : EXTENDED + 474], "little")
    link = bytes.fromhex("00000000 05000000") + second.to_bytes(4, "little") + (2048).to_bytes(4, "little")
    write(path, EXTENDED + second * 512 + 462, link)
    found = table(path)
    assert "logical_loop" in checks(found)
    assert [part.number for part in found.partitions] == [1, 5, 6]


def test_a_chain_without_end_is_read_to_a_bound() -> None:
    data = bytearray(2 * MIB)
    data[446:462] = bytes.fromhex("00000000 05000000 01000000 00300100")
    data[510:512] = b"\x55\xaa"
    for number in range(1, 2000):
        at = number * 512
        data[at + 446 : at + 462] = bytes.fromhex("00000000 83000000 00400000 01000000")
        data[at + 462 : at + 478] = (
            bytes.fromhex("00000000 05000000") + number.to_bytes(4, "little") + b"\1\0\0\0"
        )
        data[at + 510 : at + 512] = b"\x55\xaa"
    found = read_partition_table(Memory(bytes(data)))
    assert "logical_too_many" in checks(found)
    assert len(found.partitions) == 1 + 256


def test_a_broken_record_in_the_chain_keeps_those_before_it(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", CHAIN)
    second = int.from_bytes(path.read_bytes()[EXTENDED + 470 : EXTENDED + 474], "little")
    write(path, EXTENDED + second * 512 + 510, b"\0\0")
    found = table(path)
    assert checks(found) == ["logical_chain"]
    assert [part.number for part in found.partitions] == [1, 5]


def test_only_a_whole_fat_parameter_block_is_a_fat() -> None:
    assert boot_sector_of(bytes(512)) == ""
    assert boot_sector_of(b"\xeb\x3c\x90mkfs.fat" + bytes(501)) == ""


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("mbr")
    return [mbr(folder / "logical", LOGICAL, 12 * MIB).read_bytes()]


@settings(max_examples=60)
@given(st.data())
def test_any_damage_gives_a_table_or_problems_never_an_error(disks: list[bytes], data: st.DataObject) -> None:
    disk = bytearray(data.draw(st.sampled_from(disks)))
    records = [
        offset for offset in range(0, len(disk), 512) if disk[offset + 510 : offset + 512] == b"\x55\xaa"
    ]
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.sampled_from(records)) + data.draw(st.integers(440, 511))
        disk[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.sampled_from([len(disk), 5 * MIB, 3000, 512, 100]))
    under = Memory(bytes(disk[:end]))
    found = read_partition_table(under)
    assert len(found.partitions) <= 260
    assert len(under.reads) <= 300


@settings(max_examples=200)
@given(st.binary(min_size=512, max_size=512))
def test_any_sector_is_a_table_or_not(sector: bytes) -> None:
    for data in (sector, sector[:510] + b"\x55\xaa"):
        found = read_mbr(data)
        assert found is None or len(found.partitions) <= 4
