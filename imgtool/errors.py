"""What can go wrong, as types that carry the data; the words are made where they are shown.

Exit codes are those of the command-line contract: 2 wrong usage, 3 the image could not be read or judged,
4 this machine lacks something, 5 the cloud refused or failed.
"""

from __future__ import annotations

import errno
from typing import ClassVar

from imgtool.text import Text


class ImgtoolError(Exception):
    """Any failure that imgtool foresees. `statement()` says what happened and what to do about it."""

    exit_code: ClassVar[int] = 3

    def statement(self) -> Text:
        """What happened and what to do about it, in both languages."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.statement().en


class Stated(ImgtoolError):
    """A failure whose statement was made where it was found."""

    def __init__(self, statement: Text) -> None:
        super().__init__(statement.en)
        self._statement = statement

    def statement(self) -> Text:
        return self._statement


class UsageError(Stated):
    """The command line, a profile or a configuration file asks for something that cannot be."""

    exit_code = 2


class CannotRead(Stated):
    """A part of the image that a rule needs cannot be read: the rule's answer is `unknown`."""

    exit_code = 3


class UnsafeImage(CannotRead):
    """Opening the image would make QEMU open another file, a device or the network: it is not opened."""


class MachineLacks(ImgtoolError):
    """This machine lacks a program or a library that the work needs."""

    exit_code = 4

    def __init__(self, what: str, package: str) -> None:
        """what: the program or library, as users call it; package: the Debian/Ubuntu package that has it."""
        super().__init__(what)
        self.what = what
        self.package = package

    def statement(self) -> Text:
        return Text(
            en=f"This machine has no {self.what}. Install it: apt-get install {self.package}",
            zh=f"本机缺少 {self.what}。请安装：apt-get install {self.package}",
        )


class OutOfResources(Stated):
    """The system gives this process no more of what the work needs: memory, processes, open files."""

    exit_code = 4

    def __init__(self, what: Text) -> None:
        super().__init__(
            Text(
                en=f"The system gives no more {what.en}. End other programs, or raise the limit (ulimit, or "
                "that of the container).",
                zh=f"系统无法再提供{what.zh}。请结束其他程序，或提高限制（ulimit 或容器的限制）。",
            )
        )


MEMORY = Text("memory", "内存")
PROCESSES = Text("processes or threads, or memory for them", "进程或线程（或其所需的内存）")
OPEN_FILES = Text("open files", "可打开的文件")
_EXHAUSTED = {
    errno.ENOMEM: MEMORY,
    errno.EAGAIN: PROCESSES,  # fork(2), pthread_create(3)
    errno.EMFILE: OPEN_FILES,
    errno.ENFILE: OPEN_FILES,
}


def out_of_resources(error: BaseException) -> OutOfResources | None:
    """The failure that an error of Python's means, where something of this machine's is used up."""
    if isinstance(error, MemoryError):
        return OutOfResources(MEMORY)
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return OutOfResources(PROCESSES)
    if hasattr(error, "characters_written"):  # a stream that does not block was full
        return None
    if isinstance(error, OSError) and error.errno in _EXHAUSTED:
        return OutOfResources(_EXHAUSTED[error.errno])
    return None
