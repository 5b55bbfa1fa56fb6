"""Sparse VMDK: what its header, footer and grain tables say."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from construct import Container

from imgtool.disk.formats import vmdk
from imgtool.disk.probe import probe
from tests.disk.formats.images import (
    checks_of,
    convert,
    create,
    damage_after,
    disk,
    hazards_of,
    overwrite,
    qemu_virtual_size,
    shorten,
)

SECTOR = 512
DESCRIPTOR = """# Disk DescriptorFile
version=1
CID=12345678
parentCID={parent}
createType="{type}"

# Extent description
{extents}

# The Disk Data Base
#DDB
ddb.adapterType = "lsilogic"
"""


def header(**changes: int | bytes) -> bytes:
    """The header of a 64 MiB monolithicSparse disk, one sector long."""
    fields: dict[str, int | bytes] = {
        "magic": b"KDMV",
        "version": 1,
        "flags": 1,
        "capacity": 131072,
        "grain_size": 128,
        "descriptor_offset": 1,
        "descriptor_size": 20,
        "entries_per_table": 512,
        "redundant_directory_offset": 0,
        "directory_offset": 21,
        "overhead": 128,
        "unclean_shutdown": 0,
        "newlines": vmdk.NEWLINES,
        "compression": 0,
    }
    return bytes(vmdk.HEADER.build(Container(**(fields | changes)))).ljust(SECTOR, b"\0")


def sparse(path: Path, descriptor: str, **changes: int | bytes) -> Path:
    """A sparse VMDK without data, with a descriptor of ours."""
    path.write_bytes((header(**changes) + descriptor.encode()).ljust(128 * SECTOR, b"\0"))
    return path


def stream(path: Path, footer: bool = True) -> Path:
    """A streamOptimized VMDK as VMware writes it: one compressed grain, the directory behind it, a footer."""
    import zlib

    descriptor = DESCRIPTOR.format(
        parent="ffffffff", type="streamOptimized", extents='RW 131072 SPARSE "x.vmdk"'
    )
    flags = 1 | vmdk.COMPRESSED | vmdk.MARKERS
    common = {"version": 3, "flags": flags, "compression": 1}
    data = header(**common, directory_offset=vmdk.DIRECTORY_AT_END) + descriptor.encode()
    data = data.ljust(128 * SECTOR, b"\0")
    grain = zlib.compress(b"data" * 16384)
    data += (struct.pack("<QI", 0, len(grain)) + grain).ljust(SECTOR, b"\0")
    table_at = len(data) // SECTOR + 1
    data += struct.pack("<QII", 4, 0, 1).ljust(SECTOR, b"\0")  # grain table marker
    data += struct.pack("<I", 128).ljust(4 * SECTOR, b"\0")
    directory_at = len(data) // SECTOR + 1
    data += struct.pack("<QII", 1, 0, 2).ljust(SECTOR, b"\0")  # grain directory marker
    data += struct.pack("<I", table_at).ljust(SECTOR, b"\0")
    if footer:
        data += struct.pack("<QII", 1, 0, vmdk.FOOTER_MARKER).ljust(SECTOR, b"\0")
        data += header(**common, directory_offset=directory_at)
        data += bytes(SECTOR)
    path.write_bytes(data)
    return path


def one_extent(parent: str = "ffffffff", extents: str = 'RW 131072 SPARSE "old-name.vmdk"') -> str:
    return DESCRIPTOR.format(parent=parent, type="monolithicSparse", extents=extents)


@pytest.fixture
def raw_disk(tmp_path: Path) -> Path:
    return disk(tmp_path / "disk.raw")


@pytest.mark.parametrize("variant", ["monolithicSparse", "streamOptimized"])
def test_a_whole_image_is_not_accused(tmp_path: Path, raw_disk: Path, variant: str) -> None:
    file = probe(convert(raw_disk, tmp_path / "a.vmdk", "vmdk", f"subformat={variant}"))
    assert (file.format, file.variant, file.qemu_format) == ("vmdk", variant, "vmdk")
    assert file.virtual_size == raw_disk.stat().st_size
    assert file.damage == file.hazards == file.other_files == ()
    assert ("compressed" in file.features) == (variant == "streamOptimized")


@pytest.mark.parametrize("variant", ["monolithicSparse", "streamOptimized"])
@pytest.mark.parametrize("keep", [0.2, 0.5, 0.85])
def test_an_image_cut_short_is_truncated(tmp_path: Path, raw_disk: Path, variant: str, keep: float) -> None:
    image = convert(raw_disk, tmp_path / "a.vmdk", "vmdk", f"subformat={variant}")
    shorten(image, int(image.stat().st_size * keep))
    assert checks_of(probe(image)) == ["truncated"]


def test_a_stream_cut_inside_its_last_grain_is_truncated(tmp_path: Path, raw_disk: Path) -> None:
    """QEMU writes no footer and fills up with zeros: the last grain's own marker says how long it is."""
    image = convert(raw_disk, tmp_path / "a.vmdk", "vmdk", "subformat=streamOptimized")
    data_size = len(image.read_bytes().rstrip(b"\0"))
    assert checks_of(probe(shorten(image, data_size + 1))) == []
    shorten(image, data_size - 1)
    assert checks_of(probe(image)) == ["truncated"]


def test_a_file_shorter_than_its_header_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "a.vmdk"
    path.write_bytes(header()[:40])
    assert checks_of(probe(path)) == ["truncated"]


def test_a_stream_with_a_footer_is_whole_and_qemu_agrees_on_its_size(tmp_path: Path) -> None:
    image = stream(tmp_path / "stream.vmdk")
    file = probe(image)
    assert (file.variant, file.damage, file.hazards) == ("streamOptimized", (), ())
    assert file.virtual_size == qemu_virtual_size(image, "vmdk") == 64 * 1024**2
    assert {"compressed", "markers", "version=3"} <= set(file.features)


def test_a_stream_without_its_footer_is_truncated(tmp_path: Path) -> None:
    assert checks_of(probe(stream(tmp_path / "stream.vmdk", footer=False))) == ["truncated"]


def test_a_stream_whose_end_marker_is_cut_off_is_truncated(tmp_path: Path) -> None:
    image = stream(tmp_path / "stream.vmdk")
    shorten(image, image.stat().st_size - SECTOR)
    assert checks_of(probe(image)) == ["truncated"]


def test_a_renamed_image_keeps_its_old_name_inside(tmp_path: Path) -> None:
    file = probe(sparse(tmp_path / "new-name.vmdk", one_extent()))
    assert file.hazards == ()
    assert file.qemu_format == "vmdk"


@pytest.mark.parametrize(
    "name", ["/etc/shadow", "../other.vmdk", "a/b.vmdk", "json:{}", "nbd:host:1", "\\\\.\\D"]
)
def test_an_embedded_name_that_leads_elsewhere_is_a_hazard(tmp_path: Path, name: str) -> None:
    extents = f'RW 131072 SPARSE "{name}"'
    assert hazards_of(probe(sparse(tmp_path / "a.vmdk", one_extent(extents=extents)))) == ["extent_elsewhere"]


def test_a_second_embedded_extent_is_a_hazard(tmp_path: Path) -> None:
    extents = 'RW 65536 SPARSE "a.vmdk"\nRW 65536 FLAT "b.vmdk" 0'
    assert hazards_of(probe(sparse(tmp_path / "a.vmdk", one_extent(extents=extents)))) == ["extent_elsewhere"]


def test_an_extent_over_several_lines_is_a_hazard_as_qemu_reads_it(tmp_path: Path) -> None:
    """sscanf takes a line end for a blank."""
    extents = 'RW\n131072\nFLAT\n"/etc/shadow"\n0'
    assert hazards_of(probe(sparse(tmp_path / "a.vmdk", one_extent(extents=extents)))) == ["extent_elsewhere"]


def test_an_extent_in_an_embedded_descriptor_that_calls_itself_short_is_a_hazard(tmp_path: Path) -> None:
    descriptor = one_extent(extents=" " * 600 + '\nRW 131072 FLAT "/etc/shadow" 0')
    image = sparse(tmp_path / "a.vmdk", descriptor, descriptor_size=1)
    assert hazards_of(probe(image)) == ["extent_elsewhere"]


def test_capacity_0_makes_the_embedded_descriptor_the_disk(tmp_path: Path) -> None:
    """QEMU then opens the extents that it names (CVE-2022-47951)."""
    descriptor = DESCRIPTOR.format(
        parent="ffffffff", type="monolithicFlat", extents='RW 8 FLAT "/etc/shadow" 0'
    )
    file = probe(sparse(tmp_path / "a.vmdk", descriptor, capacity=0))
    assert [(hazard.check, hazard.detail) for hazard in file.hazards] == [("extent_elsewhere", "/etc/shadow")]
    assert file.qemu_format is None


def test_an_extent_deep_in_the_descriptor_of_capacity_0_is_a_hazard(tmp_path: Path) -> None:
    """QEMU does not ask the header how long that descriptor is."""
    descriptor = one_extent(extents=" " * 20 * SECTOR + '\nRW 8 FLAT "/etc/shadow" 0')
    image = sparse(tmp_path / "a.vmdk", descriptor, capacity=0, descriptor_size=1)
    assert hazards_of(probe(image)) == ["extent_elsewhere"]


def test_the_place_of_the_descriptor_is_counted_in_64_bits_as_qemu_does(tmp_path: Path) -> None:
    descriptor = one_extent(extents='RW 8 FLAT "/etc/shadow" 0')
    image = sparse(tmp_path / "a.vmdk", descriptor, capacity=0, descriptor_offset=(1 << 55) + 1)
    assert hazards_of(probe(image)) == ["extent_elsewhere"]


def test_a_parent_is_a_hazard(tmp_path: Path) -> None:
    descriptor = one_extent(parent="01234567") + 'parentFileNameHint="base.vmdk"\n'
    file = probe(sparse(tmp_path / "a.vmdk", descriptor))
    assert [(hazard.check, hazard.detail) for hazard in file.hazards] == [("differencing", "base.vmdk")]


def test_a_parent_known_only_by_its_content_id_is_a_hazard(tmp_path: Path) -> None:
    assert hazards_of(probe(sparse(tmp_path / "a.vmdk", one_extent(parent="01234567")))) == ["differencing"]


def test_a_parent_hint_in_the_middle_of_a_line_is_a_hazard_as_qemu_reads_it(tmp_path: Path) -> None:
    descriptor = one_extent() + '# parentFileNameHint="/etc/shadow"\n'
    assert hazards_of(probe(sparse(tmp_path / "a.vmdk", descriptor))) == ["differencing"]


def test_a_real_snapshot_of_qemu_img_is_a_hazard(tmp_path: Path) -> None:
    from tests.disk.formats.images import qemu_img

    base = create(tmp_path / "base.vmdk", "vmdk", "64M")
    qemu_img("create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", base, tmp_path / "delta.vmdk")
    assert [hazard.detail for hazard in probe(tmp_path / "delta.vmdk").hazards] == [str(base)]


def test_an_unclean_shutdown_is_worth_a_look(tmp_path: Path) -> None:
    (damage,) = probe(sparse(tmp_path / "a.vmdk", one_extent(), unclean_shutdown=1)).damage
    assert (damage.check, damage.serious) == ("unclean_shutdown", False)


def test_a_transfer_in_text_mode_is_found_by_the_line_end_bytes(tmp_path: Path) -> None:
    image = sparse(tmp_path / "a.vmdk", one_extent(), newlines=b"\n \n\n")
    assert checks_of(probe(image)) == ["header_invalid"]


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 9},
        {"grain_size": 0},
        {"grain_size": 1 << 40},
        {"entries_per_table": 0},
        {"capacity": 1 << 53},
    ],
    ids=str,
)
def test_a_field_that_cannot_be_is_a_damaged_header(tmp_path: Path, changes: dict[str, int]) -> None:
    assert "header_invalid" in checks_of(probe(sparse(tmp_path / "a.vmdk", one_extent(), **changes)))


def test_a_grain_directory_far_outside_was_never_right(tmp_path: Path) -> None:
    image = sparse(tmp_path / "a.vmdk", one_extent(), directory_offset=1 << 40)
    assert checks_of(probe(image)) == ["table_outside_file"]


def test_a_grain_table_outside_the_file_is_damage(tmp_path: Path) -> None:
    image = sparse(tmp_path / "a.vmdk", one_extent())
    assert damage_after(image, 21 * SECTOR, struct.pack("<I", 5000)) == ["truncated"]


def test_a_descriptor_that_promises_more_than_the_header_is_damage(tmp_path: Path) -> None:
    image = sparse(tmp_path / "a.vmdk", one_extent(extents='RW 262144 SPARSE "a.vmdk"'))
    assert checks_of(probe(image)) == ["capacity_differs"]


def test_one_piece_of_a_split_disk_has_no_descriptor(tmp_path: Path) -> None:
    create(tmp_path / "split.vmdk", "vmdk", "64M", "subformat=twoGbMaxExtentSparse")
    file = probe(tmp_path / "split-s001.vmdk")
    assert file.variant == "sparse extent"
    assert "no_descriptor" in file.features


def test_an_esx_delta_extent_is_a_difference(tmp_path: Path) -> None:
    cowd = tmp_path / "disk-000001-delta.vmdk"
    cowd.write_bytes(struct.pack("<4sIIIIII", b"COWD", 1, 3, 131072, 1, 4, 32).ljust(4096, b"\0"))
    file = probe(cowd)
    assert (file.variant, file.virtual_size, hazards_of(file)) == (
        "vmfsSparse",
        64 * 1024**2,
        ["differencing"],
    )


def test_a_sesparse_extent_is_a_difference(tmp_path: Path) -> None:
    path = tmp_path / "disk-000001-sesparse.vmdk"
    path.write_bytes(struct.pack("<QQQQ", 0xCAFEBABE, 0x200000001, 131072, 8).ljust(4096, b"\0"))
    file = probe(path)
    assert (file.variant, file.virtual_size, hazards_of(file)) == ("seSparse", 64 * 1024**2, ["differencing"])


def test_a_java_class_is_no_sesparse_extent(tmp_path: Path) -> None:
    path = tmp_path / "Main.class"
    path.write_bytes(b"\xca\xfe\xba\xbe\0\0\0\x34".ljust(4096, b"\0"))
    assert probe(path).format == "raw"


def test_garbage_with_the_magic_keeps_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.vmdk"
    path.write_bytes(b"KDMV" + b"\xff" * 8188)
    file = probe(overwrite(path, 4, b"\xff"))
    assert file.format == "vmdk"
    assert file.damage
