"""raw: the bytes of the disk and nothing else, with holes where it is empty."""

from __future__ import annotations

from imgtool.convert import qemu_img
from imgtool.convert.converter import Converter, Job, Made
from imgtool.text import Text


def convert(job: Job) -> Made:
    """A sparse file as long as the disk."""
    qemu_img.convert(job.source, job.out, "raw", {}, at=job.at)
    return Made("qemu-img")


def verify(job: Job) -> None:
    """Nothing: raw has no structure of its own; its contents are compared by the engine."""


CONVERTER = Converter(
    name="raw",
    suffixes=(".raw", ".img", ".dd"),
    options=(),
    accepted=Text(
        en="Accepted. The file is as long as the disk: holes stay holes on this machine, but an upload sends "
        "them as zeros. For tools that read nothing else.",
        zh="支持。文件长度等于磁盘容量：本机上空洞不占空间，但上传时会作为零数据传输。适用于只能读取 raw "
        "的工具。",
    ),
    convert=convert,
    verify=verify,
)
