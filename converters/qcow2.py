"""qcow2: the format that the platform itself uses, and judges every image as.

Compressed by imgtool's own writer (ISA-L in processes, one pass, deterministic), or by `qemu-img convert -c`
where ISA-L has no wheel or `--writer qemu-img` asks for it. Uncompressed by qemu-img, which copies at disk
speed.
"""

from __future__ import annotations

from importlib.util import find_spec

from imgtool.convert import qemu_img
from imgtool.convert.converter import Converter, Job, Made, Option, OverLimit
from imgtool.disk.probe import probe
from imgtool.errors import MachineLacks, UsageError
from imgtool.text import Text


def convert(job: Job) -> Made:
    """Raises UsageError for a writer that can't do what is asked, MachineLacks for one that is not here."""
    if writer(job) == "imgtool":
        return _own(job)
    qemu_img.convert(
        job.source, job.out, "qcow2", {"compat": job.options["compat"]}, compress=job.compress, at=job.at
    )
    return Made("qemu-img")


def writer(job: Job) -> str:
    """Which writer does it: ours for compressed images, unless ISA-L is not there or another is asked for."""
    here = find_spec("isal") is not None
    if job.writer == "imgtool":
        if not job.compress:
            raise UsageError(
                Text(
                    en="imgtool's own writer makes compressed images only: give --compress too.",
                    zh="imgtool 自带的写入器只生成压缩镜像：请同时指定 --compress。",
                )
            )
        if not here:
            raise MachineLacks(
                "ISA-L for Python (pip install isal), or use --writer qemu-img", "python3-isal"
            )
        return "imgtool"
    if job.writer is None and job.compress and here:
        return "imgtool"
    return "qemu-img"


def _own(job: Job) -> Made:
    from imgtool.convert.qcow2_writer import OutputTooLarge, write_compressed
    from imgtool.convert.source import open_source

    try:
        with open_source(job.source) as source, open(job.out, "x+b") as out:
            written = write_compressed(
                source,
                out,
                level=job.level,
                compat=job.options["compat"],
                threads=job.threads,
                progress=job.at,
                limit=job.limit,
            )
    except OutputTooLarge as error:
        said = error.statement()
        raise OverLimit(
            Text(
                en=f"{said.en} That is the profile's limit (InvalidFormatSize). Try --shrink.",
                zh=f"{said.zh}这是配置的上限（InvalidFormatSize）。请尝试 --shrink。",
            )
        ) from error
    return Made("imgtool", written.sha256, written.crc64)


def verify(job: Job) -> None:
    """`qemu-img check`: every table and reference count."""
    qemu_img.check(probe(job.out), "qcow2")


CONVERTER = Converter(
    name="qcow2",
    suffixes=(".qcow2",),
    options=(
        Option(
            "compat",
            ("1.1", "0.10"),
            "1.1",
            Text(
                en="1.1 is read by QEMU 1.1 and later; 0.10 by any",
                zh="1.1 需 QEMU 1.1 及以上；0.10 任何版本均可读取",
            ),
        ),
    ),
    accepted=Text(
        en="Accepted, and the one to choose: with --compress the smallest upload, and what the platform "
        "converts "
        "everything else into.",
        zh="支持，推荐使用：加 --compress 时上传量最小，且平台最终会将其他格式都转换为 qcow2。",
    ),
    convert=convert,
    verify=verify,
    compresses=True,
    writers=("imgtool", "qemu-img"),
)
