"""The file that is uploaded: opened once, and watched for changes while it is read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from imgtool.cloud.failures import CloudFailure
from imgtool.cloud.parts import MAX_PART, MAX_PARTS
from imgtool.convert.output import shown
from imgtool.errors import CannotRead
from imgtool.text import Text

LARGEST = MAX_PARTS * MAX_PART


class FileChanged(CloudFailure):
    """The file was written to while it was uploaded."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            Text(
                en=f"{shown(path)} changed while it was uploaded; the upload was thrown away. Run the "
                "command again when nothing writes to the file.",
                zh=f"{shown(path)} 在上传过程中发生变化，本次上传已作废。请在文件不再变化后重新运行。",
            )
        )


class Source:
    """An open file. A context manager; for several threads.

    identity: tells its content (see identity_of); size: bytes; descriptor: to read it with.
    """

    def __init__(self, path: Path) -> None:
        """Raises CannotRead."""
        self.path = path
        try:
            self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise CannotRead(Text(f"{shown(path)} does not exist.", f"{shown(path)} 不存在。")) from error
        except OSError as error:
            raise CannotRead(
                Text(
                    en=f"{shown(path)} can't be read: {error.strerror}.",
                    zh=f"无法读取 {shown(path)}：{error.strerror}。",
                )
            ) from error
        status = os.fstat(self.descriptor)
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= LARGEST:
            os.close(self.descriptor)
            raise CannotRead(
                Text(
                    en=f"{shown(path)} is empty, too large for an object, or no regular file.",
                    zh=f"{shown(path)} 为空、超过对象大小上限，或不是普通文件。",
                )
            )
        self.identity = identity_of(status)
        self.size = status.st_size

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def require_unchanged(self) -> None:
        """Raise FileChanged when the file is no longer what it was, or another stands in its place."""
        try:
            now = identity_of(os.stat(self.path))
            same = now == self.identity == identity_of(os.fstat(self.descriptor))
        except OSError:
            same = False
        if not same:
            raise FileChanged(self.path)


def identity_of(status: os.stat_result) -> list[int]:
    """What tells a file's content from another's without reading it: device, inode, size, time of change
    in ns.
    """
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]


def require_file(path: Path) -> None:
    """Raise CannotRead unless a file can be uploaded: known before anybody is asked for keys."""
    with Source(path):
        pass
