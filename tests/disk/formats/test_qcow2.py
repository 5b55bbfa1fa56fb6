"""qcow2: what the header says, and what it must not make anyone open."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from imgtool.disk.formats import qcow2
from imgtool.disk.probe import probe
from tests.disk.formats.images import (
    checks_of,
    convert,
    create,
    damage_after,
    disk,
    hazards_of,
    overwrite,
    qemu_img,
)

INCOMPATIBLE_OFFSET = 72


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return create(tmp_path / "image.qcow2", "qcow2", "1G")


def flagged(path: Path, bits: int) -> Path:
    return overwrite(path, INCOMPATIBLE_OFFSET, struct.pack(">Q", bits))


def test_version_3_is_what_qemu_makes(image: Path) -> None:
    file = probe(image)
    assert (file.format, file.variant, file.virtual_size, file.qemu_format) == (
        "qcow2",
        "v3",
        1 << 30,
        "qcow2",
    )
    assert file.damage == file.hazards == file.snapshots == ()


def test_version_2_is_named_by_its_compatibility_level(tmp_path: Path) -> None:
    file = probe(create(tmp_path / "old.qcow2", "qcow2", "1G", "compat=0.10"))
    assert (file.variant, file.features) == ("v2", ("compat=0.10",))


@pytest.mark.parametrize(
    ("options", "feature"),
    [
        ("compression_type=zstd", "zstd"),
        ("extended_l2=on", "extended_l2"),
        ("lazy_refcounts=on", "lazy_refcounts"),
        ("refcount_bits=1", "refcount_bits=1"),
        ("cluster_size=2M", "cluster_size=2097152"),
    ],
)
def test_a_feature_is_read_from_the_header(tmp_path: Path, options: str, feature: str) -> None:
    assert feature in probe(create(tmp_path / "image.qcow2", "qcow2", "1G", options)).features


def test_a_persistent_bitmap_is_a_feature(image: Path) -> None:
    qemu_img("bitmap", "--add", "-f", "qcow2", image, "backup")
    file = probe(image)
    assert "bitmaps" in file.features
    assert not file.damage


@pytest.mark.parametrize("compression", ["zlib", "zstd"])
def test_compressed_clusters_are_noticed(tmp_path: Path, compression: str) -> None:
    source = disk(tmp_path / "disk.raw")
    packed = convert(source, tmp_path / "c.qcow2", "qcow2", f"compression_type={compression}", "-c")
    file = probe(packed)
    assert "compressed" in file.features
    assert not file.damage


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "base.qcow2",
        'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/passwd"}}',
        "nbd://127.0.0.1:10809/export",
        "https://example.com/disk.qcow2",
        "名字.qcow2",
    ],
)
def test_any_backing_file_is_a_hazard(tmp_path: Path, name: str) -> None:
    image = tmp_path / "overlay.qcow2"
    qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", name, image, "1G")
    file = probe(image)
    assert [(hazard.check, hazard.detail) for hazard in file.hazards] == [("backing_file", name)]
    assert file.qemu_format is None


def test_a_backing_file_name_is_shown_escaped_and_short(image: Path) -> None:
    overwrite(image, 0x10000 - 1024, b"\x1b[2J\n" + b"A" * 1000)
    overwrite(image, 8, struct.pack(">QI", 0x10000 - 1024, 1005))
    (hazard,) = probe(image).hazards
    assert hazard.detail.startswith("\\x1b[2J\\nAAAA")
    assert len(hazard.detail) <= 201


def test_an_external_data_file_is_a_hazard(tmp_path: Path) -> None:
    image = tmp_path / "image.qcow2"
    create(image, "qcow2", "1G", f"data_file={tmp_path / 'data.raw'},data_file_raw=on")
    (hazard,) = probe(image).hazards
    assert (hazard.check, hazard.detail) == ("data_file", str(tmp_path / "data.raw"))


def test_the_data_file_bit_is_a_hazard_also_without_a_name(image: Path) -> None:
    assert hazards_of(probe(flagged(image, qcow2.EXTERNAL_DATA))) == ["data_file"]


def test_a_json_name_of_a_data_file_is_a_hazard(tmp_path: Path) -> None:
    """CVE-2024-32498."""
    image = create(tmp_path / "image.qcow2", "qcow2", "1G", f"data_file={tmp_path / 'data.raw'}")
    name = b'json:{"file":{"filename":"/etc/passwd"}}'
    (header_length,) = struct.unpack(">I", image.read_bytes()[100:104])
    overwrite(image, header_length, struct.pack(">II", qcow2.DATA_FILE_NAME, len(name)) + name + bytes(8))
    (hazard,) = probe(image).hazards
    assert hazard.detail == name.decode()


def test_luks_encryption_is_a_hazard(image: Path) -> None:
    (header_length,) = struct.unpack(">I", image.read_bytes()[100:104])
    pointer = struct.pack(">QQ", 0x10000, 4096)
    overwrite(image, header_length, struct.pack(">II", qcow2.ENCRYPTION, 16) + pointer + bytes(8))
    file = probe(overwrite(image, 32, struct.pack(">I", 2)))
    assert [(hazard.check, hazard.detail) for hazard in file.hazards] == [("encrypted", "LUKS")]
    assert not file.damage


def test_an_encryption_header_outside_the_file_is_damage(image: Path) -> None:
    (header_length,) = struct.unpack(">I", image.read_bytes()[100:104])
    pointer = struct.pack(">QQ", 1 << 50, 4096)
    extension = struct.pack(">II", qcow2.ENCRYPTION, 16) + pointer + bytes(8)
    assert damage_after(image, header_length, extension) == ["table_outside_file"]


def test_aes_encryption_is_a_hazard(image: Path) -> None:
    assert hazards_of(probe(overwrite(image, 32, struct.pack(">I", 1)))) == ["encrypted"]


@pytest.mark.parametrize(("bit", "check"), [(qcow2.DIRTY, "dirty_bit"), (qcow2.CORRUPT, "corrupt_bit")])
def test_a_flag_in_the_header_is_damage(image: Path, bit: int, check: str) -> None:
    assert checks_of(probe(flagged(image, bit))) == [check]


def test_an_unknown_incompatible_feature_is_damage_with_its_number(image: Path) -> None:
    file = probe(flagged(image, 1 << 40))
    assert checks_of(file) == ["unknown_feature"]
    assert "bit 40" in file.damage[0].statement.en


def test_an_unknown_feature_is_called_by_the_name_in_the_image(image: Path) -> None:
    at = image.read_bytes().index(b"dirty bit") - 2
    overwrite(image, at, b"\0\x28" + b"teleportation".ljust(46, b"\0"))
    assert "teleportation" in probe(flagged(image, 1 << 40)).damage[0].statement.en


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        pytest.param(4, struct.pack(">I", 9), id="version"),
        pytest.param(20, struct.pack(">I", 8), id="cluster bits too small"),
        pytest.param(20, struct.pack(">I", 63), id="cluster bits too large"),
        pytest.param(24, struct.pack(">Q", 1 << 60), id="virtual size beyond the L1 table"),
        pytest.param(32, struct.pack(">I", 7), id="encryption method"),
        pytest.param(36, struct.pack(">I", 0xFFFFFFFF), id="L1 entries"),
        pytest.param(40, struct.pack(">Q", 0x30001), id="L1 offset unaligned"),
        pytest.param(40, struct.pack(">Q", 0), id="L1 offset 0"),
        pytest.param(48, struct.pack(">Q", 0), id="refcount table offset 0"),
        pytest.param(56, struct.pack(">I", 0xFFFFFFFF), id="refcount table clusters"),
        pytest.param(60, struct.pack(">I", 0xFFFFFFFF), id="snapshots"),
        pytest.param(96, struct.pack(">I", 99), id="refcount order"),
        pytest.param(100, struct.pack(">I", 0xFFFFFFFF), id="header length"),
    ],
)
def test_a_field_that_cannot_be_is_a_damaged_header(image: Path, offset: int, value: bytes) -> None:
    assert "header_invalid" in damage_after(image, offset, value)


def test_a_compression_type_that_is_not_known_is_a_damaged_header(image: Path) -> None:
    flagged(image, qcow2.COMPRESSION_TYPE)
    assert damage_after(image, qcow2.COMPRESSION_TYPE_OFFSET, b"\x07") == ["header_invalid"]


def test_snapshots_are_listed_with_name_and_sizes(image: Path) -> None:
    for name in ("before update", "快照"):
        qemu_img("snapshot", "-c", name, image)
    file = probe(image)
    assert file.snapshots == ("before update", "快照")
    assert [(snapshot.id, snapshot.disk_size, snapshot.state_size) for snapshot in file.snapshot_details] == [
        ("1", 1 << 30, 0),
        ("2", 1 << 30, 0),
    ]
    assert not file.damage


def test_a_snapshot_table_longer_than_the_file_was_cut_short(image: Path) -> None:
    qemu_img("snapshot", "-c", "one", image)
    assert damage_after(image, 60, struct.pack(">I", 60000)) == ["truncated"]


def test_a_snapshot_without_an_id_is_no_snapshot(image: Path) -> None:
    qemu_img("snapshot", "-c", "one", image)
    (table,) = struct.unpack(">Q", image.read_bytes()[64:72])
    assert damage_after(image, table + 12, b"\0\0") == ["snapshot_table"]


def test_version_1_is_another_format(tmp_path: Path) -> None:
    file = probe(create(tmp_path / "old.qcow", "qcow", "100M"))
    assert (file.format, file.virtual_size, file.qemu_format) == ("qcow", 100 * 1024**2, None)


def test_a_backing_file_of_version_1_is_a_hazard(tmp_path: Path) -> None:
    image = tmp_path / "old.qcow"
    qemu_img("create", "-q", "-u", "-f", "qcow", "-F", "raw", "-b", "/etc/passwd", image, "1G")
    assert [hazard.detail for hazard in probe(image).hazards] == ["/etc/passwd"]
