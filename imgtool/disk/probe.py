"""What a file is: its format, its sizes, what is dangerous and what is damaged about it.

A format is believed only from its own structures, never from the file's name, and nothing but this file's
own header, footer and tables is read: no QEMU, no other file (CVE-2024-32498 and its family come from opening
first and asking later).
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from imgtool.disk.formats.image_file import Damage, Hazard, ImageFile, Snapshot, escaped
from imgtool.errors import CannotRead
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.formats.source import Source

__all__ = ["Damage", "Hazard", "ImageFile", "Snapshot", "probe"]


def probe(path: Path) -> ImageFile:
    """Say what the file is.

    Raises CannotRead when it is not there, no regular file (directory, FIFO, socket, device) or unreadable.
    Never blocks, never runs a program; memory and time are bounded whatever the file holds.
    """
    from imgtool.disk.formats.source import Source

    descriptor = _open(path)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise CannotRead(_not_a_file(path, status.st_mode))
        return _recognise(Source(descriptor, path, status.st_size, status.st_blocks * 512))
    finally:
        os.close(descriptor)


def _recognise(source: Source) -> ImageFile:
    """The first format whose structures are there. Each module is imported only where its magic is seen.

    What stands at the very start of the file comes first, as QEMU ranks it; a footer at the end is next.
    """
    head = source.head
    found: ImageFile | None = None
    if head.startswith(b"QFI\xfb"):
        from imgtool.disk.formats import qcow2

        found = qcow2.recognise(source)
    elif head.startswith((b"KDMV", b"COWD", b"\xbe\xba\xfe\xca\0\0\0\0", b"#", b"version=")):
        from imgtool.disk.formats import vmdk

        found = vmdk.recognise(source)
    elif head.startswith(b"conectix") or b"conectix" in source.tail:
        from imgtool.disk.formats import vhd

        found = vhd.recognise(source)
    return found or _other(source) or _raw(source)


def _other(source: Source) -> ImageFile | None:
    """A format that is named to be refused."""
    from imgtool.disk.formats import archives, iso9660, other_disks, plain_text

    for recognise in (other_disks.recognise, archives.recognise, iso9660.recognise, plain_text.recognise):
        found = recognise(source)
        if found is not None:
            return found
    return None


def _raw(source: Source) -> ImageFile:
    from imgtool.disk.formats import raw

    return raw.describe(source)


def _open(path: Path) -> int:
    """An open descriptor. Looks before it opens: opening a device may already do something to it."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise CannotRead(_not_a_file(path, mode))
        # Should the file be swapped for a FIFO meanwhile, O_NONBLOCK keeps open() from waiting for a writer.
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:
        raise CannotRead(
            Text(
                en=f"{_shown(path)} can't be a file name: it contains a NUL character.",
                zh=f"{_shown(path)} 不是合法的文件名：其中含有空字符（NUL）。",
            )
        ) from error
    except OSError as error:
        raise CannotRead(_not_opened(path, error)) from error


def _shown(path: Path) -> str:
    return escaped(os.fsencode(path))


def _not_a_file(path: Path, mode: int) -> Text:
    shown = _shown(path)
    if stat.S_ISDIR(mode):
        return Text(
            en=f"{shown} is a directory. Give the image file inside it.",
            zh=f"{shown} 是目录。请指定其中的镜像文件。",
        )
    if stat.S_ISFIFO(mode):
        return Text(
            en=f"{shown} is a FIFO (named pipe), and an image is read at random. Save it to a file first.",
            zh=f"{shown} 是命名管道（FIFO），而镜像需要随机读取。请先将其保存为文件。",
        )
    if stat.S_ISSOCK(mode):
        return Text(
            en=f"{shown} is a socket, not an image file. Give a file.",
            zh=f"{shown} 是套接字，不是镜像文件。请指定文件。",
        )
    if stat.S_ISBLK(mode):
        command = f"sudo qemu-img convert -f raw -O qcow2 {shown} disk.qcow2"
        return Text(
            en=f"{shown} is a block device. Make an image of it first: {command}",
            zh=f"{shown} 是块设备。请先为其制作镜像：{command}",
        )
    return Text(
        en=f"{shown} is a device, not an image file. Give a file.",
        zh=f"{shown} 是设备，不是镜像文件。请指定文件。",
    )


def _not_opened(path: Path, error: OSError) -> Text:
    shown = _shown(path)
    if error.errno == errno.ENOENT:
        if str(path) == "-":
            return Text(
                en="Images are not read from standard input: a disk is read here and there, not from its "
                "beginning to its end. Save it to a file and give that.",
                zh="不支持从标准输入读取镜像：磁盘需要随机读取，不能顺序读完。请先保存为文件，再指定该文件。",
            )
        if os.path.islink(path):
            target = _shown(Path(os.readlink(path)))
            return Text(
                en=f"{shown} is a link to {target}, which does not exist. Give the image file itself.",
                zh=f"{shown} 是指向 {target} 的链接，而目标不存在。请指定镜像文件本身。",
            )
        return Text(
            en=f"{shown} does not exist. Check the name and the folder.",
            zh=f"{shown} 不存在。请检查文件名和目录。",
        )
    if error.errno == errno.ENOTDIR:
        return Text(
            en=f"{shown} does not exist: a part of the path is a file, not a directory. Check the path.",
            zh=f"{shown} 不存在：路径中有一部分是文件而非目录。请检查路径。",
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return Text(
            en=f"You may not read {shown}. Ask its owner, or allow it: chmod +r (and +x on its folders).",
            zh=f"没有读取 {shown} 的权限。请联系其所有者，或授予权限：chmod +r（其目录还需 +x）。",
        )
    if error.errno == errno.ELOOP:
        return Text(
            en=f"{shown} is a symbolic link that leads back to itself. Give the image file itself.",
            zh=f"{shown} 是循环的符号链接。请指定镜像文件本身。",
        )
    if error.errno == errno.ENAMETOOLONG:
        return Text(
            en=f"The file name is too long for this system: {shown}. Check the command line.",
            zh=f"文件名超过系统允许的长度：{shown}。请检查命令行。",
        )
    why = os.strerror(error.errno or 0)
    return Text(
        en=f"{shown} can't be opened: {why}. Check the storage that holds it.",
        zh=f"无法打开 {shown}：{why}。请检查其所在的存储。",
    )
