"""A filesystem with changes laid over it, none of them made: what a plan is tried on.

Nodes of the filesystem below keep their numbers; new ones have negative numbers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from imgtool.guest.filesystem import Stat, unsupported

if TYPE_CHECKING:
    from imgtool.guest.filesystem import Filesystem


class DraftFilesystem:
    """Reads as imgtool.guest.filesystem.Filesystem; the writing methods change only what is laid over."""

    def __init__(self, below: Filesystem) -> None:
        self._below = below
        self._names: dict[tuple[int, str], tuple[str, int | None]] = {}
        self._stats: dict[int, Stat] = {}
        self._contents: dict[int, bytes] = {}
        self._behind: dict[int, bytes] = {}
        self._links: dict[int, str] = {}
        self._next = -2

    def __getattr__(self, name: str) -> Any:
        """What only some filesystems have: a btrfs its subvolume and its measured room."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._below, name)

    @property
    def type(self) -> str:
        return self._below.type

    @property
    def uuid(self) -> str:
        return self._below.uuid

    @property
    def label(self) -> str:
        return self._below.label

    @property
    def case_sensitive(self) -> bool:
        return self._below.case_sensitive

    @property
    def root(self) -> int:
        return self._below.root

    def lookup(self, directory: int, name: str) -> int | None:
        laid = self._names.get((directory, self._key(name)))
        if laid is not None:
            return laid[1]
        return None if directory < -1 else self._below.lookup(directory, name)

    def names(self, directory: int) -> list[str]:
        laid = {key[1]: value for key, value in self._names.items() if key[0] == directory}
        below = [] if directory < -1 else self._below.names(directory)
        kept = [name for name in below if self._key(name) not in laid]
        return kept + [name for name, node in laid.values() if node is not None]

    def stat(self, node: int) -> Stat:
        found = self._stats.get(node) or self._below.stat(node)
        if node in self._contents:
            return replace(found, size=len(self._contents[node]))
        return replace(found, size=found.size + len(self._behind[node])) if node in self._behind else found

    def readlink(self, node: int) -> str:
        return self._links[node] if node in self._links else self._below.readlink(node)

    def attribute(self, node: int, name: str) -> bytes | None:
        """An extended attribute; a file that is made anew has none."""
        if node < -1:
            return None
        read = getattr(self._below, "attribute", None)
        if read is None:
            raise unsupported(self.type, "extended attributes")
        found: bytes | None = read(node, name)
        return found

    def read(self, node: int, offset: int, length: int) -> bytes:
        if node in self._contents:
            return self._contents[node][offset : offset + length]
        if node not in self._behind:
            return self._below.read(node, offset, length)
        size = self._below.stat(node).size
        data = self._below.read(node, offset, min(length, size - offset)) if offset < size else b""
        start = max(0, offset - size)
        return data + self._behind[node][start : start + length - len(data)]

    def make(self, directory: int, name: str, stat: Stat, content: bytes | str = b"") -> int:
        """A new file (content: bytes), link (str) or folder of this name. Returns its node."""
        node = self._next
        self._next -= 1
        self._stats[node] = stat
        if isinstance(content, str):
            self._links[node] = content
        elif stat.kind == "file":
            self._contents[node] = content
        self._names[directory, self._key(name)] = (name, node)
        return node

    def unlink(self, directory: int, name: str) -> None:
        """The name is not there any more."""
        self._names[directory, self._key(name)] = (name, None)

    def set_content(self, node: int, content: bytes) -> None:
        """A file has this content now."""
        self._behind.pop(node, None)
        self._contents[node] = content

    def append(self, node: int, content: bytes) -> None:
        """A file has this behind what it had."""
        if node in self._contents:
            self._contents[node] += content
        else:
            self._behind[node] = self._behind.get(node, b"") + content

    def set_owner(self, node: int, mode: int, uid: int, gid: int) -> None:
        """A node has this mode and owner now."""
        found = self._stats.get(node) or self._below.stat(node)
        self._stats[node] = replace(found, mode=mode, uid=uid, gid=gid)

    def saved(self) -> Callable[[], None]:
        """What takes the changes back to how they are now."""
        names, stats, contents = dict(self._names), dict(self._stats), dict(self._contents)
        behind, links = dict(self._behind), dict(self._links)

        def restore() -> None:
            self._names, self._stats, self._contents = names, stats, contents
            self._behind, self._links = behind, links

        return restore

    def _key(self, name: str) -> str:
        return name if self.case_sensitive else name.casefold()


def new_stat(kind: str, mode: int, size: int = 0, uid: int = 0, gid: int = 0) -> Stat:
    """Of something made now."""
    return Stat(kind, mode, uid, gid, size, time.time())  # type: ignore[arg-type]
