"""A hive that Windows was writing gets what its logs hold before anything of it is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.windows import damage, driver_faults, hive, state_faults
from fixtures.windows.disk import CONFIG, Windows, windows, write_disk
from fixtures.windows.releases import RELEASES
from imgtool.image import Image
from imgtool.profiles import load_profile
from imgtool.repair.plan import Plan, make_plan
from imgtool.repair.steps import Upload
from imgtool.rules import discover

STORAGE, SYSTEM = "windows.virtio.storage", f"/{CONFIG}/SYSTEM"


def planned(path: Path, made: Windows, *only: str) -> Plan:
    write_disk(path, made)
    with Image(path, load_profile("tce")) as image:
        return make_plan(image, discover(), chosen=only or None)


@pytest.mark.parametrize("only", [(), (STORAGE,)])
def test_what_its_logs_hold_is_written_first_and_once(tmp_path: Path, only: tuple[str, ...]) -> None:
    made = windows(RELEASES["2012r2"])
    driver_faults.viostor_by_demand(made)
    state_faults.cdrom_disabled(made)
    state_faults.dirty_hive(made)
    plan = planned(tmp_path / "disk.raw", made, *only)
    first, *others = plan.steps
    assert isinstance(first, Upload)
    assert (first.path, first.mends) == (SYSTEM, STORAGE)
    assert not any(isinstance(it, Upload) for it in others)
    hive.make_hive(tmp_path / "SYSTEM", made.system, "SYSTEM")
    written = (tmp_path / "SYSTEM").read_bytes()
    assert first.content[hive.PAGE :] == written[hive.PAGE :]
    assert first.content[4:8] == first.content[8:12]
    if not only:
        assert "windows.cdrom" in {it.mends for it in others}
        assert "windows.volume" not in {it.finding.id for it in plan.unmended}


def test_where_its_logs_cannot_be_read_nothing_of_it_is_changed(tmp_path: Path) -> None:
    made = windows(RELEASES["2012r2"])
    driver_faults.viostor_by_demand(made)
    damage.hive_log_unreadable(made)
    plan = planned(tmp_path / "disk.raw", made)
    assert [it for it in plan.steps if getattr(it, "hive", "") == SYSTEM] == []
