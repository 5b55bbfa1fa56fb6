"""Formats that are named to be refused: name, size and dangers, as far as they are read."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from imgtool.disk.formats import other_disks
from imgtool.disk.probe import probe
from tests.disk.formats.images import create, hazards_of, overwrite, qemu_img, qemu_virtual_size


@pytest.mark.parametrize("size", ["1M", "10000384", "3G"])
@pytest.mark.parametrize("qemu_format", ["vhdx", "vdi", "qed"])
def test_an_image_of_qemu_img_is_named_with_its_size(tmp_path: Path, qemu_format: str, size: str) -> None:
    image = create(tmp_path / "image", qemu_format, size)
    file = probe(image)
    assert (file.format, file.hazards, file.qemu_format) == (qemu_format, (), None)
    assert file.virtual_size == qemu_virtual_size(image, qemu_format)


@pytest.mark.parametrize(("options", "variant"), [("", "dynamic"), ("static=on", "fixed")])
def test_vdi_variants_are_told_apart(tmp_path: Path, options: str, variant: str) -> None:
    assert probe(create(tmp_path / "image.vdi", "vdi", "2M", options)).variant == variant


def test_a_vdi_with_a_parent_is_a_hazard(tmp_path: Path) -> None:
    image = create(tmp_path / "image.vdi", "vdi", "2M")
    parent = other_disks.VDI.sizeof() - 16
    assert hazards_of(probe(overwrite(image, parent, b"\x42" * 16))) == ["differencing"]


def test_a_qed_with_a_backing_file_is_a_hazard(tmp_path: Path) -> None:
    image = tmp_path / "image.qed"
    qemu_img("create", "-q", "-u", "-f", "qed", "-F", "raw", "-b", "/etc/passwd", image, "1G")
    assert [hazard.detail for hazard in probe(image).hazards] == ["/etc/passwd"]


def test_a_vhdx_with_a_parent_is_a_hazard(tmp_path: Path) -> None:
    image = create(tmp_path / "image.vhdx", "vhdx", "2M")
    data = image.read_bytes()
    table = data.index(b"metadata")
    item = data.index(other_disks.VHDX_FILE_PARAMETERS, table)
    (offset,) = struct.unpack("<I", data[item + 16 : item + 20])
    overwrite(image, table + offset + 4, struct.pack("<I", other_disks.VHDX_HAS_PARENT))
    assert hazards_of(probe(image)) == ["differencing"]


def test_a_vhdx_without_its_tables_keeps_its_name(tmp_path: Path) -> None:
    path = tmp_path / "image.vhdx"
    path.write_bytes(b"vhdxfile" + bytes(4096))
    assert (probe(path).format, probe(path).virtual_size) == ("vhdx", None)


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_luks_volume_over_the_whole_file_is_named(tmp_path: Path, version: str) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(20 * 1024**2))
    command = ["cryptsetup", "luksFormat", "--type", f"luks{version}", "--batch-mode"]
    fast = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]
    subprocess.run([*command, *fast, path, "-"], input=b"secret", check=True, capture_output=True)
    file = probe(path)
    assert (file.format, file.variant, hazards_of(file)) == ("luks", f"LUKS{version}", ["encrypted"])


@pytest.mark.parametrize(
    ("magic", "name"),
    [(b"WithoutFreeSpace", "parallels"), (b"WithouFreSpacExt", "parallels"), (b"MSWIM\0\0\0", "wim")],
)
def test_others_are_known_by_their_magic(tmp_path: Path, magic: bytes, name: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(magic + bytes(4096))
    assert probe(path).format == name
