"""Editors over guests that the fixtures describe: a plan's steps change the description, and the disk is made
anew from it, by the same tools. So a plan is proven on a whole disk without an appliance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fixtures.distributions.tree import Node, Tree
from fixtures.windows.disk import Windows
from fixtures.windows.hive import typed
from fixtures.windows.system import Tree as Keys
from imgtool.repair.editor import Device, EditFailed, RegistryValue
from imgtool.text import Text


class TreeEditor:
    """A GuestEditor over a distribution's files. Commands are refused; filesystems to check are noted."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.checked: list[Device] = []

    def read(self, path: str) -> bytes | None:
        node = self._node(path)
        return node.data if node is not None and not node.is_link and not node.is_folder else None

    def write(self, path: str, content: bytes) -> None:
        node = self._node(path)
        if node is not None and (node.is_link or node.is_folder):
            raise EditFailed(Text.same(f"{path} is no regular file"))
        if node is None:
            self.tree.write(path, content)
        else:
            self.tree.nodes[path] = replace(node, data=content)

    def append(self, path: str, content: bytes) -> None:
        node = self.tree.nodes[self._own(path)]
        self.tree.nodes[path] = replace(node, data=node.data + content)

    def remove(self, path: str) -> None:
        for it in [it for it in self.tree.nodes if it == self._own(path) or it.startswith(f"{path}/")]:
            del self.tree.nodes[it]

    def chmod(self, path: str, mode: int) -> None:
        self.tree.mode(self._own(path), mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        self.tree.nodes[path] = replace(self.tree.nodes[self._own(path)], uid=uid, gid=gid)

    def mkdir(self, path: str) -> None:
        self.tree.folder(self._own(path))

    def symlink(self, path: str, target: str) -> None:
        self.tree.link(self._own(path), target)

    def registry_set(self, hive: str, key: str, name: str, value: RegistryValue) -> None:
        raise NotImplementedError

    def registry_delete(self, hive: str, key: str, name: str | None = None) -> None:
        raise NotImplementedError

    def run(self, command: str, *, network: bool = False) -> str:
        raise AssertionError(f"a program of the guest was to be run: {command}")

    def check_filesystem(self, device: Device, *, replay_only: bool = False) -> None:
        self.checked.append(device)

    def _node(self, path: str) -> Node | None:
        return self.tree.nodes.get(self._own(path))

    def _own(self, path: str) -> str:
        """The path, which steps give without links."""
        if self.tree.real(path) != path:
            raise EditFailed(Text.same(f"{path} leads through a link"))
        return path


class WindowsEditor:
    """A GuestEditor over a Windows before it is written: files on C, and the hives as trees."""

    def __init__(self, made: Windows) -> None:
        self.made = made

    def read(self, path: str) -> bytes | None:
        return self.made.files.get(self._there(path))

    def write(self, path: str, content: bytes) -> None:
        self.made.files[self._there(path)] = content

    def append(self, path: str, content: bytes) -> None:
        self.write(path, (self.read(path) or b"") + content)

    def remove(self, path: str) -> None:
        gone = self._there(path)
        for it in [it for it in self.made.files if it == gone or it.startswith(f"{gone}/")]:
            del self.made.files[it]
        for place in [it for it in self.made.streams if it[0] == gone]:
            del self.made.streams[place]

    def chmod(self, path: str, mode: int) -> None:
        raise AssertionError("NTFS has no modes")

    def chown(self, path: str, uid: int, gid: int) -> None:
        raise AssertionError("NTFS has no such owners")

    def mkdir(self, path: str) -> None:
        self.made.files.setdefault(self._there(path), None)

    def symlink(self, path: str, target: str) -> None:
        raise NotImplementedError

    def registry_set(self, hive: str, key: str, name: str, value: RegistryValue) -> None:
        keys = self._hive(hive)
        values = keys.setdefault(_same(keys, key), {})
        values[_same(values, name)] = typed(*value.encoded())

    def registry_delete(self, hive: str, key: str, name: str | None = None) -> None:
        keys = self._hive(hive)
        here = _same(keys, key)
        if name is not None:
            keys.get(here, {}).pop(_same(keys.get(here, {}), name), None)
            return
        for it in [it for it in keys if f"{it}\\".lower().startswith(f"{here}\\".lower())]:
            del keys[it]

    def run(self, command: str, *, network: bool = False) -> str:
        raise AssertionError(f"a program of the guest was to be run: {command}")

    def check_filesystem(self, device: Device, *, replay_only: bool = False) -> None:
        raise NotImplementedError

    def _there(self, path: str) -> str:
        return _same(self.made.files, path.lstrip("/"))

    def _hive(self, path: str) -> Keys:
        found: Keys = getattr(self.made, Path(path).name.lower())
        return found


def _same(names: object, wanted: str) -> str:
    """The name as it is there, in whatever case."""
    assert isinstance(names, dict)
    return next((name for name in names if name.lower() == wanted.lower()), wanted)
