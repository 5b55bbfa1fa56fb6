"""`imgtool inspect`: what is on an image, without judging it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from imgtool.cli import options
from imgtool.cli.session import Session
from imgtool.records import dataclass
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.image import Options as ImageOptions


@dataclass(frozen=True)
class Inspection:
    """The facts of one image. unread: by part, why it could not be read; lacking: this machine is why."""

    path: str
    facts: dict[str, Any]
    unread: dict[str, Text]
    lacking: bool
    duration_s: float
    engine: str


@click.command("inspect", short_help="Show what is on images; nothing is judged.")
@options.IMAGES
@options.output("text", "json")
@options.ENGINE
@click.pass_obj
def command(
    session: Session,
    images: tuple[Path, ...],
    *,
    format_: str,
    output: Path | None,
    force: bool,
    no_color: bool,
    engine: Literal["auto", "native", "libguestfs"],
) -> int:
    """Show what is on disk images: format, partitions, system, kernels, boot loader. Nothing is judged.

    \b
    imgtool inspect image.qcow2
    imgtool inspect --format json image.qcow2 | jq '.images[0].facts.os'
    """
    from imgtool.cli.output import Output
    from imgtool.image import Options

    out = Output(output, force, images)
    inspections = _inspected(images, Options(debug=session.debug, engine=engine, tell=session.remark))
    if format_ == "json":
        out.write(_as_json(inspections, session))
    else:
        out.write(_as_text(inspections, session, out, no_color))
    if any(it.lacking for it in inspections):
        return 4
    return 3 if any(it.unread for it in inspections) else 0


def _inspected(images: Sequence[Path], asked: ImageOptions) -> list[Inspection]:
    from imgtool.cli.workers import Crashed, in_processes
    from imgtool.facts import no_facts
    from imgtool.report.model import shown_path

    return [
        Inspection(shown_path(path), no_facts(), {"file": _crashed(answer.cause)}, False, 0.0, "native")
        if isinstance(answer, Crashed)
        else answer
        for path, answer in zip(
            images, in_processes(partial(_inspect, asked=asked), images, debug=asked.debug), strict=True
        )
    ]


def _crashed(cause: str) -> Text:
    return Text(
        en=f"imgtool crashed while it read this image ({cause}). Please report it.",
        zh=f"imgtool 在读取该镜像时崩溃（{cause}）。请反馈此问题。",
    )


def _inspect(path: Path, asked: ImageOptions) -> Inspection:
    from time import perf_counter

    from imgtool.errors import MachineLacks
    from imgtool.facts import facts_of
    from imgtool.image import Image
    from imgtool.lazy import failures
    from imgtool.profiles import load_profile
    from imgtool.report.model import shown_path

    began = perf_counter()
    with Image(path, load_profile("tce"), asked) as image:
        facts, unread = facts_of(image, whole=True)
        lacking = any(isinstance(reason, MachineLacks) for reason in failures(image))
        used = image.engine
    return Inspection(shown_path(path), facts, unread, lacking, perf_counter() - began, used)


def _as_json(inspections: Sequence[Inspection], session: Session) -> str:
    from imgtool import __version__
    from imgtool.report.json import document

    return document(
        __version__,
        [
            {
                "path": it.path,
                "duration_s": round(it.duration_s, 3),
                "engine": it.engine,
                "facts": it.facts,
                "unread": {part: session.say(reason) for part, reason in it.unread.items()},
            }
            for it in inspections
        ],
    )


def _as_text(inspections: Sequence[Inspection], session: Session, out: Any, no_color: bool) -> str:
    from imgtool.cli.terminal import colour_wanted, columns
    from imgtool.report.facts import layout
    from imgtool.report.text import Line, coloured, plain

    width = columns(out.is_terminal)
    lines: list[Line] = []
    for number, it in enumerate(inspections):
        lines += [Line()] if number else []
        lines += layout(it.path, it.facts, it.unread, session.language, width)
    return coloured(lines) if colour_wanted(out.is_terminal, no_color) else plain(lines)
