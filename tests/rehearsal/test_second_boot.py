"""When a second boot counts as one that came up as the first did."""

from __future__ import annotations

import pytest

from imgtool.rehearsal.boot_watch import Ending
from imgtool.rehearsal.findings import findings_of
from imgtool.rehearsal.instance import Instance, new_instance
from imgtool.rehearsal.observed import FirstBoot, Observed
from imgtool.rehearsal.watch import Watch
from imgtool.rules import Finding, Status


@pytest.fixture
def instance() -> Instance:
    return new_instance()


def asked_as(name: str) -> Watch:
    """What was seen of a boot that asked for a login under this name; "" for none on the console."""
    watch = Watch("mark ")
    watch.lines([], f"{name} login: " if name else "", 30.0)
    return watch


def second_boot(instance: Instance, first: str, second: str, kind: str = "up", told: str = "") -> Finding:
    """What is said of it. told: the host name that the guest reported from inside."""
    report = {"hostname": instance.hostname, "address": "172.16.0.15", "end": "1"}
    seen = Observed(
        instance,
        False,
        "bios",
        FirstBoot(asked_as(first), Ending("up", 40.0), report, True, None, False, False, False, ()),
        pressed=60.0,
        shutdown=5.0,
        second=Ending(kind, 40.0),  # type: ignore[arg-type]
        second_watch=asked_as(second),
        second_report={"hostname": told, "end": "1"} if told else {},
    )
    (found,) = [it for it in findings_of(seen, {}, {}) if it.id == "rehearsal.second-boot"]
    return found


@pytest.mark.parametrize("first", ["given", "before-cloud-init", ""])
def test_a_login_under_the_name_that_was_given_is_a_second_boot(instance: Instance, first: str) -> None:
    name = instance.hostname if first == "given" else first
    assert second_boot(instance, name, instance.hostname).status is Status.PASS


def test_a_name_that_is_lost_on_the_second_boot_fails(instance: Instance) -> None:
    assert second_boot(instance, instance.hostname, "localhost").status is Status.FAIL
    assert second_boot(instance, "", "localhost").status is Status.FAIL


def test_a_second_boot_that_asks_for_nothing_in_time_fails(instance: Instance) -> None:
    assert second_boot(instance, instance.hostname, "", kind="timeout").status is Status.FAIL


def test_a_second_screen_that_says_nothing_is_unknown(instance: Instance) -> None:
    assert second_boot(instance, "", "", kind="screen").status is Status.UNKNOWN


def test_a_report_from_inside_shows_a_second_boot_of_which_nothing_is_seen(instance: Instance) -> None:
    assert second_boot(instance, "", "", told=instance.hostname).status is Status.PASS
    assert second_boot(instance, "", "", told="localhost").status is Status.FAIL
