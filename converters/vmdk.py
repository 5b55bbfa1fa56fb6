"""VMDK: what VMware reads, in one file.

monolithicSparse is VMware Workstation's own; streamOptimized is compressed and what an OVA holds, but it
can only be written from its beginning to its end, and not every reader takes it.
"""

from __future__ import annotations

from imgtool.convert import qemu_img
from imgtool.convert.converter import Converter, Job, Made, Option
from imgtool.disk.probe import probe
from imgtool.errors import UsageError
from imgtool.text import Text


def convert(job: Job) -> Made:
    """streamOptimized when compression is asked for. Raises UsageError when that is contradicted."""
    if job.compress and job.options["subformat"] == "monolithicSparse":
        raise UsageError(
            Text(
                en="A monolithicSparse VMDK is never compressed: leave --compress out, or choose "
                "streamOptimized.",
                zh="monolithicSparse VMDK 不支持压缩：请去掉 --compress，或选择 streamOptimized。",
            )
        )
    qemu_img.convert(job.source, job.out, "vmdk", {"subformat": subformat(job)}, at=job.at)
    return Made("qemu-img")


def subformat(job: Job) -> str:
    """The variant to make: --compress decides where nothing else is said."""
    asked = job.options["subformat"]
    if asked == "auto":
        return "streamOptimized" if job.compress else "monolithicSparse"
    return asked


def verify(job: Job) -> None:
    """`qemu-img check`: the grain tables of either variant."""
    qemu_img.check(probe(job.out), "vmdk")


CONVERTER = Converter(
    name="vmdk",
    suffixes=(".vmdk",),
    options=(
        Option(
            "subformat",
            ("auto", "monolithicSparse", "streamOptimized"),
            "auto",
            Text(
                en="monolithicSparse is read everywhere; streamOptimized is compressed",
                zh="monolithicSparse 通用；streamOptimized 为压缩格式",
            ),
        ),
    ),
    accepted=Text(
        en="Accepted. monolithicSparse is read by every importer; streamOptimized is small, but "
        "image.features "
        "warns of it, because not every reader takes it.",
        zh="支持。monolithicSparse 通用；streamOptimized 体积小，但并非所有读取程序都支持，"
        "image.features 会给出警告。",
    ),
    convert=convert,
    verify=verify,
    compresses=True,
)
