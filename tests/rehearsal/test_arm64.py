"""A guest for arm64 is started by its own emulator and firmware, as far as that is the emulator's doing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fixtures import foreign
from fixtures.command import run
from fixtures.pytest_plugin import ImageByName
from imgtool.errors import MachineLacks
from imgtool.rehearsal import firmware
from imgtool.report.text import layout, plain
from tests.cli.running import environment, imgtool
from tests.rehearsal.rehearsing import failed, of, passed, rehearse

ESP = 1 << 20  # bytes before the EFI system partition


def firmware_here() -> bool:
    try:
        firmware.find_uefi("aarch64")
    except MachineLacks:
        return False
    return True


@pytest.mark.slow
@pytest.mark.xdist_group("rehearsal-2")
@pytest.mark.skipif(
    not shutil.which("qemu-system-aarch64") or not firmware_here(), reason="no QEMU or firmware for arm64"
)
def test_debians_arm64_kernel_runs_on_the_arm64_machine(image: ImageByName) -> None:
    """Firmware, the kernel's own EFI stub in the place of a boot loader, the kernel on a serial console; it
    has no initramfs, and so nothing to mount."""
    disk = image("debian12-arm64", private=True)
    (kernel,) = (foreign.unpacked(foreign.ARCHITECTURES["arm64"]) / "boot").glob("vmlinuz-*")
    run(["mcopy", "-o", "-i", f"{disk}@@{ESP}", kernel, "::/EFI/BOOT/BOOTAA64.EFI"])
    report = rehearse(disk)
    print(plain(layout(report, "en", 110, verbose=True)))
    assert report.boot is not None
    assert (report.boot.architecture, report.boot.firmware) == ("aarch64", "uefi")
    assert report.boot.pictures
    assert passed(report) >= {"firmware", "loader", "kernel"}
    assert kernel.name.removeprefix("vmlinuz-") in of(report, "rehearsal.kernel").message.en
    (rule,) = failed(report)
    assert "nothing to mount as its root" in of(report, rule).message.en


def test_without_the_emulator_for_arm64_its_package_is_named(image: ImageByName, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("setpriv", "sh", "qemu-img", "qemu-nbd"):
        (tools / name).symlink_to(shutil.which(name) or "/bin/false")
    said = imgtool("rehearse", image("debian12-arm64"), env=environment(PATH=str(tools)))
    assert said.returncode == 4
    assert "apt-get install qemu-system-arm" in said.stderr
