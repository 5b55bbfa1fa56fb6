"""A rehearsal as a report: alone, or beside what the static check found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from imgtool.errors import ImgtoolError, MachineLacks
from imgtool.image import Image
from imgtool.rehearsal.course import Rehearsal, rehearse
from imgtool.rehearsal.stages import STAGES
from imgtool.rules import Finding, Severity, Status, verdict

if TYPE_CHECKING:
    from imgtool.judging import Request
    from imgtool.report.model import ImageReport


def rehearsed(path: Path, checked: ImageReport, request: Request, how: Rehearsal) -> ImageReport:
    """The report on the rehearsal alone. checked: what `imgtool check` reports on the image, by which
    failures are named. Raises what imgtool.rehearsal.course.rehearse raises."""
    began = perf_counter()
    with Image(path, request.profile, request.options) as image:
        findings, record = rehearse(image, how, request.rules, list(checked.findings))
    return replace(
        checked,
        findings=tuple(findings),
        verdict=verdict(findings, request.fail_on),
        duration_s=perf_counter() - began,
        lacks=None,
        boot=record,
    )


def checked_and_rehearsed(path: Path, checked: ImageReport, request: Request, how: Rehearsal) -> ImageReport:
    """The report of `imgtool check --rehearse`. A rehearsal that can't be is a finding: `unknown`."""
    try:
        booted = rehearsed(path, checked, request, how)
    except ImgtoolError as error:
        stage = STAGES["machine"]
        statement = error.statement()
        finding = Finding(stage.id, Status.UNKNOWN, Severity.ERROR, stage.title, statement)
        findings = (*checked.findings, finding)
        lacks = checked.lacks or (statement if isinstance(error, MachineLacks) else None)
        return replace(checked, findings=findings, verdict=verdict(findings, request.fail_on), lacks=lacks)
    findings = (*checked.findings, *booted.findings)
    return replace(
        checked,
        findings=findings,
        verdict=verdict(findings, request.fail_on),
        duration_s=checked.duration_s + booted.duration_s,
        boot=booted.boot,
    )
