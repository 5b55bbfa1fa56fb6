"""A stand-in for imgtool.guest.tree.Tree over a dict: only files, directories and symbolic links, no mounts
laid over. It answers and raises as the real one does; what it lacks it lacks loudly."""

from __future__ import annotations

import fnmatch
import io
import posixpath
from typing import Any, BinaryIO

from imgtool.guest.filesystem import GuestReadFailed, LinkLoop, NotInGuest, Stat, TooLarge
from imgtool.text import Text


class Link(str):
    """The target of a symbolic link."""


class MemoryTree:
    def __init__(self, files: dict[str, bytes | str | Link], mounts: dict[str, Any] | None = None) -> None:
        self.files = {path: _content(content) for path, content in files.items()}
        self.mounts = mounts or {}
        self.unreadable: set[str] = set()
        self.filesystem = None
        self.directories = {"/"}
        for path in files:
            folder = posixpath.dirname(path)
            while folder != "/":
                self.directories.add(folder)
                folder = posixpath.dirname(folder)

    def realpath(self, path: str) -> str:
        return self._resolve(path, True)

    def _resolve(self, path: str, follow: bool, left: int = 40) -> str:
        here = "/"
        parts = [part for part in path.split("/") if part and part != "."]
        for index, part in enumerate(parts):
            here = posixpath.normpath(posixpath.join(here, part))
            if here in self.unreadable:
                raise GuestReadFailed(Text.same(f"{here} is damaged"))
            content = self.files.get(here)
            if isinstance(content, Link) and (follow or index < len(parts) - 1):
                if left == 0:
                    raise LinkLoop(Text.same(path))
                target = posixpath.join(posixpath.dirname(here), content, *parts[index + 1 :])
                return self._resolve(target, follow, left - 1)
        if here not in self.files and here not in self.directories:
            raise NotInGuest(Text.same(f"{path} is not in the guest"))
        return here

    def lstat(self, path: str) -> Stat:
        return self._stat(self._resolve(path, False))

    def stat(self, path: str) -> Stat:
        return self._stat(self.realpath(path))

    def _stat(self, real: str) -> Stat:
        if real in self.directories:
            return Stat("directory", 0o755, 0, 0, 4096, 0.0)
        content = self.files[real]
        kind = "symlink" if isinstance(content, Link) else "file"
        return Stat(kind, 0o644, 0, 0, len(content), 0.0)

    def _kind(self, path: str) -> str | None:
        try:
            return self.stat(path).kind
        except (NotInGuest, LinkLoop):
            return None

    def exists(self, path: str) -> bool:
        return self._kind(path) is not None

    def is_file(self, path: str) -> bool:
        return self._kind(path) == "file"

    def is_dir(self, path: str) -> bool:
        return self._kind(path) == "directory"

    def read(self, path: str, limit: int = 4 << 20) -> bytes:
        content = self.files.get(self.realpath(path))
        if not isinstance(content, bytes):
            raise NotInGuest(Text.same(f"{path} is no regular file"))
        if len(content) > limit:
            raise TooLarge(Text.same(path))
        return content

    def text(self, path: str, limit: int = 4 << 20) -> str:
        return self.read(path, limit).decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n")

    def text_if_there(self, path: str, limit: int = 4 << 20) -> str | None:
        try:
            return self.text(path, limit)
        except (NotInGuest, LinkLoop):
            return None

    def open(self, path: str) -> BinaryIO:
        return io.BytesIO(self.read(path, 1 << 40))

    def readlink(self, path: str) -> str:
        content = self.files[self._resolve(path, False)]
        if not isinstance(content, Link):
            raise NotInGuest(Text.same(f"{path} is no symbolic link"))
        return str(content)

    def list(self, path: str) -> list[str]:
        real = self.realpath(path)
        if real not in self.directories:
            raise NotInGuest(Text.same(f"{path} is no directory"))
        below = real.rstrip("/") + "/"
        names = {
            it[len(below) :].split("/")[0] for it in (*self.files, *self.directories) if it.startswith(below)
        }
        return sorted(names - {""})

    def glob(self, pattern: str) -> list[str]:
        paths = [""]
        for part in (part for part in pattern.split("/") if part):
            paths = [
                f"{path}/{name}"
                for path in paths
                if self._kind(path or "/") == "directory"
                for name in self.list(path or "/")
                if fnmatch.fnmatchcase(name, part) and (part[0] == "." or name[0] != ".")
            ]
        return sorted(paths)


def _content(content: bytes | str) -> bytes | Link:
    return content if isinstance(content, bytes | Link) else content.encode()
