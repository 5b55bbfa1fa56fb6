"""The reports of one run of `imgtool prepare`: written when it ends, however it ends."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

from imgtool.cli.ending import Ended
from imgtool.cli.output import Output
from imgtool.errors import ImgtoolError, UsageError
from imgtool.steps.report import as_json, as_markdown, is_report, outcome
from imgtool.steps.step import Halt
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.pipeline import Prepared, Stop
    from imgtool.steps.step import Run, Step
    from imgtool.text import Language

_FORMATS = {".json": "json", ".md": "markdown", ".markdown": "markdown"}


class RunReports:
    """Where the reports go. Looked at when made, before any work is done: raises UsageError.

    A report of an earlier run gives way to the new one, since it is the same command that goes on; any other
    file stays, unless `force`.
    """

    def __init__(
        self, output: Path | None, format_: str, files: tuple[Path, ...], force: bool, image: Path
    ) -> None:
        def place(path: Path | None) -> Output:
            return Output(path, force or (path is not None and is_report(path)), [image])

        self._main, self._format = place(output), format_
        self._more = [(place(path), _format_of(path)) for path in files]

    @property
    def main(self) -> Output:
        """Where the result goes: standard output, or -o."""
        return self._main

    def write(self, run: Run, prepared: Prepared, language: Language, stop: Stop | None = None) -> None:
        """Write all of them; of a run that stopped, there is no result in text. Raises as Output does."""
        for place, format_ in (*self._more, (self._main, self._format)):
            if format_ == "json":
                from imgtool import __version__

                place.write(as_json(run, prepared, __version__, stop))
            elif format_ == "markdown":
                place.write(as_markdown(run, prepared, language, stop))
            elif stop is None:
                place.write(f"{outcome(prepared)}\n")


def stop_of(error: BaseException, run: Run, step: Step | None) -> Stop:
    """Why a run ends because of an error, in a step ("" before the first)."""
    from imgtool.pipeline import Stop

    name, title = ("", Text.same("")) if step is None else (step.name, step.title)
    if isinstance(error, Ended):
        word = signal.Signals(error.number).name
        why = Text(
            f"A signal ended the run: {word}. Run the same command again to go on.",
            f"运行被信号 {word} 终止。再次运行同一命令即可继续。",
        )
        return Stop(name, title, why, 128 + error.number)
    if not isinstance(error, ImgtoolError):
        fault = f"{type(error).__name__}: {error}"[:500]
        return Stop(name, title, Text(f"Internal error: {fault}", f"内部错误：{fault}"), 3)
    findings: list[str] = []
    if isinstance(error, Halt):
        report = error.report
        findings = list(run.results.get("check", {}).get("errors", ()))
        if report is not None:
            findings = [it.id for it in report.findings if report.fails(it) or report.leaves_open(it)]
    return Stop(
        *(name, title, error.statement(), error.exit_code),
        code=str(getattr(error, "code", "") or ""),
        request_id=str(getattr(error, "request_id", "") or ""),
        findings=tuple(dict.fromkeys(findings)),
    )


def _format_of(path: Path) -> str:
    found = _FORMATS.get(path.suffix.lower())
    if found is None:
        raise UsageError(
            Text(
                f"--report {path}: name it .json or .md, which tells its form.",
                f"--report {path}：请以 .json 或 .md 结尾，由此确定格式。",
            )
        )
    return found
