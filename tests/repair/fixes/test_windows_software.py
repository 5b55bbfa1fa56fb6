"""What other platforms left behind in a Windows, kept from starting offline."""

from __future__ import annotations

from pathlib import Path

from fixtures.windows import services, state_faults
from fixtures.windows.disk import windows
from fixtures.windows.hive import dword, multi
from fixtures.windows.releases import RELEASES
from imgtool.repair.registration import Wishes
from tests.repair.fixes.test_windows_virtio import planned

RULE = "windows.conflicting-software"
DISK = "Control\\Class\\{4d36e967-e325-11ce-bfc1-08002be10318}"
MOUSE = "Control\\Class\\{4d36e96f-e325-11ce-bfc1-08002be10318}"


def test_filters_leave_their_lists_and_services_no_longer_start(tmp_path: Path) -> None:
    made = windows(RELEASES["2016"])
    top = f"{made.here}\\Services"
    made.system[f"{top}\\xenfilt"] = services.driver("xenfilt", 0)
    made.system[f"{top}\\xenfilt\\StartOverride"] = {"0": dword(0)}
    made.system[f"{made.here}\\{DISK}"] = {"UpperFilters": multi("partmgr", "XenFilt", "removed")}
    made.system[f"{made.here}\\{MOUSE}"] = {"LowerFilters": multi("xenfilt"), "UpperFilters": multi("gone")}
    changed = planned(tmp_path / "disk.raw", made, RULE, Wishes())
    assert changed == {
        f"{made.here}\\{DISK}\\UpperFilters": ("partmgr",),
        f"{made.here}\\{MOUSE}\\LowerFilters": (),
        f"{top}\\xenfilt\\Start": 4,
        f"{top}\\xenfilt\\StartOverride\\None": None,
    }


def test_what_has_an_uninstaller_is_left_to_it(tmp_path: Path) -> None:
    made = windows(RELEASES["2012r2"])
    state_faults.vmware_tools(made)
    state_faults.other_cloud(made)
    changed = planned(tmp_path / "disk.raw", made, RULE, Wishes())
    assert changed == {f"{made.here}\\Services\\AliyunService\\Start": 4}
