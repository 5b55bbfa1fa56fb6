"""`imgtool prepare --plan`: the steps of a run with their sizes and times, and what would stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.cli.output import Output
    from imgtool.cli.session import Session
    from imgtool.cloud.settings import Settings
    from imgtool.steps.estimate import Sizes
    from imgtool.steps.step import Order


def show_plan(session: Session, order: Order, until: str | None, settings: Settings, out: Output) -> int:
    """Write the plan of an order, up to the step `until`; the exit code: that of `check` on the image."""
    from imgtool.cloud import bandwidth
    from imgtool.cloud.address import address
    from imgtool.cloud.settings import byte_rate
    from imgtool.pipeline import steps_for
    from imgtool.report.amounts import size
    from imgtool.report.visible import cells
    from imgtool.steps.estimate import estimates
    from imgtool.steps.foresight import Foresight, foreseen, phrase
    from imgtool.steps.making import must_be_unpacked

    packed = must_be_unpacked(order)
    found = Foresight() if packed else foreseen(order)
    sizes, untold = _sizes(order, packed, bool(found.stops))
    said = Text("The image is judged once it is unpacked.", "镜像在解出后检查。") if packed else phrase(found)
    place = address(order.address)
    host = f"{place.bucket}.{settings.cos_endpoint}" if settings.cos_endpoint else ""
    rate = byte_rate(settings.bandwidth) if settings.bandwidth else bandwidth.recall(host)
    rows = []
    total: float | None = 0.0
    steps = steps_for(order)
    last = next((n for n, step in enumerate(steps, 1) if step.name in (found.stops, until)), len(steps))
    for each in estimates(steps[:last], sizes, rate):
        total = None if total is None or each.seconds is None else total + each.seconds
        title = _REPAIRING if each.name == "convert" and found.repair else each.title
        rows.append(
            (
                f"{each.name:9}{session.say(title)}",
                "" if each.size is None else size(each.size),
                session.say(Text("unknown", "未知")) if each.seconds is None else _span(each.seconds),
            )
        )
    width = max(cells(row[0]) for row in rows)
    lines = [
        f"{number:2}. {title}{' ' * (width - cells(title))}  {amount:>10}  {span:>10}"
        for number, (title, amount, span) in enumerate(rows, start=1)
    ]
    notes = []
    if total is not None:
        at = f" ({size(rate)}/s)" if rate else ""
        notes.append(Text(f"About {_span(total)} in all{at}.", f"预计共 {_span(total)}{at}。"))
    else:
        if untold is not None:
            notes.append(untold)
        if rate is None and any(step.name == "upload" for step in steps[:last]):
            notes.append(
                Text(
                    "The bandwidth is not known: give --bandwidth 100Mbps.",
                    "带宽未知：请用 --bandwidth 100Mbps 指定。",
                )
            )
    notes.append(Text("Nothing was done.", "未执行任何操作。"))
    separator = "" if session.language == "zh" else " "
    out.write("\n".join([session.say(said), *lines, separator.join(map(session.say, notes))]) + "\n")
    return found.exit_code


def _sizes(order: Order, packed: bool, stops: bool) -> tuple[Sizes, Text | None]:
    """What the estimates rest on, and why some of it is not known."""
    from imgtool.convert.archives import ARCHIVES
    from imgtool.disk.probe import probe
    from imgtool.facts import facts_of
    from imgtool.image import Image, Options
    from imgtool.steps.estimate import sizes_in, sizes_of

    file = probe(order.image)
    if file.format in ARCHIVES:
        from imgtool.convert.foretold import foretell

        told = foretell(file)
        why = told.why and Text(
            f"How large the image in the archive is can't be told before it is unpacked: {told.why.en}.",
            f"解包前无法得知压缩包中镜像的大小：{told.why.zh}。",
        )
        return sizes_in(told), why
    with Image(order.image, order.profile, Options(order.target)) as image:
        facts, _ = facts_of(image)
        if facts["virtual_size"] is None and not packed and not stops:
            image.disk.blocks  # noqa: B018 - says why it can't be read
    return sizes_of(facts), None


_REPAIRING = Text("Apply the repair, make a compressed qcow2", "执行修复，生成压缩的 qcow2")


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
