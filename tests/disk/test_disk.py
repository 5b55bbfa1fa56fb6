"""Opening the disk inside an image file: what is read directly, what QEMU serves, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from imgtool.convert.qemu_img import opened
from imgtool.disk.blocks import Cached, RawBlocks
from imgtool.disk.disk import open_disk
from imgtool.disk.formats.image_file import Hazard
from imgtool.disk.probe import probe
from imgtool.disk.qcow2_blocks import Qcow2Blocks
from imgtool.errors import CannotRead, MachineLacks, UnsafeImage
from tests.cli.running import imgtool
from tests.disk.made import MIB, gpt, sparse, tool
from tests.disk.test_nbd import servers

CONVERT = {
    "qcow2": ["-O", "qcow2"],
    "qcow2 compressed": ["-O", "qcow2", "-c"],
    "qcow2 extended": ["-O", "qcow2", "-o", "extended_l2=on"],
    "vhd": ["-O", "vpc"],
    "vhd fixed": ["-O", "vpc", "-o", "subformat=fixed,force_size=on"],
    "vmdk": ["-O", "vmdk"],
    "vmdk stream": ["-O", "vmdk", "-o", "subformat=streamOptimized"],
}
DIRECT = {"qcow2": Qcow2Blocks, "qcow2 compressed": Qcow2Blocks, "vhd fixed": RawBlocks}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = gpt(tmp_path_factory.mktemp("disk") / "disk.raw", "start=2048,size=16M,type=L\n", 32 * MIB)
    volume = sparse(path.with_name("volume"), 16 * MIB)
    tool("mkfs.ext4", "-q", "-L", "same", volume)
    with path.open("r+b") as file:
        file.seek(MIB)
        file.write(volume.read_bytes())
    return path


@pytest.mark.parametrize("name", CONVERT)
def test_the_disk_is_the_same_in_every_format(name: str, raw: Path, tmp_path: Path) -> None:
    image = tmp_path / name
    tool("qemu-img", "convert", "-f", "raw", *CONVERT[name], raw, image)
    with open_disk(probe(raw)) as disk:
        expected = disk.table, [(volume.name, volume.signature) for volume in disk.volumes]
        data = disk.blocks.read(0, 20 * MIB)
    with open_disk(probe(image)) as disk:
        assert isinstance(disk.blocks, DIRECT.get(name, Cached))
        assert disk.blocks.read(0, 20 * MIB) == data
        found = disk.table, [(volume.name, volume.signature) for volume in disk.volumes]
        if name == "vhd":  # rounded up to whole cylinders when it was made: the backup GPT is not at its end
            assert [problem.check for problem in disk.table.problems] == ["gpt_backup_not_at_end"]
            found = replace(disk.table, problems=()), found[1]
        assert found == expected
    assert servers() == set()


def test_the_disks_size_is_the_probes(raw: Path, tmp_path: Path) -> None:
    for name in ("vhd", "vhd fixed", "vmdk"):
        image = tmp_path / name
        tool("qemu-img", "convert", "-f", "raw", *CONVERT[name], raw, image)
        file = probe(image)
        with open_disk(file) as disk:
            assert disk.blocks.size == file.virtual_size


def test_an_image_with_a_hazard_is_not_opened(raw: Path, tmp_path: Path) -> None:
    image = tmp_path / "overlay.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", raw, image)
    file = probe(image)
    assert file.hazards
    with pytest.raises(UnsafeImage) as refused, open_disk(file):
        pass
    assert "backing_file" in refused.value.statement().en
    assert raw.name in refused.value.statement().en


def test_an_encrypted_image_is_said_to_be_encrypted(raw: Path) -> None:
    file = replace(probe(raw), hazards=(Hazard("encrypted", "LUKS"),))
    for refused in (open_disk(file), opened(file)):
        with pytest.raises(UnsafeImage) as error, refused:
            pass
        said = error.value.statement()
        assert "encrypted (LUKS); the key is not in it" in said.en
        assert "已加密（LUKS），密钥不在镜像中" in said.zh
        assert "reach beyond" not in said.en


def test_only_what_imgtool_converts_is_to_be_converted(raw: Path) -> None:
    file = probe(raw)
    for format_, convertible in (("vdi", True), ("gzip", True), ("iso", False), ("wim", False)):
        other = replace(file, format=format_, qemu_format=None)
        with pytest.raises(CannotRead, match=format_) as error, open_disk(other):
            pass
        assert ("imgtool convert" in error.value.statement().en) is convertible


def test_a_file_of_the_disk_that_is_not_there_is_named(tmp_path: Path) -> None:
    image = tmp_path / "disk.vmdk"
    tool("qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", image, "1M")
    (tmp_path / "disk-flat.vmdk").unlink()
    with pytest.raises(CannotRead) as error, open_disk(probe(image)):
        pass
    said = error.value.statement()
    assert "disk-flat.vmdk, which holds data of the disk, is not beside" in said.en
    assert "QEMU" not in said.en
    run = imgtool("convert", image, tmp_path / "out.qcow2")
    assert run.returncode == 3
    assert run.stderr == f"imgtool: {said.en}\n"


def test_every_hazard_is_named(raw: Path) -> None:
    file = replace(probe(raw), hazards=(Hazard("data_file", "/x"), Hazard("device_node", "/dev/sda")))
    with pytest.raises(UnsafeImage, match="data_file: /x; device_node: /dev/sda"), open_disk(file):
        pass


def test_other_formats_are_not_opened(tmp_path: Path) -> None:
    image = tmp_path / "disk.vdi"
    tool("qemu-img", "create", "-q", "-f", "vdi", image, "1M")
    with pytest.raises(CannotRead, match="vdi"), open_disk(probe(image)):
        pass


def test_without_qemu_nbd_the_package_is_named(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "disk.vmdk"
    tool("qemu-img", "convert", "-f", "raw", "-O", "vmdk", raw, image)
    file = probe(image)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(MachineLacks) as lacks, open_disk(file):
        pass
    assert lacks.value.package == "qemu-utils"


@pytest.mark.parametrize("format_", ["raw", "qcow2"])
def test_raw_and_qcow2_need_no_qemu(
    format_: str, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "disk"
    tool("qemu-img", "convert", "-f", "raw", "-O", format_, raw, image)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with open_disk(probe(image)) as disk:
        assert disk.table.kind == "gpt"
