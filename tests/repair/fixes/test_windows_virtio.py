"""The virtio drivers of Windows: what is right about them stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.windows import driver_faults
from fixtures.windows.disk import Windows, windows, write_disk
from fixtures.windows.hive import dword, expand
from fixtures.windows.program import program
from fixtures.windows.releases import RELEASES
from imgtool.image import Image
from imgtool.profiles import load_profile
from imgtool.repair.plan import make_plan
from imgtool.repair.registration import Wishes
from imgtool.repair.steps import Registry
from imgtool.rules import discover

CURRENT_VERSION = "Microsoft\\Windows\\CurrentVersion"


def planned(path: Path, made: Windows, rule: str, wishes: Wishes) -> dict[str, object]:
    """The registry values that the plan sets, by key and name; removed ones are None."""
    write_disk(path, made)
    with Image(path, load_profile("tce")) as image:
        plan = make_plan(image, discover(), wishes, chosen=[rule])
    assert plan.steps
    values = [step for step in plan.steps if isinstance(step, Registry)]
    return {f"{it.key}\\{it.name}": None if it.value is None else it.value.data for it in values}


def test_a_disk_driver_that_lies_elsewhere_keeps_its_path_when_its_start_is_mended(tmp_path: Path) -> None:
    made = windows(RELEASES["2016"])
    store = "System32/DriverStore/FileRepository/viostor.inf_amd64_1/viostor.sys"
    made.files[f"Windows/{store}"] = made.files.pop("Windows/System32/drivers/viostor.sys")
    service = made.service("viostor")
    service["Start"] = dword(3)
    service["ImagePath"] = expand(store.replace("/", "\\"))
    changed = planned(tmp_path / "disk.raw", made, "windows.virtio.storage", Wishes())
    key = f"{made.here}\\Services\\viostor"
    assert changed[f"{key}\\Start"] == 0
    assert f"{key}\\ImagePath" not in changed
    assert f"{key}\\StartOverride\\None" in changed


def test_folders_that_windows_seeks_drivers_in_stay(tmp_path: Path) -> None:
    made = windows(RELEASES["2012r2"])
    driver_faults.no_netkvm(made)
    made.software.setdefault(CURRENT_VERSION, {})["DevicePath"] = expand("%SystemRoot%\\inf;C:\\Ours")
    folder = tmp_path / "virtio" / "NetKVM" / "2k12R2" / "amd64"
    folder.mkdir(parents=True)
    (folder / "netkvm.sys").write_bytes(program("x86_64", native=True, signed="sha1"))
    (folder / "netkvm.inf").write_text("[Version]\r\n%x% = netkvm, PCI\\VEN_1AF4&DEV_1000\r\n")
    wishes = Wishes(virtio_win=tmp_path / "virtio")
    changed = planned(tmp_path / "disk.raw", made, "windows.virtio.network", wishes)
    seeks = "%SystemRoot%\\inf;C:\\Ours;%SystemRoot%\\Drivers\\VirtIO"
    assert changed[f"{CURRENT_VERSION}\\DevicePath"] == seeks


def drivers(folder: Path, *places: str) -> Path:
    """A driver disk with drivers in these folders, such as vioscsi/2k16."""
    for place in places:
        name = place.partition("/")[0].lower()
        target = folder / "virtio-win" / place / "amd64"
        target.mkdir(parents=True)
        (target / f"{name}.sys").write_bytes(program("x86_64", native=True, signed="sha256"))
        (target / f"{name}.inf").write_text(f"[Version]\r\n%x% = {name}, PCI\\VEN_1AF4&DEV_1000\r\n")
    return folder / "virtio-win"


@pytest.mark.parametrize(("driver", "bus"), [("viostor", 1), ("vioscsi", 0x0A)])
def test_each_disk_driver_gets_the_bus_type_of_its_own_inf(tmp_path: Path, driver: str, bus: int) -> None:
    made = windows(RELEASES["2016"])
    driver_faults.no_viostor(made)
    write_disk(tmp_path / "disk.raw", made)
    profile = load_profile("tce")
    profile = replace(profile, windows=replace(profile.windows, system_disk=driver, storage=(driver,)))
    with Image(tmp_path / "disk.raw", profile) as image:
        wishes = Wishes(virtio_win=drivers(tmp_path, f"{driver}/2k16"))
        plan = make_plan(image, discover(), wishes, chosen=["windows.virtio.storage"])
    key = f"{made.here}\\Services\\{driver}\\Parameters"
    (found,) = [it.value for it in plan.steps if isinstance(it, Registry) and it.key == key]
    assert found is not None
    assert found.data == bus


@pytest.mark.parametrize("change", ["disabled", "overridden later"])
def test_a_network_driver_that_is_disabled_either_way_starts_again(tmp_path: Path, change: str) -> None:
    made = windows(RELEASES["2016"])
    driver_faults.netkvm_disabled(made)
    if change == "overridden later":
        made.system[f"{made.here}\\Services\\netkvm\\StartOverride"] = {"0": dword(3)}
    changed = planned(tmp_path / "disk.raw", made, "windows.virtio.network", Wishes())
    assert changed[f"{made.here}\\Services\\netkvm\\Start"] == 3


def test_a_network_driver_without_a_start_gets_one(tmp_path: Path) -> None:
    made = windows(RELEASES["2016"])
    del made.service("netkvm")["Start"]
    changed = planned(tmp_path / "disk.raw", made, "windows.virtio.network", Wishes())
    assert changed[f"{made.here}\\Services\\netkvm\\Start"] == 3
