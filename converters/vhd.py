"""VHD (QEMU: vpc): what Hyper-V, Virtual PC and Xen read.

Always with `force_size`: without it QEMU rounds the disk to what cylinders, heads and sectors can
express, and the disk changes its size. Such images are told from those of old Virtual PC by the footer's
creator, "qem2".
"""

from __future__ import annotations

from imgtool.convert import qemu_img
from imgtool.convert.converter import Converter, Job, Made, Option
from imgtool.errors import UsageError
from imgtool.text import Text

LARGEST = 2040 * 1024**3  # bytes: Microsoft's limit, and QEMU's


def convert(job: Job) -> Made:
    """Raises UsageError for a disk that is larger than a VHD can be."""
    if (job.source.virtual_size or 0) > LARGEST:
        raise UsageError(
            Text(
                en="A VHD has at most 2040 GiB, and the disk is larger. Choose qcow2.",
                zh="VHD 最大为 2040 GiB，而该磁盘更大。请选择 qcow2。",
            )
        )
    options = {"subformat": job.options["subformat"], "force_size": "on"}
    qemu_img.convert(job.source, job.out, "vpc", options, at=job.at)
    return Made("qemu-img")


def verify(job: Job) -> None:
    """The footer, its copy, the dynamic header and the block table, by our own probe: qemu-img checks no VHD.

    The engine probes every output, so there is nothing to add here.
    """


CONVERTER = Converter(
    name="vhd",
    suffixes=(".vhd", ".vpc"),
    options=(
        Option(
            "subformat",
            ("dynamic", "fixed"),
            "dynamic",
            Text(
                en="dynamic holds only the blocks (2 MiB) in use; fixed is as long as the disk",
                zh="dynamic 只保存已用的块（2 MiB）；fixed 与磁盘等长",
            ),
        ),
    ),
    accepted=Text(
        en="Accepted (qemu-img's vpc). Dynamic is the smaller upload; not compressed. The size is exact "
        "(force_size).",
        zh="支持（即 qemu-img 的 vpc）。dynamic 上传量较小；不压缩。容量精确（force_size）。",
    ),
    convert=convert,
    verify=verify,
)
