"""MountedDevices as Windows writes it, and as it never would."""

from __future__ import annotations

import io
import struct
import uuid
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fixtures.windows import hive
from imgtool.guest.windows.mounted_devices import (
    MountedDevice,
    parse_mounted_device,
    read_drive_letters,
)
from imgtool.guest.windows.registry import Hive

OPTICAL = "\\??\\SCSI#CdRom&Ven_QEMU&Prod_QEMU_DVD-ROM#4&1#{53f5630d-b6bf-11d0-94f2-00a0c91efb8b}"
GUID = uuid.UUID("5a1f2c00-1111-2222-3333-444455556666")


def letters(tmp_path: Path, values: dict[str, str]) -> dict[str, MountedDevice]:
    path = tmp_path / "SYSTEM"
    hive.make_hive(path, {"MountedDevices": values}, "SYSTEM")
    return read_drive_letters(Hive(io.BytesIO(path.read_bytes()), "/SYSTEM"))


def test_a_letter_on_an_mbr_disk_is_told_by_signature_and_offset(tmp_path: Path) -> None:
    data = hive.binary(struct.pack("<IQ", 0x0B5CE3F3, 350 << 20))
    found = letters(tmp_path, {"\\DosDevices\\c:": data, f"\\??\\Volume{{{GUID}}}": data})
    assert found == {"C": MountedDevice("mbr", "0b5ce3f3", 350 << 20)}


def test_a_letter_on_a_gpt_disk_is_told_by_the_partitions_guid() -> None:
    assert parse_mounted_device(b"DMIO:ID:" + GUID.bytes_le) == MountedDevice("gpt", partition_guid=str(GUID))


def test_an_optical_drive_is_told_by_its_path() -> None:
    assert parse_mounted_device(OPTICAL.encode("utf-16-le")) == MountedDevice("path", path=OPTICAL)


def test_a_letter_of_the_wrong_type_or_length_stands_for_nothing_known(tmp_path: Path) -> None:
    values = {
        "\\DosDevices\\C:": hive.dword(7),
        "\\DosDevices\\D:": hive.binary(b"\x01\x02\x03"),
        "\\DosDevices\\E:": hive.binary(b"DMIO:ID:short"),
    }
    assert {it.kind for it in letters(tmp_path, values).values()} == {"unknown"}


def test_hundreds_of_volumes_hide_no_letter(tmp_path: Path) -> None:
    data = hive.binary(struct.pack("<IQ", 1, 1 << 20))
    values = {f"\\??\\Volume{{{uuid.UUID(int=number)}}}": data for number in range(600)}
    assert list(letters(tmp_path, values | {"\\DosDevices\\Z:": data, "\\DosDevices\\ZZ:": data})) == ["Z"]


def test_a_windows_without_letters_has_none(tmp_path: Path) -> None:
    path = tmp_path / "SYSTEM"
    hive.make_hive(path, {"Select": {"Current": hive.dword(1)}}, "SYSTEM")
    assert read_drive_letters(Hive(io.BytesIO(path.read_bytes()), "/SYSTEM")) == {}


@given(st.binary(max_size=2048))
def test_any_bytes_are_a_device_or_unknown(data: bytes) -> None:
    assert parse_mounted_device(data).kind in ("mbr", "gpt", "path", "unknown")
