"""`imgtool fix` on Windows disks: many faults at once, mended through the real appliance and hivex."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fixtures import cache
from fixtures.windows import cloudbase_faults, driver_faults, state_faults
from fixtures.windows.disk import Windows, windows, write_disk
from fixtures.windows.program import program
from fixtures.windows.releases import RELEASES
from imgtool.image import Image
from imgtool.profiles import load_profile
from imgtool.repair.driver_disk import driver_files
from imgtool.repair.fixes.windows_cloudbase_init import with_setting
from imgtool.repair.plan import Plan, make_plan
from imgtool.repair.registration import CannotMend, Wishes
from imgtool.rules import discover
from tests.cli.running import environment, start

NEW = (
    driver_faults.no_viostor,
    driver_faults.no_netkvm,
    cloudbase_faults.cloudbase_init_by_hand,
    cloudbase_faults.plugin_missing,
    cloudbase_faults.config_in_utf16,
    cloudbase_faults.local_scripts_done,
    cloudbase_faults.downloaded_script,
    state_faults.cdrom_disabled,
    state_faults.remote_desktop_off,
    state_faults.firewall_closed,
)
OTHER = (
    driver_faults.viostor_overridden,
    driver_faults.netkvm_disabled,
    cloudbase_faults.cloudbase_init_as_user,
    cloudbase_faults.config_with_mark,
    cloudbase_faults.done_for_all,
    state_faults.left_over_filter,
    state_faults.dirty_hive,
)
OLD = (
    driver_faults.viostor_disabled,
    driver_faults.viostor_file_gone,
    driver_faults.no_critical_device,
    cloudbase_faults.config_broken,
    state_faults.cdrom_denied,
)


def broken(judged: dict[str, Any]) -> set[str]:
    faults = (it for it in judged["findings"] if it["status"] in ("fail", "warn"))
    return {it["id"] for it in faults if it["severity"] != "info"}


def faulty(path: Path, release: str, changes: tuple[Callable[[Windows], None], ...]) -> Path:
    made = windows(RELEASES[release])
    for change in changes:
        change(made)
    write_disk(path, made)
    return path


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with cache.scratch() as made:
        yield made


@pytest.fixture(scope="module")
def driver_disk(folder: Path) -> Path:
    """An ISO laid out as virtio-win's, of drivers for the fixtures' machines."""
    top = folder / "virtio-win"
    for name, place in (("viostor", "viostor"), ("netkvm", "NetKVM")):
        for release in ("2k16", "2k8R2", "2k12R2"):
            target = top / place / release / "amd64"
            target.mkdir(parents=True)
            (target / f"{name}.sys").write_bytes(program("x86_64", native=True, signed="sha1"))
            inf = f"[Version]\r\n%x% = {name}, PCI\\VEN_1AF4&DEV_1000\r\n"
            (target / f"{name}.inf").write_text(inf)
            (target / f"{name}.cat").write_bytes(b"catalogue")
    iso = folder / "virtio-win.iso"
    subprocess.run(
        ["xorriso", "-as", "mkisofs", "-quiet", "-J", "-R", "-V", "virtio-win", "-o", iso, top], check=True
    )
    return iso


def planned(path: Path, **wishes: Any) -> Plan:
    with Image(path, load_profile("tce")) as image:
        return make_plan(image, discover(), Wishes(**wishes))


def fix(*arguments: str | Path) -> dict[str, Any]:
    run = start("fix", "--format", "json", *arguments, env=environment())
    stdout, stderr = run.communicate(timeout=800)
    assert stdout, stderr
    found: dict[str, Any] = json.loads(stdout)["images"][0]
    return found


@pytest.mark.parametrize("kind", ["iso", "folder"])
def test_drivers_are_found_on_the_disk_in_any_case(driver_disk: Path, kind: str) -> None:
    disk = driver_disk if kind == "iso" else driver_disk.with_suffix("")
    found = driver_files(disk, "netkvm\\2K12r2\\AMD64")
    assert set(found) == {"netkvm.sys", "netkvm.inf", "netkvm.cat"}
    assert found["netkvm.cat"] == b"catalogue"
    with pytest.raises(CannotMend):
        driver_files(disk, "netkvm\\2k25\\amd64")


def test_a_file_that_is_no_driver_disk_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.iso").write_bytes(bytes(100_000))
    with pytest.raises(CannotMend, match="can't be read: it is no ISO image"):
        driver_files(tmp_path / "x.iso", "viostor\\2k16\\amd64")


@pytest.mark.slow
def test_without_the_driver_disk_the_plan_says_what_to_give(folder: Path) -> None:
    path = faulty(
        folder / "no-disk.raw", "2012r2", (driver_faults.no_viostor, cloudbase_faults.no_cloudbase_init)
    )
    plan = planned(path)
    reasons = {it.finding.id: it.why.en for it in plan.unmended}
    assert "--virtio-win" in reasons["windows.virtio.storage"]
    assert "--cloudbase-init" in reasons["windows.cloudbase-init.installed"]
    installer = folder / "CloudbaseInitSetup.msi"
    installer.write_bytes(b"msi")
    plan = planned(path, cloudbase_init=installer)
    targets = [step.target for step in plan.steps if step.mends == "windows.cloudbase-init.installed"]
    assert any("/imgtool/CloudbaseInitSetup.msi" in it for it in targets)
    assert any("imgtool-first-boot" in it and "Start = 2" in it for it in targets)
    path.unlink()


@pytest.mark.slow
@pytest.mark.xdist_group("fix")
@pytest.mark.parametrize(("release", "changes"), [("2016", NEW), ("2012r2", OTHER), ("2008r2", OLD)])
def test_every_fault_of_a_windows_is_mended_in_one_run(
    folder: Path, driver_disk: Path, release: str, changes: tuple[Callable[[Windows], None], ...]
) -> None:
    path = faulty(folder / f"{release}.raw", release, changes)
    report = fix(path, "-o", folder / f"{release}.qcow2", "--virtio-win", driver_disk)
    assert broken(report["before"]), "it had faults"
    assert broken(report["after"]) == set(), report["unmended"]
    again = fix("--plan", folder / f"{release}.qcow2", "--virtio-win", driver_disk)
    assert again["steps"] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[DEFAULT]\r\nusername=x\r\n", "[DEFAULT]\r\nusername=Administrator\r\n"),
        (
            "[DEFAULT]\r\nusername = a,\r\n  b\r\nother=1\r\n",
            "[DEFAULT]\r\nusername=Administrator\r\nother=1\r\n",
        ),
        ("# c\r\n", "[DEFAULT]\r\nusername=Administrator\r\n# c\r\n"),
        (
            "[x]\r\nusername=y\r\n[DEFAULT]\r\n",
            "[x]\r\nusername=y\r\n[DEFAULT]\r\nusername=Administrator\r\n",
        ),
    ],
)
def test_a_setting_is_written_once_and_the_rest_stays(text: str, expected: str) -> None:
    assert with_setting(text, "username", "Administrator") == expected
