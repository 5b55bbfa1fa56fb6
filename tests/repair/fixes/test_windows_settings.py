"""Settings of a Windows that are mended offline: each fault its own value, and nothing beside it."""

from __future__ import annotations

from pathlib import Path

from fixtures.windows import services, state_faults
from fixtures.windows.disk import windows, write_disk
from fixtures.windows.hive import dword, multi, sz
from fixtures.windows.releases import RELEASES
from imgtool.image import Image
from imgtool.profiles import load_profile
from imgtool.repair.plan import make_plan
from imgtool.repair.registration import Wishes
from imgtool.rules import discover
from tests.repair.fixes.test_windows_virtio import planned

FIREWALL = "Services\\SharedAccess\\Parameters\\FirewallPolicy"
DENIED = "Policies\\Microsoft\\Windows\\RemovableStorageDevices"
CDS = f"{DENIED}\\{{53f56308-b6bf-11d0-94f2-00a0c91efb8b}}"
CDROM_CLASS = "Control\\Class\\{4d36e965-e325-11ce-bfc1-08002be10318}"


def test_fast_start_up_is_switched_off(tmp_path: Path) -> None:
    made = windows(RELEASES["2016"])
    state_faults.fast_startup(made)
    changed = planned(tmp_path / "disk.raw", made, "windows.volume", Wishes())
    assert changed[f"{made.here}\\Control\\Session Manager\\Power\\HiberbootEnabled"] == 0
    assert changed[f"{made.here}\\Control\\Power\\HibernateEnabled"] == 0


def test_nothing_is_written_to_a_hibernated_windows(tmp_path: Path) -> None:
    made = windows(RELEASES["2016"])
    state_faults.hibernated(made)
    state_faults.cdrom_disabled(made)
    write_disk(tmp_path / "disk.raw", made)
    with Image(tmp_path / "disk.raw", load_profile("tce")) as image:
        plan = make_plan(image, discover())
    assert plan.steps == ()
    reasons = {it.finding.id: it.why.en for it in plan.unmended}
    assert "hibernated" in reasons["windows.cdrom"]
    assert plan.outlook == "fail"


def test_of_a_policy_on_discs_only_the_values_that_deny_reading_go(tmp_path: Path) -> None:
    made = windows(RELEASES["2016"])
    made.software[CDS] = {"Deny_Read": dword(1), "Deny_Write": dword(1)}
    made.system[f"{made.here}\\{CDROM_CLASS}"] = {"UpperFilters": multi("GEARAspiWDM", "ok")}
    made.system[f"{made.here}\\Services\\ok"] = services.driver("ok", 3)
    changed = planned(tmp_path / "disk.raw", made, "windows.cdrom", Wishes())
    assert changed == {f"{CDS}\\Deny_Read": 0, f"{made.here}\\{CDROM_CLASS}\\UpperFilters": ("ok",)}


def test_remote_desktop_is_let_in_past_a_rule_that_blocks_and_a_bound_listener(tmp_path: Path) -> None:
    made = windows(RELEASES["2019"])
    rules = f"{made.here}\\{FIREWALL}\\FirewallRules"
    made.system[rules]["{6d1}"] = sz("v2.22|Action=Block|Active=TRUE|Dir=In|Protocol=6|LPort=3389|")
    station = f"{made.here}\\Control\\Terminal Server\\WinStations\\RDP-Tcp"
    made.system[station].update(LanAdapter=dword(2), fEnableWinStation=dword(0))
    changed = planned(tmp_path / "disk.raw", made, "windows.remote-desktop", Wishes())
    opened = changed.pop(f"{rules}\\RemoteDesktop-In-TCP-imgtool")
    assert changed == {
        f"{rules}\\{{6d1}}": "v2.22|Action=Block|Active=FALSE|Dir=In|Protocol=6|LPort=3389|",
        f"{station}\\LanAdapter": 0,
        f"{station}\\fEnableWinStation": 1,
    }
    assert "Action=Allow" in str(opened)
    assert "App=" not in str(opened)
