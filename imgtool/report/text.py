"""The report that people read: worst first, evidence and remedies to copy, one verdict line an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imgtool.records import dataclass, field
from imgtool.report.model import ImageReport, kind
from imgtool.report.phrases import (
    HOW_TO_FIX,
    LABELS,
    VERDICTS,
    alike_line,
    boot_line,
    main_facts,
    mending,
    quiet_line,
    verdict_line,
)
from imgtool.report.remedy import remedy_lines
from imgtool.report.visible import cells, one_line, packed, visible, wrapped
from imgtool.rules import Finding
from imgtool.text import Language

# Prose is not set wider than this, however wide the terminal.
WIDEST = 110
LONGEST_EVIDENCE = 400
CONSOLE_LINES = 12
_STYLES = {
    "error": "bold red",
    "unknown": "bold magenta",
    "warning": "bold yellow",
    "note": "bold blue",
    "pass": "green",
    "skip": "dim",
    "fail": "bold red",
}


@dataclass(frozen=True)
class Line:
    """One line of output: its pieces, each with a style in rich's words ("" for none)."""

    pieces: tuple[tuple[str, str], ...] = field(default=())

    @property
    def plain(self) -> str:
        """The line without styles."""
        return "".join(text for text, _ in self.pieces)


def line(*pieces: str | tuple[str, str]) -> Line:
    """A line of plain and styled pieces."""
    return Line(tuple((piece, "") if isinstance(piece, str) else piece for piece in pieces))


def layout(image: ImageReport, language: Language, width: int, verbose: bool = False) -> Iterator[Line]:
    """The lines on one image. Only prose is wrapped to `width` columns; evidence and commands stay whole."""
    width = max(20, min(width, WIDEST))
    path = one_line(image.path)
    yield line((path, "bold"))
    for row in packed([one_line(fact) for fact in main_facts(image.facts, language)], width - 2):
        yield line("  ", row)
    for finding in image.loud:
        yield Line()
        yield from _finding(finding, language, width)
        if alike := image.alike(finding):
            yield from (line("    ", row) for row in wrapped(alike_line(alike, language, verbose), width - 4))
    if by_fix := mending(image, language):
        yield Line()
        yield from (line("  ", row) for row in wrapped(by_fix[0], width - 2))
        yield line("    ", (by_fix[1], "green"))
    listed = image.quiet if verbose else image.stages_passed
    if listed:
        yield Line()
        for finding in listed:
            yield from _brief(finding, language, width)
    counts = image.counts
    if counts["pass"] or counts["skip"]:
        yield Line()
        hint = not listed
        yield from (
            line("  ", (row, "dim")) for row in wrapped(quiet_line(counts, language, hint), width - 2)
        )
    if image.boot is not None:
        yield Line()
        yield line("  ", (boot_line(image.boot, language), "dim"))
    if image.boot is not None and (image.verdict != "pass" or verbose):
        for row in image.boot.console[-CONSOLE_LINES:]:
            yield line("    ", (one_line(row)[:LONGEST_EVIDENCE], "cyan"))
    if image.lacks is not None:
        yield Line()
        yield from (line("  ", row) for row in _prose(image.lacks.say(language), width - 2))
    yield Line()
    label = VERDICTS[image.verdict].say(language)
    yield line((label, f"{_STYLES[image.verdict]} bold"), " ", verdict_line(image, path, language))


def _finding(finding: Finding, language: Language, width: int) -> Iterator[Line]:
    word = kind(finding)
    label = LABELS[word].say(language)
    pieces: list[tuple[str, str]] = [("  ", ""), (label, _STYLES[word]), ("  ", ""), (finding.id, "bold")]
    if finding.platform_code and word in ("error", "warning"):
        pieces += [("  ", ""), (f"[{finding.platform_code}]", _STYLES[word])]
    title = finding.title.say(language)
    if sum(cells(text) for text, _ in pieces) + 2 + cells(title) <= width:
        pieces += [("  ", ""), (title, "dim")]
    yield Line(tuple(pieces))
    for row in _prose(finding.message.say(language), width - 4):
        yield line("    ", row)
    for item in finding.evidence:
        for row in visible(item).splitlines() or [""]:
            cut = row if len(row) <= LONGEST_EVIDENCE else row[: LONGEST_EVIDENCE - 1] + "…"
            yield line("      ", (cut, "cyan"))
    yield from remedy_of(finding, language, width)


def remedy_of(finding: Finding, language: Language, width: int) -> Iterator[Line]:
    """What a person is to do about it: prose wrapped, commands whole. Nothing where there is no remedy."""
    if finding.remedy is None:
        return
    yield line("    ", (HOW_TO_FIX.say(language), "bold"))
    for text, is_command in remedy_lines(finding.remedy.say(language)):
        if is_command:
            yield line("      ", (text, "green"))
        else:
            yield from (line("      ", row) for row in wrapped(text, width - 6))


def _brief(finding: Finding, language: Language, width: int) -> Iterator[Line]:
    """A rule that was kept or skipped: what it says, on the line of its id where it fits."""
    word = kind(finding)
    head = [("  ", ""), (LABELS[word].say(language), _STYLES[word]), ("  ", ""), (finding.id, "")]
    said = list(_prose(finding.message.say(language), width - 4))
    if len(said) == 1 and sum(cells(text) for text, _ in head) + 2 + cells(said[0]) <= width:
        yield line(*head, "  ", (said[0], "dim"))
        return
    yield line(*head)
    yield from (line("    ", (row, "dim")) for row in said)


def _prose(text: str, width: int) -> Iterator[str]:
    for paragraph in visible(text).splitlines():
        yield from wrapped(paragraph, width)


def plain(lines: Iterable[Line]) -> str:
    """The lines as text without colour."""
    return "".join(item.plain.rstrip() + "\n" for item in lines)


def coloured(lines: Iterable[Line]) -> str:
    """The lines as text with the colours that this terminal has."""
    import io

    from rich.console import Console
    from rich.text import Text as Styled

    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=True, highlight=False, markup=False, emoji=False)
    for item in lines:
        console.print(Styled.assemble(*item.pieces), soft_wrap=True)
    return buffer.getvalue()
