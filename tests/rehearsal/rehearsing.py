"""Rehearsing an image as `imgtool rehearse` does, in this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgtool.image import Options
from imgtool.judging import Request, judge
from imgtool.profiles import load_profile
from imgtool.rehearsal import setting
from imgtool.rehearsal.course import Rehearsal
from imgtool.rehearsal.instance import Instance
from imgtool.rehearsal.judged import rehearsed
from imgtool.report.model import ImageReport
from imgtool.rules import Finding, Status, discover

ALL = {
    *("firmware", "loader", "kernel", "root", "login", "first-boot", "devices", "network", "hostname"),
    *("password", "key", "services", "shutdown"),
}
"""The stages of one boot."""
PATIENCE = 600.0  # seconds for one boot, on a machine that does more than one thing


def rehearse(
    path: Path,
    *,
    force_import: bool = False,
    second_boot: bool = True,
    timeout: float = PATIENCE,
    as_is: bool = False,
) -> ImageReport:
    """The report on the rehearsal alone.

    as_is: on two processors and with host keys of RSA and DSA; without, a boot takes a third less work.
    """
    request = Request(load_profile("tce"), discover(), options=Options(force_import=force_import))
    how = Rehearsal(timeout=timeout, force_import=force_import, second_boot=second_boot)
    whole = Instance._vendor_config
    with pytest.MonkeyPatch.context() as patch:
        if not as_is:
            quick = "ssh_genkeytypes: [ed25519]\n"
            patch.setattr(Instance, "_vendor_config", lambda it: whole(it) + quick)
            patch.setattr(setting, "CPUS", 1)
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
