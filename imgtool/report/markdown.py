"""Markdown for tickets: the reasons and the commands, for the person who has to mend the image."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imgtool.report.model import BootRecord, ImageReport, Report, data_url, kind
from imgtool.report.phrases import (
    CONSOLE,
    EVIDENCE,
    HOW_TO_FIX,
    LABELS,
    VERDICTS,
    alike_line,
    boot_line,
    counted,
    mending,
    quiet_line,
    summary,
    totals_line,
)
from imgtool.report.remedy import remedy_lines
from imgtool.report.visible import one_line, visible
from imgtool.rules import Finding
from imgtool.text import Language

_MARKS = {"error": "❌", "unknown": "❓", "warning": "⚠️", "note": "💡"}
_SPECIAL = re.compile(r"[\\`*_\[\]<>|#~&$@!]|^(?=[-+=] )|(?<=^\d)(?=[.)] )")


def render(report: Report, language: Language) -> str:
    """The report as one Markdown document (CommonMark)."""
    parts = ["\n".join(_image(image, language)) for image in report.images]
    if len(report.images) > 1:
        parts.append(totals_line(report.images, language) + "\n")
    return "\n".join(parts)


def _image(image: ImageReport, language: Language) -> Iterator[str]:
    verdict = VERDICTS[image.verdict].say(language)
    yield f"## {_escaped(verdict)}: {_code(one_line(image.path))}"
    yield ""
    facts = summary(image.facts, language)
    if facts:
        yield _escaped(one_line(facts))
        yield ""
    yield f"**{counted(image.counts, language)}** · {quiet_line(image.counts, language, hint=False)}"
    yield ""
    if image.lacks is not None:
        yield _escaped(one_line(image.lacks.say(language)))
        yield ""
    for finding in image.loud:
        yield from _finding(finding, language)
        if alike := image.alike(finding):
            yield _escaped(alike_line(alike, language, every=True))
            yield ""
    if by_fix := mending(image, language):
        yield _escaped(by_fix[0])
        yield ""
        yield from _fenced([by_fix[1]])
    if image.boot is not None:
        yield from _boot(image.boot, language)


def _boot(boot: BootRecord, language: Language) -> Iterator[str]:
    yield _escaped(boot_line(boot, language))
    yield ""
    for picture in boot.pictures:
        yield f"![{_escaped(picture.caption.say(language))}]({data_url(picture)})"
        yield ""
    if boot.console:
        yield CONSOLE.say(language)
        yield ""
        yield from _fenced([one_line(row) for row in boot.console])


def _finding(finding: Finding, language: Language) -> Iterator[str]:
    word = kind(finding)
    code = f" · {_code(finding.platform_code)}" if finding.platform_code and word != "unknown" else ""
    title = _escaped(one_line(finding.title.say(language)))
    yield f"### {_MARKS[word]} {LABELS[word].say(language)}: {title}"
    yield ""
    yield f"{_code(finding.id)}{code}"
    yield ""
    for row in visible(finding.message.say(language)).splitlines():
        yield _escaped(row)
    yield ""
    if finding.evidence:
        yield EVIDENCE.say(language)
        yield ""
        yield from _fenced([row for item in finding.evidence for row in visible(item).splitlines()])
    if finding.remedy is not None:
        yield HOW_TO_FIX.say(language)
        yield ""
        commands: list[str] = []
        for text, is_command in remedy_lines(finding.remedy.say(language)):
            if is_command:
                commands.append(text)
                continue
            yield from _fenced(commands)
            commands = []
            yield _escaped(text)
            yield ""
        yield from _fenced(commands)


def _fenced(rows: list[str]) -> Iterator[str]:
    """A code block whose fence is longer than any run of backticks in it."""
    if rows:
        longest = max((len(run) for row in rows for run in re.findall("`+", row)), default=0)
        fence = "`" * max(3, longest + 1)
        yield from (f"{fence}text", *rows, fence, "")


def _code(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    ticks = "`" * (longest + 1)
    return f"{ticks} {text} {ticks}" if longest else f"`{text}`"


def _escaped(text: str) -> str:
    """Text that no Markdown reader takes for marks, HTML, a mention or a formula."""
    return _SPECIAL.sub(lambda found: "\\" + found.group(), text)
