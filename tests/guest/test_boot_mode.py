"""How a disk starts: real boot code from GRUB and Syslinux where it is installed, loaders in a real FAT."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from imgtool.disk.disk import Disk
from imgtool.guest.boot_mode import BootMode, boot_mode, identify_boot_code, read_boot_mode
from tests.guest.stand_in import ROOT, ZeroBlocks, disk

GRUB_CODE = Path("/usr/lib/grub/i386-pc/boot.img")
SYSLINUX_CODE = Path("/usr/lib/syslinux/mbr/mbr.bin")
WINDOWS_CODE = (
    b"\x33\xc0\x8e\xd0\xbc\x00\x7c"
    + bytes(100)
    + b"Invalid partition table\0Error loading operating system\0"
)
SYSLINUX_LIKE = b"\x33\xc0\xfa\x8e\xd8" + bytes(200) + b"Missing operating system.\r\n"


def grub_code(sector: int = 1) -> bytes:
    """GRUB 2's own boot.img, as grub-bios-setup links it."""
    if not GRUB_CODE.exists():
        pytest.skip("grub-pc-bin is not installed")
    code = bytearray(GRUB_CODE.read_bytes()[:440])
    struct.pack_into("<Q", code, 0x5C, sector)
    return bytes(code)


def of(code: bytes, parts: dict[int, bytes] | None = None, *volumes: Any, kind: str = "mbr") -> BootMode:
    return read_boot_mode(
        disk(*(volumes or (ROOT,)), kind=kind, boot_code=code, blocks=ZeroBlocks(parts=parts))
    )


def test_grub_2_behind_the_partition_table_starts_by_bios() -> None:
    found = of(grub_code(), {512: b"core image"})
    assert (found.mode, found.boot_code) == ("bios", "grub2")
    assert "before the first partition" in found.evidence[0]


def test_grub_2_whose_core_image_is_gone_does_not_start() -> None:
    found = of(grub_code(), {})
    assert found.mode == "unknown"
    assert "is empty" in found.lacking[0].en


@pytest.mark.parametrize("sector", [0, 1 << 40, (1 << 64) - 1])
def test_grub_2_that_points_outside_the_disk_does_not_start(sector: int) -> None:
    assert of(grub_code(sector)).mode == "unknown"


def test_grub_2_in_a_partition_or_a_block_list_is_where_it_points() -> None:
    found = of(grub_code(2048 + 8), {(2048 + 8) * 512: b"core"})
    assert found.mode == "bios"
    assert "partition 1" in found.evidence[0]


def test_grub_legacy_is_told_from_grub_2() -> None:
    code = (
        b"\xeb\x48\x90".ljust(0x3E, b"\0")
        + b"\x03\x02\x80\0\0\x80\1\0\0\0"
        + b"GRUB \0Geom\0Hard Disk\0Read\0 Error"
    )
    assert identify_boot_code(code) == "grub-legacy"
    assert of(code, {512: b"stage1_5"}).mode == "bios"
    assert of(code, {}).mode == "unknown"


@pytest.mark.parametrize(("code", "name"), [(WINDOWS_CODE, "windows"), (SYSLINUX_LIKE, "syslinux")])
def test_boot_code_that_starts_the_active_partition_needs_one_that_can_start(code: bytes, name: str) -> None:
    from dataclasses import replace

    sector = b"\xeb\x52\x90NTFS    ".ljust(510, b"\0") + b"\x55\xaa"
    start = ROOT.partition.start
    assert of(code, {start: sector}).boot_code == name
    assert of(code, {start: sector}).mode == "bios"
    assert of(code, {}).mode == "unknown"
    inactive = replace(ROOT, partition=replace(ROOT.partition, active=False))
    assert of(code, {start: sector}, inactive).mode == "unknown"


@pytest.mark.skipif(not SYSLINUX_CODE.exists(), reason="syslinux-common is not installed")
def test_syslinux_s_own_boot_code_is_known() -> None:
    assert identify_boot_code(SYSLINUX_CODE.read_bytes()) == "syslinux"


def test_without_boot_code_nothing_starts() -> None:
    found = of(b"")
    assert (found.mode, found.boot_code) == ("unknown", "none")
    assert found.lacking


def test_boot_code_of_an_unknown_maker_is_believed() -> None:
    assert of(b"\xfa\x31\xc0 some other loader").mode == "bios"


def pe(machine: int) -> bytes:
    """The beginning of an EFI program."""
    return (
        b"MZ".ljust(0x3C, b"\0")
        + (0x80).to_bytes(4, "little")
        + bytes(0x40)
        + b"PE\0\0"
        + machine.to_bytes(2, "little")
    )


def efi_disk(folder: Path, files: dict[str, bytes], format_it: bool = True) -> Disk:
    """A GPT disk with an ESP, made by sgdisk, mkfs.vfat and mtools."""
    from imgtool.disk.blocks import RawBlocks

    esp, path = folder / "esp", folder / "disk"
    esp.write_bytes(bytes(34 << 20))
    if format_it:
        subprocess.run(["mkfs.vfat", "-F", "32", esp], check=True, capture_output=True)
        made = set()
        for name, content in files.items():
            parts = name.split("/")
            for depth in range(1, len(parts)):
                above = "/".join(parts[:depth])
                if above.upper() not in made:
                    subprocess.run(["mmd", "-i", esp, f"::{above}"], check=True)
                    made.add(above.upper())
            (folder / "file").write_bytes(content)
            subprocess.run(["mcopy", "-i", esp, folder / "file", f"::{name}"], check=True)
    with path.open("wb") as file:
        file.truncate(36 << 20)
    subprocess.run(
        ["sgdisk", "-a", "1", "-n", "1:2048:+34M", "-t", "1:ef00", path], check=True, capture_output=True
    )
    with path.open("r+b") as file:
        file.seek(1 << 20)
        file.write(esp.read_bytes())
    return Disk(RawBlocks(path))


def test_a_fallback_loader_starts_by_uefi(tmp_path: Path) -> None:
    found = read_boot_mode(efi_disk(tmp_path, {"EFI/BOOT/BOOTX64.EFI": pe(0x8664)}))
    assert found.mode == "uefi"
    assert [(it.path, it.machine, it.fallback) for it in found.loaders] == [
        ("\\EFI\\BOOT\\BOOTX64.EFI", "x86_64", True)
    ]


def test_a_vendor_s_loader_alone_is_no_fallback(tmp_path: Path) -> None:
    files = {
        "EFI/debian/shimaa64.efi": pe(0xAA64),
        "EFI/debian/mmaa64.efi": pe(0xAA64),
        "EFI/debian/grub.cfg": b"",
    }
    found = read_boot_mode(efi_disk(tmp_path, files))
    assert found.mode == "uefi"
    assert [(it.path, it.machine, it.fallback) for it in found.loaders] == [
        ("\\EFI\\debian\\shimaa64.efi", "arm64", False)
    ]


def test_a_fallback_name_with_a_program_for_another_machine_is_none(tmp_path: Path) -> None:
    found = read_boot_mode(efi_disk(tmp_path, {"efi/boot/bootx64.efi": pe(0xAA64)}))
    assert [it.fallback for it in found.loaders] == [False]


def test_what_is_no_program_is_no_loader(tmp_path: Path) -> None:
    found = read_boot_mode(efi_disk(tmp_path, {"EFI/BOOT/BOOTX64.EFI": b"not a program"}))
    assert found.mode == "unknown"
    assert any("no boot loader" in why.en for why in found.lacking)


def test_an_esp_without_fat_is_told(tmp_path: Path) -> None:
    found = read_boot_mode(efi_disk(tmp_path, {}, format_it=False))
    assert boot_mode(efi_disk(tmp_path, {}, format_it=False)) == "unknown"
    assert any("no FAT" in why.en for why in found.lacking)
