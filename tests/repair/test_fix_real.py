"""`imgtool fix` on real systems, through the real appliance, and the result booted."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures import cache, golden, images
from fixtures.command import run
from fixtures.variants import boot as boot_variants
from fixtures.variants import cloud_init as cloud_init_variants
from fixtures.variants import disk as disk_variants
from fixtures.variants import files as file_variants
from fixtures.variants.guest import Guest
from imgtool.report.text import layout, plain
from tests.cli.running import IMGTOOL, environment
from tests.rehearsal.rehearsing import not_passed, passed, rehearse

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fix")]

FAULTS = (
    boot_variants.no_virtio_initramfs,
    boot_variants.root_dev_sda1,
    file_variants.fstab_dev_sda1,
    file_variants.shadow_world_readable,
    cloud_init_variants.cloud_init_not_enabled,
    cloud_init_variants.datasource_no_configdrive,
    disk_variants.filesystem_dirty,
    disk_variants.filesystem_errors,
)
RULES = {
    "linux.virtio.initramfs",
    "linux.bootloader.root",
    "linux.fstab.device-names",
    "linux.fstab.data-disk",
    "linux.key-files",
    "linux.cloud-init.enabled",
    "linux.cloud-init.datasource",
    "disk.filesystem.clean",
}


def fix(*arguments: str | Path, code: int | None = 0) -> dict[str, Any]:
    """Run the program; its JSON."""
    command = [*IMGTOOL, "fix", "--format", "json", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=800, check=False, env=environment()
    )
    assert code is None or done.returncode == code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["images"][0]
    return found


def broken(judged: dict[str, Any]) -> set[str]:
    return {
        it["id"] for it in judged["findings"] if it["status"] in ("fail", "warn") and it["severity"] != "info"
    }


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with cache.scratch() as made:
        yield made


@pytest.fixture(scope="module")
def faulty(folder: Path) -> Path:
    """A Debian 12 with most of the faults that can be mended, all at once, and an immutable fstab."""
    path = images.make("debian12-bios", folder)
    facts = json.loads((images.path("debian12-bios").parent / "facts.json").read_text())
    guest = Guest(path, facts, golden.START)
    for change in FAULTS:
        change(guest)
    guest.replace("/etc/fstab", guest.read("/etc/fstab") + b"/dev/vdb1 /data ext4 defaults 0 2\n")
    edit = guest.edit()
    edit.commands.append('set_inode_field "/etc/fstab" flags 0x80010')  # extents, immutable
    edit.apply()
    return path


@pytest.fixture(scope="module")
def mended(faulty: Path, folder: Path) -> tuple[dict[str, Any], Path]:
    out = folder / "mended.qcow2"
    return fix(faulty, "-o", out), out


def test_every_fault_is_mended_in_one_run_and_nothing_that_passed_before_fails(
    faulty: Path, mended: tuple[dict[str, Any], Path]
) -> None:
    report, _ = mended
    assert broken(report["before"]) >= RULES
    assert broken(report["after"]) == set()
    assert report["after"]["verdict"] == "pass"
    assert {step["mends"] for step in report["steps"]} == RULES
    assert report["unmended"] == [] or {it["id"] for it in report["unmended"]} == {"disk.filesystem.clean"}


def test_what_a_plan_says_is_what_is_done(faulty: Path, mended: tuple[dict[str, Any], Path]) -> None:
    plan = fix("--plan", faulty, code=None)
    assert plan["steps"] == mended[0]["steps"]
    assert not plan["applied"]
    again = fix("--plan", mended[1])
    assert again["steps"] == []


def test_owner_mode_and_the_immutable_flag_of_an_edited_file_stay(
    mended: tuple[dict[str, Any], Path], folder: Path
) -> None:
    raw = folder / "mended.raw"
    run(["qemu-img", "convert", "-O", "raw", mended[1], raw])
    said = run(["debugfs", "-R", "stat /etc/fstab", f"{raw}?offset={golden.START}"]).decode()
    raw.unlink()
    assert "Mode:  0644" in said
    assert "Flags: 0x80010" in said


def test_the_mended_system_rehearses_to_all_pass(mended: tuple[dict[str, Any], Path]) -> None:
    """That it does not before is tests/rehearsal's."""
    report = rehearse(mended[1], second_boot=False)
    print(plain(layout(report, "en", 110, verbose=True)))
    assert not_passed(report) == []
    assert passed(report) >= {"root", "login", "first-boot", "network", "hostname", "password", "key"}
