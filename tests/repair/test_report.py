"""A plan in words: what is told, and what only once."""

from __future__ import annotations

from imgtool.repair.plan import Plan
from imgtool.repair.report import plan_lines
from imgtool.report.text import plain
from imgtool.rules import Status
from imgtool.steps.making import why_not
from imgtool.text import Text
from tests.report.made_up import finding


def test_a_reason_that_keeps_many_rules_from_being_judged_is_told_once() -> None:
    hive = finding("windows.boot", Status.UNKNOWN, message=Text("The hive is damaged.", "配置单元已损坏。"))
    others = [
        finding(f"windows.{number}", Status.UNKNOWN, message=Text.same("…"), because="windows.boot")
        for number in range(6)
    ]
    plan = Plan((), (hive, *others), ())
    told = plain(list(plan_lines(plan, "en", 100, {})))
    assert told.count("UNKNOWN") == 1
    assert "The hive is damaged." in told
    assert "6 other checks could not be evaluated" in told
    assert why_not(plan).en == "Not all of the image can be judged: windows.boot. See the reasons above."
