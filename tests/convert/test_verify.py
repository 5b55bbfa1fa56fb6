"""What verification finds: a wrong size, a wrong byte, a broken table; and what it lets pass."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from imgtool.convert.converter import Converter, Job, discover
from imgtool.convert.verify import NotVerified, look, verify
from imgtool.disk.probe import probe
from tests.disk.formats.images import disk, overwrite, qemu_img


def job(folder: Path, name: str, qemu_format: str, options: str = "") -> tuple[Converter, Job]:
    """A finished job, made by qemu-img itself."""
    raw = disk(folder / "disk.raw", size=8 * 1024**2)
    given = ["-o", options] if options else []
    qemu_img("convert", "-f", "raw", "-O", qemu_format, *given, raw, folder / "out")
    converter = discover()[name]
    return converter, Job(probe(raw), folder / "out", converter.settings({}))


FORMATS = [("qcow2", "qcow2", ""), ("raw", "raw", ""), ("vhd", "vpc", "force_size=on"), ("vmdk", "vmdk", "")]


@pytest.mark.parametrize(("name", "qemu_format", "options"), FORMATS)
def test_a_right_output_passes_and_is_told_how_far(
    tmp_path: Path, name: str, qemu_format: str, options: str
) -> None:
    told: list[int] = []
    made = verify(*job(tmp_path, name, qemu_format, options), told.append)
    assert (made.format, made.virtual_size) == (name, 8 * 1024**2)
    assert told[-1] == 8 * 1024**2


@pytest.mark.parametrize(("name", "qemu_format", "options"), FORMATS)
def test_a_wrong_byte_is_found_in_every_format(
    tmp_path: Path, name: str, qemu_format: str, options: str
) -> None:
    converter, done = job(tmp_path, name, qemu_format, options)
    data = done.out.read_bytes()
    at = data.index(b"text text")
    overwrite(done.out, at, b"TEXT")
    look(converter, done)
    with pytest.raises(NotVerified, match="does not hold what the input holds"):
        verify(converter, done)


@pytest.mark.parametrize(("name", "qemu_format", "options"), FORMATS)
def test_a_disk_of_another_size_is_found_even_when_the_rest_is_zeros(
    tmp_path: Path, name: str, qemu_format: str, options: str
) -> None:
    converter, done = job(tmp_path, name, qemu_format, options)
    larger = replace(done.source, virtual_size=(done.source.virtual_size or 0) + 512)
    with pytest.raises(NotVerified, match="instead of"):
        look(converter, replace(done, source=larger))


def test_a_vhd_rounded_by_geometry_is_found(tmp_path: Path) -> None:
    converter, done = job(tmp_path, "vhd", "vpc")  # without force_size
    with pytest.raises(NotVerified, match="instead of"):
        look(converter, done)


def test_another_format_than_asked_for_is_found(tmp_path: Path) -> None:
    _, done = job(tmp_path, "qcow2", "qcow2")
    with pytest.raises(NotVerified, match="qcow2"):
        look(discover()["vhd"], done)


def test_a_leaked_cluster_of_a_qcow2_does_not_pass(tmp_path: Path) -> None:
    converter, done = job(tmp_path, "qcow2", "qcow2")
    with done.out.open("r+b") as file:  # count one cluster more than is used
        file.seek(48)
        table = int.from_bytes(file.read(8), "big")
        file.seek(table)
        block = int.from_bytes(file.read(8), "big")
        clusters = done.out.stat().st_size // 65536
        file.truncate((clusters + 2) * 65536)
        file.seek(block + 2 * (clusters + 1))
        file.write(b"\0\1")
    with pytest.raises(NotVerified, match="did not pass its check"):
        verify(converter, done)


def test_a_broken_table_of_a_vmdk_does_not_pass(tmp_path: Path) -> None:
    converter, done = job(tmp_path, "vmdk", "vmdk")
    overwrite(done.out, 56, (1 << 40).to_bytes(8, "little"))  # the grain directory's offset
    with pytest.raises(NotVerified):
        verify(converter, done)
