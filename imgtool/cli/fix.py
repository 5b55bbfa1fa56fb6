"""`imgtool fix`: repair an image: plan, show, apply to a copy, check again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click

from imgtool.cli import options
from imgtool.cli.session import Session
from imgtool.errors import ImgtoolError
from imgtool.records import dataclass
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import ImageFile
    from imgtool.judging import Request
    from imgtool.repair.apply import Applied
    from imgtool.repair.plan import Plan
    from imgtool.repair.registration import Wishes
    from imgtool.report.model import ImageReport
    from imgtool.rules import Finding, Target

_PATH = click.Path(path_type=Path, readable=False)
_GIVEN = click.Path(path_type=Path, exists=True)


@click.command("fix", short_help="Repair an image: plan, show, apply to a copy, check again.")
@click.argument("source", metavar="IMAGE", type=_PATH)
@click.option(
    "-o", "--output", metavar="OUT", type=_PATH, help="The repaired image; its suffix is its format."
)
@click.option("--plan", "plan_only", is_flag=True, help="Show what would be changed, and change nothing.")
@click.option("--in-place", is_flag=True, help="Put the repaired image in the place of IMAGE, once complete.")
@click.option("--only", metavar="ID", multiple=True, callback=options.words, help="Mend only these rules.")
@click.option("--skip", metavar="ID", multiple=True, callback=options.words, help="Leave these rules alone.")
@click.option(
    "--rebuild-initramfs", is_flag=True, help="Run the guest's own tool instead of adding to the initramfs."
)
@options.FORCE_IMPORT
@click.option("--virtio-win", metavar="ISO", type=_GIVEN, help="The virtio drivers for Windows.")
@click.option(
    "--cloudbase-init",
    metavar="MSI|DIR",
    type=_GIVEN,
    help="cloudbase-init's installer, laid down to run at the first start of Windows.",
)
@click.option(
    "--cloud-init-packages", metavar="DIR", type=_GIVEN, help="Packages to install cloud-init from."
)
@click.option("--network", is_flag=True, help="Let the guest's package manager use the network.")
@click.option("--compress", is_flag=True, help="Compress the clusters (qcow2).")
@click.option("--force", is_flag=True, help="Overwrite OUT, once the new image is complete.")
@click.option(
    "--target", type=click.Choice(["import", "migrate"]), default="import", show_default=True,
    help="What the image is for.",
)  # fmt: skip
@options.BOOT_MODE
@options.PROFILE
@click.option(
    "-f", "--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="Form of the report.",
)  # fmt: skip
@click.option("--no-color", is_flag=True, help="No colours on a terminal. NO_COLOR=1 does the same.")
@options.language
@options.debug
@click.pass_context
def command(
    context: click.Context,
    source: Path,
    output: Path | None,
    *,
    plan_only: bool,
    in_place: bool,
    only: tuple[str, ...],
    skip: tuple[str, ...],
    rebuild_initramfs: bool,
    force_import: bool,
    virtio_win: Path | None,
    cloudbase_init: Path | None,
    cloud_init_packages: Path | None,
    network: bool,
    compress: bool,
    force: bool,
    target: Target,
    boot_mode: Literal["bios", "uefi"] | None,
    profile: str,
    format_: str,
    no_color: bool,
) -> int:
    """Repair what `imgtool check` finds and can mend, on a copy. IMAGE is not changed, unless --in-place.

    \b
    imgtool fix --plan customer.vmdk                  the steps, with a diff of every text file
    imgtool fix customer.vmdk -o image.qcow2          applied, and checked again
    imgtool fix --only linux.virtio customer.vmdk -o image.qcow2

    \b
    The plan is made by reading alone. It is applied through libguestfs; programs of the guest are run
    only for --rebuild-initramfs and to install packages. Exit code: that of the second check; with
    --plan, that of the check which would follow (0 all errors mended, 1 some stay, 3 unknown).
    """
    from imgtool.convert.engine import Request as Conversion
    from imgtool.convert.output import Output
    from imgtool.convert.progress import shown_on_terminal
    from imgtool.disk.probe import probe
    from imgtool.image import Options
    from imgtool.judging import Request
    from imgtool.profiles import load_profile
    from imgtool.repair.apply import apply, over_itself
    from imgtool.repair.registration import Wishes
    from imgtool.rules import discover, select

    session: Session = context.obj
    out = _place(source, output, plan_only, in_place)
    if out is not None:
        Output(out, force=force or in_place, inputs=[] if in_place else [source])
    rules = discover()
    chosen = tuple(select(rules, only, skip)) if only else None
    wishes = Wishes(
        rebuild_initramfs=rebuild_initramfs,
        virtio_win=virtio_win,
        cloudbase_init=cloudbase_init,
        cloud_init_packages=cloud_init_packages,
        network=network,
        skipped=frozenset(select(rules, skip)) if skip else frozenset(),
    )
    request = Request(
        profile=load_profile(profile, rules),
        rules=rules,
        options=Options(target, boot_mode, force_import, debug=session.debug),
    )
    screen = _Screen(session, format_, no_color)
    asked = _Asked(request, wishes, chosen, session.debug)
    plan = asked.plan(source)
    if plan_only or out is None:
        screen.plan(source, plan, request, _applying(context, source, output, in_place))
        return _code(plan.expected)
    screen.announce(plan, request)
    conversion = Conversion(compress=compress, force=force)
    applied = apply(
        source,
        out,
        plan,
        request=over_itself(conversion, probe(source)) if in_place else conversion,
        profile=request.profile,
        replan=lambda file: asked.plan(file.path, file),
        progress=shown_on_terminal(session.language),
    )
    report = _judged(out, request)
    screen.done(source, applied, report)
    return _code(report.findings) if report.lacks is None else 4


def _place(source: Path, output: Path | None, plan_only: bool, in_place: bool) -> Path | None:
    """Where the result goes; None for a plan alone. Raises UsageError for what does not go together."""
    from imgtool.errors import UsageError

    if plan_only:
        return None
    if in_place and output is not None:
        raise UsageError(Text("Give -o OUT or --in-place, not both.", "-o 与 --in-place 只能二选一。"))
    if in_place:
        return source
    if output is None:
        raise UsageError(
            Text(
                "Say where the repaired image goes: -o OUT, or --in-place; or see the --plan alone.",
                "请用 -o 指定输出文件，或使用 --in-place；--plan 仅显示修复计划。",
            )
        )
    return output


_CHOICES = (
    "only", "skip", "rebuild_initramfs", "force_import", "virtio_win", "cloudbase_init",
    "cloud_init_packages", "network", "compress", "force", "target", "boot_mode", "profile",
)  # fmt: skip


def _applying(context: click.Context, source: Path, output: Path | None, in_place: bool) -> str:
    """The command that applies the plan which was asked for."""
    from imgtool.disk.commands import qcow2_name, shell_name

    place = "--in-place" if in_place else f"-o {shell_name(output or qcow2_name(source))}"
    return " ".join(["imgtool fix", *options.given(context, *_CHOICES), shell_name(source), place])


@dataclass(frozen=True)
class _Asked:
    """How an image is to be judged and mended."""

    request: Request
    wishes: Wishes
    chosen: tuple[str, ...] | None
    debug: bool

    def plan(self, path: Path, file: ImageFile | None = None) -> Plan:
        """The plan, made in a process of its own: images are strangers'. file: where it is known already."""
        from imgtool.image import Image
        from imgtool.lazy import preset
        from imgtool.repair.plan import make_plan

        def made(path: Path) -> Plan:
            with Image(path, self.request.profile, self.request.options) as image:
                if file is not None:
                    preset(image, file=file)
                return make_plan(image, self.request.rules, self.wishes, self.chosen)

        return cast("Plan", _apart(made, path, self.debug))


def _apart(work: Callable[[Path], Any], path: Path, debug: bool) -> Any:
    """Work on an image in a process of its own; its ImgtoolErrors come through."""
    from imgtool.cli.workers import LONGEST, Crashed, in_processes
    from imgtool.errors import CannotRead

    def told(path: Path) -> Any:
        try:
            return work(path)
        except ImgtoolError as error:
            return _Failed(error.statement(), error.exit_code)

    (answer,) = in_processes(told, [path], debug=debug, limit=math.inf if debug else LONGEST)
    if isinstance(answer, _Failed):
        raise answer
    if isinstance(answer, Crashed):
        raise CannotRead(
            Text(
                en=f"imgtool crashed while it read this image ({answer.cause}). Please report it.",
                zh=f"imgtool 在读取该镜像时崩溃（{answer.cause}）。请反馈此问题。",
            )
        )
    return answer


class _Failed(ImgtoolError):
    """A failure of the other process."""

    def __init__(self, statement: Text, code: int) -> None:
        super().__init__(statement, code)
        self._statement = statement
        self.exit_code = code  # type: ignore[misc]

    def statement(self) -> Text:
        return self._statement


def _judged(path: Path, request: Request) -> ImageReport:
    from imgtool.cli.workers import Crashed, in_processes
    from imgtool.judging import judge, report_of_crash

    (answer,) = in_processes(lambda it: judge(it, request), [path])
    return report_of_crash(path, request, answer.cause) if isinstance(answer, Crashed) else answer


def _code(findings: Iterable[Finding]) -> int:
    from imgtool.rules import verdict

    return {"pass": 0, "fail": 1, "unknown": 3}[verdict(findings)]


class _Screen:
    """What a person or a program is told."""

    def __init__(self, session: Session, format_: str, no_color: bool) -> None:
        from imgtool.cli.output import Output

        self.session, self.format, self.no_color = session, format_, no_color
        self.out = Output(None)

    def plan(self, source: Path, plan: Plan, request: Request, applying: str) -> None:
        """A plan that is not applied. applying: the command that does."""
        from imgtool.cli.terminal import columns
        from imgtool.repair.report import TO_APPLY, UNCHANGED, plan_lines
        from imgtool.report.model import shown_path
        from imgtool.report.text import line
        from imgtool.report.visible import one_line

        if self.format == "json":
            self._json(source, None, plan, None)
            return
        width = max(40, min(columns(self.out.is_terminal), 110))
        name = one_line(shown_path(source))
        lines = list(plan_lines(plan, self.session.language, width, request.rules))
        if plan.steps:
            lines = [*lines, line(), line(TO_APPLY.say(self.session.language)), line("  ", applying)]
        unchanged = UNCHANGED.say(self.session.language)
        self._text([line((name, "bold")), *lines, line(), line((unchanged, "bold"))])

    def announce(self, plan: Plan, request: Request) -> None:
        """What is about to be done: programs of the guest are not run unannounced."""
        from imgtool.repair.report import GUEST_CODE

        for step in plan.steps:
            if step.action == "run":
                click.echo(f"{self.session.say(GUEST_CODE)} {step.target}", err=True)

    def done(self, source: Path, applied: Applied, report: ImageReport) -> None:
        """Before → after, and where the result is."""
        from imgtool.repair.report import after_lines, without_steps
        from imgtool.report.phrases import VERDICTS, verdict_line
        from imgtool.report.text import line
        from imgtool.report.visible import one_line, visible

        plan, language = applied.plan, self.session.language
        for note in applied.converted.notes:
            click.echo(visible(self.session.say(note)), err=True)
        if self.format == "json":
            self._json(source, applied.converted.path, plan, report.findings)
            return
        lines = list(after_lines(plan.before, report.findings, plan.unmended, language))
        lines += [] if plan.steps else [line(without_steps(plan).say(language))]
        style = {"pass": "bold green", "fail": "bold red"}.get(report.verdict, "bold magenta")
        words = verdict_line(report, one_line(report.path), language)
        self._text([*lines, line(), line((VERDICTS[report.verdict].say(language), style), " ", words)])

    def _json(self, source: Path, output: Path | None, plan: Plan, after: Iterable[Finding] | None) -> None:
        from imgtool import __version__
        from imgtool.repair.report import image_of
        from imgtool.report.json import document
        from imgtool.report.model import shown_path

        named = None if output is None else shown_path(output)
        image = image_of(shown_path(source), named, plan, after, language=self.session.language)
        self.out.write(document(__version__, [image]))

    def _text(self, lines: Iterable[Any]) -> None:
        from imgtool.cli.terminal import colour_wanted
        from imgtool.report.text import coloured, plain

        render = coloured if colour_wanted(self.out.is_terminal, self.no_color) else plain
        self.out.write(render(lines))
