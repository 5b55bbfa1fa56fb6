"""check: the image as it came, and once more as it is going to be uploaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgtool.steps.step import Halt, Order, Result, Run
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.judging import Request
    from imgtool.report.model import ImageReport


class Check:
    """The image as it came. Errors halt the run only where nothing mends them: that is for `fix` to say."""

    name = "check"
    title = Text("Check the image", "检查镜像")

    def inputs(self, run: Run) -> Any:
        order = run.order
        judged = [order.target, order.profile.name, order.boot_mode, order.force_import]
        return [run.source_identity, *judged]

    def holds(self, run: Run, result: Mapping[str, Any]) -> bool:
        return True

    def do(self, run: Run) -> Result:
        report = judged(run.order, run.source)
        run.reports[self.name] = report
        if report.lacks is not None:
            from imgtool.errors import CannotRead

            raise CannotRead(report.lacks)
        if report.verdict != "pass" and not (run.order.fix and run.order.target != "data-disk"):
            raise failed(report)
        return summary(report)


class Recheck:
    """The image as it goes up: nothing that fails is uploaded."""

    name = "recheck"
    title = Text("Check the result", "检查结果")

    def inputs(self, run: Run) -> Any:
        order = run.order
        made = run.results["convert"]
        return [made["identity"], order.target, order.profile.name, order.boot_mode, order.force_import]

    def holds(self, run: Run, result: Mapping[str, Any]) -> bool:
        return bool(result["verdict"] == "pass")

    def do(self, run: Run) -> Result:
        report = judged(run.order, run.product)
        run.reports[self.name] = report
        if report.verdict != "pass":
            raise failed(report)
        return summary(report)


def request_of(order: Order) -> Request:
    """How images are judged for an order."""
    from imgtool.image import Options
    from imgtool.judging import Request
    from imgtool.rules import discover

    options = Options(order.target, order.boot_mode, order.force_import, debug=order.debug)
    return Request(profile=order.profile, rules=discover(), options=options)


def judged(order: Order, path: Path) -> ImageReport:
    """The report on an image, made in a process of its own: images are strangers'."""
    from imgtool.cli.workers import Crashed, in_processes
    from imgtool.judging import judge, report_of_crash

    request = request_of(order)
    (answer,) = in_processes(lambda it: judge(it, request), [path], debug=order.debug)
    return report_of_crash(path, request, answer.cause) if isinstance(answer, Crashed) else answer


def failed(report: ImageReport) -> Halt:
    """The run ends because of what a report says."""
    names = ", ".join(
        dict.fromkeys(it.id for it in report.findings if report.fails(it) or report.leaves_open(it))
    )
    return Halt(
        Text(
            en=f"The image does not pass: {names}. `imgtool check` gives the reasons and what mends them; "
            "then run the "
            "same command again.",
            zh=f"镜像未通过检查：{names}。imgtool check 会给出原因与修复方法；处理后再次运行同一命令。",
        ),
        report,
    )


def summary(report: ImageReport) -> Result:
    """What later steps and the report need of it."""
    facts = report.facts
    return {
        "verdict": report.verdict,
        "errors": [it.id for it in report.findings if report.fails(it)],
        "counts": dict(report.counts),
        "format": facts["format"],
        "virtual_size": facts["virtual_size"],
        "actual_size": facts["actual_size"],
        "boot_mode": facts["boot_mode"],
        "os": dict(facts["os"]),
    }
