"""VMDK descriptors: which other files are the image's own, and which must never be opened."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from imgtool.disk.formats import vmdk_descriptor
from imgtool.disk.probe import ImageFile, probe
from tests.disk.formats.images import checks_of, create, hazards_of, qemu_virtual_size, shorten

TEXT = """# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="{type}"

{extents}

ddb.adapterType = "ide"
"""


def descriptor(path: Path, extents: str, create_type: str = "monolithicFlat") -> Path:
    path.write_text(TEXT.format(type=create_type, extents=extents))
    return path


def probed(tmp_path: Path, extents: str, create_type: str = "monolithicFlat") -> ImageFile:
    return probe(descriptor(tmp_path / "disk.vmdk", extents, create_type))


@pytest.mark.parametrize(
    ("variant", "piece"),
    [
        ("monolithicFlat", "disk-flat.vmdk"),
        ("twoGbMaxExtentFlat", "disk-f001.vmdk"),
        ("twoGbMaxExtentSparse", "disk-s001.vmdk"),
    ],
)
def test_the_image_s_own_files_belong_to_it(tmp_path: Path, variant: str, piece: str) -> None:
    image = create(tmp_path / "disk.vmdk", "vmdk", "64M", f"subformat={variant}")
    file = probe(image)
    assert (file.variant, file.hazards, file.damage) == (variant, (), ())
    assert file.virtual_size == qemu_virtual_size(image, "vmdk") == 64 * 1024**2
    assert file.other_files == (tmp_path / piece,)
    assert file.file_size == image.stat().st_size + (tmp_path / piece).stat().st_size


def test_a_split_disk_has_the_size_of_all_its_pieces(tmp_path: Path) -> None:
    image = create(tmp_path / "disk.vmdk", "vmdk", "5G", "subformat=twoGbMaxExtentSparse")
    file = probe(image)
    assert file.virtual_size == 5 << 30
    assert [other.name for other in file.other_files] == [f"disk-s00{number}.vmdk" for number in (1, 2, 3)]


def test_a_vmfs_disk_of_esx_is_a_descriptor_with_a_flat_file(tmp_path: Path) -> None:
    (tmp_path / "disk-flat.vmdk").write_bytes(bytes(8 * 512))
    file = probed(tmp_path, 'RW 8 VMFS "disk-flat.vmdk"', "vmfs")
    assert (file.variant, file.hazards, file.damage) == ("vmfs", (), ())


def test_zeros_need_no_file(tmp_path: Path) -> None:
    (tmp_path / "disk-flat.vmdk").write_bytes(bytes(8 * 512))
    file = probed(tmp_path, 'RW 8 FLAT "disk-flat.vmdk" 0\nRW 8 ZERO')
    assert (file.virtual_size, file.damage) == (16 * 512, ())


@pytest.mark.parametrize(
    "name",
    [
        "/etc/shadow",
        "../disk-flat.vmdk",
        "folder/disk-flat.vmdk",
        "C:\\disk-flat.vmdk",
        "json:{}",
        "nbd:localhost:10809",
        "https://example.com/disk-flat.vmdk",
        "other-customer-flat.vmdk",
        "disk.vmdk",
        "disk-flat.txt",
        ".",
        "..",
    ],
)
def test_a_name_that_is_not_the_image_s_own_is_elsewhere(tmp_path: Path, name: str) -> None:
    file = probed(tmp_path, f'RW 8 FLAT "{name}" 0')
    assert hazards_of(file) == ["extent_elsewhere"]
    assert file.qemu_format is None


@pytest.mark.parametrize(
    "extent",
    [
        'RW +8 FLAT "/etc/shadow" 0',
        'RW 0000000000000000000000008 FLAT "/etc/shadow" 0',
        'RW 99999999999999999999 FLAT "/etc/shadow" 0',
        'RW 8FLAT "/etc/shadow" 0',
        'RW 8 FLAT "/etc/shadow"0',
        'RW 8 VMFS "/etc/shadow',
        "RW 8 ZERO\n" * 5000 + 'RW 8 FLAT "/etc/shadow" 0',
    ],
)
def test_an_extent_is_found_however_qemu_may_read_it(tmp_path: Path, extent: str) -> None:
    assert hazards_of(probed(tmp_path, extent)) == ["extent_elsewhere"]


def test_what_sscanf_takes_for_an_extent_is_one(tmp_path: Path) -> None:
    """QEMU's own words for it (block/vmdk.c), read by the C library, on lines made of likely pieces."""
    import ctypes

    libc = ctypes.CDLL(None)
    rng = random.Random(1)
    gaps = ["", " ", " ", "\t \n", "\r", "\v", "x"]
    counts = ["8", "+8", "008", "9" * 30, "-8", "+-8", "8.5"]
    kinds = ["FLAT", "VMFS", "SPARSE", "flat", "8FLAT", "FLATFLATFLAT"]
    names = ['"a"', '"/x y"', '"/x', '/x"', '""', '"' + "a" * 600 + '"', '"\r"', "'a'"]
    taken = 0
    for _ in range(20_000):
        parts = (["RW"], gaps, counts, gaps, kinds, gaps, names, gaps, ["0", "+1", "", "x"])
        line = "".join(map(rng.choice, parts))
        access, kind, name = (ctypes.create_string_buffer(600) for _ in range(3))
        sectors, offset = ctypes.c_int64(0), ctypes.c_int64(-1)
        words = b'%9s %ld %9s "%511[^\n\r"]" %ld'
        where = (access, ctypes.byref(sectors), kind, name, ctypes.byref(offset))
        if libc.sscanf(line.encode(), words, *where) < 4 or access.value != b"RW" or sectors.value <= 0:
            continue
        if kind.value not in (b"FLAT", b"VMFS", b"SPARSE"):
            continue
        taken += 1
        found = vmdk_descriptor.read(line.encode()).extents
        assert found, line
        # A name without an end is none, which is refused.
        assert found[0].name[:511] in (name.value, b""), line
    assert taken > 500


def test_an_extent_that_is_there_under_another_base_name_is_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "other-flat.vmdk").write_bytes(bytes(8 * 512))
    assert hazards_of(probed(tmp_path, 'RW 8 FLAT "other-flat.vmdk" 0')) == ["extent_elsewhere"]


def test_a_symbolic_link_as_extent_is_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "disk-flat.vmdk").symlink_to("/etc/shadow")
    (hazard,) = probed(tmp_path, 'RW 1 FLAT "disk-flat.vmdk" 0').hazards
    assert (hazard.check, hazard.detail) == ("extent_elsewhere", "disk-flat.vmdk -> /etc/shadow")


def test_a_fifo_as_extent_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "disk-flat.vmdk")
    assert hazards_of(probed(tmp_path, 'RW 1 FLAT "disk-flat.vmdk" 0')) == ["device_node"]


@pytest.mark.parametrize(
    ("create_type", "extent"),
    [
        ("fullDevice", 'RW 8 FLAT "/dev/sda" 0'),
        ("partitionedDevice", 'RW 63 FLAT "\\\\.\\PhysicalDrive0" 0'),
        ("vmfsRaw", 'RW 8 VMFSRAW "disk-rdmp.vmdk"'),
        ("vmfsRDM", 'RW 8 VMFSRDM "disk-rdm.vmdk"'),
    ],
)
def test_a_device_is_a_hazard(tmp_path: Path, create_type: str, extent: str) -> None:
    file = probed(tmp_path, extent, create_type)
    assert (file.variant, hazards_of(file)) == (create_type, ["device_node"])


def test_a_read_only_extent_counts_like_any_other(tmp_path: Path) -> None:
    assert hazards_of(probed(tmp_path, 'RDONLY 8 FLAT "/etc/shadow" 0')) == ["extent_elsewhere"]


def test_a_missing_extent_is_damage(tmp_path: Path) -> None:
    assert checks_of(probed(tmp_path, 'RW 8 FLAT "disk-flat.vmdk" 0')) == ["extent_missing"]


def test_a_flat_extent_cut_short_is_truncated(tmp_path: Path) -> None:
    image = create(tmp_path / "disk.vmdk", "vmdk", "64M", "subformat=monolithicFlat")
    shorten(tmp_path / "disk-flat.vmdk", 63 * 1024**2)
    assert checks_of(probe(image)) == ["truncated"]


def test_a_sparse_extent_with_extents_of_its_own_is_a_hazard(tmp_path: Path) -> None:
    """QEMU follows a sparse extent of capacity 0 to what its embedded descriptor names."""
    from tests.disk.formats.test_vmdk import sparse

    sparse(
        tmp_path / "disk-s001.vmdk", TEXT.format(type="x", extents='RW 8 FLAT "/etc/shadow" 0'), capacity=0
    )
    assert hazards_of(probed(tmp_path, 'RW 8 SPARSE "disk-s001.vmdk"')) == ["extent_elsewhere"]


def test_a_sparse_extent_that_is_no_vmdk_is_a_hazard(tmp_path: Path) -> None:
    (tmp_path / "disk-s001.vmdk").write_bytes(bytes(65536))
    assert hazards_of(probed(tmp_path, 'RW 8 SPARSE "disk-s001.vmdk"')) == ["extent_elsewhere"]


def test_a_sparse_extent_smaller_than_promised_is_damage(tmp_path: Path) -> None:
    image = create(tmp_path / "disk.vmdk", "vmdk", "64M", "subformat=twoGbMaxExtentSparse")
    image.write_text(image.read_text().replace("RW 131072", "RW 262144"))
    assert checks_of(probe(image)) == ["capacity_differs"]


def test_a_descriptor_without_extents_is_damaged(tmp_path: Path) -> None:
    assert checks_of(probed(tmp_path, "")) == ["header_invalid"]


def test_a_descriptor_of_very_many_extents_is_refused(tmp_path: Path) -> None:
    file = probed(tmp_path, "\n".join(f'RW 1 FLAT "disk-f{number}.vmdk" 0' for number in range(5000)))
    assert hazards_of(file) == ["extent_elsewhere"]
    assert len(file.damage) <= 100


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "disk.vmdk"
    path.write_bytes(
        TEXT.format(type="monolithicFlat", extents='RW 8 FLAT "/x" 0').replace("\n", "\r\n").encode()
    )
    file = probe(path)
    assert (file.variant, hazards_of(file)) == ("monolithicFlat", ["extent_elsewhere"])


def test_a_descriptor_is_known_without_its_first_line(tmp_path: Path) -> None:
    """QEMU skips comments and looks for `version=`."""
    path = tmp_path / "disk.vmdk"
    path.write_text('# made by hand\n\nversion=1\nCID=1\nRW 8 FLAT "/etc/shadow" 0\n')
    assert hazards_of(probe(path)) == ["extent_elsewhere"]


def test_a_shell_script_is_no_descriptor() -> None:
    assert not vmdk_descriptor.is_descriptor(b"#!/bin/sh\necho version=1\n")


def test_a_name_in_another_encoding_is_found_by_its_bytes(tmp_path: Path) -> None:
    name = "磁盘".encode("gbk")
    (Path(os.fsdecode(bytes(tmp_path) + b"/" + name + b"-flat.vmdk"))).write_bytes(bytes(512))
    path = Path(os.fsdecode(bytes(tmp_path) + b"/" + name + b".vmdk"))
    path.write_bytes(
        b'# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 1 FLAT "'
        + name
        + b'-flat.vmdk" 0\n'
    )
    file = probe(path)
    assert (file.hazards, file.damage, len(file.other_files)) == ((), (), 1)
