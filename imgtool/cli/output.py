"""Where a command's result goes: standard output, or a file that appears only when complete."""

from __future__ import annotations

import errno
import os
import signal
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from imgtool.errors import Stated, UsageError
from imgtool.text import Text


class NoRoom(Stated):
    """The disk that the output goes to is full."""

    exit_code: ClassVar[int] = 4


def write_failed(name: Text, error: OSError) -> Stated:
    """What a failed write means: a full disk is the machine's lack, anything else wrong usage."""
    reason = error.strerror or str(error)
    statement = Text(en=f"Can't write to {name.en}: {reason}.", zh=f"无法写入{name.zh.rstrip()}：{reason}。")
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return NoRoom(statement) if full else UsageError(statement)


class Output:
    """One place to write to. path None or "-": standard output.

    Checked when made, before any work is done. Raises UsageError when the file exists (unless `force`), is
    one of `inputs`, or can't be written; write() raises NoRoom when the disk is full, Ended when nobody reads
    standard output any more.
    """

    def __init__(self, path: Path | None, force: bool = False, inputs: Iterable[Path] = ()) -> None:
        self.path = None if path is None or str(path) == "-" else path
        if self.path is None:
            if sys.stdout is None:
                raise UsageError(
                    Text(en="Standard output is closed; use -o FILE.", zh="标准输出已关闭；请使用 -o 文件。")
                )
            return
        target = Path(os.path.realpath(self.path))
        self._name = Text(str(self.path), f" {self.path} ")
        for image in inputs:
            if _same_file(target, image):
                raise UsageError(
                    Text(en=f"The output {path} is the image itself.", zh=f"输出文件 {path} 就是镜像本身。")
                )
        mode = self._mode_of(target)
        self._direct = mode is not None and not stat.S_ISREG(mode)
        if mode is not None and stat.S_ISDIR(mode):
            raise write_failed(self._name, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
        if mode is not None and stat.S_ISREG(mode) and not force:
            raise UsageError(
                Text(en=f"{path} exists; --force overwrites it.", zh=f"{path} 已存在；使用 --force 可覆盖。")
            )
        if not self._direct and not os.access(target.parent, os.W_OK | os.X_OK):
            missing = errno.EACCES if target.parent.is_dir() else errno.ENOENT
            raise write_failed(self._name, OSError(missing, os.strerror(missing)))
        self._target, self._force = target, force

    def _mode_of(self, target: Path) -> int | None:
        """The type and permissions of what is there; None where nothing is."""
        try:
            return target.stat().st_mode
        except FileNotFoundError:
            return None
        except OSError as error:  # a folder that may not be looked into, a name that is too long
            raise write_failed(self._name, error) from error

    @property
    def is_terminal(self) -> bool:
        """Whether a person sees what is written."""
        return self.path is None and sys.stdout is not None and sys.stdout.isatty()

    def write(self, text: str) -> None:
        """Write: at once to standard output, the pipe or the device; whole and then renamed to a file."""
        self.write_bytes(text.encode("utf-8", "backslashreplace"))

    def write_bytes(self, content: bytes) -> None:
        """The same for what is no text."""
        if self.path is None:
            _to_standard_output(content)
        elif self._direct:
            try:
                self._target.write_bytes(content)
            except OSError as error:
                raise write_failed(self._name, error) from error
        else:
            self._replace(content)

    def _replace(self, content: bytes) -> None:
        temporary = self._target.with_name(f".{self._target.name[:100]}.{os.getpid()}.part")
        mode = stat.S_IMODE(self._target.stat().st_mode) if self._target.exists() else 0o666
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            try:
                with open(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(descriptor)
                if not self._force and self._target.exists():  # made by someone else meanwhile
                    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
                os.replace(temporary, self._target)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
        except OSError as error:
            raise write_failed(self._name, error) from error


def _to_standard_output(content: bytes) -> None:
    from imgtool.cli.ending import STANDARD_OUTPUT, Ended

    if sys.stdout is None:
        raise UsageError(Text(en="Standard output is closed.", zh="标准输出已关闭。"))
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
    except BrokenPipeError as error:  # click would make exit code 1 of it: "an image failed"
        raise Ended(signal.SIGPIPE) from error
    except OSError as error:
        raise write_failed(STANDARD_OUTPUT, error) from error


def _same_file(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
