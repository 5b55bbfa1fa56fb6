"""VHD: its footer, the copy of it, and its block table."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.disk.formats import vhd
from imgtool.disk.probe import probe
from tests.disk.formats.images import (
    checks_of,
    convert,
    create,
    damage_after,
    disk,
    overwrite,
    qemu_virtual_size,
    shorten,
)

FOOTER = 512


@pytest.fixture
def raw_disk(tmp_path: Path) -> Path:
    return disk(tmp_path / "disk.raw")


@pytest.fixture
def dynamic(tmp_path: Path, raw_disk: Path) -> Path:
    return convert(raw_disk, tmp_path / "dynamic.vhd", "vpc", "force_size=on")


@pytest.fixture
def fixed(tmp_path: Path, raw_disk: Path) -> Path:
    return convert(raw_disk, tmp_path / "fixed.vhd", "vpc", "subformat=fixed,force_size=on")


def footer_with(path: Path, at: int, offset: int, value: bytes) -> Path:
    """Change a field of the footer at `at` and make its checksum right again."""
    data = path.read_bytes()
    footer = bytearray(data[at : at + FOOTER] if at >= 0 else data[at:])
    footer[offset : offset + len(value)] = value
    footer[64:68] = struct.pack(">I", vhd.checksum(bytes(footer), vhd.FOOTER_CHECKSUM))
    return overwrite(path, at, bytes(footer))


def both_footers_with(path: Path, offset: int, value: bytes) -> Path:
    return footer_with(footer_with(path, 0, offset, value), -FOOTER, offset, value)


@pytest.mark.parametrize("variant", ["fixed", "dynamic"])
def test_a_whole_image_is_not_accused(request: pytest.FixtureRequest, raw_disk: Path, variant: str) -> None:
    file = probe(request.getfixturevalue(variant))
    assert (file.format, file.variant, file.qemu_format) == ("vhd", variant, "vpc")
    assert file.virtual_size == raw_disk.stat().st_size
    assert file.features == ("creator=qem2",)
    assert file.damage == file.hazards == ()


@settings(max_examples=25)
@given(
    sectors=st.integers(1, 1 << 31),
    variant=st.sampled_from(["dynamic", "fixed"]),
    force=st.sampled_from(["on", "off"]),
)
def test_the_size_is_what_qemu_img_says(
    tmp_path_factory: pytest.TempPathFactory, sectors: int, variant: str, force: str
) -> None:
    options = f"subformat={variant},force_size={force}"
    path = tmp_path_factory.mktemp("size") / "disk.vhd"
    create(path, "vpc", sectors * 512, options)
    assert probe(path).virtual_size == qemu_virtual_size(path, "vpc")
    path.unlink()


def test_the_footer_s_current_size_counts_and_not_the_geometry(dynamic: Path) -> None:
    """QEMU 7.2 goes by the geometry for creators it does not know and sees a smaller disk; 10 does not."""
    both_footers_with(dynamic, 28, b"vbox")
    both_footers_with(dynamic, 56, struct.pack(">HBB", 10, 16, 17))
    file = probe(dynamic)
    assert file.virtual_size == 4 * 1024**2 + 512
    assert f"geometry_size={10 * 16 * 17 * 512}" in file.features
    assert qemu_virtual_size(dynamic, "vpc") in (10 * 16 * 17 * 512, 4 * 1024**2 + 512)


def test_a_creator_that_qemu_knows_needs_no_geometry(dynamic: Path) -> None:
    both_footers_with(dynamic, 28, b"win ")
    both_footers_with(dynamic, 56, struct.pack(">HBB", 10, 16, 17))
    assert probe(dynamic).features == ("creator=win ",)
    assert qemu_virtual_size(dynamic, "vpc") == 4 * 1024**2 + 512


def test_a_creator_with_a_nul_is_shown_escaped(dynamic: Path) -> None:
    assert probe(both_footers_with(dynamic, 28, b"tap\0")).features == ("creator=tap\\x00",)


def test_a_dynamic_image_without_its_footer_is_truncated(dynamic: Path) -> None:
    shorten(dynamic, dynamic.stat().st_size - FOOTER)
    assert checks_of(probe(dynamic)) == ["truncated"]


@pytest.mark.parametrize("keep", [600, 1600, 100000])
def test_a_dynamic_image_cut_short_is_truncated(dynamic: Path, keep: int) -> None:
    assert checks_of(probe(shorten(dynamic, keep))) == ["truncated"]


def test_a_fixed_image_that_lost_data_but_not_its_footer_is_truncated(fixed: Path) -> None:
    data = fixed.read_bytes()
    fixed.write_bytes(data[: 1024**2] + data[-FOOTER:])
    assert checks_of(probe(fixed)) == ["truncated"]


def test_a_fixed_image_without_its_footer_is_raw(fixed: Path, raw_disk: Path) -> None:
    """Nothing else tells it from a raw disk."""
    shorten(fixed, fixed.stat().st_size - FOOTER)
    file = probe(fixed)
    assert (file.format, file.virtual_size) == ("raw", raw_disk.stat().st_size)


@pytest.mark.parametrize("variant", ["fixed", "dynamic"])
def test_a_wrong_checksum_of_the_footer_is_damage(request: pytest.FixtureRequest, variant: str) -> None:
    assert damage_after(request.getfixturevalue(variant), -FOOTER + 70, b"\xa5\xa5") == ["header_checksum"]


def test_a_wrong_checksum_of_the_copy_is_damage(dynamic: Path) -> None:
    assert damage_after(dynamic, 70, b"\xa5\xa5") == ["header_checksum"]


def test_a_wrong_checksum_of_the_dynamic_header_is_damage(dynamic: Path) -> None:
    assert damage_after(dynamic, 512 + 40, b"\xa5\xa5") == ["header_checksum"]


def test_a_missing_copy_of_the_footer_is_damage(dynamic: Path) -> None:
    assert damage_after(dynamic, 0, bytes(8)) == ["header_invalid"]


def test_bytes_behind_the_footer_of_a_fixed_image_are_damage(fixed: Path, raw_disk: Path) -> None:
    with fixed.open("ab") as file:
        file.write(b"garbage" * 100)
    found = probe(fixed)
    assert (found.format, found.virtual_size) == ("vhd", raw_disk.stat().st_size)
    assert checks_of(found) == ["trailing_bytes"]


def test_bytes_behind_the_footer_of_a_dynamic_image_are_damage(dynamic: Path) -> None:
    with dynamic.open("ab") as file:
        file.write(bytes(4096))
    assert checks_of(probe(dynamic)) == ["trailing_bytes"]


def test_a_footer_of_511_bytes_is_one_of_old_virtual_pc(fixed: Path) -> None:
    footer_with(fixed, -FOOTER, 28, b"vpc ")
    shorten(fixed, fixed.stat().st_size - 1)
    file = probe(fixed)
    assert (file.format, file.variant, file.damage) == ("vhd", "fixed", ())
    assert "footer_511" in file.features


def test_the_word_conectix_in_a_raw_disk_makes_no_vhd(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(8192) + b"conectix" + bytes(8192))
    assert probe(path).format == "raw"


def test_a_saved_state_is_worth_a_look(dynamic: Path) -> None:
    (damage,) = probe(both_footers_with(dynamic, 84, b"\1")).damage
    assert (damage.check, damage.serious) == ("saved_state", False)


def test_a_differencing_image_is_a_hazard_with_its_parent_s_name(dynamic: Path) -> None:
    both_footers_with(dynamic, 60, struct.pack(">I", vhd.DIFFERENCING))
    header = bytearray(dynamic.read_bytes()[512:1536])
    header[64:576] = "C:\\VMs\\base.vhd".encode("utf-16-be").ljust(512, b"\0")
    header[36:40] = struct.pack(">I", vhd.checksum(bytes(header), vhd.HEADER_CHECKSUM))
    file = probe(overwrite(dynamic, 512, bytes(header)))
    assert [(hazard.check, hazard.detail) for hazard in file.hazards] == [
        ("differencing", "C:\\VMs\\base.vhd")
    ]
    assert (file.variant, file.qemu_format) == ("differencing", None)


def test_a_disk_type_that_is_not_known_is_a_damaged_header(dynamic: Path) -> None:
    assert checks_of(probe(both_footers_with(dynamic, 60, struct.pack(">I", 6)))) == ["header_invalid"]


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        pytest.param(28, struct.pack(">I", 0xFFFFFFFF), id="entries"),
        pytest.param(28, struct.pack(">I", 1), id="too few entries"),
        pytest.param(32, struct.pack(">I", 12345), id="block size"),
        pytest.param(32, struct.pack(">I", 0), id="block size 0"),
        pytest.param(0, b"notthere", id="cookie"),
    ],
)
def test_a_dynamic_header_that_cannot_be_is_damage(dynamic: Path, offset: int, value: bytes) -> None:
    header = bytearray(dynamic.read_bytes()[512:1536])
    header[offset : offset + len(value)] = value
    header[36:40] = struct.pack(">I", vhd.checksum(bytes(header), vhd.HEADER_CHECKSUM))
    assert damage_after(dynamic, 512, bytes(header)) == ["header_invalid"]


def test_a_block_outside_the_file_is_damage(dynamic: Path) -> None:
    (table,) = struct.unpack(">Q", dynamic.read_bytes()[512 + 16 : 512 + 24])
    assert damage_after(dynamic, table, struct.pack(">I", 0x10000000)) == ["table_outside_file"]
