"""A folder of this machine that stands for a guest: read as a filesystem, changed by an editor.

For tests, and for trees that are no image. Owners and modes are kept beside the files, since an ordinary user
can't give files away, nor read what nobody may read.
"""

from __future__ import annotations

import os
import shutil
import stat as modes
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imgtool.guest.filesystem import NotInGuest, Stat
from imgtool.repair.editor import EditFailed, RegistryValue, failed
from imgtool.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imgtool.repair.editor import Device

Owners = dict[str, tuple[int, int, int]]
_KINDS = {modes.S_IFREG: "file", modes.S_IFDIR: "directory", modes.S_IFLNK: "symlink"}


class DirectoryFilesystem:
    """The folder, as imgtool.guest.filesystem.Filesystem. owned: (mode, uid, gid) of guest paths; all other
    files are root's, with their mode on this machine."""

    label = ""
    case_sensitive = True
    root = 0

    def __init__(
        self, folder: Path, owned: Owners | None = None, type_: str = "ext4", uuid: str = ""
    ) -> None:
        self.folder = folder
        self.owned: Owners = owned if owned is not None else {}
        self.type = type_
        self.uuid = uuid
        self._paths = ["/"]

    def lookup(self, directory: int, name: str) -> int | None:
        path = f"{self._paths[directory].rstrip('/')}/{name}"
        if not os.path.lexists(_host(self.folder, path)):
            return None
        if path not in self._paths:
            self._paths.append(path)
        return self._paths.index(path)

    def names(self, directory: int) -> list[str]:
        return os.listdir(_host(self.folder, self._paths[directory]))

    def stat(self, node: int) -> Stat:
        path = self._paths[node]
        try:
            found = os.lstat(_host(self.folder, path))
        except FileNotFoundError as error:
            raise NotInGuest(Text.same(f"{path} is not there")) from error
        kind = _KINDS.get(modes.S_IFMT(found.st_mode), "other")
        made = Stat(kind, modes.S_IMODE(found.st_mode), 0, 0, found.st_size, found.st_mtime)  # type: ignore[arg-type]
        if path in self.owned:
            mode, uid, gid = self.owned[path]
            made = replace(made, mode=mode, uid=uid, gid=gid)
        return made

    def readlink(self, node: int) -> str:
        return os.readlink(_host(self.folder, self._paths[node]))

    def read(self, node: int, offset: int, length: int) -> bytes:
        with open(_host(self.folder, self._paths[node]), "rb") as file:
            file.seek(offset)
            return file.read(length)


class DirectoryEditor:
    """Changes the folder, as imgtool.repair.editor.GuestEditor. Commands are not run but noted in `ran`,
    values of the registry in `registry`."""

    def __init__(self, filesystem: DirectoryFilesystem) -> None:
        self.folder = filesystem.folder
        self.owned = filesystem.owned
        self.ran: list[str] = []
        self.checked: list[str] = []
        self.registry: dict[tuple[str, str, str | None], RegistryValue | None] = {}

    def read(self, path: str) -> bytes | None:
        host = self._place(path)
        return host.read_bytes() if host.is_file() and not host.is_symlink() else None

    def write(self, path: str, content: bytes) -> None:
        with _told(path):
            host = self._made(path)
            if host.is_symlink() or host.is_dir():
                raise EditFailed(Text.same(f"{path} is no regular file"))
            new = not host.exists()
            host.write_bytes(content)
            if new:
                self.owned[path] = (0o644, 0, 0)

    def append(self, path: str, content: bytes) -> None:
        with _told(path), open(self._place(path), "r+b") as file:
            file.seek(0, os.SEEK_END)
            file.write(content)

    def remove(self, path: str) -> None:
        with _told(path):
            host = self._place(path)
            if host.is_dir() and not host.is_symlink():
                shutil.rmtree(host)
            else:
                host.unlink(missing_ok=True)
            for name in [name for name in self.owned if name == path or name.startswith(f"{path}/")]:
                del self.owned[name]

    def chmod(self, path: str, mode: int) -> None:
        _, uid, gid = self._owner(path)
        self.owned[path] = (mode, uid, gid)

    def chown(self, path: str, uid: int, gid: int) -> None:
        self.owned[path] = (self._owner(path)[0], uid, gid)

    def mkdir(self, path: str) -> None:
        with _told(path):
            self._made(path).mkdir(exist_ok=True)

    def symlink(self, path: str, target: str) -> None:
        with _told(path):
            host = self._made(path)
            if os.path.lexists(host):
                host.unlink()
            host.symlink_to(target)

    def registry_set(self, hive: str, key: str, name: str, value: RegistryValue) -> None:
        self.registry[hive, key, name] = value

    def registry_delete(self, hive: str, key: str, name: str | None = None) -> None:
        self.registry[hive, key, name] = None

    def run(self, command: str, *, network: bool = False) -> str:
        self.ran.append(command)
        return ""

    def check_filesystem(self, device: Device, *, replay_only: bool = False) -> None:
        self.checked.append(device.name)

    def _owner(self, path: str) -> tuple[int, int, int]:
        with _told(path):
            found = os.lstat(self._place(path))
            return self.owned.get(path, (modes.S_IMODE(found.st_mode), 0, 0))

    def _made(self, path: str) -> Path:
        """Where a path is on this machine, with the folders that lead to it."""
        host = self._place(path)
        host.parent.mkdir(parents=True, exist_ok=True)
        return host

    def _place(self, path: str) -> Path:
        """Where a path is on this machine. Raises EditFailed where a link would lead away from it."""
        host = self.folder
        parts = [part for part in path.split("/") if part]
        if ".." in parts:
            raise EditFailed(Text.same(f"{path} has .. in it"))
        for part in parts[:-1]:
            host /= part
            if host.is_symlink():
                raise EditFailed(Text.same(f"{path} leads through the link {part}"))
        return host / parts[-1] if parts else host


def _host(folder: Path, path: str) -> Path:
    return folder / path.lstrip("/")


@contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = Text(en=f"{path} can't be changed", zh=f"无法修改 {path}")
        raise failed(what, error.strerror or str(error)) from error
