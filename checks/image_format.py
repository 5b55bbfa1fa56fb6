"""Which format the image file has, and how to come from any other to one that the platform takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, get_args

from imgtool.disk.commands import QEMU_NAMES, conversion, own_conversion, qcow2_name, shell_name
from imgtool.rules import Outcome, Severity, Target, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import ImageFile
    from imgtool.image import Image

SECTOR = 512
NAMES = {
    "raw": "raw",
    "qcow2": "qcow2",
    "vmdk": "VMDK",
    "vhd": "VHD",
    "vhdx": "VHDX (Hyper-V)",
    "vdi": "VDI (VirtualBox)",
    "qed": "QED",
    "qcow": "qcow version 1",
    "parallels": "Parallels",
}
CONVERTIBLE = ("gzip", "xz", "bzip2", "zstd", "zip", "tar", "ova")  # what `imgtool convert` unpacks
UNPACK = {
    "gzip": "gzip -dc {name} > {out}",
    "xz": "xz -dc {name} > {out}",
    "bzip2": "bzip2 -dc {name} > {out}",
    "zstd": "zstd -dc {name} > {out}",
    "lz4": "lz4 -dc {name} > {out}",
    "zip": "unzip {name}",
    "7z": "7z x {name}",
    "rar": "unrar x {name}",
    "tar": "tar -xf {name}",
    "ova": "tar -xf {name}",
}


@rule(
    "image.format",
    Text("Format of the image file", "镜像文件格式"),
    severity=Severity.ERROR,
    source="ref 01, 07, 08",
    targets=get_args(Target),
    platform_code="InvalidFormatSize",
)
def image_format(image: Image) -> Iterator[Outcome]:
    """The file is a disk image in a format that the platform takes: raw, VHD, qcow2 or VMDK.

    The format is read from the file's own structures; its name plays no part. Other disk formats (VHDX, VDI,
    QED, qcow version 1), installer ISOs, archives, encrypted files and text files (an error page saved in
    place of a download) are called what they are, each with the command that makes an image of it. A raw
    image is what is nothing else, so it also needs to be at least one sector long. For `--target migrate`
    the archives that the profile names are taken as they are.

    Evidence: what the file begins with, or what it was recognised by. Example: `disk.vhdx` is VHDX. The fix
    is a conversion: `imgtool convert --compress disk.vhdx disk.qcow2`.
    """
    file = image.file
    if file.format == "raw" and file.file_size < SECTOR:
        yield _too_small(file)
    elif file.format in image.profile.image.formats:
        variant = f", {file.variant}" if file.variant else ""
        name = NAMES.get(file.format, file.format)
        yield kept(Text(en=f"The file is a {name} image{variant}.", zh=f"文件为 {name} 格式镜像{variant}。"))
    elif image.target == "migrate" and file.format in image.profile.image.archives_for_migrate:
        yield kept(
            Text(
                en=f"The file is an archive ({file.format}), which offline migration takes as it is.",
                zh=f"文件为压缩包（{file.format}），离线迁移可直接使用。",
            )
        )
    else:
        message, remedy = _refused(file)
        yield broken(message, _seen(file), *file.features, remedy=remedy)


def _seen(file: ImageFile) -> str:
    return f"{' '.join(filter(None, (file.format, file.variant)))}, {file.file_size} bytes"


def _too_small(file: ImageFile) -> Outcome:
    if not file.file_size:
        message = Text(en="The file is empty.", zh="文件为空。")
    else:
        message = Text(
            en=f"The file has {file.file_size} bytes, less than one sector of a disk.",
            zh=f"文件仅有 {file.file_size} 字节，不足磁盘的一个扇区。",
        )
    return broken(
        message,
        _seen(file),
        remedy=Text(
            en="Copy or export the image again, and compare its size: ls -l on both sides.",
            zh="请重新复制或导出镜像，并在两端用 ls -l 比较文件大小。",
        ),
    )


def _refused(file: ImageFile) -> tuple[Text, Text]:
    """What the file is instead, and how to come from it to an image."""
    name, out = shell_name(file.path), shell_name(qcow2_name(file.path))
    kind = file.format
    if kind in QEMU_NAMES:
        return _another_disk_format(file)
    if kind in UNPACK:
        return _archive(file, name)
    if kind == "iso":
        install = (
            f"qemu-img create -f qcow2 {out} 20G && "
            f"qemu-system-x86_64 -m 2048 -cdrom {name} -drive file={out},format=qcow2"
        )
        return (
            Text(
                en="The file is an ISO image: an installer, not an installed system.",
                zh="文件是 ISO 安装光盘镜像，不是已安装好的系统。",
            ),
            Text(
                en=f"Install a system from it and export that machine's disk: {install}",
                zh=f"请用它安装系统，再导出该虚拟机的磁盘：{install}",
            ),
        )
    if kind == "luks":
        command = (
            f"sudo cryptsetup open {name} plain && "
            f"sudo qemu-img convert -f raw -O qcow2 /dev/mapper/plain {out} && sudo cryptsetup close plain"
        )
        return (
            Text(
                en="The whole file is encrypted (LUKS); the platform has no key.",
                zh="整个文件经 LUKS 加密，平台没有密钥。",
            ),
            Text(en=f"Decrypt it: {command}", zh=f"请解密：{command}"),
        )
    if kind == "wim":
        return (
            Text(
                en="The file is a Windows installation archive (WIM), not a disk.",
                zh="文件是 Windows 安装映像（WIM），不是磁盘镜像。",
            ),
            Text(
                en="Install Windows from it in a virtual machine and export that machine's disk.",
                zh="请在虚拟机中用它安装 Windows，再导出该虚拟机的磁盘。",
            ),
        )
    return _text_file(file)


def _another_disk_format(file: ImageFile) -> tuple[Text, Text]:
    message = Text(
        en=f"The file is a {NAMES[file.format]} disk image, which the platform does not take.",
        zh=f"文件是 {NAMES[file.format]} 格式的磁盘镜像，平台不支持该格式。",
    )
    if file.hazards:
        command = conversion(file)  # imgtool would not open it
        return message, Text(
            en=f"It also needs {file.hazards[0].detail} ({file.hazards[0].check}). Convert it on the machine "
            f"where all of it is: {command}",
            zh=f"此外它还依赖 {file.hazards[0].detail}（{file.hazards[0].check}）。"
            f"请在文件齐全的原机器上转换：{command}",
        )
    command = own_conversion(file)
    if file.damaged:
        return message, Text(
            en=f"First it has to be whole (see image.integrity); then convert it: {command}",
            zh=f"请先确保文件完整（参见 image.integrity），再转换格式：{command}",
        )
    return message, Text(en=f"Convert it: {command}", zh=f"请转换格式：{command}")


def _archive(file: ImageFile, name: str) -> tuple[Text, Text]:
    if file.variant == "tar" or file.format in {"tar", "ova"}:
        command = f"tar -xf {name}"
    else:
        path = file.path
        out = path.with_suffix("") if path.suffix else path.with_name(path.name + ".img")
        command = UNPACK[file.format].format(name=name, out=shell_name(out))
    what = "tar + " + file.format if file.variant == "tar" else file.format
    message = Text(
        en=f"The file is an archive or compressed file ({what}), not a disk image.",
        zh=f"文件是压缩包或归档文件（{what}），不是磁盘镜像。",
    )
    if file.format == "ova":
        message = Text(
            en="The file is an OVA package: its disks are VMDK files inside it.",
            zh="文件是 OVA 包：其磁盘为包内的 VMDK 文件。",
        )
        return message, Text(
            en=f"Where it holds one disk, convert it:\n{own_conversion(file)}\n"
            "Where it holds several, unpack it and check them; the first is the system disk:\n"
            f"{command} && imgtool check *.vmdk",
            zh=f"如其中只有一块磁盘，请直接转换：\n{own_conversion(file)}\n"
            f"如有多块，请解包后检查，第一块为系统盘：\n{command} && imgtool check *.vmdk",
        )
    if file.format not in CONVERTIBLE:
        return message, Text(
            en=f"Unpack it and check what is inside:\n{command}", zh=f"请解压后检查其中的镜像：\n{command}"
        )
    return message, Text(
        en=f"Convert the image in it:\n{own_conversion(file)}\n"
        f"Or unpack it and check what is inside:\n{command}",
        zh=f"请直接转换其中的镜像：\n{own_conversion(file)}\n或解压后检查其中的镜像：\n{command}",
    )


def _text_file(file: ImageFile) -> tuple[Text, Text]:
    again = Text(
        en="Download the image again. A link that has expired, or needs a login, answers with such a "
        f"page: look at it with head -c 500 {shell_name(file.path)}",
        zh="请重新下载镜像。链接过期或需要登录时服务器会返回此类内容，可用以下命令查看："
        f"head -c 500 {shell_name(file.path)}",
    )
    if file.variant == "html":
        return Text(
            en="The file is a web page (HTML), not an image.", zh="文件是网页（HTML），不是镜像。"
        ), again
    if file.variant == "ovf":
        return (
            Text(
                en="The file is an OVF descriptor: the disk is in a .vmdk file beside it.",
                zh="文件是 OVF 描述文件：磁盘位于同目录的 .vmdk 文件中。",
            ),
            Text(
                en=f'Check the .vmdk file that it names: grep -o \'href="[^"]*"\' {shell_name(file.path)}',
                zh=f'请检查其引用的 .vmdk 文件：grep -o \'href="[^"]*"\' {shell_name(file.path)}',
            ),
        )
    if file.variant == "git-lfs pointer":
        return (
            Text(
                en="The file is a Git LFS pointer; the image itself was not fetched.",
                zh="文件是 Git LFS 指针，镜像本身尚未取回。",
            ),
            Text.same(f"git lfs pull --include {shell_name(file.path)}"),
        )
    kind = {"json": "JSON", "xml": "XML"}.get(file.variant or "", "text")
    return Text(en=f"The file is {kind}, not an image.", zh=f"文件是 {kind} 文本，不是镜像。"), again
