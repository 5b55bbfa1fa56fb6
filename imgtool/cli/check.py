"""`imgtool check`: judge images by the rules and report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from imgtool.cli import options
from imgtool.cli.session import Session

if TYPE_CHECKING:
    from imgtool.cli.output import Output
    from imgtool.judging import Request
    from imgtool.report.model import ImageReport
    from imgtool.rules import Target

FORMATS = ("text", "json", "junit", "sarif", "markdown", "html")


@click.command("check", short_help="Judge images: will they import and boot, and if not, why.")
@options.IMAGES
@options.output(*FORMATS)
@click.option(
    "--target",
    type=click.Choice(["import", "migrate", "data-disk"]),
    default="import",
    show_default=True,
    help="What the image is for.",
)
@options.PROFILE
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning"]),
    default="error",
    show_default=True,
    help="The level at which an image fails.",
)
@click.option(
    "--select",
    metavar="ID",
    multiple=True,
    callback=options.words,
    help="Only this rule, or those that begin so (linux.virtio). Repeat, or separate by commas.",
)
@click.option(
    "--ignore", metavar="ID", multiple=True, callback=options.words, help="Without this rule; likewise."
)
@options.BOOT_MODE
@click.option(
    "--architecture",
    type=click.Choice(["x86_64", "arm_64"]),
    help="The architecture that will be declared.",
)
@options.FORCE_IMPORT
@click.option("--rehearse", is_flag=True, help="Also boot each image, as `imgtool rehearse` does.")
@click.option("--deep", is_flag=True, help="Also run what takes long (qemu-img check).")
@options.ENGINE
@click.option(
    "-j",
    "--jobs",
    metavar="N",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Judge N images at a time.",
)
@click.option("-v", "--verbose", is_flag=True, help="List also what passed and what was skipped.")
@click.pass_context
def command(
    context: click.Context,
    images: tuple[Path, ...],
    *,
    format_: str,
    output: Path | None,
    force: bool,
    no_color: bool,
    target: Target,
    profile: str,
    fail_on: str,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    boot_mode: Literal["bios", "uefi"] | None,
    architecture: str | None,
    force_import: bool,
    rehearse: bool,
    deep: bool,
    engine: Literal["auto", "native", "libguestfs"],
    jobs: int,
    verbose: bool,
) -> int:
    """Judge disk images: will they import and boot, and if not, why, and what mends them.

    \b
    imgtool check image.qcow2
    imgtool check --lang zh --format markdown -o ticket.md customer.vmdk
    imgtool check --fail-on warning --format sarif -o imgtool.sarif golden/*.qcow2

    \b
    Exit code of several images: 1 if any fails; else 4 if this machine lacked something to
    judge one; else 3 if one could not be judged; else 0.
    """
    from imgtool.cli.output import Output
    from imgtool.errors import UsageError
    from imgtool.image import Options
    from imgtool.judging import Request
    from imgtool.profiles import load_profile
    from imgtool.rules import Severity, discover
    from imgtool.rules import select as select_rules
    from imgtool.text import Text

    session: Session = context.obj
    out = Output(output, force, images)
    rules = discover()
    limits = load_profile(profile, rules)
    # An ignored rule is not run at all, so that it can't keep others from being judged.
    in_play = {name: rules[name] for name in select_rules(rules, (), ignore)}
    chosen = select_rules(rules, select, ignore)
    if not any(target in rules[name].targets for name in chosen):
        raise UsageError(
            Text(
                en=f"None of the rules that are left judges an image for --target {target}.",
                zh=f"所选规则中没有一条适用于 --target {target} 的镜像。",
            )
        )
    if rehearse and target == "data-disk":
        raise UsageError(
            Text(
                en="A data disk does not boot: --rehearse does not go with --target data-disk.",
                zh="数据盘无法启动：--rehearse 不能与 --target data-disk 同时使用。",
            )
        )
    request = Request(
        profile=limits,
        rules=in_play,
        selected=tuple(chosen) if select else None,
        options=Options(
            target, boot_mode, force_import, deep, session.debug, engine, session.remark, architecture
        ),
        fail_on=Severity(fail_on),
        as_asked=options.given(context, "target", "force_import", "boot_mode", "profile"),
    )
    found = judged(images, request, jobs)
    if rehearse:
        found = _rehearsed(images, found, request, session)
    if format_ == "text":
        reports = as_text(found, out, session, verbose=verbose, no_color=no_color)
    else:
        reports = list(found)
        out.write(rendered(format_, reports, session))
    if out.path is not None:
        verdicts_to_stderr(reports, session)
    return _exit_code(reports)


def _rehearsed(
    images: Sequence[Path], found: Iterator[ImageReport], request: Request, session: Session
) -> Iterator[ImageReport]:
    """In this process: a worker's bounds of memory and time are too narrow for a machine."""
    from imgtool.convert.progress import shown_on_terminal
    from imgtool.rehearsal.course import Rehearsal
    from imgtool.rehearsal.judged import checked_and_rehearsed

    how = Rehearsal(
        request.options.boot_mode,
        force_import=request.options.force_import,
        progress=shown_on_terminal(session.language),
    )
    for path, report in zip(images, found, strict=True):
        yield checked_and_rehearsed(path, report, request, how)


def judged(images: Sequence[Path], request: Request, jobs: int) -> Iterator[ImageReport]:
    """The report on each image, each judged in a process of its own."""
    from imgtool.cli.workers import LONGEST, Crashed, in_processes
    from imgtool.judging import judge, report_of_crash

    limit = math.inf if request.options.deep else LONGEST
    answers = in_processes(lambda path: judge(path, request), images, jobs, request.options.debug, limit)
    for path, answer in zip(images, answers, strict=True):
        yield report_of_crash(path, request, answer.cause) if isinstance(answer, Crashed) else answer


def as_text(
    judged: Iterator[ImageReport],
    out: Output,
    session: Session,
    *,
    verbose: bool,
    no_color: bool,
) -> list[ImageReport]:
    """Print each report as it comes; a file gets them all at once."""
    from imgtool.cli.terminal import colour_wanted, columns
    from imgtool.report.phrases import totals_line
    from imgtool.report.text import Line, coloured, layout, line, plain

    render = coloured if colour_wanted(out.is_terminal, no_color) else plain
    width = columns(out.is_terminal)
    reports: list[ImageReport] = []
    parts: list[str] = []

    def put(lines: list[Line]) -> None:
        if out.path is None:
            out.write(render(lines))
        else:
            parts.append(render(lines))

    for report in judged:
        reports.append(report)
        between = [Line()] if len(reports) > 1 else []
        put([*between, *layout(report, session.language, width, verbose)])
    if len(reports) > 1:
        put([Line(), line(totals_line(reports, session.language))])
    if out.path is not None:
        out.write("".join(parts))
    return reports


def rendered(format_: str, reports: Sequence[ImageReport], session: Session) -> str:
    """The reports as one document in a form for programs or for documents."""
    import importlib

    from imgtool import __version__
    from imgtool.report.model import Report

    module = importlib.import_module(f"imgtool.report.{format_}")
    text: str = module.render(Report(tuple(reports), __version__), session.language)
    return text


def verdicts_to_stderr(reports: Sequence[ImageReport], session: Session) -> None:
    """One line on each image, for the person whose report went into a file."""
    from imgtool.report.phrases import VERDICTS, verdict_line
    from imgtool.report.visible import one_line

    for report in reports:
        said = verdict_line(report, one_line(report.path), session.language)
        click.echo(f"{VERDICTS[report.verdict].say(session.language)} {said}", err=True)


def _exit_code(reports: Sequence[ImageReport]) -> int:
    verdicts = {report.verdict for report in reports}
    if "fail" in verdicts:
        return 1
    if any(report.lacks for report in reports):
        return 4
    return 3 if "unknown" in verdicts else 0
