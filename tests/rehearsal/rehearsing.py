"""Rehearsing an image as `imgtool rehearse` does, in this process."""

from __future__ import annotations

from pathlib import Path

from imgtool.image import Options
from imgtool.judging import Request, judge
from imgtool.profiles import load_profile
from imgtool.rehearsal.course import Rehearsal
from imgtool.rehearsal.judged import rehearsed
from imgtool.report.model import ImageReport
from imgtool.rules import Finding, Status, discover

PATIENCE = 600.0  # seconds for one boot, on a machine that does more than one thing


def rehearse(
    path: Path, *, force_import: bool = False, second_boot: bool = True, timeout: float = PATIENCE
) -> ImageReport:
    """The report on the rehearsal alone."""
    request = Request(load_profile("tce"), discover(), options=Options(force_import=force_import))
    how = Rehearsal(timeout=timeout, force_import=force_import, second_boot=second_boot)
    return rehearsed(path, judge(path, request), request, how)


def failed(report: ImageReport) -> list[str]:
    """The rules under which it failed."""
    return [it.id for it in report.findings if it.status is Status.FAIL]


def not_passed(report: ImageReport) -> list[tuple[str, str]]:
    """Whatever is neither passed nor skipped, with what it says."""
    return [(it.id, it.message.en) for it in report.findings if it.status not in (Status.PASS, Status.SKIP)]


def passed(report: ImageReport) -> set[str]:
    """The stages that were reached."""
    return {it.id.removeprefix("rehearsal.") for it in report.findings if it.status is Status.PASS}


def of(report: ImageReport, rule: str) -> Finding:
    """The finding of a rule or stage."""
    (found,) = [it for it in report.findings if it.id == rule]
    return found
