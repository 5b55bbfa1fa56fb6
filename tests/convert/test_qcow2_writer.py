"""Compressed qcow2 of our own: what QEMU says of it, the same bytes every time, limits, and ways to stop."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgtool.convert import qcow2_writer
from imgtool.convert.crc64 import crc64_function
from imgtool.convert.qcow2_writer import OutputTooLarge, write_compressed
from imgtool.convert.source import open_source
from imgtool.disk.blocks import ReadFailed
from imgtool.disk.probe import probe
from imgtool.errors import UsageError
from tests.convert.made_disks import MIB, Stretch, convert, disk, found_clean, found_same, stretches
from tests.disk.made import sparse, tool, write

GIB = 1024 * MIB
OWN_FOLDER = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MIXED = [
    Stretch(0, 700_000, "text"),
    Stretch(900_000, 900_000, "random"),
    Stretch(2 * MIB, 300_000, "zero"),
    Stretch(3 * MIB + 5, 500_000, "text"),
]


@OWN_FOLDER
@given(
    made=stretches(4 * MIB),
    compat=st.sampled_from(("1.1", "0.10")),
    level=st.sampled_from((1, 2, 3)),
    cluster_size=st.sampled_from((4096, 65536, 65536, 2 * MIB)),
)
def test_any_disk_comes_out_identical_and_clean(
    made: tuple[int, list[Stretch]], compat: str, level: int, cluster_size: int, tmp_path: Path
) -> None:
    raw, out = disk(tmp_path / "disk.raw", *made), tmp_path / "disk.qcow2"
    written = convert(raw, out, compat=compat, level=level, cluster_size=cluster_size)
    found_clean(out)
    found_same(raw, out)
    told = json.loads(tool("qemu-img", "info", "--output=json", "-f", "qcow2", out))
    assert told["format-specific"]["data"]["compat"] == compat
    assert (told["virtual-size"], told["cluster-size"]) == (made[0], cluster_size)
    assert written.virtual_size == made[0]
    _digests_hold(out, written.size, written.sha256, written.crc64)


def _digests_hold(out: Path, size: int, sha256: str | None, crc64: int | None) -> None:
    data = out.read_bytes()
    assert len(data) == size
    assert hashlib.sha256(data).hexdigest() == sha256
    # an .xz stream with one block holds the CRC-64 of its content before index and footer
    packed = lzma.compress(data, check=lzma.CHECK_CRC64, preset=0)
    index_size = (int.from_bytes(packed[-8:-4], "little") + 1) * 4
    assert crc64 == int.from_bytes(packed[-12 - index_size - 8 : -12 - index_size], "little")


def test_crc64_is_the_one_of_the_check_value() -> None:
    crc64 = crc64_function()
    assert crc64 is not None
    assert crc64(b"123456789", 0) == 0x995DC9BBDF1939FA
    assert crc64(b"6789", crc64(b"12345", 0)) == 0x995DC9BBDF1939FA


def test_digests_need_no_proc_where_the_output_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = disk(tmp_path / "disk.raw", MIB, [Stretch(0, MIB, "text")])
    real = os.open

    def refused(path: str, flags: int, *more: int) -> int:
        assert not str(path).startswith("/proc")
        return real(path, flags, *more)

    with open_source(probe(raw)) as source, (tmp_path / "out").open("x+b") as file:
        monkeypatch.setattr(qcow2_writer.os, "open", refused)
        written = write_compressed(source, file)
    assert written.sha256 == hashlib.sha256((tmp_path / "out").read_bytes()).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 511, 513, 1000, 65536 + 1])
def test_a_raw_file_of_odd_length_becomes_whole_sectors(size: int, tmp_path: Path) -> None:
    raw, out = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    if not size:
        sparse(raw, 0)
    else:
        raw.write_bytes((b"\0\x42" * size)[:size])
    written = convert(raw, out)
    assert written.virtual_size == -(-size // 512) * 512
    found_clean(out)
    found_same(raw, out)


def test_a_sparse_disk_of_500_gib_is_written_in_one_pass(tmp_path: Path) -> None:
    spread = [Stretch(index * 7 * GIB + index * 4097, 70_000, "text") for index in range(70)]
    raw, out = disk(tmp_path / "disk.raw", 500 * GIB, spread), tmp_path / "disk.qcow2"
    for compat in ("1.1", "0.10"):
        written = convert(raw, out, compat=compat)
        found_clean(out)
        found_same(raw, out)
        assert written.size < 70 * (65536 + 70_000) + MIB


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_change_no_byte(threads: int, tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk.raw", 4 * MIB, MIXED)
    first = convert(raw, tmp_path / "first", threads=1)
    again = convert(raw, tmp_path / "again", threads=threads)
    assert first == again
    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()


# Clusters in which a lost entry of ISA-L's hash table shows: their first bytes recur. With ISA-L by itself, a
# few of these 30,000 come out differently in nearly every process.
SENSITIVE = """
import hashlib, random, sys
from imgtool.convert.compressing import _compressor
compress, chance, total = _compressor(1), random.Random(5), hashlib.sha256()
for _ in range(30000):
    head = chance.randbytes(8)
    total.update(compress(memoryview(head + bytes(400) + head[1:] + bytes(50) + head + bytes(500))))
print(total.hexdigest())
"""


def test_other_processes_give_the_same_bytes() -> None:
    assert len({tool(sys.executable, "-c", SENSITIVE) for _ in range(4)}) == 1


def test_a_disk_gives_the_same_bytes_from_raw_and_from_qcow2(tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk.raw", 4 * MIB, MIXED)
    tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, tmp_path / "disk.qcow2")
    assert convert(raw, tmp_path / "a") == convert(tmp_path / "disk.qcow2", tmp_path / "b")


def test_reference_counts_are_the_number_of_clusters_that_touch(tmp_path: Path) -> None:
    raw, out = disk(tmp_path / "disk.raw", 4 * MIB, MIXED), tmp_path / "out"
    written = convert(raw, out)
    data = out.read_bytes()
    number = lambda at, size=8: int.from_bytes(data[at : at + size], "big")  # noqa: E731
    expected = [0] * (len(data) // 65536)

    def count(offset: int, length: int) -> None:
        for cluster in range(offset // 65536, (offset + length - 1) // 65536 + 1):
            expected[cluster] += 1

    count(0, 65536)
    l1, l1_entries, table = number(40), number(36, 4), number(48)
    count(l1, l1_entries * 8)
    count(table, number(56, 4) * 65536)
    seen = [0, 0]
    for l1_entry in (number(l1 + 8 * index) for index in range(l1_entries)):
        l2 = l1_entry & ~(1 << 63)
        count(l2, 65536)
        for entry in (number(l2 + 8 * index) for index in range(8192)):
            if entry >> 62 & 1:
                offset, sectors = entry & (1 << 54) - 1, entry >> 54 & 255
                count(offset, 512 * (sectors + 1) - offset % 512)
                seen[0] += 1
            elif entry:
                count(entry & ~(1 << 63), 65536)
                seen[1] += 1
    block = number(table)
    count(block, 65536)
    counted = [number(block + 2 * index, 2) for index in range(len(expected))]
    assert counted == expected
    assert seen == [written.compressed_clusters, written.data_clusters - written.compressed_clusters]
    assert seen[1] > 10


def test_nothing_is_stored_for_zeroes_that_were_written_out(tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk.raw", 4 * MIB, [Stretch(0, 4 * MIB, "zero")])
    assert convert(raw, tmp_path / "out").data_clusters == 0


def test_incompressible_clusters_cost_no_more_than_themselves(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(os.urandom(4 * MIB))
    assert convert(raw, tmp_path / "out").size == 4 * MIB + 5 * 65536


def test_progress_grows_to_the_size_of_the_disk(tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk.raw", 4 * MIB, MIXED)
    told: list[int] = []
    convert(raw, tmp_path / "out", progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 4 * MIB
    assert len(told) > 2


@given(st.integers(0, 40))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_limit_is_kept_to_the_byte(tmp_path: Path, short_by: int) -> None:
    raw = disk(tmp_path / "disk.raw", 4 * MIB, MIXED)
    whole = convert(raw, tmp_path / "whole", digests=False)
    if not short_by:
        assert convert(raw, tmp_path / "out", limit=whole.size, digests=False) == whole
        return
    with pytest.raises(OutputTooLarge) as refused:
        convert(raw, tmp_path / "out", limit=whole.size - short_by)
    assert refused.value.limit == whole.size - short_by
    assert (tmp_path / "out").stat().st_size < whole.size


def test_a_limit_stops_long_before_the_end(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(os.urandom(MIB) * 32)
    with pytest.raises(OutputTooLarge) as refused:
        convert(raw, tmp_path / "out", limit=3 * MIB)
    assert (tmp_path / "out").stat().st_size <= 3 * MIB
    assert refused.value.disk_done <= 4 * MIB


@pytest.mark.parametrize("size", [0, 512, 2048, 3 * 65536, 4 * MIB])
def test_no_other_cluster_sizes(size: int, tmp_path: Path) -> None:
    raw = sparse(tmp_path / "disk.raw", MIB)
    with pytest.raises(UsageError):
        convert(raw, tmp_path / "out", cluster_size=size)


def test_a_disk_too_large_for_its_clusters_is_refused(tmp_path: Path) -> None:
    raw = sparse(tmp_path / "disk.raw", 10 * 1024 * GIB)
    with pytest.raises(UsageError):
        convert(raw, tmp_path / "out", cluster_size=4096)


def test_an_error_ends_every_thread(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(os.urandom(16 * MIB))

    def stop(done: int) -> None:
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        convert(raw, tmp_path / "out", progress=stop)
    assert threading.active_count() == before


def test_a_source_that_ends_early_is_an_error_and_ends_every_thread(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(os.urandom(4 * MIB))
    before = threading.active_count()
    with open_source(probe(raw)) as source, (tmp_path / "out").open("wb") as out:
        os.truncate(raw, 2 * MIB)
        with pytest.raises(ReadFailed):
            write_compressed(source, out)
        assert source.changed()
    assert threading.active_count() == before


def test_a_full_disk_is_an_os_error(tmp_path: Path) -> None:
    raw = sparse(tmp_path / "disk.raw", MIB)
    write(raw, 0, os.urandom(MIB))
    with (
        open_source(probe(raw)) as source,
        Path("/dev/full").open("wb") as out,
        pytest.raises(OSError, match="space"),
    ):
        write_compressed(source, out)


STOPPED = """
import sys, time
from pathlib import Path
from tests.convert.made_disks import convert
def wait(done):
    print(done, flush=True)
    time.sleep(0.02)
convert(Path(sys.argv[1]), Path(sys.argv[2]), progress=wait)
"""


def test_ctrl_c_ends_the_process_at_once(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(os.urandom(MIB) * 256)
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", STOPPED, str(raw), str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline()
        time.sleep(0.05)
        child.send_signal(signal.SIGINT)
        left, _ = child.communicate(timeout=30)
    assert child.returncode not in (0, None)
    assert len(left.split()) < 250


PEAK = """
import resource, sys
from pathlib import Path
from imgtool.convert.workers import MOST_PROCESSES
from tests.convert.made_disks import convert
written = convert(Path(sys.argv[1]), Path(sys.argv[2]), threads=16, digests=True)
own, each = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print((own + MOST_PROCESSES * each) * 1024, written.data_clusters, each)
"""


def test_500_gib_with_data_all_over_takes_at_most_256_mib(tmp_path: Path) -> None:
    spread = [Stretch(index * 500 * MIB, 1, "constant") for index in range(1020)]
    spread += [Stretch(index * 9 * GIB + 33 * MIB, 3 * MIB, "random") for index in range(50)]
    raw = disk(tmp_path / "disk.raw", 500 * GIB, spread)
    root = Path(__file__).parents[2]
    # by a shell, for a process's ru_maxrss begins with the size of the one that forked it
    command = [
        "sh",
        "-c",
        'cd "$0" && "$@"; exit $?',
        root,
        sys.executable,
        "-c",
        PEAK,
        raw,
        tmp_path / "out",
    ]
    peak, clusters, each = map(int, tool(*command).split())
    assert each > 0
    assert clusters >= 1020 + 50 * 48
    assert peak <= 256 * MIB
    found_clean(tmp_path / "out")
    found_same(raw, tmp_path / "out")
