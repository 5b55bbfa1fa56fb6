"""Which firmware is taken, by QEMU's descriptors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imgtool.errors import MachineLacks
from imgtool.rehearsal import firmware


def described(folder: Path, name: str, features: list[str], machine: str = "pc-i440fx-*") -> None:
    for file in ("code", "vars"):
        (folder / f"{name}.{file}").write_bytes(b"\0" * 16)
    mapping = {
        "device": "flash",
        "executable": {"filename": str(folder / f"{name}.code"), "format": "raw"},
        "nvram-template": {"filename": str(folder / f"{name}.vars"), "format": "raw"},
    }
    content = {
        "interface-types": ["uefi"],
        "mapping": mapping,
        "targets": [{"architecture": "x86_64", "machines": [machine]}],
        "features": features,
    }
    (folder / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(firmware, "DESCRIPTORS", (str(tmp_path),))
    monkeypatch.setattr(firmware, "_WELL_KNOWN", {"x86_64": (), "aarch64": ()})
    return tmp_path


def test_firmware_without_secure_boot_is_taken(folder: Path) -> None:
    described(folder, "40-enrolled", ["secure-boot", "enrolled-keys", "requires-smm"])
    described(folder, "60-plain", ["acpi-s3", "amd-sev"])
    assert firmware.find_uefi("x86_64").code == folder / "60-plain.code"


def test_firmware_for_other_machines_and_broken_descriptors_are_passed_over(folder: Path) -> None:
    described(folder, "10-microvm", [], machine="microvm")
    (folder / "20-broken.json").write_text("{")
    (folder / "30-list.json").write_text("[]")
    described(folder, "50-plain", [])
    assert firmware.find_uefi("x86_64").code == folder / "50-plain.code"


def test_without_firmware_the_package_is_named(folder: Path) -> None:
    with pytest.raises(MachineLacks, match="apt-get install ovmf"):
        firmware.find_uefi("x86_64")
    with pytest.raises(MachineLacks, match="qemu-efi-aarch64"):
        firmware.find_uefi("aarch64")
