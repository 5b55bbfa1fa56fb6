"""The GPT: both copies, their checksums, 4096-byte sectors, and tables that lie about their size."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.disk.blocks import RawBlocks
from imgtool.disk.partitions import PartitionTable, read_partition_table
from tests.disk.made import MIB, gpt, sparse, tool, write
from tests.disk.test_blocks import Memory

SCRIPT = (
    "start=2048,size=1M,type=21686148-6449-6E6F-744E-656564454649\n"
    'size=2M,type=U,name="EFI System"\n'
    'size=8M,type=L,name="root é"\n'
)
SIZE = 16 * MIB
LAST = SIZE // 512 - 1


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return gpt(tmp_path_factory.mktemp("gpt") / "disk", SCRIPT, SIZE).read_bytes()


def table(data: bytes) -> PartitionTable:
    return read_partition_table(Memory(data))


def checks(found: PartitionTable) -> list[str]:
    return [problem.check for problem in found.problems]


def resealed(data: bytes, changes: dict[int, bytes], sector: int = 1) -> bytes:
    """A disk with changes to a GPT header (by offset in it) whose checksum is right again."""
    disk = bytearray(data)
    at = sector * 512
    for offset, value in changes.items():
        disk[at + offset : at + offset + len(value)] = value
    disk[at + 16 : at + 20] = bytes(4)
    disk[at + 16 : at + 20] = zlib.crc32(disk[at : at + 92]).to_bytes(4, "little")
    return bytes(disk)


def test_partitions_are_those_that_sfdisk_lists(tmp_path: Path) -> None:
    path = gpt(tmp_path / "disk", SCRIPT)
    listed = json.loads(tool("sfdisk", "--json", path))["partitiontable"]
    with RawBlocks(path) as blocks:
        found = read_partition_table(blocks)
    assert (found.kind, found.sector_size, found.problems, found.hybrid) == ("gpt", 512, (), False)
    assert found.disk_id == listed["id"].lower()
    assert [
        (row["start"] * 512, row["size"] * 512, row["type"].lower(), row["uuid"].lower(), row.get("name", ""))
        for row in listed["partitions"]
    ] == [(part.start, part.length, part.type, part.uuid, part.name) for part in found.partitions]
    assert [part.number for part in found.partitions] == [1, 2, 3]


def test_legacy_boot_is_active_and_numbers_may_have_gaps(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", SIZE)
    tool("sgdisk", "-o", "-n", "3:0:+1M", "-n", "9:0:+1M", "-A", "9:set:2", path)
    with RawBlocks(path) as blocks:
        found = read_partition_table(blocks)
    assert [(part.number, part.active) for part in found.partitions] == [(3, False), (9, True)]


def test_a_broken_primary_is_named_and_the_backup_gives_the_partitions(good: bytes) -> None:
    for offset, check in [
        (512, "gpt_primary_missing"),
        (512 + 40, "gpt_primary_header_crc"),
        (1024, "gpt_primary_entries_crc"),
    ]:
        disk = bytearray(good)
        disk[offset] ^= 0xFF
        found = table(bytes(disk))
        assert checks(found) == [check]
        assert [part.name for part in found.partitions] == ["", "EFI System", "root é"]


def test_a_broken_backup_is_named_and_the_primary_counts(good: bytes) -> None:
    for offset, check in [
        (LAST * 512, "gpt_backup_missing"),
        (LAST * 512 + 40, "gpt_backup_header_crc"),
        ((LAST - 32) * 512, "gpt_backup_entries_crc"),
    ]:
        disk = bytearray(good)
        disk[offset] ^= 0xFF
        assert checks(table(bytes(disk))) == [check]
        assert len(table(bytes(disk)).partitions) == 3


def test_both_broken_is_a_gpt_without_partitions(good: bytes) -> None:
    disk = bytearray(good)
    disk[600] ^= 1
    disk[LAST * 512 + 88] ^= 1
    found = table(bytes(disk))
    assert (found.kind, found.partitions) == ("gpt", ())
    assert checks(found) == ["gpt_primary_header_crc", "gpt_backup_header_crc"]


def test_an_enlarged_disk_has_its_backup_elsewhere(good: bytes) -> None:
    assert checks(table(good + bytes(MIB))) == ["gpt_backup_not_at_end"]


def test_a_disk_cut_short_lacks_its_backup_and_the_end_of_its_last_partition(good: bytes) -> None:
    assert checks(table(good[: 9 * MIB])) == ["gpt_backup_missing", "past_end"]


def test_a_gpt_that_no_mbr_announces_is_named(good: bytes) -> None:
    assert checks(table(bytes(512) + good[512:])) == ["protective_mbr_missing"]


def test_a_protective_partition_elsewhere_is_named(good: bytes) -> None:
    disk = bytearray(good)
    disk[454] = 9
    assert checks(table(bytes(disk))) == ["protective_mbr_start"]


def test_an_announced_gpt_that_is_not_there_is_named(good: bytes) -> None:
    found = table(good[:512] + bytes(SIZE - 512))
    assert checks(found) == ["gpt_missing"]


def test_a_left_over_gpt_behind_a_real_mbr_does_not_count(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(good)
    entry = bytes.fromhex("80000000 83000000 00080000 00080000")
    write(path, 446, entry + bytes(48))
    found = table(path.read_bytes())
    assert (found.kind, [part.type for part in found.partitions], checks(found)) == ("mbr", ["83"], [])


def test_a_hybrid_mbr_is_a_gpt_with_partitions_in_its_mbr(good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(good)
    tool("sgdisk", "-h", "2:3", path)
    found = table(path.read_bytes())
    assert (found.kind, found.hybrid, checks(found)) == ("gpt", True, [])
    tool("sgdisk", "-d", "3", path)
    tool("sgdisk", "-n", "3:20000:+1M", path)
    disk = bytearray(path.read_bytes())
    disk[446:512] = good[446:512]
    disk[462:478] = bytes.fromhex("00000000 83000000 00080000 00080000")
    disk[470:474] = (77777).to_bytes(4, "little")
    found = table(bytes(disk))
    assert found.hybrid
    assert "hybrid_mismatch" in checks(found)


def large_sectors(size: int = SIZE) -> bytes:
    """A GPT for 4096-byte sectors, which no tool writes into a plain file: header, entries, both copies."""
    disk = bytearray(size)
    last = size // 4096 - 1
    disk[446:462] = bytes.fromhex("00000200 eeffffff 01000000") + last.to_bytes(4, "little")
    disk[510:512] = b"\x55\xaa"
    kind = bytes.fromhex("af3dc60f 8384 7247 8e79 3d69d8477de4")
    name = "root".encode("utf-16-le").ljust(72, b"\0")
    span = (256).to_bytes(8, "little") + (511).to_bytes(8, "little") + bytes(8)
    entries = (kind + bytes(range(16)) + span + name).ljust(128 * 128, b"\0")
    for own, other, at in ((1, last, 2), (last, 1, last - 4)):
        numbers = [own, other, 6, last - 5]
        header = b"EFI PART" + bytes.fromhex("00000100 5c000000 00000000 00000000")
        header += b"".join(number.to_bytes(8, "little") for number in numbers) + bytes(range(16))
        header += at.to_bytes(8, "little") + b"".join(
            n.to_bytes(4, "little") for n in (128, 128, zlib.crc32(entries))
        )
        header = header[:16] + zlib.crc32(header).to_bytes(4, "little") + header[20:]
        disk[own * 4096 : own * 4096 + 92] = header
        disk[at * 4096 : at * 4096 + len(entries)] = entries
    return bytes(disk)


def test_a_gpt_for_4096_byte_sectors_is_read_and_named() -> None:
    found = table(large_sectors())
    assert (found.kind, found.sector_size, checks(found)) == ("gpt", 4096, ["gpt_sector_size"])
    assert [(part.start, part.length, part.name) for part in found.partitions] == [(MIB, MIB, "root")]


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({80: b"\xff\xff\xff\xff"}, "gpt_primary_entries_size"),
        ({84: (1 << 31).to_bytes(4, "little")}, "gpt_primary_entries_size"),
        ({84: bytes(4)}, "gpt_primary_entries_size"),
        ({80: bytes(4)}, "gpt_primary_entries_size"),
        ({72: b"\xff" * 8}, "gpt_primary_entries_missing"),
        ({24: (5).to_bytes(8, "little")}, "gpt_primary_sector"),
    ],
)
def test_a_header_that_lies_is_a_problem_not_memory(
    good: bytes, changes: dict[int, bytes], check: str
) -> None:
    under = Memory(resealed(good, changes))
    found = read_partition_table(under)
    assert check in checks(found)
    assert len(found.partitions) == 3
    assert sum(length for _, length in under.reads) < 2 * MIB


@pytest.mark.parametrize("size", [0, 91, 513, 0xFFFFFFFF])
def test_an_impossible_header_size_is_a_problem(good: bytes, size: int) -> None:
    disk = bytearray(good)
    disk[512 + 12 : 512 + 16] = size.to_bytes(4, "little")
    assert checks(table(bytes(disk))) == ["gpt_primary_header_size"]


def test_a_backup_said_to_lie_nowhere_is_a_problem(good: bytes) -> None:
    for where in (0, 1 << 63, (1 << 64) - 1):
        assert "gpt_backup_missing" in checks(table(resealed(good, {32: where.to_bytes(8, "little")})))


def test_entries_that_end_before_they_start_have_no_length(good: bytes) -> None:
    disk = bytearray(good)
    disk[1024 + 40 : 1024 + 48] = bytes(8)
    entries = zlib.crc32(disk[1024 : 1024 + 128 * 128]).to_bytes(4, "little")
    found = table(resealed(bytes(disk), {88: entries}))
    assert "zero_length" in checks(found)
    assert "gpt_backup_differs" in checks(found)


@settings(max_examples=100)
@given(st.data())
def test_any_damage_gives_a_table_or_problems_never_an_error(good: bytes, data: st.DataObject) -> None:
    disk = bytearray(good)
    for _ in range(data.draw(st.integers(1, 3))):
        sector = data.draw(st.sampled_from([0, 1, 2, LAST - 32, LAST]))
        disk[sector * 512 + data.draw(st.integers(0, 511))] = data.draw(st.integers(0, 255))
    changed = bytes(disk)
    if data.draw(st.booleans()):
        field = data.draw(st.sampled_from([12, 24, 32, 40, 48, 72, 80, 84, 88]))
        changed = resealed(changed, {field: data.draw(st.binary(min_size=4, max_size=8))})
    end = data.draw(st.sampled_from([len(changed), 9 * MIB, 5000, 1024, 600]))
    under = Memory(changed[:end])
    found = read_partition_table(under)
    assert found.kind in ("gpt", "mbr", "none")
    assert sum(length for _, length in under.reads) < 4 * MIB
