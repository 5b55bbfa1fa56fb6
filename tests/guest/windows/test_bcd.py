from __future__ import annotations

import io
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from fixtures.windows import bcd as made
from fixtures.windows.hive import make_hive
from imgtool.guest.windows.bcd import BootConfiguration, parse_device, read_bcd
from imgtool.guest.windows.registry import Hive

# a partition at 1 MiB of the disk with signature 4b5ce3f3, written by hand from the published layout of a BCD
# device element, not taken from a Windows: it shows that reader and fixture agree, no more
BY_HAND = bytes.fromhex(
    "00000000000000000000000000000000" "06000000000000004800000000000000"
    "00001000000000000000000000000000" "0000000001000000f3e35c4b00000000"
    "00000000000000000000000000000000" "0000000000000000"
)  # fmt: skip


def configuration(tmp_path: Path, tree: dict[str, dict[str, str]]) -> BootConfiguration:
    path = tmp_path / "BCD"
    make_hive(path, tree)
    return read_bcd(Hive(io.BytesIO(path.read_bytes()), "/Boot/BCD"))


def test_a_partition_is_told_by_signature_and_offset() -> None:
    device = parse_device(BY_HAND)
    assert device is not None
    assert (device.kind, device.style, device.signature, device.offset) == (
        "partition",
        "mbr",
        "4b5ce3f3",
        1 << 20,
    )
    assert made.partition_device(0x4B5CE3F3, 1 << 20) == BY_HAND


def test_the_boot_device_names_no_disk() -> None:
    device = parse_device(made.boot_device())
    assert device is not None
    assert device.kind == "boot"


def test_the_default_entry_is_the_loader_and_not_the_resume_entry(tmp_path: Path) -> None:
    device = made.partition_device(0x11223344, 17 << 20)
    found = configuration(tmp_path, made.boot_data(device, manager=device, name="Windows Server 2012 R2"))
    loader = found.default_loader
    assert loader is not None
    assert (loader.id, loader.path) == (made.LOADER, "\\Windows\\system32\\winload.exe")
    assert loader.description == "Windows Server 2012 R2"
    assert loader.device is not None
    assert loader.device.offset == 17 << 20
    assert len(found.loaders) == 1


def test_a_manager_without_default_starts_nothing(tmp_path: Path) -> None:
    device = made.boot_device()
    assert configuration(tmp_path, made.boot_data(device, manager=device, default="")).default_loader is None


@given(st.binary(max_size=96))
def test_any_bytes_are_a_device_or_none(data: bytes) -> None:
    parse_device(data)
    parse_device(bytes(16) + b"\x06\0\0\0" + data)
