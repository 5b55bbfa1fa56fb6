"""What can go wrong, as types that carry the data; the words are made where they are shown.

Exit codes are those of the command-line contract: 2 wrong usage, 3 the image could not be read or judged,
4 this machine lacks something, 5 the cloud refused or failed.
"""

from __future__ import annotations

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
