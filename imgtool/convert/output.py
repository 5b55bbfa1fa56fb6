"""The file that a conversion makes: worked on in a folder of its own beside it, and named only when complete.

Everything temporary of one run (the unfinished output, an unpacked archive, a copy to shrink) lies in one
folder beside the output, which the run holds locked. However the run ends, the folder goes; after a
SIGKILL the next run into the same directory finds it unlocked and removes it.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from imgtool.disk.formats.image_file import escaped
from imgtool.errors import Stated, UsageError, out_of_resources
from imgtool.locked_folder import locked_folder, sweep
from imgtool.text import Text

PREFIX = ".imgtool-convert-"
MAKE_ROOM = Text("Make room, or give an output elsewhere.", "请释放空间，或将输出放到其他位置。")
STORAGE_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class OutputRefused(UsageError):
    """The output can't go where it was asked to go."""


class NoRoom(Stated):
    """The storage that the output goes to is full, or is going to be."""

    exit_code: ClassVar[int] = 4


def shown(path: Path) -> str:
    """A path as one printable line."""
    return escaped(os.fsencode(path), 1000)


def write_failed(path: Path, error: OSError) -> Stated:
    """What a failed write means: what the machine lacks (room, memory, processes), else wrong usage."""
    if (lacking := out_of_resources(error)) is not None:
        return lacking
    why = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in STORAGE_FULL:
        return NoRoom(
            Text(
                en=f"Can't write to {shown(path)}: {why}. {MAKE_ROOM.en}",
                zh=f"无法写入 {shown(path)}：{why}。{MAKE_ROOM.zh}",
            )
        )
    return OutputRefused(
        Text(en=f"Can't write to {shown(path)}: {why}.", zh=f"无法写入 {shown(path)}：{why}。")
    )


class Output:
    """Where a conversion writes. A context manager: entering makes the folder, leaving removes it.

    path: as asked for; target: what it leads to, links followed; folder: everything temporary; part: the
    unfinished image in it.
    """

    folder: Path
    part: Path

    def __init__(self, path: Path, *, force: bool = False, inputs: Iterable[Path] = ()) -> None:
        """Look before any work is done.

        Raises OutputRefused when the output exists (unless `force`), is no regular file or one of `inputs`
        (under whatever name), or its directory is missing or may not be written to.
        """
        self.path = path
        self._force = force
        try:
            self.target = Path(os.path.realpath(path))
            status = os.stat(path)  # not of the target: /dev/stdout leads to a pipe that has no name
        except (FileNotFoundError, NotADirectoryError):
            status = None
        except ValueError as error:
            raise OutputRefused(
                Text(
                    en=f"{shown(path)} can't be a file name: it contains a NUL character.",
                    zh=f"{shown(path)} 不是合法的文件名：其中含有空字符（NUL）。",
                )
            ) from error
        except OSError as error:
            raise write_failed(path, error) from error
        self._mode = None if status is None else stat.S_IMODE(status.st_mode)
        for image in inputs:
            if _same_file(self.target, image):
                raise OutputRefused(
                    Text(
                        en=f"The output {shown(path)} is the input itself, and an input is never changed. "
                        "Give another name.",
                        zh=f"输出 {shown(path)} 就是输入文件本身，而输入文件从不修改。请指定其他文件名。",
                    )
                )
        if status is not None:
            self._look_at_existing(status)
        if not self.target.parent.is_dir():
            raise OutputRefused(
                Text(
                    en=f"The directory {shown(self.target.parent)} does not exist. Make it first.",
                    zh=f"目录 {shown(self.target.parent)} 不存在。请先创建。",
                )
            )
        if not os.access(self.target.parent, os.W_OK | os.X_OK):
            read_only = os.statvfs(self.target.parent).f_flag & os.ST_RDONLY
            why = errno.EROFS if read_only else errno.EACCES
            raise write_failed(path, OSError(why, os.strerror(why)))

    def _look_at_existing(self, status: os.stat_result) -> None:
        if stat.S_ISDIR(status.st_mode):
            raise OutputRefused(
                Text(
                    en=f"{shown(self.path)} is a directory. Give the name of the file to make in it.",
                    zh=f"{shown(self.path)} 是目录。请指定要在其中生成的文件名。",
                )
            )
        if not stat.S_ISREG(status.st_mode):
            raise OutputRefused(
                Text(
                    en=f"{shown(self.path)} is no regular file, and an image is written at random. "
                    "Give a file.",
                    zh=f"{shown(self.path)} 不是普通文件，而镜像需要随机写入。请指定普通文件。",
                )
            )
        if not self._force:
            raise _exists(self.path)

    def __enter__(self) -> Output:
        sweep(self.target.parent, PREFIX)
        try:
            self.folder, self._lock = locked_folder(self.target.parent, PREFIX)
        except OSError as error:
            raise write_failed(self.path, error) from error
        self.part = self.folder / "image"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            shutil.rmtree(self.folder, ignore_errors=True)
        except BaseException:  # a signal, and a large file takes seconds to go: the rest all the same
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        finally:
            if self._lock is not None:
                os.close(self._lock)

    def publish(self) -> None:
        """Give the complete image its name: on storage first, then in one step.

        Raises OutputRefused when someone else made a file of that name meanwhile (unless forced).
        """
        try:
            _to_storage(self.part)
            if self._mode is not None:
                os.chmod(self.part, self._mode)
            if self._force:
                os.replace(self.part, self.target)
            else:
                _name_anew(self.part, self.target)
            _to_storage(self.target.parent)
        except FileExistsError as error:
            raise _exists(self.path) from error
        except OSError as error:
            raise write_failed(self.path, error) from error


def _name_anew(part: Path, target: Path) -> None:
    """Rename, but never over a file that exists."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.rename(part, target)
    else:
        os.unlink(part)


def _to_storage(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EROFS):  # what can't be synchronised is as safe as it gets
            raise
    finally:
        os.close(descriptor)


def _exists(path: Path) -> OutputRefused:
    return OutputRefused(
        Text(
            en=f"{shown(path)} exists; --force overwrites it.",
            zh=f"{shown(path)} 已存在；使用 --force 可覆盖。",
        )
    )


def _same_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False
