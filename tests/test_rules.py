"""The running of rules, on rules made up for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import imgtool.rules
from imgtool.errors import CannotRead, UsageError
from imgtool.image import Image, Options
from imgtool.profiles import load_profile
from imgtool.rules import (
    Finding,
    Outcome,
    Rule,
    Severity,
    Status,
    broken,
    discover,
    kept,
    not_judged,
    rule,
    run,
    select,
    undecided,
    verdict,
)
from imgtool.text import Text

GOOD = kept(Text("It is good.", "良好。"))
BAD = broken(Text("It is bad.", "不好。"), "the proof", remedy=Text.same("mend it"))
NO_ANSWER = CannotRead(Text("The disk can't be read.", "无法读取磁盘。"))


def make(ident: str, *outcomes: Outcome | Exception, **given: Any) -> Rule:
    """A rule that yields these outcomes, and raises where an exception stands among them."""

    def judge(image: Image) -> Iterator[Outcome]:
        """What this made-up rule judges."""
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            yield outcome

    return rule(ident, Text.same(ident), **{"severity": Severity.ERROR, "source": "field", **given})(judge)


def image(**options: Any) -> Image:
    return Image(Path("none.qcow2"), load_profile("tce"), Options(**options))


def judged(*rules: Rule, on: Image | None = None, selected: list[str] | None = None) -> dict[str, Finding]:
    findings = run(on or image(), {it.id: it for it in rules}, selected)
    return {finding.id: finding for finding in findings}


@pytest.mark.parametrize(
    ("outcome", "severity", "status"),
    [
        (GOOD, Severity.ERROR, Status.PASS),
        (BAD, Severity.ERROR, Status.FAIL),
        (BAD, Severity.WARNING, Status.WARN),
        (BAD, Severity.INFO, Status.WARN),
        (undecided(Text.same("?")), Severity.ERROR, Status.UNKNOWN),
        (not_judged(Text.same("-")), Severity.ERROR, Status.SKIP),
    ],
)
def test_an_outcome_and_its_level_give_the_status(
    outcome: Outcome, severity: Severity, status: Status
) -> None:
    assert judged(make("a.b", outcome, severity=severity))["a.b"].status is status


def test_an_outcome_may_be_milder_than_its_rule() -> None:
    found = judged(make("a.b", broken(Text.same("minor"), severity=Severity.WARNING)))["a.b"]
    assert (found.status, found.severity) == (Status.WARN, Severity.WARNING)


def test_a_rule_gives_one_finding_for_each_thing_it_judged() -> None:
    findings = run(image(), {"a.b": make("a.b", GOOD, BAD, BAD)})
    assert [finding.status for finding in findings] == [Status.PASS, Status.FAIL, Status.FAIL]


def test_the_platform_code_is_the_rules_unless_the_outcome_has_its_own() -> None:
    own = broken(Text.same("x"), platform_code="InternalError")
    findings = run(image(), {"a.b": make("a.b", BAD, own, platform_code="VirtioNotInstall")})
    assert [finding.platform_code for finding in findings] == ["VirtioNotInstall", "InternalError"]


def test_only_what_is_broken_is_fixable() -> None:
    findings = run(image(), {"a.b": make("a.b", GOOD, BAD, fixable=True)})
    assert [finding.fixable for finding in findings] == [False, True]


def test_what_cannot_be_read_is_unknown_and_keeps_what_was_found_before() -> None:
    findings = run(image(), {"a.b": make("a.b", BAD, NO_ANSWER)})
    assert [finding.status for finding in findings] == [Status.FAIL, Status.UNKNOWN]
    assert findings[1].message.zh == "无法读取磁盘。"


def test_a_rule_that_fails_itself_is_unknown_and_names_the_error() -> None:
    found = judged(make("a.b", ZeroDivisionError("oops")))["a.b"]
    assert found.status is Status.UNKNOWN
    assert found.evidence == ("ZeroDivisionError: oops",)


def test_with_debug_the_error_of_a_rule_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        judged(make("a.b", ZeroDivisionError("oops")), on=image(debug=True))


def test_structures_that_are_nested_too_deeply_are_unknown() -> None:
    assert judged(make("a.b", RecursionError()))["a.b"].status is Status.UNKNOWN


def test_a_chain_behind_a_broken_rule_is_skipped_so_that_one_fault_gives_one_error() -> None:
    found = judged(
        make("a", BAD), make("b", BAD, requires=("a",)), make("c", BAD, requires=("b",)), make("d", GOOD)
    )
    assert {name: finding.status for name, finding in found.items()} == {
        "a": Status.FAIL,
        "b": Status.SKIP,
        "c": Status.SKIP,
        "d": Status.PASS,
    }
    assert "a failed" in found["b"].message.en


def test_a_required_rule_is_judged_first_wherever_it_stands() -> None:
    found = judged(make("b", BAD, requires=("a",)), make("a", BAD))
    assert found["b"].status is Status.SKIP


def test_a_warning_does_not_stop_those_that_require_the_rule() -> None:
    found = judged(make("a", BAD, severity=Severity.WARNING), make("b", BAD, requires=("a",)))
    assert found["b"].status is Status.FAIL


def test_a_required_rule_that_nobody_has_stops_nothing() -> None:
    assert judged(make("b", BAD, requires=("plugin.rule",)))["b"].status is Status.FAIL


def test_rules_that_require_each_other_come_to_an_end() -> None:
    found = judged(make("a", BAD, requires=("b",)), make("b", BAD, requires=("a",)))
    assert len(found) == 2


def test_one_reason_why_nothing_can_be_read_is_told_once() -> None:
    found = judged(
        make("a", NO_ANSWER), make("b", NO_ANSWER, requires=("a",)), make("c", NO_ANSWER, requires=("b",))
    )
    assert [finding.status for finding in found.values()] == [Status.UNKNOWN] * 3
    assert [finding.because for finding in found.values()] == [None, "a", "a"]


def test_another_reason_behind_an_unknown_is_another_unknown() -> None:
    other = CannotRead(Text("The fstab can't be read.", "无法读取 fstab。"))
    found = judged(make("a", NO_ANSWER), make("b", other, requires=("a",)))
    assert found["b"].status is Status.UNKNOWN


def test_an_unknown_warning_does_not_hide_an_unknown_error() -> None:
    found = judged(make("a", NO_ANSWER, severity=Severity.WARNING), make("b", NO_ANSWER, requires=("a",)))
    assert found["b"].status is Status.UNKNOWN
    assert verdict(found.values()) == "unknown"


def test_a_required_rule_that_was_not_selected_is_silent_when_it_is_kept() -> None:
    assert list(judged(make("a", GOOD), make("b", GOOD, requires=("a",)), selected=["b"])) == ["b"]


@pytest.mark.parametrize(("outcome", "status"), [(BAD, Status.FAIL), (NO_ANSWER, Status.UNKNOWN)])
def test_a_required_rule_in_the_way_of_a_selected_one_is_reported(
    outcome: Outcome | Exception, status: Status
) -> None:
    found = judged(make("a", outcome), make("b", NO_ANSWER, requires=("a",)), selected=["b"])
    assert found["a"].status is status
    assert (found["b"].status is Status.SKIP) or found["b"].because == "a"


def test_a_rule_of_another_target_is_not_judged() -> None:
    assert judged(make("a", BAD, targets=("data-disk",))) == {}
    assert "a" in judged(make("a", BAD, targets=("data-disk",)), on=image(target="data-disk"))


def test_a_rule_of_another_system_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "family", "windows")
    found = judged(make("a", BAD, family="linux"), make("b", BAD, family="windows"), make("c", BAD))
    assert list(found) == ["b", "c"]


def test_a_rule_of_one_system_is_unknown_where_no_system_can_be_read() -> None:
    """The rules that would tell so, those on file and disk, may have been left out."""
    found = judged(make("a", GOOD), make("b", BAD, family="linux"), make("c", BAD, family="windows"))
    assert [found[name].status for name in "abc"] == [Status.PASS, Status.UNKNOWN, Status.UNKNOWN]
    assert "does not exist" in found["b"].message.en
    assert found["c"].because == "b"


def test_what_system_there_is_is_told_once() -> None:
    found = judged(make("a", NO_ANSWER), make("b", BAD, family="linux"))
    assert list(found) == ["a"]


def test_a_profile_changes_the_level_of_a_rule(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text('extends = "tce"\n[severity]\n"a.b" = "warning"\n')
    on = Image(Path("none"), load_profile(file))
    assert judged(make("a.b", BAD), on=on)["a.b"].status is Status.WARN


def test_selection_takes_an_id_or_the_ids_below_it_in_the_order_of_the_rules() -> None:
    rules = {
        name: make(name) for name in ("linux.fstab", "linux.fstab.data-disk", "linux.fstabx", "disk.root")
    }
    assert select(rules, ["disk", "linux.fstab"]) == ["linux.fstab", "linux.fstab.data-disk", "disk.root"]
    assert select(rules, [], ["linux"]) == ["disk.root"]
    assert select(rules, ["linux."], ["linux.fstab"]) == ["linux.fstabx"]


def test_a_word_that_matches_no_rule_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"'linux\.fstb'"):
        select({"linux.fstab": make("linux.fstab")}, ["linux.fstb"])


@pytest.mark.parametrize(
    ("outcomes", "fail_on", "expected"),
    [
        ([GOOD], "error", "pass"),
        ([], "error", "pass"),
        ([GOOD, BAD], "error", "fail"),
        ([BAD, undecided(Text.same("?"))], "error", "fail"),
        ([GOOD, undecided(Text.same("?"))], "error", "unknown"),
        ([broken(Text.same("w"), severity=Severity.WARNING)], "error", "pass"),
        ([broken(Text.same("w"), severity=Severity.WARNING)], "warning", "fail"),
        ([broken(Text.same("i"), severity=Severity.INFO)], "warning", "pass"),
        ([not_judged(Text.same("-"))], "warning", "pass"),
    ],
)
def test_the_verdict_is_that_of_the_worst_finding(
    outcomes: list[Outcome], fail_on: str, expected: str
) -> None:
    assert verdict(run(image(), {"a": make("a", *outcomes)}), Severity(fail_on)) == expected


def test_an_unknown_warning_leaves_the_verdict_open_only_where_warnings_fail() -> None:
    findings = run(image(), {"a": make("a", NO_ANSWER, severity=Severity.WARNING)})
    assert verdict(findings) == "pass"
    assert verdict(findings, Severity.WARNING) == "unknown"


# Discovery


@pytest.fixture
def plug_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, ModuleType | None], None]:
    """Installs a package with the entry point, as pip would, in a folder of sys.path."""

    def install(name: str, module: ModuleType | None) -> None:
        if module is not None:
            monkeypatch.setitem(sys.modules, name, module)
        installed = tmp_path / "acme-1.0.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        (installed / "entry_points.txt").write_text(f"[{imgtool.rules.ENTRY_POINTS}]\nextra = {name}\n")
        monkeypatch.syspath_prepend(tmp_path)

    return install


def test_a_third_partys_rules_are_found_by_entry_point(
    plug_in: Callable[[str, ModuleType | None], None],
) -> None:
    module = ModuleType("acme_rules")
    module.agent = make("acme.agent", GOOD)  # type: ignore[attr-defined]
    plug_in("acme_rules", module)
    rules = discover()
    assert rules["acme.agent"].explanation == "What this made-up rule judges."
    assert list(rules)[-1] == "acme.agent"


def test_two_rules_with_one_id_are_refused(plug_in: Callable[[str, ModuleType | None], None]) -> None:
    module = ModuleType("acme_rules")
    module.one, module.two = make("acme.agent"), make("acme.agent")  # type: ignore[attr-defined]
    plug_in("acme_rules", module)
    with pytest.raises(UsageError, match=r"acme\.agent.*acme_rules"):
        discover()


def test_a_rule_that_one_module_takes_from_another_is_one_rule(
    plug_in: Callable[[str, ModuleType | None], None],
) -> None:
    module = ModuleType("acme_rules")
    module.one = module.again = make("acme.agent")  # type: ignore[attr-defined]
    plug_in("acme_rules", module)
    assert "acme.agent" in discover()


def test_a_plug_in_that_cannot_be_imported_is_named(
    plug_in: Callable[[str, ModuleType | None], None],
) -> None:
    plug_in("no_such_module_anywhere", None)
    with pytest.raises(UsageError, match="no_such_module_anywhere"):
        discover()


def test_every_rule_of_the_catalogue_is_complete() -> None:
    rules = discover()
    for name, found in rules.items():
        assert name == found.id == found.id.lower()
        assert found.explanation, f"{name} has no docstring"
        assert found.title.en
        assert found.title.zh
        assert all(needed in rules for needed in found.requires), f"{name} requires an unknown rule"


def test_what_a_rule_waits_for_is_begun_before_the_others_of_its_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "family", "linux")
    events: list[str] = []

    def noted(ident: str, **given: Any) -> Rule:
        def judge(image: Image) -> Iterator[Outcome]:
            """What this made-up rule judges."""
            events.append(ident)
            yield GOOD

        return rule(ident, Text.same(ident), severity=Severity.ERROR, source="field", **given)(judge)

    rules = (
        noted("disk.a"),
        noted("linux.b", family="linux", ahead=lambda image: events.append("ahead of linux.b")),
        noted("linux.c", family="linux", requires=("linux.b",)),
        noted("linux.d", family="linux"),
        noted("windows.e", family="windows", ahead=lambda image: events.append("ahead of windows.e")),
    )
    found = judged(*rules)
    assert events == ["disk.a", "ahead of linux.b", "linux.d", "linux.b", "linux.c"]
    assert list(found)[:4] == ["disk.a", "linux.b", "linux.c", "linux.d"]
    events.clear()
    judged(*rules, selected=["linux.d"])
    assert events == ["linux.d"]


def test_what_fails_when_it_is_begun_is_left_to_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "family", "linux")

    def fail(image: Image) -> None:
        raise ZeroDivisionError

    assert judged(make("a", GOOD, family="linux", ahead=fail))["a"].status is Status.PASS
