"""What a Windows tells of itself becomes findings; what it does not tell stays open."""

from __future__ import annotations

import json

import pytest

from imgtool.rehearsal import windows
from imgtool.rehearsal.boot_watch import Ending
from imgtool.rehearsal.findings import findings_of
from imgtool.rehearsal.guest_script import REPORT_PATH
from imgtool.rehearsal.instance import Instance, new_instance
from imgtool.rehearsal.observed import FirstBoot, Observed
from imgtool.rehearsal.watch import Seen, Watch
from imgtool.rules import Finding, Severity, Status, verdict
from imgtool.text import Text

LOGON = Seen(50.0, "Press Ctrl+Alt+Delete to unlock.")


@pytest.fixture
def instance() -> Instance:
    return new_instance(windows=True)


def first_boot(kind: str, report: dict[str, str], *, logon: Seen | None = None, shown: str = "") -> FirstBoot:
    return FirstBoot(
        watch=Watch("mark "),
        ending=Ending(kind, 60.0),  # type: ignore[arg-type]
        report=report,
        by_network=True,
        partitions=None,
        refused=False,
        silent_console=True,
        flooded=False,
        screen=(),
        shown=shown,
        logon=logon,
    )


def found(
    instance: Instance, first: FirstBoot, *statics: Finding, shutdown: float | None = 5.0
) -> dict[str, Finding]:
    second_watch = Watch("mark ")
    second_watch.screen([LOGON.line], 40.0)
    second = Ending("screen", 45.0)
    seen = Observed(instance, False, "bios", first, True, 60.0, shutdown, second, second_watch)
    return {it.id: it for it in findings_of(seen, {}, {it.id: it for it in statics})}


def told(instance: Instance, **changes: str) -> dict[str, str]:
    report = {"hostname": instance.hostname.upper(), "kernel": "Windows 10.0", "address": "172.16.0.15"}
    return {**report, "password": "yes", "end": "1", **changes}


def broken(rule: str) -> Finding:
    return Finding(rule, Status.FAIL, Severity.ERROR, Text.same("t"), Text.same("m"))


def test_a_windows_that_reports_from_inside_passes(instance: Instance) -> None:
    findings = found(instance, first_boot("up", told(instance)))
    assert {it.status for it in findings.values()} == {Status.PASS}
    assert findings.keys() >= {"rehearsal.login", "rehearsal.first-boot", "rehearsal.password"}


def test_another_host_name_than_the_given_one_fails(instance: Instance) -> None:
    findings = found(instance, first_boot("up", told(instance, hostname="WIN-OLD")))
    assert findings["windows.cloudbase-init.config"].status is Status.FAIL


@pytest.mark.parametrize("password", ["unknown", "no"])
def test_a_password_that_is_not_shown_to_be_set_stays_open(instance: Instance, password: str) -> None:
    """It may have been set after the user data ran."""
    findings = found(instance, first_boot("up", told(instance, password=password)))
    assert findings["rehearsal.password"].status is Status.UNKNOWN
    assert verdict(findings.values()) == "unknown"


def test_a_logon_without_a_report_is_up_but_no_pass(instance: Instance) -> None:
    findings = found(instance, first_boot("screen", {}, logon=LOGON))
    assert findings["rehearsal.login"].status is Status.PASS
    assert verdict(findings.values()) == "unknown"


def test_a_logon_that_ignores_the_power_button_is_a_warning_of_windows(instance: Instance) -> None:
    findings = found(instance, first_boot("screen", {}, logon=LOGON), shutdown=None)
    assert findings["rehearsal.shutdown"].status is Status.WARN
    assert "linux.acpi" not in findings


@pytest.mark.parametrize("shown", ["black", "plain", "picture", ""])
def test_a_still_screen_without_a_word_is_never_a_pass(instance: Instance, shown: str) -> None:
    finding = found(instance, first_boot("screen", {}, shown=shown))["rehearsal.login"]
    assert finding.status is Status.UNKNOWN
    assert finding.severity is Severity.ERROR


@pytest.mark.parametrize(("there", "words"), [((), "Install tesseract-ocr"), (("eng",), "Look at the")])
def test_what_reads_the_screen_is_asked_for_where_it_is_missing(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, there: tuple[str, ...], words: str
) -> None:
    monkeypatch.setattr(windows, "languages", lambda: there)
    remedy = found(instance, first_boot("screen", {}, shown="plain"))["rehearsal.login"].remedy
    assert remedy is not None
    assert remedy.en.startswith(words)


def test_a_still_screen_is_explained_by_what_the_static_check_finds(instance: Instance) -> None:
    static = broken("windows.virtio.storage")
    finding = found(instance, first_boot("silent", {}, shown="black"), static)["windows.virtio.storage"]
    assert finding.status is Status.FAIL
    assert "did not come up" in finding.message.en


@pytest.mark.parametrize("kind", ["loop", "off"])
def test_a_windows_that_restarts_for_ever_or_powers_off_fails_as_itself(
    instance: Instance, kind: str
) -> None:
    findings = found(instance, first_boot(kind, {}))
    assert findings["rehearsal.login"].status is Status.FAIL
    assert not any(name.startswith("linux.") for name in findings)


def test_user_data_is_what_cloudbase_init_takes_for_powershell(instance: Instance) -> None:
    documents = instance.documents()
    script = documents["user_data"].decode("ascii")
    assert script.startswith("#ps1_sysnative\r\n")
    assert f"{REPORT_PATH}/{instance.token}" in script
    assert script.count("{") == script.count("}")
    assert script.count("(") == script.count(")")
    assert json.loads(documents["meta_data.json"])["admin_pass"] == instance.password


def test_a_linux_is_not_told_its_password_in_clear() -> None:
    linux = new_instance()
    assert not any(linux.password.encode() in content for content in linux.documents().values())
