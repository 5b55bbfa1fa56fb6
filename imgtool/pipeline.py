"""The whole way from an image file to an image in the cloud: check, fix, convert, check, rehearse, upload,
import, wait.

One journal says what is done. The same command, run again after a cut, a kill or a refusal, takes from it
whatever still holds (the same inputs, the product still there, the object still in the bucket) and does the
rest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from imgtool.records import dataclass, field
from imgtool.steps.judging import Check, Recheck
from imgtool.steps.making import Convert, Fix, Rehearse, Unpack, must_be_unpacked
from imgtool.steps.sending import Account, Console, DryRun, Import, Tidy, Upload, Wait
from imgtool.steps.step import Order, Result, Run, Step, file_identity

if TYPE_CHECKING:
    from imgtool.cloud.journal import JournalFailed
    from imgtool.text import Text


@dataclass(frozen=True)
class Done:
    """One step of a run. kept: an earlier run did it, and it holds."""

    name: str
    title: Text
    seconds: float
    kept: bool
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Prepared:
    """A run that came to its end. image_id: "" where there is none (data disks, migration, --until)."""

    steps: tuple[Done, ...]
    image_id: str
    task_id: str = ""
    link: str = ""


@dataclass(frozen=True)
class Stop:
    """Where and why a run ended before its end. step: "" where it had not come to any, with its title;
    code, request_id: the cloud's, "" where it was not the cloud; findings: ids of what is wrong with the
    image.
    """

    step: str
    title: Text
    why: Text
    exit_code: int
    code: str = ""
    request_id: str = ""
    findings: tuple[str, ...] = ()


@dataclass
class Watcher:
    """Told of steps as they begin and end."""

    begins: Callable[[int, int, Step], None] = field(default=lambda number, of, step: None)
    ends: Callable[[Done], None] = field(default=lambda done: None)


def steps_for(order: Order) -> list[Step]:
    """The steps of an order, in their order."""
    steps: list[Step] = [Check(), Fix(), Convert(), Recheck()]
    if order.target == "data-disk" or not order.fix:
        steps.remove(steps[1])
    if must_be_unpacked(order):
        steps.insert(0, Unpack())
    if order.rehearse and order.target != "data-disk":
        steps.append(Rehearse())
    steps += [Account(), Upload()]
    if order.target == "migrate":
        return [*steps, Console(), Tidy()]
    steps += [DryRun(), Import()]
    if order.target == "import":
        steps.append(Wait())
    return [*steps, Tidy()]


def prepare(run: Run, until: str | None = None, watcher: Watcher | None = None) -> Prepared:
    """Go the whole way, or up to and with the step `until`.

    Raises ImgtoolError of whichever step stops; all that was done stays in the journal.
    """
    watcher = watcher or Watcher()
    _know_the_image(run)
    run.results["fix"] = {"steps": 0}
    steps = steps_for(run.order)
    done: list[Done] = []
    for number, step in enumerate(steps, start=1):
        watcher.begins(number, len(steps), step)
        one = _kept(run, step) or _done(run, step)
        run.results[step.name] = dict(one.result)
        watcher.ends(one)
        done.append(one)
        if step.name == until:
            break
    last = run.results
    return Prepared(
        tuple(done),
        str(last.get("wait", {}).get("image_id", "")),
        str(last.get("import", {}).get("task_id", "")),
        str(last.get("console", {}).get("link", "")),
    )


def _know_the_image(run: Run) -> None:
    """Begin anew where the image has another content by now. Raises JournalFailed for another image's
    journal.
    """
    identity = file_identity(run.order.image)
    if identity is None:
        from imgtool.disk.probe import probe

        probe(run.order.image)  # says why it can't be read
    begun = run.journal.last("begun")
    name = run.order.image.name
    if begun is not None and begun.get("file", name) != name:
        raise _of_another(run, str(begun["file"]))
    if begun is None or begun["identity"] != identity:
        if begun is not None:
            run.journal.forget("")
        run.journal.add("begun", file=name, identity=identity)


def _of_another(run: Run, name: str) -> JournalFailed:
    from imgtool.cloud.journal import JournalFailed
    from imgtool.convert.output import shown
    from imgtool.text import Text

    folder = shown(run.order.folder)
    return JournalFailed(
        Text(
            en=f"{folder} holds the run of another image, {name}. Give this one a folder of its own (--work "
            "DIR), or --restart to forget that run.",
            zh=f"{folder} 中是另一个镜像 {name} 的运行进度。请用 --work 为此镜像指定其他目录，"
            "或用 --restart 放弃该进度。",
        )
    )


def _kept(run: Run, step: Step) -> Done | None:
    """What an earlier run did, where it still holds."""
    record = run.journal.last(f"{step.name}.finished")
    if record is None or record["inputs"] != _plain(step.inputs(run)):
        return None
    if not step.holds(run, record["result"]):
        return None
    return Done(step.name, step.title, float(record["seconds"]), True, record["result"])


def _done(run: Run, step: Step) -> Done:
    began = time.monotonic()
    inputs = _plain(step.inputs(run))
    try:
        result: Result = _plain(step.do(run))
    finally:
        run.progress.end()
    seconds = round(time.monotonic() - began, 3)
    run.journal.add(f"{step.name}.finished", inputs=inputs, result=result, seconds=seconds)
    return Done(step.name, step.title, seconds, False, result)


def _plain(value: Any) -> Any:
    """A value as it comes back from the journal."""
    return json.loads(json.dumps(value))
