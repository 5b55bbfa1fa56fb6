"""A boot that did not come to its end in order is never a pass, however far it had come."""

from __future__ import annotations

from typing import get_args

import pytest

from imgtool.rehearsal.boot_watch import CAME_UP, Ending, Kind
from imgtool.rehearsal.findings import findings_of
from imgtool.rehearsal.instance import new_instance
from imgtool.rehearsal.observed import FirstBoot, Observed
from imgtool.rehearsal.watch import Watch
from imgtool.rules import Finding, Severity, Status, verdict
from imgtool.text import Text

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
    kind: Kind,
    *,
    login: bool,
    report: bool,
    line: str = "",
    force_import: bool = False,
    broken: str = "",
    emulated: bool = True,
) -> list[Finding]:
    """Of a first boot that ended so. login: it had asked for one; report: the guest told of itself;
    line: what the console said afterwards; broken: what the static check finds broken."""
    watch = Watch("mark ")
    watch.lines(["Linux version 6.1.0"], "vm login: " if login else "", 30.0)
    watch.lines(line.splitlines(), "", 31.0)
    sighting = next((it for it in watch.sightings.values() if it.sign.weight == "end"), None)
    first = FirstBoot(
        watch, Ending(kind, 40.0, sighting), TOLD if report else {}, report, None, False, False, False, ()
    )
    static = Finding(broken, Status.FAIL, Severity.ERROR, Text.same("t"), Text.same("m"))
    statics = {broken: static} if broken else {}
    return findings_of(Observed(INSTANCE, force_import, "bios", first, emulated=emulated), {}, statics)


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


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("off", ""),
        ("loop", ""),
        ("silent", "EXT4-fs (vda1): mounted filesystem with ordered data mode."),
        ("failed", "You are in rescue mode. After logging in, type"),
        ("failed", "[    3.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100"),
    ],
)
def test_a_boot_that_ends_in_something_else_than_a_login_is_explained_by_the_rule_on_it(
    kind: Kind, line: str
) -> None:
    found = findings(kind, login=False, report=False, line=line, broken="linux.init")
    assert [it.id for it in found if it.status is Status.FAIL] == ["linux.init"]


LATE = """Welcome to Debian GNU/Linux 12 (bookworm)!
[ TIME ] Timed out waiting for device /dev/disk/by-uuid/5B1D-7C2A.
You are in emergency mode. After logging in, type"""


@pytest.mark.parametrize(
    ("emulated", "broken", "status", "rule"),
    [
        (True, "", Status.UNKNOWN, "rehearsal.login"),
        (True, "linux.fstab", Status.FAIL, "linux.fstab"),
        (False, "", Status.FAIL, "linux.fstab.data-disk"),
    ],
)
def test_a_device_that_came_too_late_for_an_emulated_guest_proves_nothing_by_itself(
    emulated: bool, broken: str, status: Status, rule: str
) -> None:
    found = findings("failed", login=False, report=False, line=LATE, broken=broken, emulated=emulated)
    told = [(it.id, it.status) for it in found if it.status not in (Status.PASS, Status.SKIP)]
    assert told == [(rule, status)]
