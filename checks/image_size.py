"""How large the image is, judged as qcow2: as the platform does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from imgtool.disk.commands import IN_ARCHIVE, QEMU_NAMES, byte_count, conversion, qcow2_name, shell_name
from imgtool.rules import Outcome, Severity, Target, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.image import Image


@rule(
    "image.size.virtual",
    Text("Size of the disk", "磁盘容量（virtual size）"),
    severity=Severity.ERROR,
    source="ref 01",
    targets=get_args(Target),
    platform_code="InvalidFormatSize",
    requires=("image.format",),
)
def virtual_size(image: Image) -> Iterator[Outcome]:
    """The disk inside the image is no larger than the profile's `max_virtual_size` (500 GiB).

    This is what `qemu-img info` calls "virtual size", and it stays the same when the platform converts the
    image to qcow2. For VHD it is the footer's current size.

    Evidence: the size and the limit, in bytes. Example: a 600 GiB disk fails even when it holds 3 GiB. The
    fix makes its file system and partition smaller first, then the disk with `qemu-img resize --shrink`.
    """
    file, limit = image.file, image.profile.image.max_virtual_size
    if file.virtual_size is None:
        yield (
            not_judged(IN_ARCHIVE)
            if file.format not in QEMU_NAMES
            else undecided(
                Text(en="The file does not say how large the disk is.", zh="无法从文件得知磁盘容量。")
            )
        )
    elif file.virtual_size <= limit:
        yield kept(
            Text(
                en=f"The disk has {byte_count(file.virtual_size)}.",
                zh=f"磁盘容量为 {byte_count(file.virtual_size)}。",
            ),
            f"limit: {byte_count(limit)}",
        )
    else:
        out = shell_name(qcow2_name(file.path))
        shrink = f"{conversion(file)} && qemu-img resize -f qcow2 --shrink {out} {limit}"
        yield broken(
            Text(
                en=f"The disk has {byte_count(file.virtual_size)}; the platform takes up to "
                f"{byte_count(limit)}.",
                zh=f"磁盘容量为 {byte_count(file.virtual_size)}，超出平台上限 {byte_count(limit)}。",
            ),
            f"virtual size: {file.virtual_size} bytes, limit: {limit} bytes",
            remedy=Text(
                en="In the running system, make the last file system and its partition end below "
                f"{limit} bytes (or move the data to a data disk) and shut it down. A GPT needs its "
                f"backup moved afterwards (sgdisk -e). Shrink the disk: {shrink}",
                zh=f"请先在系统内缩小最后一个文件系统及其分区，使其结束位置小于 {limit} "
                "字节（或将数据移至数据盘），"
                f"然后关机（若为 GPT 分区，缩小后还需用 sgdisk -e 移动备份分区表）。缩小磁盘：{shrink}",
            ),
        )


@rule(
    "image.size.actual",
    Text("Space the image takes", "镜像实际大小（disk size）"),
    severity=Severity.ERROR,
    source="ref 01",
    targets=get_args(Target),
    platform_code="InvalidFormatSize",
    requires=("image.format",),
)
def actual_size(image: Image) -> Iterator[Outcome]:
    """The image takes no more space than the profile's `max_actual_size` (500 GiB), as qcow2.

    The platform judges the size after conversion to qcow2, and that is never more than the disk itself
    holds: a file of another format that is larger (VMDK or VHD overhead) still passes. A file that is qcow2
    already is judged as it is, internal snapshots included: `qemu-img info` calls it "disk size".

    Evidence: what is allocated, the file's length, the limit. Example: a 400 GiB disk with 200 GiB of
    snapshots in its qcow2 fails. The fix is a conversion, which leaves them and zeros behind.
    """
    file, limit = image.file, image.profile.image.max_actual_size
    if file.virtual_size is None:
        yield (
            not_judged(IN_ARCHIVE)
            if file.format not in QEMU_NAMES
            else undecided(
                Text(en="The file does not say how large the disk is.", zh="无法从文件得知磁盘容量。")
            )
        )
        return
    evidence = (
        f"allocated: {byte_count(file.allocated)}",
        f"file: {byte_count(file.file_size)}",
        f"limit: {byte_count(limit)}",
    )
    if file.format == "qcow2":
        if file.allocated > limit:
            yield broken(
                Text(
                    en=f"The image takes {byte_count(file.allocated)}; the platform takes up to "
                    f"{byte_count(limit)}.",
                    zh=f"镜像实际大小为 {byte_count(file.allocated)}，超出平台上限 {byte_count(limit)}。",
                ),
                *evidence,
                remedy=Text(
                    en="Zero the free space in the system (fstrim -av), then leave zeros and "
                    "snapshots behind: "
                    f"{conversion(file)}",
                    zh="请在系统内清零空闲空间（fstrim -av），再通过转换去除零数据和快照："
                    f"{conversion(file)}",
                ),
            )
            return
        most = file.allocated
    elif "compressed" in file.features:
        most = file.virtual_size
    else:
        most = min(file.virtual_size, file.allocated)
    if most <= limit:
        yield kept(
            Text(
                en=f"As qcow2 the image takes at most {byte_count(most)}.",
                zh=f"转换为 qcow2 后最多占用 {byte_count(most)}。",
            ),
            *evidence,
        )
    else:
        yield undecided(
            Text(
                en="How much the image takes as qcow2 shows only when it is converted: zeros are left out.",
                zh="转换为 qcow2 时会略去零数据，因此需转换后才能得知实际大小。",
            ),
            *evidence,
            remedy=Text.same(f"{conversion(file)} && qemu-img info {shell_name(qcow2_name(file.path))}"),
        )
