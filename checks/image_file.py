"""Whether the image file is whole, plain enough for any QEMU, and without snapshots."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from imgtool.disk.commands import IN_ARCHIVE, QEMU_NAMES, byte_count, conversion, qcow2_name, shell_name
from imgtool.rules import Outcome, Severity, Target, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import Damage, ImageFile
    from imgtool.image import Image

DEEP_CHECK_TIMEOUT = 3600.0
CHECKABLE = ("qcow2", "vmdk")  # of the four, those that `qemu-img check` knows


@rule(
    "image.integrity",
    Text("Integrity of the file", "文件完整性"),
    severity=Severity.ERROR,
    source="ref 12",
    targets=get_args(Target),
    platform_code="InvalidFormatSize",
    requires=("image.container",),
)
def integrity(image: Image) -> Iterator[Outcome]:
    """The file holds all that its own tables point to, and its checksums and flags are right.

    A file cut short by an upload or a full disk is the usual case: its tables still name what was lost.
    Also: qcow2's corrupt and dirty bits, wrong checksums in VHD, a missing footer, tables outside the file,
    damage by a transfer in text mode. A VMDK or VHD that was copied from a running or saved machine is a
    warning. The quick look reads the tables that were written last; `--deep` runs `qemu-img check` over all
    of them. A raw file has no structure of its own: whether it was cut short shows in its partitions
    (disk.partitions.bounds).

    Evidence: the table or field that is wrong, and where it points. Example: a qcow2 of 3 GB of which 2 GB
    arrived is "cut short". The fix is to copy it again and compare checksums.
    """
    file = image.file
    if file.format not in QEMU_NAMES:
        yield not_judged(IN_ARCHIVE)
        return
    for damage in file.damage:
        yield broken(
            damage.statement,
            damage.check,
            remedy=_mend(file, damage),
            severity=None if damage.serious else Severity.WARNING,
        )
    if file.damaged:
        return
    if image.options.deep and file.format in CHECKABLE and file.qemu_format is not None:
        yield _deep(file, file.qemu_format)
    elif not file.damage:
        yield kept(
            Text(
                en="A raw file has no structure of its own that could be damaged."
                if file.format == "raw"
                else "The header and the tables agree with the file.",
                zh="raw 文件自身没有可供校验的结构。" if file.format == "raw" else "文件头和各表与文件一致。",
            ),
            f"file: {byte_count(file.file_size)}",
        )


def _number(file: ImageFile, feature: str) -> int:
    """The number of a feature such as "trailing_bytes=512"; 0 where the file does not have it."""
    found = next((named for named in file.features if named.startswith(feature + "=")), "=0")
    return int(found.partition("=")[2])


def _mend(file: ImageFile, damage: Damage) -> Text:
    name = shell_name(file.path)
    copy = shell_name(file.path.with_name(f"{file.path.stem}-repaired{file.path.suffix}"))
    if damage.check in {"corrupt_bit", "dirty_bit"}:
        command = f"cp {name} {copy} && qemu-img check -r all -f qcow2 {copy}"
        return Text(en=f"Repair a copy: {command}", zh=f"请修复其副本：{command}")
    if damage.check == "trailing_bytes":
        command = f"head -c {file.file_size - _number(file, 'trailing_bytes')} {name} > {copy}"
        return Text(en=f"Leave them out: {command}", zh=f"请去除多余字节：{command}")
    if damage.check in {"unclean_shutdown", "saved_state"}:
        return Text(
            en="Shut the virtual machine down (do not suspend it) and export its disk again.",
            zh="请将虚拟机正常关机（不要挂起），再重新导出磁盘。",
        )
    if damage.check == "unknown_feature":
        return Text(
            en="With the program that made it, write it again for QEMU: qemu-img convert -f qcow2 "
            "-O qcow2 -o "
            f"compat=1.1 {name} {shell_name(qcow2_name(file.path))}",
            zh="请用制作该镜像的程序重新导出为 QEMU 可读的格式：qemu-img convert -f qcow2 -O qcow2 -o "
            f"compat=1.1 {name} {shell_name(qcow2_name(file.path))}",
        )
    return Text(
        en=f"Copy or export the image again, and compare on both sides: ls -l {name} && sha256sum {name}",
        zh=f"请重新复制或导出镜像，并在两端比较：ls -l {name} && sha256sum {name}",
    )


def _deep(file: ImageFile, qemu_format: str) -> Outcome:
    """`qemu-img check`. Exit codes (qemu-img(1)): 2 corrupted, 3 leaked clusters, 63 not supported."""
    from imgtool.process import CommandFailed, run

    # An absolute name can't be taken for an option or a protocol.
    command = ["qemu-img", "check", "-f", qemu_format, os.path.abspath(file.path)]
    try:
        run(command, timeout=DEEP_CHECK_TIMEOUT)
    except CommandFailed as failure:
        said = [line[:200] for line in failure.stderr.splitlines()[:20]]
        repair = f"qemu-img check -r all -f {qemu_format} {shell_name(file.path)}"
        if failure.code == 2:
            return broken(
                Text(en="qemu-img check found errors in the image.", zh="qemu-img check 发现镜像存在错误。"),
                *said,
                remedy=Text(
                    en=f"Copy or export the image again. Where that can't be, repair a copy of it: {repair}",
                    zh=f"请重新复制或导出镜像；若无法做到，请在副本上修复：{repair}",
                ),
            )
        if failure.code == 3:
            return broken(
                Text(
                    en="qemu-img check found clusters that nothing uses: space is wasted, no data is lost.",
                    zh="qemu-img check 发现未被引用的簇：仅浪费空间，不丢失数据。",
                ),
                *said,
                remedy=Text(
                    en=f"A conversion leaves them behind: {conversion(file)}",
                    zh=f"转换即可去除：{conversion(file)}",
                ),
                severity=Severity.WARNING,
            )
        return undecided(failure.statement(), *said)
    return kept(Text(en="qemu-img check found no errors.", zh="qemu-img check 未发现错误。"))


@rule(
    "image.features",
    Text("Features an older QEMU can't read", "旧版 QEMU 不支持的特性"),
    severity=Severity.WARNING,
    source="field",
    targets=get_args(Target),
    requires=("image.container",),
)
def features(image: Image) -> Iterator[Outcome]:
    """The image uses nothing that the importer's QEMU may be too old for, or reads differently.

    zstd-compressed clusters need QEMU 5.1, subclusters (extended L2 entries) 5.2. A VMDK for streaming or
    one piece of a split disk is not read everywhere. A VHD by a creator that QEMU does not know gets its
    size from the geometry in its footer, which is smaller than the disk: the end of the disk is lost. One
    conversion to plain qcow2 removes them all.

    Evidence: the feature, as the header has it. Example: `compression type: zstd`. The fix is that
    conversion.
    """
    file = image.file
    if file.format not in QEMU_NAMES:
        yield not_judged(IN_ARCHIVE)
        return
    found = list(_unusual(file))
    for message, evidence in found:
        command = conversion(file)
        if evidence.startswith("geometry_size="):
            option = os.fspath(file.path).replace(",", ",,")
            options = shlex.quote(f"driver=vpc,force_size_calc=current_size,file.filename={option}")
            command = f"qemu-img convert --image-opts {options} -O qcow2 {shell_name(qcow2_name(file.path))}"
        remedy = Text(en=f"Convert it: {command}", zh=f"请转换为普通 qcow2：{command}")
        if file.damaged:  # no program converts it as it is
            remedy = Text(
                en=f"First it has to be whole (see image.integrity); then convert it: {command}",
                zh=f"请先确保文件完整（参见 image.integrity），再转换为普通 qcow2：{command}",
            )
        yield broken(message, evidence, remedy=remedy)
    if not found:
        yield kept(Text(en="Any QEMU can read the image.", zh="各版本 QEMU 均可读取该镜像。"), *file.features)


def _unusual(file: ImageFile) -> Iterator[tuple[Text, str]]:
    if "zstd" in file.features:
        yield (
            Text(
                "Clusters are compressed with zstd (QEMU 5.1 or later).",
                "簇采用 zstd 压缩（需 QEMU 5.1 及以上）。",
            ),
            "zstd",
        )
    if "extended_l2" in file.features:
        yield (
            Text(
                "The tables have subclusters (QEMU 5.2 or later).", "元数据表使用子簇（需 QEMU 5.2 及以上）。"
            ),
            "extended_l2",
        )
    if file.format == "vmdk" and file.variant == "streamOptimized":
        yield (
            Text(
                "The VMDK is made for streaming, which not every reader takes.",
                "该 VMDK 为流式变体，并非所有读取程序都支持。",
            ),
            "streamOptimized",
        )
    elif file.format == "vmdk" and "no_descriptor" in file.features:
        yield (
            Text(
                "The VMDK has no descriptor: it may be one piece of a split disk.",
                "该 VMDK 没有描述信息，可能只是拆分磁盘的一部分。",
            ),
            "no_descriptor",
        )
    if file.format == "vhd":
        creator = next((feature for feature in file.features if feature.startswith("creator=")), "creator=?")
        seen = _number(file, "geometry_size")
        if seen:
            yield (
                Text(
                    en=f"QEMU takes the disk for {byte_count(seen)} instead of "
                    f"{byte_count(file.virtual_size or 0)}, because "
                    f"it does not know the program that made the VHD ({creator}).",
                    zh=f"QEMU 不识别制作该 VHD 的程序（{creator}），会将磁盘大小视为 {byte_count(seen)}，"
                    f"而非 {byte_count(file.virtual_size or 0)}。",
                ),
                f"geometry_size={seen}",
            )
        if "footer_511" in file.features:
            yield (
                Text(
                    "The VHD has a footer of 511 bytes (old Virtual PC).",
                    "该 VHD 的文件尾为 511 字节（旧版 Virtual PC）。",
                ),
                "footer_511",
            )


@rule(
    "image.snapshots",
    Text("Internal snapshots", "内部快照"),
    severity=Severity.WARNING,
    source="field",
    targets=get_args(Target),
    requires=("image.container",),
)
def snapshots(image: Image) -> Iterator[Outcome]:
    """The image carries no internal snapshots.

    The import takes the disk as it is now: snapshots are lost, and until then they count in the image's size
    and in the upload. Whoever meant to import a snapshot would import the wrong state.

    Evidence: the snapshots' names and dates. Example: `snapshot 1: before-upgrade`. The fix is a conversion,
    which leaves them behind; or, to import a snapshot, `qemu-img snapshot -a` in a copy.
    """
    file = image.file
    if file.format not in QEMU_NAMES:
        yield not_judged(IN_ARCHIVE)
    elif not file.snapshots:
        yield kept(Text(en="There are no internal snapshots.", zh="没有内部快照。"))
    else:
        yield broken(
            Text(
                en="The image carries internal snapshots, which an import loses.",
                zh="镜像含有内部快照，导入后将丢失。",
            ),
            *(
                f"{snapshot.id}: {snapshot.name} (VM state {byte_count(snapshot.state_size)})"
                for snapshot in file.snapshot_details[:20]
            ),
            remedy=Text(
                en="Keep the disk as it is now (to take a snapshot instead, add -l snapshot.name=NAME): "
                f"{conversion(file)}",
                zh="保留磁盘当前状态（如需改用某个快照，请加参数 -l snapshot.name=快照名）："
                f"{conversion(file)}",
            ),
        )
