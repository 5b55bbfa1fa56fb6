"""qcow2: a file that lost its end is found, and one that is merely odd is not accused."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.disk.probe import probe
from tests.disk.formats.images import (
    checks_of,
    convert,
    create,
    damage_after,
    disk,
    overwrite,
    qemu_img,
    qemu_io,
    shorten,
)

VARIANTS = [
    ("", ""),
    ("compat=0.10", ""),
    ("", "-c"),
    ("compression_type=zstd", "-c"),
    ("cluster_size=512", ""),
    ("cluster_size=512", "-c"),
    ("cluster_size=2M", ""),
    ("extended_l2=on", ""),
    ("extended_l2=on", "-c"),
    ("refcount_bits=1", ""),
    ("refcount_bits=4", "-c"),
    ("refcount_bits=64", ""),
    ("preallocation=metadata", ""),
]


@pytest.fixture(scope="module")
def raw_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disk(tmp_path_factory.mktemp("disk") / "disk.raw", size=8 * 1024**2 + 512)


@pytest.mark.parametrize(("options", "flag"), VARIANTS)
def test_a_whole_image_is_not_accused(tmp_path: Path, raw_disk: Path, options: str, flag: str) -> None:
    image = convert(raw_disk, tmp_path / "image.qcow2", "qcow2", options, *([flag] if flag else []))
    assert probe(image).damage == ()


@pytest.mark.parametrize("preallocation", ["off", "metadata", "falloc", "full"])
@pytest.mark.parametrize("size", ["0", "512", "1000001", "10000384"])
def test_an_empty_image_of_any_size_is_not_accused(tmp_path: Path, preallocation: str, size: str) -> None:
    image = create(tmp_path / "image.qcow2", "qcow2", size, f"preallocation={preallocation}")
    assert probe(image).damage == ()


@pytest.mark.parametrize(("options", "flag"), VARIANTS)
def test_an_image_without_its_last_clusters_is_truncated(
    tmp_path: Path, raw_disk: Path, options: str, flag: str
) -> None:
    image = convert(raw_disk, tmp_path / "image.qcow2", "qcow2", options, *([flag] if flag else []))
    cluster = {"cluster_size=2M": 2 << 20, "cluster_size=512": 512}.get(options, 65536)
    shorten(image, image.stat().st_size - cluster - 512)
    assert checks_of(probe(image)) == ["truncated"]


@settings(max_examples=40)
@given(data=st.data())
def test_an_image_cut_anywhere_is_truncated(
    tmp_path_factory: pytest.TempPathFactory, raw_disk: Path, data: st.DataObject
) -> None:
    image = convert(raw_disk, tmp_path_factory.mktemp("cut") / "image.qcow2", "qcow2")
    shorten(image, data.draw(st.integers(72, image.stat().st_size - 2 * 65536)))
    assert "truncated" in checks_of(probe(image))


def test_a_last_cluster_that_is_partly_written_is_whole(tmp_path: Path, raw_disk: Path) -> None:
    """QEMU writes no more of it than there is data; its own check allows for that, too."""
    image = convert(raw_disk, tmp_path / "image.qcow2", "qcow2")
    shorten(image, image.stat().st_size - 60000)
    assert "exceed" not in qemu_img("check", "-f", "qcow2", image)
    assert probe(image).damage == ()


def test_a_cluster_that_is_counted_and_never_used_is_no_loss(tmp_path: Path, raw_disk: Path) -> None:
    """A QEMU that is killed leaves it behind: reserved, referenced by nothing, behind the end of the file."""
    image = convert(raw_disk, tmp_path / "image.qcow2", "qcow2")
    clusters = -(-image.stat().st_size // 65536)
    block = struct.unpack(">Q", image.read_bytes()[0x10000:0x10008])[0]
    overwrite(image, block + 2 * (clusters + 3), b"\0\1")
    assert probe(image).damage == ()


def test_what_only_a_snapshot_holds_is_missed_too(tmp_path: Path) -> None:
    image = create(tmp_path / "image.qcow2", "qcow2", "64M")
    qemu_io(image, "write -P 1 0 1M")
    qemu_img("snapshot", "-c", "first", image)
    qemu_io(image, "write -P 2 0 4M")
    qemu_img("snapshot", "-c", "second", image)
    qemu_img("snapshot", "-a", "first", image)
    assert probe(image).damage == ()
    shorten(image, 3 * 1024**2)
    assert "truncated" in checks_of(probe(image))


@pytest.mark.parametrize("offset", [40, 48, 64], ids=["L1", "refcount table", "snapshots"])
def test_a_table_far_outside_the_file_was_never_right(tmp_path: Path, offset: int) -> None:
    image = create(tmp_path / "image.qcow2", "qcow2", "64M")
    qemu_img("snapshot", "-c", "one", image)
    assert set(damage_after(image, offset, struct.pack(">Q", 1 << 50))) <= {
        "table_outside_file",
        "snapshot_table",
    }
    assert probe(image).damage


def test_an_l2_table_inside_a_cluster_is_invalid(tmp_path: Path, raw_disk: Path) -> None:
    image = convert(raw_disk, tmp_path / "image.qcow2", "qcow2")
    l1 = struct.unpack(">Q", image.read_bytes()[40:48])[0]
    assert damage_after(image, l1, struct.pack(">Q", 1 << 63 | 0x40200)) == ["table_invalid"]


def test_a_grown_image_is_not_read_more(tmp_path: Path, raw_disk: Path) -> None:
    """The look at the tables is bounded by bytes, not by the size of the disk."""
    image = convert(raw_disk, tmp_path / "image.qcow2", "qcow2")
    qemu_img("resize", "-q", "-f", "qcow2", image, "500G")
    file = probe(image)
    assert file.virtual_size == 500 << 30
    assert file.damage == ()
