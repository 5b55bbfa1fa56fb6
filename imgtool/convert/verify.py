"""Whether an output holds what its source holds, and is sound in itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from imgtool.convert import qemu_img
from imgtool.convert.converter import Converter, Job
from imgtool.disk.commands import QEMU_NAMES, byte_count
from imgtool.disk.probe import probe
from imgtool.errors import Stated
from imgtool.process import CommandFailed
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.blocks import Blocks
    from imgtool.disk.probe import ImageFile

SECTOR = 512


class NotVerified(Stated):
    """The output is not what it must be. It is not kept."""


@contextmanager
def blocks_of(file: ImageFile) -> Iterator[Blocks]:
    """The bytes of any image that QEMU reads. Raises what qemu_img.reading and nbd.serve raise."""
    from imgtool.disk.nbd import serve

    driver, options = qemu_img.reading(file)
    with serve(file.path, driver, options) as blocks:
        yield blocks


def verify(converter: Converter, job: Job, at: Callable[[int], None] = lambda done: None) -> ImageFile:
    """Look at a job's output: probe it, have the format's own check run, compare the contents.

    at: told the bytes of the disk compared; may raise. Returns the output as the probe sees it. Raises
    NotVerified.
    """
    made = look(converter, job)
    try:
        converter.verify(job)
    except CommandFailed as failure:
        said = failure.statement()
        raise NotVerified(
            Text(
                en=f"The output did not pass its check and was not kept. {said.en}",
                zh=f"输出未通过检查，已丢弃。{said.zh}",
            )
        ) from failure
    try:
        qemu_img.compare(job.source, made, at=at)
    except qemu_img.Differs as difference:
        raise NotVerified(
            Text(
                en=f"The output does not hold what the input holds, and was not kept: {difference.where} "
                "Try again; if it stays so, check this machine's memory and storage.",
                zh=f"输出内容与输入不一致，已丢弃：{difference.where} 请重试；若仍如此，"
                "请检查本机内存与存储。",
            )
        ) from difference
    return made


def look(converter: Converter, job: Job) -> ImageFile:
    """Probe the output: its format, its size, and that nothing of it is dangerous or damaged.

    Costs milliseconds, so it is done also where verification was not asked for. Raises NotVerified.
    """
    made = probe(job.out)
    size = -(-(job.source.virtual_size or 0) // SECTOR) * SECTOR
    if converter.name == "raw" and made.format not in QEMU_NAMES:
        # a disk without partitions that holds, say, an ISO or LUKS: the file is what it is told to be
        made = replace(made, format="raw", variant=None, virtual_size=made.file_size, hazards=(), damage=())
    wrong: Text | None = None
    if made.format != converter.name:
        wrong = Text(
            en=f"by the disk's first or last bytes, everyone would take it for {made.format}; choose qcow2",
            zh=f"磁盘首尾的内容会使其被识别为 {made.format} 格式；请选择 qcow2",
        )
    elif made.hazards:
        wrong = Text.same("; ".join(hazard.check for hazard in made.hazards))
    elif any(damage.serious for damage in made.damage):
        wrong = next(damage.statement for damage in made.damage if damage.serious)
    elif made.virtual_size != size:
        seen = byte_count(made.virtual_size or 0)
        wrong = Text(
            en=f"its disk has {seen} instead of {byte_count(size)}",
            zh=f"磁盘容量为 {seen}，应为 {byte_count(size)}",
        )
    if wrong is not None:
        raise NotVerified(
            Text(
                en=f"The output is wrong and was not kept: {wrong.en}.", zh=f"输出有误，已丢弃：{wrong.zh}。"
            )
        )
    return made
