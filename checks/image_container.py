"""Whether the disk is in the one file that an import takes, readable without a key."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from imgtool.disk.commands import IN_ARCHIVE, QEMU_NAMES, conversion, qcow2_name, shell_name
from imgtool.rules import Outcome, Severity, Target, broken, kept, not_judged, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import Hazard, ImageFile
    from imgtool.image import Image


@rule(
    "image.container",
    Text("Other files and keys that it needs", "依赖的其他文件或密钥"),
    severity=Severity.ERROR,
    source="field",
    targets=get_args(Target),
    platform_code="InvalidFormatSize",
    requires=("image.format",),
)
def container(image: Image) -> Iterator[Outcome]:
    """The disk is in this one file: it needs no other file, no device, no network and no key.

    An import takes one file. A qcow2 with a backing file or an external data file, a VMDK whose data is in
    other files, a VMDK or VHD that is a difference to a parent, and anything encrypted are incomplete there.
    They are dangerous, too: such a name can be any file of the machine that opens the image (CVE-2024-32498,
    CVE-2022-47951), so imgtool never lets QEMU open an image with names that lead elsewhere.

    Evidence: the name that leads elsewhere, or the kind of encryption. Example: a qcow2 overlay with the
    backing file `base.qcow2`. The fix: where both files are, `qemu-img convert` makes one image of them.
    """
    file = image.file
    if file.format not in QEMU_NAMES:
        yield not_judged(IN_ARCHIVE)
        return
    for check in dict.fromkeys(hazard.check for hazard in file.hazards):
        yield _hazard(file, [hazard for hazard in file.hazards if hazard.check == check])
    missing = [damage for damage in file.damage if damage.check == "extent_missing"]
    if file.hazards:
        return
    if missing:
        yield broken(
            Text(
                en="The disk's data is in other files, and some of them are not there.",
                zh="磁盘数据位于其他文件中，且部分文件缺失。",
            ),
            *(damage.statement.en for damage in missing),
            remedy=Text(
                en=f"Put them beside {shell_name(file.path)}, then make one file of all: {conversion(file)}",
                zh=f"请将这些文件与 {shell_name(file.path)} 放在同一目录，再合并为一个文件："
                f"{conversion(file)}",
            ),
        )
    elif file.other_files:
        yield broken(
            Text(
                en="The disk's data is in other files beside this one; an import takes one file.",
                zh="磁盘数据位于同目录的其他文件中，而导入只接受单个文件。",
            ),
            *(shell_name(Path(other.name)) for other in file.other_files[:20]),
            remedy=Text(
                en=f"Make one file of all: {conversion(file)}", zh=f"请合并为一个文件：{conversion(file)}"
            ),
        )
    else:
        yield kept(Text(en="The image is complete in this one file.", zh="镜像完整地包含在这一个文件中。"))


def _hazard(file: ImageFile, hazards: list[Hazard]) -> Outcome:
    whole = f"qemu-img convert -f {QEMU_NAMES[file.format]} -O qcow2"
    merged = Text(
        en="Never do this with a stranger's image, whose names decide which of your files are copied "
        "into it. On the machine where the image was made and all its files are, make one of them: "
        f"{conversion(file)}",
        zh="切勿对来历不明的镜像执行此操作，其中的文件名可能把本机任意文件复制进镜像。"
        f"请在制作该镜像、文件齐全的原机器上合并为一个镜像：{conversion(file)}",
    )
    messages = {
        "backing_file": Text(
            "The image is only a difference to a backing file.",
            "镜像只是相对于后备文件（backing file）的差异。",
        ),
        "data_file": Text(
            "The image's data is in an external data file.", "镜像数据位于外部数据文件（data file）中。"
        ),
        "extent_elsewhere": Text(
            "The descriptor names data files that are not the image's own.",
            "描述文件引用了不属于该镜像的数据文件。",
        ),
        "device_node": Text(
            "The descriptor names a device of the machine that it came from.",
            "描述文件引用了原机器上的设备。",
        ),
        "differencing": Text(
            "The disk is only a difference to a parent disk (a snapshot of a virtual machine).",
            "该磁盘只是相对于父磁盘的差异（虚拟机快照）。",
        ),
    }
    remedy = merged
    if hazards[0].check == "encrypted":
        option = os.fspath(file.path).replace(",", ",,")
        options = shlex.quote(
            f"driver={QEMU_NAMES[file.format]},encrypt.key-secret=key,file.filename={option}"
        )
        command = (
            f"qemu-img convert --object secret,id=key,file=passphrase.txt --image-opts {options} "
            f"-O qcow2 {shell_name(qcow2_name(file.path))}"
        )
        message = Text("The image is encrypted, and the platform has no key.", "镜像已加密，平台没有密钥。")
        remedy = Text(
            en=f"Decrypt it, with the passphrase in passphrase.txt: {command}",
            zh=f"请解密（口令保存在 passphrase.txt 中）：{command}",
        )
    elif hazards[0].check == "device_node":
        message = messages["device_node"]
        remedy = Text(
            en=f"On that machine, copy the device itself: sudo {whole.replace('vmdk', 'raw')} /dev/DISK "
            f"{shell_name(qcow2_name(file.path))}",
            zh=f"请在原机器上直接复制该设备：sudo {whole.replace('vmdk', 'raw')} /dev/DISK "
            f"{shell_name(qcow2_name(file.path))}",
        )
    elif hazards[0].check == "differencing" and file.format == "vhd":
        message = messages["differencing"]
        remedy = Text(
            en="Merge it with its parent in Hyper-V (Edit Disk, Merge; or PowerShell: "
            f"Merge-VHD -Path {shell_name(file.path)}), then export the parent.",
            zh="请在 Hyper-V 中将其合并到父磁盘（编辑磁盘→合并；或 PowerShell：Merge-VHD -Path "
            f"{shell_name(file.path)}），"
            "再导出父磁盘。",
        )
    else:
        message = messages.get(hazards[0].check, messages["extent_elsewhere"])
    return broken(message, *(f"{hazard.check}: {hazard.detail}" for hazard in hazards[:20]), remedy=remedy)
