"""A boot that did not come to its end in order is never a pass, however far it had come."""

from __future__ import annotations

from typing import get_args

import pytest

from imgtool.rehearsal.boot_watch import CAME_UP, Ending, Kind
from imgtool.rehearsal.findings import findings_of
from imgtool.rehearsal.instance import new_instance
from imgtool.rehearsal.observed import FirstBoot, Observed
from imgtool.rehearsal.watch import Watch
from imgtool.rules import Finding, Status, verdict

INSTANCE = new_instance()
TOLD = {
    "hostname": INSTANCE.hostname,
    "address": "172.16.0.15",
    "disks": "vda",
    "interfaces": "eth0",
    "password": "yes",
    "key": "/root/.ssh/authorized_keys",
    "datasource": "DataSourceConfigDrive",
    "end": "1",
}
PANIC = "[   31.0] Kernel panic - not syncing: Fatal exception in interrupt"


def findings(
    kind: Kind, *, login: bool, report: bool, line: str = "", force_import: bool = False
) -> list[Finding]:
    """Of a first boot that ended so. login: it had asked for one; report: the guest told of itself;
    line: what the console said afterwards."""
    watch = Watch("mark ")
    watch.lines(["Linux version 6.1.0"], "vm login: " if login else "", 30.0)
    watch.lines([line] if line else [], "", 31.0)
    sighting = next(iter(watch.sightings.values()), None)
    first = FirstBoot(
        watch, Ending(kind, 40.0, sighting), TOLD if report else {}, report, None, False, False, False, ()
    )
    return findings_of(Observed(INSTANCE, force_import, "bios", first), {}, {})


@pytest.mark.parametrize("report", [True, False])
@pytest.mark.parametrize("login", [True, False])
@pytest.mark.parametrize("kind", [kind for kind in get_args(Kind) if kind not in CAME_UP])
def test_no_other_end_than_coming_up_passes(kind: Kind, login: bool, report: bool) -> None:
    found = findings(kind, login=login, report=report, line=PANIC if kind == "failed" else "")
    assert verdict(found) == "fail"
    assert all(it.status is Status.PASS for it in found if it.id == "rehearsal.kernel" and kind != "failed")


def test_a_panic_behind_the_login_prompt_is_told() -> None:
    (failure,) = [
        it for it in findings("failed", login=True, report=True, line=PANIC) if it.status is Status.FAIL
    ]
    assert "panics" in failure.message.en
    assert PANIC in failure.evidence[0]


@pytest.mark.parametrize(
    ("kind", "words"),
    [("off", "powered itself off"), ("loop", "restarts over and over"), ("timeout", "login")],
)
def test_a_system_that_asked_for_a_login_and_did_not_stay_fails_as_that(kind: Kind, words: str) -> None:
    (failure,) = [it for it in findings(kind, login=True, report=False) if it.status is Status.FAIL]
    assert failure.id == "rehearsal.login"
    assert words in failure.message.en


def test_a_forced_import_of_which_nothing_could_be_observed_is_unknown() -> None:
    assert verdict(findings("up", login=True, report=False, force_import=True)) == "unknown"
