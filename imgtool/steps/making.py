"""fix and convert: what is to be mended is shown and agreed to; then a compressed qcow2 is made, mended
on the way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from imgtool.convert.output import shown
from imgtool.errors import CannotRead
from imgtool.rules import Status
from imgtool.steps.judging import judged, request_of
from imgtool.steps.step import Halt, Order, Result, Run, file_identity
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import ImageFile
    from imgtool.repair.plan import Plan


def must_be_unpacked(order: Order) -> bool:
    """Whether an image is an archive, or of a format that can be converted and not judged (VHDX, VDI,
    QED).
    """
    from imgtool.convert.archives import ARCHIVES
    from imgtool.disk.commands import QEMU_NAMES
    from imgtool.disk.probe import probe

    kind = probe(order.image).format
    return kind in ARCHIVES or (kind in QEMU_NAMES and kind not in order.profile.image.formats)


class Unpack:
    """Take the image out of an archive, or out of a format that the rules can't look into."""

    name = "unpack"
    title = Text("Unpack the image", "解出镜像")

    def inputs(self, run: Run) -> Any:
        return file_identity(run.order.image)

    def holds(self, run: Run, result: Mapping[str, Any]) -> bool:
        return run.begun or file_identity(run.unpacked) == result["identity"]

    def do(self, run: Run) -> Result:
        from imgtool.convert.engine import Request, convert

        request = Request(to="qcow2", force=True)
        done = convert(run.order.image, run.unpacked, request, run.order.profile, run.progress)
        for note in done.notes:
            run.say(note)
        return {"identity": file_identity(run.unpacked), "format": done.source_format}


class Fix:
    """Plan the repair, show it, ask. Nothing is changed yet."""

    name = "fix"
    title = Text("Plan the repair", "制定修复计划")

    def inputs(self, run: Run) -> Any:
        return [run.results["check"], repr(run.order.wishes)]

    def holds(self, run: Run, result: Mapping[str, Any]) -> bool:
        return True

    def do(self, run: Run) -> Result:
        if not run.results["check"]["errors"] and run.results["check"]["verdict"] == "pass":
            return {"steps": 0}
        try:
            plan = planned(run.order, run.source)
        except CannotRead as error:
            if run.results["check"]["verdict"] != "fail":
                raise
            raise Halt(error.statement(), run.reports.get("check")) from error
        from imgtool.repair.report import plan_lines
        from imgtool.report.text import plain

        rules = request_of(run.order).rules
        steps = {
            language: plain(list(plan_lines(plan, cast("Any", language), 100, rules)))
            for language in ("en", "zh")
        }
        run.say(Text(steps["en"], steps["zh"]))
        expected = plan.outlook  # what shows only when it is made is judged then
        if expected != "pass":
            raise Halt(why_not(plan), verdict=expected)
        if plan.steps and not run.agree():
            folder = shown(run.order.folder)
            raise Halt(
                Text(
                    en="The repair was not agreed to; the image was not changed. --yes agrees beforehand. "
                    f"What was found so far is kept in {folder}; if you don't go on, remove that folder.",
                    zh="未同意修复，镜像未做任何更改。可用 --yes 预先同意。"
                    f"本次运行的状态保存在 {folder}；如不再继续，删除该目录即可。",
                )
            )
        return {"steps": len(plan.steps)}


def why_not(plan: Plan) -> Text:
    """Which rules keep the repaired image from passing."""
    broken = ", ".join(dict.fromkeys(it.finding.id for it in plan.unmended))
    if broken:
        return Text(
            en=f"What is wrong can't all be mended from here: {broken}. See the reasons above.",
            zh=f"存在无法自动修复的问题：{broken}。原因见上。",
        )
    unknown = ", ".join(
        dict.fromkeys(it.id for it in plan.told if it.status is Status.UNKNOWN and it.because is None)
    )
    return Text(
        en=f"Not all of the image can be judged: {unknown}. See the reasons above.",
        zh=f"镜像存在无法判定的项：{unknown}。原因见上。",
    )


class Convert:
    """Make the image that goes up: a compressed qcow2, with the repairs in it, verified."""

    name = "convert"
    title = Text("Make a compressed qcow2", "生成压缩的 qcow2")

    def inputs(self, run: Run) -> Any:
        return [run.source_identity, run.results["fix"]["steps"], run.order.profile.name]

    def holds(self, run: Run, result: Mapping[str, Any]) -> bool:
        return run.begun or file_identity(run.product) == result["identity"]

    def do(self, run: Run) -> Result:
        from imgtool.convert.engine import Request, convert

        order = run.order
        request = Request(to="qcow2", compress=True, force=True)
        if run.results["fix"]["steps"]:
            from imgtool.repair.apply import apply

            plan = planned(run.order, run.source)
            done = apply(
                run.source,
                run.product,
                plan,
                request=request,
                profile=order.profile,
                replan=lambda file: planned(run.order, file.path, file),
                progress=run.progress,
            ).converted
        else:
            done = convert(run.source, run.product, request, order.profile, run.progress)
        for note in done.notes:
            run.say(note)
        return {
            "identity": file_identity(run.product),
            "file_size": done.file_size,
            "virtual_size": done.virtual_size,
            "sha256": done.sha256,
            "crc64": done.crc64,
        }


class Rehearse:
    """Boot the image on the platform's virtual hardware, as `imgtool rehearse` does."""

    name = "rehearse"
    title = Text("Rehearse: boot it on virtio hardware", "预演：在 virtio 虚拟硬件上启动")

    def inputs(self, run: Run) -> Any:
        return [run.results["convert"]["identity"], run.order.boot_mode, run.order.force_import]

    def holds(self, run: Run, result: Mapping[str, Any]) -> bool:
        return True

    def do(self, run: Run) -> Result:
        from imgtool.rehearsal.course import Rehearsal
        from imgtool.rehearsal.judged import rehearsed

        order = run.order
        console = order.folder / "console.log"
        console.unlink(missing_ok=True)
        how = Rehearsal(order.boot_mode, None, order.force_import, console, progress=run.progress)
        report = rehearsed(run.product, judged(run.order, run.product), request_of(run.order), how)
        if report.verdict != "pass":
            raise Halt(
                Text(
                    en=f"The image was booted, and not all went well. The console's log is {shown(console)}.",
                    zh=f"镜像试启动未完全通过。控制台日志：{shown(console)}。",
                ),
                report,
            )
        return {"verdict": report.verdict, "seconds": round(report.duration_s, 1)}


def planned(order: Order, path: Path, file: ImageFile | None = None) -> Plan:
    """The repair plan, made in a process of its own. file: where it is known already (an overlay)."""
    from imgtool.cli.workers import LONGEST, Crashed, in_processes
    from imgtool.errors import ImgtoolError
    from imgtool.image import Image
    from imgtool.lazy import preset
    from imgtool.repair.plan import make_plan

    request = request_of(order)

    def made(it: Path) -> Any:
        with Image(it, request.profile, request.options) as image:
            if file is not None:
                preset(image, file=file)
            try:
                return make_plan(image, request.rules, order.wishes)
            except ImgtoolError as error:
                return error.statement()

    limit = math.inf if order.debug else LONGEST
    (answer,) = in_processes(made, [path], debug=order.debug, limit=limit)
    if isinstance(answer, Text):
        raise CannotRead(answer)
    if isinstance(answer, Crashed):
        raise CannotRead(
            Text(
                en=f"imgtool crashed while it planned the repair ({answer.cause}). Please report it.",
                zh=f"imgtool 在制定修复计划时崩溃（{answer.cause}）。请反馈此问题。",
            )
        )
    return cast("Plan", answer)
