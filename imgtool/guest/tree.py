"""The guest's files by path, with its own mounts laid over its root.

Links are followed inside the guest: an absolute link starts at the guest's root, and `..` does not leave it.
"""

from __future__ import annotations

import fnmatch
import io
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, cast

from imgtool.errors import CannotRead
from imgtool.guest.filesystem import Filesystem, GuestReadFailed, LinkLoop, NotInGuest, Stat, TooLarge
from imgtool.records import dataclass
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.volumes import Volume

__all__ = ["GuestReadFailed", "LinkLoop", "NotInGuest", "TooLarge", "Tree"]

MOST_LINKS = 40
LONGEST_PATH = 4096
LONGEST_NAME = 255
MOST_MATCHES = 200_000
KEPT_PLACES = 20_000
DEFAULT_LIMIT = 4 << 20
STREAM_BUFFER = 256 << 10
WHOLE_PIECE = 1 << 20

Names = list[str]


@dataclass(frozen=True)
class _Place:
    """Where a path leads: a node of a filesystem, and its path without links."""

    filesystem: Filesystem
    node: int
    path: str
    stat: Stat


class Tree:
    """All paths are absolute guest paths. Every method may raise GuestReadFailed; none writes anything."""

    def __init__(self, filesystem: Filesystem, volume: Volume) -> None:
        self.filesystem = filesystem
        self.mounts: dict[str, Volume] = {"/": volume}
        self.unreadable_mounts: dict[str, CannotRead] = {}
        self._mounted: dict[str, Filesystem] = {}
        self._places: dict[tuple[str, bool], _Place | CannotRead] = {}

    def mount(self, path: str, filesystem: Filesystem, volume: Volume) -> None:
        """Lay a filesystem over a directory, which need not be there."""
        path = self._mount_point(path)
        if path == "/":
            return
        self._places.clear()
        self.unreadable_mounts.pop(path, None)
        self._mounted[path] = filesystem
        self.mounts[path] = volume

    def mount_unreadable(self, path: str, reason: CannotRead) -> None:
        """Whatever is asked at or below `path` is in a volume that can't be read, for this reason."""
        path = self._mount_point(path)
        if path == "/":
            return
        self._places.clear()
        self.unreadable_mounts[path] = reason

    @property
    def mounted(self) -> dict[str, Filesystem]:
        """The filesystems that are laid over the root, by their mount points."""
        return dict(self._mounted)

    def exists(self, path: str) -> bool:
        """Whether the path leads, through any links, to something."""
        return self._stat_if_there(path) is not None

    def is_file(self, path: str) -> bool:
        """Whether the path leads to a regular file."""
        found = self._stat_if_there(path)
        return found is not None and found.kind == "file"

    def is_dir(self, path: str) -> bool:
        """Whether the path leads to a directory."""
        found = self._stat_if_there(path)
        return found is not None and found.kind == "directory"

    def stat(self, path: str) -> Stat:
        """Of what the path leads to. Raises NotInGuest, LinkLoop."""
        return self._resolve(path).stat

    def lstat(self, path: str) -> Stat:
        """Of the path itself, be it a link. Raises NotInGuest, LinkLoop."""
        return self._resolve(path, follow=False).stat

    def realpath(self, path: str) -> str:
        """The path without links, . and .. in it. Raises NotInGuest, LinkLoop."""
        return self._resolve(path).path

    def readlink(self, path: str) -> str:
        """The target of a symbolic link, as written. Raises NotInGuest where there is no link."""
        place = self._resolve(path, follow=False)
        if place.stat.kind != "symlink":
            raise _absent(path, "it is no symbolic link", "它不是符号链接")
        return _readlink(place)

    def read(self, path: str, limit: int = DEFAULT_LIMIT) -> bytes:
        """The whole of a regular file. Raises TooLarge above `limit` bytes, NotInGuest, LinkLoop."""
        place = self._file(path)
        if place.stat.size > limit:
            raise TooLarge(
                Text(
                    en=f"{shown(path)} has {place.stat.size} bytes; at most {limit} are read here.",
                    zh=f"{shown(path)} 大小为 {place.stat.size} 字节；此处最多读取 {limit} 字节。",
                )
            )
        try:
            return place.filesystem.read(place.node, 0, place.stat.size)
        except GuestReadFailed as error:
            raise _about(path, error) from error

    def text(self, path: str, limit: int = DEFAULT_LIMIT) -> str:
        """A text file: UTF-8 with what is not UTF-8 replaced, no byte order mark, lines end in \\n."""
        return self.read(path, limit).decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n")

    def text_if_there(self, path: str, limit: int = DEFAULT_LIMIT) -> str | None:
        """As text(), or None where no such file is. Raises TooLarge."""
        try:
            return self.text(path, limit)
        except (NotInGuest, LinkLoop):
            return None

    def bears_threads(self, path: str) -> bool:
        """Whether one thread may read this file while another reads whatever it likes. Raises as read()."""
        return getattr(self._file(path).filesystem, "bears_threads", False)

    def stream(self, path: str, name: str, limit: int = DEFAULT_LIMIT) -> bytes | None:
        """A named stream of a file on NTFS, at most `limit` bytes of it; None where there is none."""
        place = self._file(path)
        read = getattr(place.filesystem, "stream", None)
        try:
            data: bytes | None = read(place.node, name, limit) if read is not None else None
        except GuestReadFailed as error:
            raise _about(path, error) from error
        return data

    def open(self, path: str) -> BinaryIO:
        """A regular file as a seekable stream, for what is too large to read whole. Raises as read()."""
        place = self._file(path)
        return cast(BinaryIO, io.BufferedReader(_Stream(place), STREAM_BUFFER))

    def attribute(self, path: str, name: str) -> bytes | None:
        """An extended attribute of what the path leads to, such as "security.selinux"; None where it has
        none.

        Raises GuestReadFailed also where the filesystem's reader can't tell, NotInGuest, LinkLoop.
        """
        place = self._resolve(path)
        read = getattr(place.filesystem, "attribute", None)
        if read is None:
            type_ = place.filesystem.type
            raise GuestReadFailed(
                Text(
                    en=f"This version reads no extended attributes of {type_} ({shown(path)}).",
                    zh=f"此版本不读取 {type_} 的扩展属性（{shown(path)}）。",
                )
            )
        try:
            return cast("bytes | None", read(place.node, name))
        except GuestReadFailed as error:
            raise _about(path, error) from error

    def list(self, path: str) -> Names:
        """The names in a directory, sorted. Raises NotInGuest where there is none."""
        place = self._resolve(path)
        if place.stat.kind != "directory":
            raise _absent(path, "it is no directory", "它不是目录")
        try:
            names = set(place.filesystem.names(place.node))
        except GuestReadFailed as error:
            raise _about(path, error) from error
        below = place.path.rstrip("/") + "/"
        for mount in self._mounted:
            if mount.startswith(below) and "/" not in mount[len(below) :]:
                names.add(mount[len(below) :])
        return sorted(names)

    def glob(self, pattern: str) -> Names:
        """The paths that match, sorted. `*`, `?` and `[]` match within one component, a leading dot only by a
        dot. A directory that is not there has no matches."""
        paths = [""]
        for component in (part for part in pattern.split("/") if part):
            if not re.search(r"[*?[]", component):
                paths = [f"{path}/{component}" for path in paths]
                continue
            paths = [match for path in paths for match in self._matching(path, component)][:MOST_MATCHES]
        return sorted(path for path in paths if self._there(path))

    def _matching(self, directory: str, pattern: str) -> Iterator[str]:
        try:
            names = self.list(directory or "/")
            sensitive = self._resolve(directory or "/").filesystem.case_sensitive
        except (NotInGuest, LinkLoop):
            return
        fits = _fitting(pattern, sensitive)
        for name in names:
            if fits(name) and (pattern.startswith(".") or not name.startswith(".")):
                yield f"{directory}/{name}"

    def _there(self, path: str) -> bool:
        try:
            self._resolve(path or "/", follow=False)
        except (NotInGuest, LinkLoop):
            return False
        return True

    def _stat_if_there(self, path: str) -> Stat | None:
        try:
            return self._resolve(path).stat
        except (NotInGuest, LinkLoop):
            return None

    def _file(self, path: str) -> _Place:
        place = self._resolve(path)
        if place.stat.kind != "file":
            raise _absent(path, "it is no regular file", "它不是普通文件")
        return place

    def _mount_point(self, path: str) -> str:
        """The path without links, where it is there; else as written."""
        try:
            return self.realpath(path)
        except (NotInGuest, LinkLoop, GuestReadFailed):
            return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))

    def _resolve(self, path: str, follow: bool = True) -> _Place:
        kept = self._places.get((path, follow))
        if kept is None:
            try:
                kept = self._walk(path, follow)
            except GuestReadFailed as error:
                kept = _about(path, error)
            except (NotInGuest, LinkLoop) as error:
                kept = error
            if len(self._places) >= KEPT_PLACES:
                self._places.clear()
            self._places[path, follow] = kept
        if isinstance(kept, CannotRead):
            raise kept.with_traceback(None)
        return kept

    def _walk(self, path: str, follow: bool) -> _Place:
        _bounded(path, path)
        top = _Place(self.filesystem, self.filesystem.root, "/", self.filesystem.stat(self.filesystem.root))
        way = [top]
        todo = [part for part in reversed(path.split("/")) if part]
        links = 0
        while todo:
            name = todo.pop()
            if name == ".":
                continue
            if name == "..":
                if len(way) > 1:
                    way.pop()
                continue
            place = self._step(way[-1], name, path)
            if place.stat.kind == "symlink" and (todo or follow):
                links += 1
                if links > MOST_LINKS:
                    raise LinkLoop(
                        Text(
                            en=f"{shown(path)} leads through more than {MOST_LINKS} symbolic links.",
                            zh=f"{shown(path)} 经过的符号链接超过 {MOST_LINKS} 个。",
                        )
                    )
                target = _readlink(place)
                _bounded(target, path)
                if target.startswith("/"):
                    way = [top]
                todo += [part for part in reversed(target.split("/")) if part]
            else:
                way.append(place)
        if path.endswith("/") and follow and way[-1].stat.kind != "directory":
            raise _absent(path, "it is no directory", "它不是目录")
        return way[-1]

    def _step(self, here: _Place, name: str, asked: str) -> _Place:
        """From a directory to one of its names; into the mount that lies there, if any."""
        if here.stat.kind != "directory":
            raise _absent(asked, f"{shown(here.path)} is no directory", f"{shown(here.path)} 不是目录")
        path = f"{here.path.rstrip('/')}/{name}"
        if path in self.unreadable_mounts:
            why = self.unreadable_mounts[path].statement()
            raise GuestReadFailed(
                Text(
                    en=f"The volume mounted at {shown(path)} can't be read. {why.en}",
                    zh=f"无法读取挂载在 {shown(path)} 的卷。{why.zh}",
                )
            )
        mounted = self._mounted.get(path)
        if mounted is not None:
            return _Place(mounted, mounted.root, path, mounted.stat(mounted.root))
        node = here.filesystem.lookup(here.node, name) if _length(name) <= LONGEST_NAME else None
        if node is None:
            raise _absent(asked)
        return _Place(here.filesystem, node, path, here.filesystem.stat(node))


def _fitting(pattern: str, sensitive: bool) -> Callable[[str], object]:
    """Whether a name matches. The usual pattern has one `*`, and needs no regular expression to be made."""
    start, star, end = pattern.partition("*")
    if star and sensitive and not re.search(r"[*?[]", start + end):
        shortest = len(start) + len(end)
        return lambda name: len(name) >= shortest and name.startswith(start) and name.endswith(end)
    return re.compile(fnmatch.translate(pattern), 0 if sensitive else re.IGNORECASE).match


class _Stream(io.RawIOBase):
    """A guest's file as a raw stream."""

    def __init__(self, place: _Place) -> None:
        super().__init__()
        self._place = place
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._place.stat.size}[whence]
        if start + offset < 0:
            raise ValueError("negative seek position")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readall(self) -> bytes:
        """What is left, in large pieces: the inherited one asks for 8 KiB at a time."""
        parts: list[bytes] = []
        while part := self.read(WHOLE_PIECE):
            parts.append(part)
        return b"".join(parts)

    def read(self, size: int | None = -1) -> bytes:
        """At most `size` bytes. The inherited one copies them twice."""
        if size is None or size < 0:
            return self.readall()
        try:
            data = self._place.filesystem.read(self._place.node, self._at, size)
        except GuestReadFailed as error:
            raise _about(self._place.path, error) from error
        self._at += len(data)
        return data

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def shown(path: str) -> str:
    """A guest's path as it may be shown: control characters and bytes that are not UTF-8 escaped."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in path
    )


def _length(name: str) -> int:
    """Bytes of a name. A name of letters that UTF-8 can't hold is longer than any."""
    try:
        return len(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        return LONGEST_NAME + LONGEST_PATH


def _bounded(path: str, asked: str) -> None:
    if _length(path) >= LONGEST_PATH:
        raise _absent(asked[:200], "the path is too long", "路径过长")


def _readlink(place: _Place) -> str:
    try:
        return place.filesystem.readlink(place.node)
    except GuestReadFailed as error:
        raise _about(place.path, error) from error


def _absent(path: str, why: str = "", zh: str = "") -> NotInGuest:
    return NotInGuest(
        Text(
            en=f"{shown(path)} is not in the guest{': ' + why if why else ''}.",
            zh=f"客户机中没有 {shown(path)}{'：' + zh if zh else ''}。",
        )
    )


def _about(path: str, error: GuestReadFailed) -> GuestReadFailed:
    why = error.statement()
    return GuestReadFailed(Text(en=f"{shown(path)}: {why.en}", zh=f"{shown(path)}：{why.zh}"))


def shown_few(paths: tuple[str, ...], most: int) -> list[str]:
    """The first paths as evidence, and how many more there are."""
    left = len(paths) - most
    return [*(shown(path)[:200] for path in paths[:most]), *([f"and {left} more"] if left > 0 else [])]
