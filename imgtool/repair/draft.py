"""A guest as it will be: what fixes change here is only noted, as the steps of a plan.

The tree reads as the guest's own with the changes laid over it, so that rules can judge what is not made yet,
and a fix sees what those before it have done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead, Stated
from imgtool.guest.filesystem import NotInGuest
from imgtool.guest.tree import Tree, shown
from imgtool.repair.draft_filesystem import DraftFilesystem, new_stat
from imgtool.repair.editor import Device
from imgtool.repair.steps import (
    Append,
    CheckFilesystem,
    Chmod,
    Edit,
    Link,
    Mkdir,
    Registry,
    Remove,
    Run,
    Step,
)
from imgtool.repair.steps import Upload as Uploaded
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.volumes import Volume
    from imgtool.guest.root import Root
    from imgtool.repair.editor import RegistryValue

LARGEST_EDITED = 16 << 20
"""Bytes of a file that is edited as a whole."""
WITHOUT_MODES = ("vfat", "exfat", "ntfs")
PIECE = 4 << 20
KEPT_FREE = 1 << 20
"""Bytes of a volume that a plan leaves free."""
KEPT_INODES = 8
FIXED_INODES = ("ext2", "ext3", "ext4")
"""Filesystems whose inodes are counted when they are made; others make them out of free space."""


class CannotMend(Stated):
    """Why a finding is left as it is."""


class DraftTree(Tree):
    """The guest's tree over filesystems that take notes."""

    def __init__(self, tree: Tree) -> None:
        self.laid: dict[str, DraftFilesystem] = {"/": DraftFilesystem(tree.filesystem)}
        super().__init__(self.laid["/"], tree.mounts["/"])
        self.mounts = dict(tree.mounts)
        self.unreadable_mounts = dict(tree.unreadable_mounts)
        for path, filesystem in tree.mounted.items():
            self.laid[path] = DraftFilesystem(filesystem)
            self._mounted[path] = self.laid[path]

    def place(self, path: str) -> tuple[DraftFilesystem, int, str]:
        """The filesystem, the node and the path without links of something that is there."""
        found = self._resolve(path)
        assert isinstance(found.filesystem, DraftFilesystem)  # noqa: S101 - all of them are
        return found.filesystem, found.node, found.path

    def changed(self) -> None:
        """What was kept of earlier answers may be wrong now."""
        self._places.clear()

    def options_of(self, point: str) -> str:
        """What the volume at a mount point is to be mounted with: a btrfs by its subvolume's number."""
        number = getattr(self.laid[point], "subvolume", 0) if point in self.laid else 0
        return f"subvolid={number}" if number else ""

    def is_in_place(self, point: str) -> bool:
        """Whether a mount point is a folder, or nothing yet, on a way without links: the appliance's kernel
        would follow them out of the guest."""
        folder, _, name = point.rpartition("/")
        try:
            filesystem, node, real = self.place(folder or "/")
            below = filesystem.lookup(node, name) if name else None
            is_folder = below is None or filesystem.stat(below).kind == "directory"
        except CannotRead:
            return False
        return is_folder and name != ".." and real == (folder or "/")

    def volume_of(self, path: str) -> Volume:
        """The volume that a path without links lies on."""
        points = [point for point in self.mounts if _is_below(path, point)]
        return self.mounts[max(points, key=len)]


class Draft:
    """What fixes write to. mending: the id of the rule that is being mended."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.tree = DraftTree(root.tree)
        self.steps: list[Step] = []
        self.mending = ""
        self.left: dict[str, Text] = {}
        self._grown: dict[str, int] = {}
        self._made: dict[str, int] = {}

    def read(self, path: str) -> bytes:
        """As Tree.read, for files that are edited as a whole."""
        return self.tree.read(path, LARGEST_EDITED)

    def text(self, path: str) -> str:
        """The file as it is: line ends and what is not UTF-8 stay (surrogate escapes)."""
        return self.read(path).decode("utf-8", "surrogateescape")

    def edit(self, path: str, change: Callable[[str], str], why: Text | None = None) -> bool:
        """Change the text of a file that is there; whether that made a difference."""
        before = self.text(path)
        after = change(before)
        if after == before:
            return False
        self.write(path, after, why=why)
        return True

    def write(
        self,
        path: str,
        content: bytes | str,
        *,
        mode: int = 0o644,
        uid: int = 0,
        gid: int = 0,
        why: Text | None = None,
    ) -> None:
        """Give a file this content. One that is there keeps owner and mode (so `mode` is for new ones)."""
        data = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        tree = self.tree
        if not tree.is_file(path):
            real = self._new(path)
            if tree.glob(_literal(real)):
                raise _in_the_way(real)
            self.need_room(real, len(data), files=1)
            folder, name = real.rsplit("/", 1)
            filesystem, node, _ = tree.place(folder or "/")
            filesystem.make(node, name, new_stat("file", mode, len(data), uid, gid), data)
            kept = None if filesystem.type in WITHOUT_MODES else mode
            self._note(Uploaded(real, data, kept, uid, gid, mends=self.mending, why=why))
            return
        before = self.read(path)
        if before == data:
            return
        filesystem, node, real = tree.place(path)
        self.need_room(real, len(data) - len(before))
        filesystem.set_content(node, data)
        self._note(Edit(real, before, data, mends=self.mending, why=why))

    def append(self, path: str, content: bytes, holds: tuple[str, ...] = (), why: Text | None = None) -> None:
        """Put bytes behind the end of a file that is there."""
        filesystem, node, real = self.tree.place(path)
        size = filesystem.stat(node).size
        digest = _digest(filesystem, node, size)
        self.need_room(real, len(content))
        filesystem.append(node, content)
        self._note(Append(real, size, digest, content, holds, mends=self.mending, why=why))

    def replace(self, path: str, content: bytes, why: Text | None = None) -> None:
        """Another content for a large file that is there, without a diff."""
        filesystem, node, real = self.tree.place(path)
        stat = filesystem.stat(node)
        digest = _digest(filesystem, node, stat.size)
        self.need_room(real, len(content) - stat.size)
        filesystem.set_content(node, content)
        mode = None if filesystem.type in WITHOUT_MODES else stat.mode
        self._note(Uploaded(real, content, mode, stat.uid, stat.gid, digest, mends=self.mending, why=why))

    def remove(self, path: str, why: Text | None = None) -> None:
        """Remove a file, a link itself, or a folder with all in it. Nothing where it is not there."""
        parent, _, name = path.rstrip("/").rpartition("/")
        try:
            filesystem, node, folder = self.tree.place(parent or "/")
        except NotInGuest:
            return
        real = f"{folder.rstrip('/')}/{name}"
        if any(_is_below(point, real) for point in self.tree.mounts if point != "/"):
            raise CannotMend(Text(en=f"A volume is mounted at {real}.", zh=f"{real} 上挂载了卷。"))
        if filesystem.lookup(node, name) is None:
            return
        filesystem.unlink(node, name)
        self._note(Remove(real, mends=self.mending, why=why))

    def mkdir(self, path: str, why: Text | None = None) -> None:
        """Make a folder and those that lead to it."""
        if self.tree.is_dir(path):
            return
        real = self._new(f"{path.rstrip('/')}/.").removesuffix("/.")
        self._note(Mkdir(real, mends=self.mending, why=why))

    def symlink(self, path: str, target: str, why: Text | None = None) -> None:
        """Make a link, in place of whatever file or link has that name."""
        tree = self.tree
        if tree.glob(path):
            found = tree.lstat(path)
            if found.kind == "symlink" and tree.readlink(path) == target:
                return
            if found.kind == "directory":
                raise CannotMend(Text(en=f"{path} is a directory.", zh=f"{path} 是目录。"))
        real = self._new(path)
        if not tree.glob(_literal(real)):
            self.need_room(real, 0, files=1)
        folder, name = real.rsplit("/", 1)
        filesystem, node, _ = tree.place(folder or "/")
        filesystem.make(node, name, new_stat("symlink", 0o777, len(target)), target)
        self._note(Link(real, target, mends=self.mending, why=why))

    def chmod(
        self, path: str, mode: int, uid: int | None = None, gid: int | None = None, why: Text | None = None
    ) -> None:
        """Another mode, and owner where given, for what the path leads to."""
        filesystem, node, real = self.tree.place(path)
        found = filesystem.stat(node)
        new = mode, found.uid if uid is None else uid, found.gid if gid is None else gid
        if new == (found.mode, found.uid, found.gid):
            return
        filesystem.set_owner(node, *new)
        self._note(Chmod(real, *new, mends=self.mending, why=why))

    def registry_set(
        self, hive: str, key: str, name: str, value: RegistryValue, why: Text | None = None
    ) -> None:
        """Note a value that is to be set. The draft's hive does not show it."""
        real = self._written_out(hive)
        self._note(Registry(real, key, name, value, mends=self.mending, why=why))

    def registry_delete(self, hive: str, key: str, name: str | None = None, why: Text | None = None) -> None:
        """Note a value, or with name None a key, that is to go. The draft's hive does not show it."""
        real = self._written_out(hive)
        self._note(Registry(real, key, name, None, mends=self.mending, why=why))

    def _written_out(self, hive: str) -> str:
        """The hive's path without links. One that Windows had not written out gets what its logs hold first.

        Whoever changes such a hive makes it whole, and Windows then drops its logs with up to an hour of
        changes. Raises CannotRead where they can't be read.
        """
        from imgtool.guest.windows.registry import open_hive

        found = open_hive(self.tree, hive)
        if found.replayed is not None:
            self.replace(
                hive,
                found.written_out(),
                why=Text(
                    "Windows was writing this hive when the image was made: what its logs hold goes into it"
                    " first.",
                    "制作镜像时 Windows 正在写入此配置单元：先将其日志中的更改写入。",
                ),
            )
        return self.tree.realpath(hive)

    def run(self, command: str, *, network: bool = False, why: Text | None = None) -> None:
        """Note a command of the guest's own. What it will do, the draft does not show."""
        self._note(Run(command, network, mends=self.mending, why=why))

    def check_filesystem(self, volume: Volume, *, replay_only: bool = False, why: Text | None = None) -> None:
        """Note that a filesystem is to be checked by its own tool, or its journal replayed."""
        self._note(CheckFilesystem(Device.of(volume), replay_only, mends=self.mending, why=why))

    def leave(self, why: Text) -> None:
        """Say why the rule that is being mended stays broken for now, though its steps are made."""
        self.left[self.mending] = why

    def need_room(self, real: str, size: int, files: int = 0) -> None:
        """Raise CannotMend where the volume of a path has no room for so many more bytes, or for so many
        more files and folders."""
        volume = self.tree.volume_of(real)
        details = volume.signature.details
        if files and volume.signature.type in FIXED_INODES and "free_inodes" in details:
            free = details["free_inodes"] - self._made.get(volume.name, 0)
            if files > free - KEPT_INODES:
                raise CannotMend(
                    Text(
                        en=f"{volume.name} has no inodes left: {real} needs {files}, {free} are free. "
                        "Remove files first.",
                        zh=f"{volume.name} 的 inode 不足：{real} 需要 {files} 个，仅剩 {free} 个。"
                        "请先删除一些文件。",
                    )
                )
            self._made[volume.name] = self._made.get(volume.name, 0) + files
        if size <= 0:
            return
        if "free_blocks" not in details or "block_size" not in details:
            return
        free = details["free_blocks"] * details["block_size"] - self._grown.get(volume.name, 0)
        if size + KEPT_FREE > free:
            mib = f"{free / (1 << 20):.1f} MiB"
            need = f"{size / (1 << 20):.1f} MiB"
            raise CannotMend(
                Text(
                    en=f"{volume.name} is full: {real} needs {need} more, {mib} are free. Make room first.",
                    zh=f"{volume.name} 空间不足：{real} 还需要 {need}，仅剩 {mib}。请先清理空间。",
                )
            )
        self._grown[volume.name] = self._grown.get(volume.name, 0) + size

    def saved(self) -> Callable[[], None]:
        """What takes the draft back to how it is now."""
        steps, grown, made = len(self.steps), dict(self._grown), dict(self._made)
        laid = [filesystem.saved() for filesystem in self.tree.laid.values()]

        def restore() -> None:
            del self.steps[steps:]
            self._grown, self._made = grown, made
            for back in laid:
                back()
            self.tree.changed()

        return restore

    def _note(self, step: Step) -> None:
        self.steps.append(step)
        self.tree.changed()

    def _new(self, path: str) -> str:
        """The path without links of something that is to be made, its folders made where they are not there.

        Raises CannotMend where a part of the way is no folder, or a link that leads nowhere.
        """
        tree = self.tree
        parts = [part for part in path.split("/") if part]
        here = "/"
        for part in parts[:-1]:
            below = f"{here.rstrip('/')}/{part}"
            if tree.is_dir(below):
                here = tree.realpath(below)
                continue
            if tree.glob(_literal(below)):
                raise CannotMend(
                    Text(
                        en=f"{shown(below)} is no folder, so {shown(path)} can't be made.",
                        zh=f"{shown(below)} 不是目录，无法创建 {shown(path)}。",
                    )
                )
            self.need_room(below, 0, files=1)
            filesystem, node, _ = tree.place(here)
            filesystem.make(node, part, new_stat("directory", 0o755))
            tree.changed()
            here = below
        real = f"{here.rstrip('/')}/{parts[-1]}"
        if tree.is_dir(real) and parts[-1] != ".":
            raise CannotMend(Text(en=f"{shown(real)} is a folder.", zh=f"{shown(real)} 是目录。"))
        return real


def _in_the_way(path: str) -> CannotMend:
    return CannotMend(
        Text(
            en=f"{shown(path)} is there and is no file, or is a link that leads to none: it is left alone.",
            zh=f"{shown(path)} 已存在且不是普通文件，或是指向不存在文件的链接，不作修改。",
        )
    )


def _digest(filesystem: DraftFilesystem, node: int, size: int) -> str:
    """The SHA-256 of a file as it is before a step, which it is held against when the step is made."""
    made = hashlib.sha256()
    for start in range(0, size, PIECE):
        made.update(filesystem.read(node, start, min(PIECE, size - start)))
    return made.hexdigest()


def _literal(path: str) -> str:
    """A path as a pattern that matches it alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in path)


def _is_below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
