"""What a run would come to, found by judging the image and planning its repair; nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtool.errors import CannotRead
from imgtool.records import dataclass
from imgtool.steps.judging import judged
from imgtool.steps.making import planned
from imgtool.steps.step import Order
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.report.model import ImageReport


@dataclass(frozen=True)
class Foresight:
    """stops: the name of the step that would end the run, "" where none would, and why; exit_code: as
    `imgtool check` would give it for an image that stops the run. repair: the steps that would be made on
    the copy. wrong, mended: rules that the image breaks or leaves open, and those that the repair mends.
    """

    stops: str = ""
    why: Text | None = None
    exit_code: int = 0
    repair: int = 0
    wrong: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()


def foreseen(order: Order) -> Foresight:
    """Judge the image as `check` would, and plan its repair as `fix` would."""
    report = judged(order, order.image)
    if report.lacks is not None:
        return Foresight("check", report.lacks, 4)
    if report.verdict == "pass":
        return Foresight()
    wrong = _wrong(report)
    code = 1 if report.verdict == "fail" else 3
    if not order.fix or order.target == "data-disk":
        return Foresight("check", exit_code=code, wrong=wrong)
    try:
        plan = planned(order, order.image)
    except CannotRead as error:
        return Foresight("fix", error.statement(), code, wrong=wrong)
    expected = plan.outlook
    left = {it.id for it in plan.told if report.fails(it) or report.leaves_open(it)}
    mended = tuple(name for name in wrong if name not in left)
    if expected != "pass":
        return Foresight("fix", None, 1 if expected == "fail" else 3, len(plan.steps), wrong, mended)
    return Foresight("", None, 0, len(plan.steps), wrong, mended)


def _wrong(report: ImageReport) -> tuple[str, ...]:
    return tuple(dict.fromkeys(it.id for it in report.findings if report.fails(it) or report.leaves_open(it)))


def phrase(found: Foresight) -> Text:
    """What is foreseen, in a sentence or two."""
    if not found.stops and not found.wrong:
        return Text("The image passes: nothing is to be repaired.", "镜像通过检查，无需修复。")
    why = found.why or Text("", "")
    if not found.wrong:
        return Text(f"The run would stop at `{found.stops}`. {why.en}", f"将在 {found.stops} 停止。{why.zh}")
    names, count = ", ".join(found.wrong), len(found.wrong)
    first = Text(f"The image does not pass: {names}.", f"镜像未通过检查：{names}。")
    if not found.stops:
        end = Text(
            f"Mended on the copy: {count} of {count} (steps: {found.repair}); see `imgtool fix --plan`.",
            f"可在副本上修复 {count} 项中的 {count} 项（步骤数：{found.repair}）；详见 imgtool fix --plan。",
        )
    elif found.stops == "check":
        end = Text(
            "Nothing is repaired here: the run would stop at `check`.", "此处不修复：将在 check 停止。"
        )
    else:
        why = found.why or Text(
            "`imgtool fix --plan` tells why, and what it lacks.", "原因及所缺内容见 imgtool fix --plan。"
        )
        end = Text(
            f"Can be mended: {len(found.mended)} of {count}. The run would stop at `fix`. {why.en}",
            f"可修复 {count} 项中的 {len(found.mended)} 项：将在 fix 停止。{why.zh}",
        )
    return Text(f"{first.en} {end.en}".rstrip(), f"{first.zh}{end.zh}")
