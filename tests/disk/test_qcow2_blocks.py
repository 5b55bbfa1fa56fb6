"""The native reader of qcow2: QEMU makes the images, and says what is in them."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgtool.disk.blocks import ReadFailed
from imgtool.disk.formats import qcow2
from imgtool.disk.formats.source import Source
from imgtool.disk.probe import probe
from imgtool.disk.qcow2_blocks import Qcow2Blocks, is_plain
from imgtool.errors import CannotRead
from tests.disk.made import MIB, sparse, tool, write

MOST_CLUSTERS = 300
KINDS = ("data", "noise", "packed", "packed noise", "zeros", "zeros kept", "discard")
one_by_one = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def contents(image: Path) -> bytes:
    """The disk as QEMU reads it."""
    raw = image.with_suffix(".raw")
    tool("qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw)
    return raw.read_bytes()


def filled(image: Path, chance: random.Random, kinds: tuple[str, ...], cluster: int, size: int) -> None:
    """Write to an image with qemu-io, some dozen times: any range, or whole clusters where compressed."""
    noise = image.with_name("noise")
    noise.write_bytes(chance.randbytes(2 * MIB))
    commands: list[str] = []
    for _ in range(chance.randrange(1, 25)):
        kind = chance.choice(kinds)
        count = chance.randrange(1, min(2 * MIB // cluster, 40) + 1)
        start = chance.randrange(0, -(-size // cluster))
        offset, length = start * cluster, min(count * cluster, size - start * cluster)
        if kind.startswith("packed"):
            length = min(length, cluster)
        elif chance.random() < 0.5:
            offset += 512 * chance.randrange(0, max(length // 512 - 1, 1))
            length = min(length, size - offset, 512 * chance.randrange(1, 200))
        pattern = f"-P {chance.randrange(1, 256)}"
        what = {
            "data": f"write {pattern}",
            "noise": f"write -s {noise}",
            "packed": f"write -c {pattern}",
            "packed noise": f"write -c -s {noise}",
            "zeros": "write -z -u",
            "zeros kept": "write -z",
            "discard": "discard",
        }[kind]
        commands += ["-c", f"{what} {offset} {length}"]
    # QEMU refuses to write compressed where something is; the other commands count all the same
    subprocess.run(["qemu-io", "-f", "qcow2", *commands, image], capture_output=True, check=False)


@one_by_one
@given(
    bits=st.integers(9, 21),
    compat=st.sampled_from(["1.1", "1.1", "0.10"]),
    packing=st.sampled_from(["zlib", "zstd"]),
    ragged=st.integers(0, 3),
    seed=st.integers(0, 2**32),
)
def test_the_disk_is_read_as_qemu_reads_it(  # noqa: PLR0917 - what hypothesis chooses
    bits: int, compat: str, packing: str, ragged: int, seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    cluster = 1 << bits
    size = chance.randrange(1, MOST_CLUSTERS if bits < 17 else 12) * cluster + 512 * ragged
    options = f"cluster_size={cluster},compat={compat},lazy_refcounts=off"
    options += f",compression_type={packing}" if compat == "1.1" else ""
    image = tmp_path / "disk.qcow2"
    image.unlink(missing_ok=True)
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, image, str(size))
    kinds = KINDS if compat == "1.1" else tuple(kind for kind in KINDS if not kind.startswith("zeros"))
    filled(image, chance, kinds, cluster, size)
    expected = contents(image)
    assert is_plain(probe(image))
    with Qcow2Blocks(image) as blocks:
        assert blocks.size == size
        assert blocks.read(0, size) == expected
        for _ in range(20):
            offset = chance.randrange(0, size)
            length = chance.randrange(0, size - offset + 1)
            assert blocks.read(offset, length) == expected[offset : offset + length]
        with pytest.raises(ReadFailed):
            blocks.read(size - 1, 2)


def made(tmp_path: Path, options: str = "compat=1.1", size: int = 4 * MIB) -> Path:
    """A small image with data in two places."""
    image = tmp_path / "made.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, image, str(size))
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 7 0 128k", "-c", "write -P 9 1M 64k", image)
    return image


def header_of(image: Path) -> qcow2.Header:
    descriptor = os.open(image, os.O_RDONLY)
    status = os.fstat(descriptor)
    header, _ = qcow2.read_header(Source(descriptor, image, status.st_size, status.st_blocks * 512))
    os.close(descriptor)
    assert header is not None
    return header


def entry_place(image: Path, number: int) -> int:
    """Where in the file the L2 entry of a cluster of the first L2 table stands."""
    with image.open("rb") as file:
        file.seek(header_of(image).l1_offset)
        return (int.from_bytes(file.read(8), "big") & ~(1 << 63)) + number * 8


def set_entry(image: Path, number: int, entry: int) -> None:
    write(image, entry_place(image, number), entry.to_bytes(8, "big"))


def test_a_disk_of_500_gib_is_read_at_its_ends(tmp_path: Path) -> None:
    image = tmp_path / "large.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", image, "500G")
    tool("qemu-io", "-f", "qcow2", "-c", "write -P 3 511999M 1M", image)
    with Qcow2Blocks(image) as blocks:
        assert blocks.size == 500 << 30
        assert blocks.read((500 << 30) - MIB - 2, 4) == b"\0\0\3\3"
        assert blocks.read((500 << 30) - 1, 1) == b"\3"
        assert blocks.read(250 << 30, 8 * MIB) == bytes(8 * MIB)


def test_the_rest_of_the_files_last_cluster_reads_as_zeros(tmp_path: Path) -> None:
    image = made(tmp_path)
    whole = image.stat().st_size
    os.truncate(image, whole - 4096)
    with Qcow2Blocks(image) as blocks:
        assert blocks.read(MIB, 65536) == b"\x09" * (65536 - 4096) + bytes(4096)
        assert blocks.read(MIB + 65536 - 4096, 4096) == bytes(4096)


def test_a_cluster_past_the_end_of_the_file_is_an_error_not_zeros(tmp_path: Path) -> None:
    image = made(tmp_path)
    set_entry(image, 16, (image.stat().st_size + 65536) // 65536 * 65536 | 1 << 63)
    with Qcow2Blocks(image) as blocks, pytest.raises(ReadFailed, match="ends before it"):
        blocks.read(MIB, 512)


def test_a_table_past_the_end_of_the_file_is_an_error(tmp_path: Path) -> None:
    image = made(tmp_path)
    write(image, header_of(image).l1_offset, (1 << 40).to_bytes(8, "big"))
    with Qcow2Blocks(image) as blocks, pytest.raises(ReadFailed, match="past the end"):
        blocks.read(0, 512)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (0x50000 + 512, "does not start a cluster"),
        (1 << 62 | 0x50000, "compressed data is damaged"),
        (1 << 62 | 1 << 61 | 0x7FFF0000, "compressed data is damaged"),
    ],
)
def test_a_contradiction_in_a_table_is_an_error_for_qemu_too(entry: int, why: str, tmp_path: Path) -> None:
    image = made(tmp_path)
    set_entry(image, 3, entry)
    with Qcow2Blocks(image) as blocks, pytest.raises(ReadFailed, match=why):
        blocks.read(3 * 65536, 512)
    refused = subprocess.run(
        ["qemu-io", "-r", "-f", "qcow2", "-c", f"read {3 * 65536} 512", image],
        capture_output=True,
        check=False,
    )
    assert refused.returncode != 0 or b"read failed" in refused.stdout + refused.stderr


def test_version_2_has_no_entries_that_read_as_zeros(tmp_path: Path) -> None:
    image = made(tmp_path, "compat=0.10")
    set_entry(image, 5, 1)
    with Qcow2Blocks(image) as blocks, pytest.raises(ReadFailed, match="version 2"):
        blocks.read(5 * 65536, 512)


@pytest.mark.parametrize("packing", ["zlib", "zstd"])
def test_a_compressed_cluster_that_unpacks_to_gigabytes_costs_one_cluster(
    packing: str, tmp_path: Path
) -> None:
    image = made(tmp_path, f"compression_type={packing},cluster_size=2M", 16 * MIB)
    zeros = iter([bytes(MIB)] * 256)
    packer = (
        zlib.compressobj(9, zlib.DEFLATED, -12)
        if packing == "zlib"
        else zstandard.ZstdCompressor().compressobj()
    )
    packed = b"".join([*map(packer.compress, zeros), packer.flush()])[: 2 * MIB]
    end = image.stat().st_size
    write(image, end, packed.ljust(-(-len(packed) // 512) * 512, b"\0"))
    shift = 62 - (21 - 8)
    set_entry(image, 3, 1 << 62 | (-(-len(packed) // 512) - 1) << shift | end)
    with Qcow2Blocks(image) as blocks:
        assert blocks.read(6 * MIB, 2 * MIB) == bytes(2 * MIB)


def test_what_is_odd_is_left_to_qemu(tmp_path: Path) -> None:
    extended = tmp_path / "extended.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", "extended_l2=on", extended, "1M")
    snapshot = made(tmp_path)
    plain = probe(snapshot)
    tool("qemu-img", "snapshot", "-c", "before", snapshot)
    bitmaps = tmp_path / "bitmaps.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", bitmaps, "1M")
    tool("qemu-img", "bitmap", "--add", bitmaps, "changes")
    dirty = tmp_path / "dirty.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", dirty, "1M")
    write(dirty, 79, b"\1")
    assert is_plain(plain)
    assert [is_plain(probe(it)) for it in (extended, snapshot, bitmaps, dirty)] == [False] * 4


def test_a_file_that_became_another_one_after_the_probe_is_refused(tmp_path: Path) -> None:
    image = made(tmp_path)
    for content in (b"", bytes(MIB), image.read_bytes()[:8] + (1 << 62).to_bytes(8, "big") + bytes(MIB)):
        image.write_bytes(content)
        with pytest.raises(CannotRead, match="changed while it was read"):
            Qcow2Blocks(image)
    with pytest.raises(CannotRead, match="can't be opened"):
        Qcow2Blocks(sparse(tmp_path / "gone", 0).with_name("not there"))
    backed = made(tmp_path)
    assert is_plain(probe(backed))
    backed.unlink()
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", sparse(tmp_path / "b", MIB), backed)
    with pytest.raises(CannotRead, match="changed while it was read"):
        Qcow2Blocks(backed)


@pytest.mark.parametrize("version", ["0.10", "1.1"])
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    offset=st.integers(4, 143),
    value=st.one_of(st.integers(0, 2), st.integers(0, 255), st.sampled_from([127, 128, 255])),
)
def test_what_is_opened_here_qemu_opens_too(version: str, offset: int, value: int, tmp_path: Path) -> None:
    image = tmp_path / "header.qcow2"
    if not image.exists():
        made(tmp_path, f"compat={version}").rename(image)
        (tmp_path / "good").write_bytes(image.read_bytes()[:512])
    good = (tmp_path / "good").read_bytes()
    write(image, 0, good[:offset] + bytes([value]) + good[offset + 1 :])
    if is_plain(probe(image)):
        with Qcow2Blocks(image):
            tool("qemu-io", "-r", "-f", "qcow2", "-c", "read 0 512", image)


def test_a_table_beyond_any_file_is_told_not_a_crash(tmp_path: Path) -> None:
    # as where another file takes the image's place between the probe and the reading
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 16, 1 << 20, 0, 1, 1 << 63, 1 << 16, 1, 0, 0)
    path = tmp_path / "image.qcow2"
    path.write_bytes(head.ljust(1 << 17, b"\0"))
    with Qcow2Blocks(path) as blocks, pytest.raises(ReadFailed):
        blocks.read(0, 512)
