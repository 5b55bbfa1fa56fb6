"""Judging one image by the rules: what `imgtool check` does with each file."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from imgtool.disk.commands import shell_name
from imgtool.errors import ImgtoolError, MachineLacks
from imgtool.facts import facts_of, no_facts
from imgtool.image import Image, Options
from imgtool.lazy import failures
from imgtool.records import dataclass, field
from imgtool.report.model import ImageReport, shown_path
from imgtool.report.remedy import placed
from imgtool.rules import Finding, Rule, Severity, Status, run, verdict
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.profiles import Profile


@dataclass(frozen=True)
class Request:
    """How images are to be judged. selected: the ids of the rules to report on, None for all of `rules`;
    as_asked: the options that say so, for commands which a report names."""

    profile: Profile
    rules: Mapping[str, Rule]
    selected: tuple[str, ...] | None = None
    options: Options = field(default_factory=Options)
    fail_on: Severity = Severity.ERROR
    as_asked: tuple[str, ...] = ()


def judge(path: Path, request: Request) -> ImageReport:
    """The report on one image. Whatever is wrong with it is in the report; nothing is raised for it."""
    began = perf_counter()
    with Image(path, request.profile, request.options) as image:
        findings = list(map(placed, run(image, request.rules, request.selected)))
        facts, _ = facts_of(image)
        lacks = _what_is_lacking(image)
        engine = image.engine
    return ImageReport(
        path=shown_path(path),
        profile=request.profile.name,
        target=request.options.target,
        verdict=verdict(findings, request.fail_on),
        duration_s=perf_counter() - began,
        facts=facts,
        findings=tuple(findings),
        engine=engine,
        fail_on=request.fail_on,
        lacks=lacks,
        as_asked=request.as_asked,
        word=shell_name(path),
    )


def _what_is_lacking(image: Image) -> Text | None:
    """What this machine needs before the image can be judged, when that is why a part could not be read."""
    reasons = failures(image)
    with suppress(ImgtoolError):
        reasons += failures(image.linux)
    return next((reason.statement() for reason in reasons if isinstance(reason, MachineLacks)), None)


# Not a rule: what is reported when the reading of an image took the process down. docs/checks.md lists it.
CRASH = "imgtool.crash"


def report_of_crash(path: Path, request: Request, cause: str) -> ImageReport:
    """The report on an image whose reading crashed. cause: a signal's name, an exit code, a limit passed."""
    finding = Finding(
        id=CRASH,
        status=Status.UNKNOWN,
        severity=Severity.ERROR,
        title=Text("Reading the image", "读取镜像"),
        message=Text(
            en="imgtool crashed, or was stopped, while it read this image."
            " Please report it, with the image if you can.",
            zh="imgtool 在读取该镜像时崩溃或被终止。请反馈此问题，如有可能请附上镜像。",
        ),
        evidence=(cause,),
    )
    return ImageReport(
        path=shown_path(path),
        profile=request.profile.name,
        target=request.options.target,
        verdict="unknown",
        duration_s=0.0,
        facts=no_facts(),
        findings=(finding,),
        fail_on=request.fail_on,
    )
