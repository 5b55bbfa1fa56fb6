"""Whether files are still those that they were when the work on them began."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from imgtool.disk.formats.image_file import escaped
from imgtool.errors import CannotRead
from imgtool.text import Text


class InputChanged(CannotRead):
    """A file was written to, cut, grown or replaced while it was read: what was read of it fits no moment."""

    def __init__(self, path: Path, gone: bool = False) -> None:
        shown = escaped(os.fsencode(path))
        super().__init__(
            Text(
                en=f"{shown} was removed or renamed while it was read. Put it back, and convert it again.",
                zh=f"{shown} 在读取过程中被删除或改名。请恢复该文件后重新转换。",
            )
            if gone
            else Text(
                en=f"{shown} changed while it was read, so the result would be a mixture of two states. "
                "Shut the virtual machine down, or wait for the copy to end, and convert it again.",
                zh=f"{shown} 在读取过程中发生变化，结果会是两种状态的混合。"
                "请先关闭虚拟机或等待复制完成，然后重新转换。",
            )
        )
        self.path = path


@dataclass(frozen=True)
class Moment:
    """What the file system says of some files: inode, size, times. Not atime: we read them."""

    states: tuple[tuple[Path, tuple[int, ...] | None], ...]

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Moment:
        """The files as they are now; a missing one is missing."""
        return cls(tuple((path, _state(path)) for path in paths))

    def check(self) -> None:
        """Raise InputChanged unless the files are as they were."""
        for path, state in self.states:
            now = _state(path)
            if now != state:
                raise InputChanged(path, gone=now is None)


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
