"""A plan applied: to an overlay over the image, in one session of the appliance, then written out anew.

The image itself is only read. The overlay lies in the folder of the conversion (imgtool.convert.output),
which goes however the run ends; only what is complete and verified gets the output's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from imgtool.convert.engine import Converted, Request, convert
from imgtool.convert.progress import Progress, Silent
from imgtool.repair.appliance_editor import ApplianceEditor
from imgtool.repair.overlay import lay_over, over
from imgtool.repair.steps import (
    Append,
    CheckFilesystem,
    Chmod,
    Edit,
    Link,
    Outdated,
    Remove,
    Run,
    Step,
    Upload,
)
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import ImageFile
    from imgtool.profiles import Profile
    from imgtool.repair.editor import GuestEditor
    from imgtool.repair.plan import Plan

STARTING = Text("Starting the appliance", "启动 libguestfs 虚拟机")
MENDING = Text("Repairing", "修复")
SESSION_LIMIT = 1800.0  # seconds: a filesystem check of a large disk takes its time
GUEST_CODE_LIMIT = 7200.0  # an initramfs is rebuilt in minutes without KVM
TRIES = 4
"""Sessions: a journal replayed in the first may have shown other files than the plan was made for, and what
programs of the guest have made may have to be mended in turn."""

Replan = Callable[["ImageFile"], "Plan"]


@dataclass(frozen=True)
class Applied:
    """What was made, and the steps that made it: another plan's where the first was outdated."""

    converted: Converted
    plan: Plan


def apply(
    source: Path,
    output: Path,
    plan: Plan,
    *,
    request: Request,
    profile: Profile,
    replan: Replan,
    progress: Progress | None = None,
) -> Applied:
    """Mend a copy of an image and write it to `output`.

    replan: makes the plan anew for the overlay, where the image was not what it seemed. Raises what
    imgtool.convert.engine.convert raises, EditFailed, and MachineLacks without libguestfs.
    """
    used = [plan]

    def change(file: ImageFile, folder: Path, showing: Progress) -> ImageFile:
        if not plan.steps:
            return file
        mended, used[0] = mend(file, folder / "mended.qcow2", plan, replan, showing)
        return mended

    converted = convert(source, output, request, profile, progress, change=change)
    return Applied(converted, used[0])


def mend(
    file: ImageFile, overlay: Path, plan: Plan, replan: Replan, progress: Progress | None = None
) -> tuple[ImageFile, Plan]:
    """Apply a plan to an overlay over an image; the overlay and the plan that was applied."""
    progress = progress or Silent()
    lay_over(file, overlay)
    done: list[Step] = []
    before = plan.before
    for _ in range(TRIES):
        try:
            _session(overlay, plan, progress, done)
        except Outdated:
            plan = replan(over(file, overlay))
            if not plan.steps:
                break
            continue
        if not plan.runs_guest:
            break
        # what programs of the guest have made, reading could not foretell
        plan = replan(over(file, overlay))
        plan = replace(plan, steps=tuple(step for step in plan.steps if step not in done))
        if not plan.steps:
            break
    else:
        raise Outdated(str(file.path))
    return over(file, overlay), replace(plan, before=before, steps=tuple(done))


def _session(overlay: Path, plan: Plan, progress: Progress, done: list[Step]) -> None:
    """One run of the appliance; what it has changed goes into `done`."""
    from imgtool.appliance import Drive, appliance

    progress.begin(STARTING, None)
    checks = [step for step in plan.steps if isinstance(step, CheckFilesystem)]
    others = [step for step in plan.steps if not isinstance(step, CheckFilesystem)]
    outdated: Outdated | None = None
    drives = [Drive(overlay, "qcow2", writable=True)]
    network = any(getattr(step, "network", False) for step in plan.steps)
    limit = GUEST_CODE_LIMIT if plan.runs_guest else SESSION_LIMIT
    with appliance(drives, network=network, session_limit=limit) as handle:
        editor = ApplianceEditor(handle)
        progress.begin(MENDING, len(plan.steps), unit=" steps")
        already = len(done)

        def at(steps: tuple[Step, ...]) -> None:
            done.extend(steps)
            progress.at(len(done) - already)

        apply_steps(editor, checks, at)
        if others:
            editor.mount(plan.mounts)
            try:
                apply_steps(editor, others, at)
            except Outdated as error:  # the session ends in order: what it has replayed is kept
                outdated = error
            editor.unmount()
    if outdated is not None:
        raise outdated


def apply_steps(
    editor: GuestEditor, steps: Iterable[Step], at: Callable[[tuple[Step, ...]], None] = lambda done: None
) -> None:
    """Apply steps in their order. at: told which are done. Raises EditFailed, Outdated."""
    for meant, step in folded(steps):
        step.apply(editor)
        at(meant)


def folded(steps: Iterable[Step]) -> list[tuple[tuple[Step, ...], Step]]:
    """The steps with all that becomes of one file's content in one, each with those that it stands for.

    So a plan can be applied again: of a chain of contents only the first and the last are ever there. What
    happens to a file that is removed later, or replaced by a link, is left out.
    """
    made: list[tuple[tuple[Step, ...], Step]] = []
    since = 0
    for step in steps:
        path = getattr(step, "path", "")
        if isinstance(step, Run):
            since = len(made) + 1  # it may read what was written so far, and write it itself
        at = _place_of_content(made, since, path) if isinstance(step, (Edit, Upload, Append)) else None
        if at is not None:
            made[at] = (*made[at][0], step), _joined(made[at][1], step)
            continue
        meant: tuple[Step, ...] = (step,)
        if isinstance(step, (Remove, Link)):
            gone = [it for it in range(since, len(made)) if _is_lost(made[it][1], path)]
            meant = (*(each for it in gone for each in made[it][0]), step)
            for it in reversed(gone):
                del made[it]
        made.append((meant, step))
    return made


def _place_of_content(made: list[tuple[tuple[Step, ...], Step]], since: int, path: str) -> int | None:
    """Where the step is that gives a file its content so far; None where it has its own, or is made anew."""
    for at in range(len(made) - 1, since - 1, -1):
        step = made[at][1]
        if getattr(step, "path", "") == path and not isinstance(step, Chmod):
            return at if isinstance(step, (Edit, Upload, Append)) else None
    return None


def _is_lost(step: Step, path: str) -> bool:
    """Whether a step is for nothing when the path, or a folder that it is in, is removed afterwards."""
    return isinstance(step, (Edit, Upload, Append, Chmod)) and f"{step.path}/".startswith(f"{path}/")


def _joined(before: Step, step: Step) -> Step:
    """Two steps for one content as one: from what the first takes for given to what the second leaves."""
    assert isinstance(before, (Edit, Upload, Append))  # noqa: S101 - _place_of_content finds no other
    if isinstance(step, Upload):
        return replace(step, replaces=before.expects)
    if isinstance(before, Append) and isinstance(step, Append):
        return replace(before, content=before.content + step.content, holds=before.holds + step.holds)
    if isinstance(before, Append):
        assert isinstance(step, Edit)  # noqa: S101 - the other two are above
        return replace(step, before=step.before[: before.size])
    after = step.after if isinstance(step, Edit) else _content(before) + step.content  # type: ignore[attr-defined]
    return replace(before, after=after) if isinstance(before, Edit) else replace(before, content=after)


def _content(step: Edit | Upload) -> bytes:
    return step.after if isinstance(step, Edit) else step.content


def over_itself(request: Request, file: ImageFile) -> Request:
    """The request that writes an image in its own format over itself."""
    options = {"subformat": file.variant} if file.format in ("vhd", "vmdk") and file.variant else {}
    compressed = file.format == "qcow2" and "compressed" in file.features
    return replace(request, to=file.format, options=options, compress=compressed, force=True, over_input=True)
