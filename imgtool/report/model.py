"""What every output format shows: images with their verdict, facts and findings."""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imgtool.records import dataclass, field
from imgtool.rules import Finding, Severity, Status, Target, Verdict, verdict
from imgtool.text import Text

# Worst first. What a broken rule of level `info` says comes after the warnings.
_ORDER = {Status.FAIL: 0, Status.UNKNOWN: 1, Status.WARN: 2, Status.PASS: 4, Status.SKIP: 5}
_LAYERS = ("image", "disk", "linux", "windows", "rehearsal")


@dataclass(frozen=True)
class Picture:
    """The guest's screen at one moment. png: the picture."""

    caption: Text
    png: bytes


@dataclass(frozen=True)
class BootRecord:
    """What a rehearsal leaves to look at. accelerator: kvm or tcg; firmware: bios or uefi; boots: machines
    powered on; console: the serial console's last lines."""

    accelerator: str
    firmware: str
    architecture: str
    boots: int
    pictures: tuple[Picture, ...] = ()
    console: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageReport:
    """One image.

    facts: as in docs/report-v1.schema.json. fail_on: the level at which it fails. lacks: what this machine
    needs before the image can be judged. boot: of a rehearsal. as_asked: the options, as words of a shell,
    with which `imgtool fix` judges as this report does. word: the file's name as a word of a shell, where
    `path` may have lost bytes of it.
    """

    path: str
    profile: str
    target: Target
    verdict: Verdict
    duration_s: float
    facts: Mapping[str, Any]
    findings: tuple[Finding, ...]
    engine: str = "native"
    fail_on: Severity = Severity.ERROR
    lacks: Text | None = None
    boot: BootRecord | None = None
    as_asked: tuple[str, ...] = ()
    word: str = ""

    @property
    def worst_first(self) -> list[Finding]:
        """Errors, unknowns, warnings, notes, passes, skips; in each, the outer layer first."""
        return sorted(self.findings, key=_rank)

    @property
    def loud(self) -> list[Finding]:
        """Worst first, what is to be told in full: what is wrong or open, and each reason once."""
        return [it for it in self.worst_first if kind(it) not in ("pass", "skip") and it.because is None]

    @property
    def quiet(self) -> list[Finding]:
        """Passes and skips."""
        return [it for it in self.worst_first if kind(it) in ("pass", "skip")]

    @property
    def stages_passed(self) -> list[Finding]:
        """The stages that a boot came through, of a report on a rehearsal alone: worth telling each."""
        if self.boot is None or not all(it.id.startswith("rehearsal.") for it in self.quiet):
            return []
        return [it for it in self.quiet if it.status is Status.PASS]

    def alike(self, finding: Finding) -> list[str]:
        """The ids of what could not be evaluated for this finding's reason either."""
        return [it.id for it in self.findings if it.because == finding.id]

    def fails(self, finding: Finding) -> bool:
        """Whether this finding alone makes the image fail."""
        return verdict([finding], self.fail_on) == "fail"

    def leaves_open(self, finding: Finding) -> bool:
        """Whether this finding alone keeps the image from being judged."""
        return verdict([finding], self.fail_on) == "unknown"

    @property
    def counts(self) -> Counter[str]:
        """How many findings are error, unknown, warning, note, pass and skip."""
        return Counter(kind(finding) for finding in self.findings)


@dataclass(frozen=True)
class Report:
    """Several images in the order in which they were asked for."""

    images: tuple[ImageReport, ...]
    tool_version: str = field(default="")


def data_url(picture: Picture) -> str:
    """A picture as a URL that holds it, so that a report needs no other file."""
    return "data:image/png;base64," + base64.b64encode(picture.png).decode()


def kind(finding: Finding) -> str:
    """One word for how a finding is shown: error, unknown, warning, note, pass, skip."""
    if finding.status is Status.WARN:
        return "note" if finding.severity is Severity.INFO else "warning"
    return {
        Status.FAIL: "error",
        Status.UNKNOWN: "unknown",
        Status.PASS: "pass",
        Status.SKIP: "skip",
    }[finding.status]


def _rank(finding: Finding) -> tuple[int, int]:
    layer = finding.id.partition(".")[0]
    order = 3 if kind(finding) == "note" else _ORDER[finding.status]
    return order, _LAYERS.index(layer) if layer in _LAYERS else len(_LAYERS)


def shown_path(path: Path) -> str:
    """A path as text: bytes that are not UTF-8 as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
