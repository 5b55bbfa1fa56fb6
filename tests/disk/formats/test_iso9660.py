"""ISO images, hybrid ones too, and disks that only look like them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from imgtool.disk.probe import probe


@pytest.fixture
def content(tmp_path: Path) -> Path:
    folder = tmp_path / "content"
    folder.mkdir()
    (folder / "boot.img").write_bytes(bytes(4096))
    (folder / "installer").write_bytes(b"x" * 500_000)
    return folder


def iso(content: Path, path: Path, *options: str) -> Path:
    command = ["xorriso", "-as", "mkisofs", "-quiet", "-V", "INSTALL", "-o", path, *options, content]
    subprocess.run(command, check=True, capture_output=True)
    return path


def test_an_iso_is_named_with_its_label(content: Path, tmp_path: Path) -> None:
    file = probe(iso(content, tmp_path / "disk.qcow2"))
    assert (file.format, file.variant, file.features) == ("iso", None, ("label=INSTALL",))


def test_a_hybrid_iso_with_an_mbr_is_an_iso(content: Path, tmp_path: Path) -> None:
    mbr = tmp_path / "mbr.bin"
    mbr.write_bytes(b"\xeb\xfe".ljust(432, b"\0"))
    file = probe(
        iso(content, tmp_path / "a.iso", "-isohybrid-mbr", str(mbr), "-b", "boot.img", "-no-emul-boot")
    )
    assert (file.format, file.variant) == ("iso", "hybrid")


def test_a_hybrid_iso_with_a_gpt_is_an_iso(content: Path, tmp_path: Path) -> None:
    efi = tmp_path / "efi.img"
    efi.write_bytes(bytes(64 * 1024))
    options = ["-append_partition", "2", "0xef", str(efi), "-appended_part_as_gpt"]
    file = probe(iso(content, tmp_path / "a.iso", *options))
    assert (file.format, file.variant) == ("iso", "hybrid")


def partitioned(path: Path, size: str, table: str) -> Path:
    with path.open("r+b") as file:
        file.truncate(0 if not size else int(size))
    subprocess.run(["sfdisk", "-q", path], input=table.encode(), check=True, capture_output=True)
    return path


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_a_disk_with_an_iso_in_a_partition_is_raw(content: Path, tmp_path: Path, label: str) -> None:
    image = iso(content, tmp_path / "a.iso").read_bytes()
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(1024**2) + image)
    partitioned(path, str(64 * 1024**2), f"label: {label}\n2048,\n")
    assert probe(path).format == "raw"


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_a_disk_that_was_once_overwritten_with_an_iso_is_raw(
    content: Path, tmp_path: Path, label: str
) -> None:
    """The volume descriptor stays in the gap before the first partition."""
    path = iso(content, tmp_path / "disk.raw")
    partitioned(path, str(64 * 1024**2), f"label: {label}\n2048,\n")
    assert path.read_bytes()[32769:32774] == b"CD001"
    assert probe(path).format == "raw"


def test_a_volume_descriptor_that_contradicts_itself_is_none(content: Path, tmp_path: Path) -> None:
    path = iso(content, tmp_path / "a.iso")
    data = bytearray(path.read_bytes())
    data[32768 + 80] ^= 0xFF
    path.write_bytes(data)
    assert probe(path).format == "raw"
