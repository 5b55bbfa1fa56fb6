"""The real editor: a guest's volumes mounted in the appliance of libguestfs, never on this machine.

Everything happens below the guest's root, chrooted by libguestfs: a link in the guest leads nowhere else.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgtool.appliance import GuestfsError
from imgtool.repair.editor import EditFailed, RegistryValue, failed
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.repair.editor import Device

PIECE = 2 << 20
"""Bytes of a message to the appliance; libguestfs takes 4 MiB."""
SAID = 400
_LASTING = "ia"  # chattr's immutable and append-only


class ApplianceEditor:
    """A GuestEditor over a launched handle of libguestfs whose disk is the first."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    # volumes

    def mount(self, mounts: Mapping[str, Device]) -> None:
        """Mount the guest's volumes as its tree has them, the root first. Raises EditFailed."""
        for point in sorted(mounts, key=lambda point: (point.count("/") if point != "/" else 0, point)):
            device = mounts[point]
            name = self.name_of(device)
            with _told(Text(f"{device.name} can't be mounted", f"无法挂载 {device.name}")):
                if point != "/" and not self._handle.is_dir(point):
                    self._handle.mkdir_p(point)
                self._handle.mount_options(device.options, name, point)
        self._require_writable(mounts)

    def _require_writable(self, mounts: Mapping[str, Device]) -> None:
        """A filesystem that the kernel found damaged is mounted read-only without a word."""
        for point, device in mounts.items():
            probe = f"{point.rstrip('/')}/.imgtool-{id(self):x}"
            with _told(Text(f"{device.name} can't be written to", f"{device.name} 无法写入")):
                self._handle.touch(probe)
                self._handle.rm(probe)

    def unmount(self) -> None:
        """Write everything out and unmount it."""
        with _told(Text("The changes can't be written out", "无法写入更改")):
            self._handle.sync()
            self._handle.umount_all()

    def name_of(self, device: Device) -> str:
        """What the appliance calls a volume. Raises EditFailed where it is not there."""
        name = f"/dev/sda{device.number or ''}" if device.kind in ("partition", "disk") else ""
        if device.kind == "lv":
            name = f"/dev/{device.name}"
        with _told(Text("The volumes can't be listed", "无法列出卷")):
            there = dict(self._handle.list_filesystems())
            if name in there:
                return name
            for other in there:
                if device.uuid and self._handle.vfs_uuid(other) == device.uuid:
                    return str(other)
        raise EditFailed(
            Text(
                en=f"libguestfs does not find {device.name} on the disk.",
                zh=f"libguestfs 未在磁盘上找到 {device.name}。",
            )
        )

    def check_filesystem(self, device: Device, *, replay_only: bool = False) -> None:
        name = self.name_of(device)
        with _told(Text(f"{device.name} can't be repaired", f"无法修复 {device.name}")):
            if replay_only:
                self._replay(name)
            elif device.type in ("ext2", "ext3", "ext4"):
                self._handle.e2fsck(name, forceall=True)
            elif device.type == "xfs":
                self._replay(name)
                self._handle.xfs_repair(name)
            elif device.type == "vfat":
                self._handle.fsck("vfat", name)
            else:
                self._replay(name)

    def _replay(self, device: str) -> None:
        """Mounting a filesystem once replays its journal."""
        self._handle.mount(device, "/")
        self._handle.umount("/")

    # files

    def read(self, path: str) -> bytes | None:
        with _told(Text(f"{path} can't be read", f"无法读取 {path}")):
            if not self._handle.is_file(path):
                return None
            if self._handle.filesize(path) <= PIECE:
                return bytes(self._handle.read_file(path))
            with tempfile.NamedTemporaryFile(prefix="imgtool-") as file:
                self._handle.download(path, file.name)
                return Path(file.name).read_bytes()

    def write(self, path: str, content: bytes) -> None:
        def change() -> None:
            folder = path.rpartition("/")[0]
            if folder and not self._handle.is_dir(folder):
                self._handle.mkdir_p(folder)
            in_the_way = self._handle.exists(path) and not self._handle.is_file(path)
            if in_the_way or self._handle.is_symlink(path):  # exists() follows links
                raise EditFailed(Text(f"{path} is no regular file.", f"{path} 不是普通文件。"))
            self._handle.write(path, content[:PIECE])
            self._append(path, content[PIECE:])

        self._change(path, change)

    def append(self, path: str, content: bytes) -> None:
        self._change(path, lambda: self._append(path, content))

    def _append(self, path: str, content: bytes) -> None:
        for start in range(0, len(content), PIECE):
            self._handle.write_append(path, content[start : start + PIECE])

    def remove(self, path: str) -> None:
        self._change(path, lambda: self._handle.rm_rf(path))

    def chmod(self, path: str, mode: int) -> None:
        self._change(path, lambda: self._handle.chmod(mode, path))

    def chown(self, path: str, uid: int, gid: int) -> None:
        self._change(path, lambda: self._handle.chown(uid, gid, path))

    def mkdir(self, path: str) -> None:
        self._change(path, lambda: self._handle.mkdir_p(path))

    def symlink(self, path: str, target: str) -> None:
        def change() -> None:
            folder = path.rpartition("/")[0]
            if folder and not self._handle.is_dir(folder):
                self._handle.mkdir_p(folder)
            self._handle.rm_f(path)  # ln -sf makes the link inside what a link to a folder leads to
            self._handle.ln_s(target, path)

        self._change(path, change)

    def run(self, command: str, *, network: bool = False) -> str:
        shown = command[:200]
        with _told(Text(f"The guest's own command failed ({shown})", f"客户机命令失败（{shown}）")):
            try:
                return str(self._handle.sh(command))
            except GuestfsError as error:  # what was said last tells most
                raise GuestfsError(" ".join(str(error).split())[-SAID:]) from error

    def _change(self, path: str, change: Callable[[], None]) -> None:
        """Make a change; an immutable file is made mutable for it, and immutable again."""
        with _told(Text(f"{path} can't be changed", f"无法修改 {path}")):
            try:
                change()
                return
            except GuestfsError:
                held = self._lasting(path)
                if not held:
                    raise
            self._handle.set_e2attrs(path, held, clear=True)
            change()
            if self._handle.exists(path):
                self._handle.set_e2attrs(path, held)

    def _lasting(self, path: str) -> str:
        try:
            return "".join(letter for letter in self._handle.get_e2attrs(path) if letter in _LASTING)
        except GuestfsError:
            return ""

    # the registry

    def registry_set(self, hive: str, key: str, name: str, value: RegistryValue) -> None:
        number, data = value.encoded()
        with self._hive(hive) as root:
            node = root
            for part in _parts(key):
                child = self._handle.hivex_node_get_child(node, part)
                node = child or self._handle.hivex_node_add_child(node, part)
            self._handle.hivex_node_set_value(node, name, number, data)

    def registry_delete(self, hive: str, key: str, name: str | None = None) -> None:
        with self._hive(hive) as root:
            node = root
            for part in _parts(key):
                node = self._handle.hivex_node_get_child(node, part)
                if not node:
                    return
            if name is None:
                self._handle.hivex_node_delete_child(node)
            else:
                self._delete_value(node, key, name)

    def _delete_value(self, node: int, key: str, name: str) -> None:
        """Make the key anew with its other values: libguestfs sets values, and takes none away."""
        hive = self._handle
        values = [it["hivex_value_h"] for it in hive.hivex_node_values(node)]
        kept = [
            (hive.hivex_value_key(it), hive.hivex_value_type(it), hive.hivex_value_value(it)) for it in values
        ]
        left = [it for it in kept if it[0].lower() != name.lower()]
        if left == kept:
            return
        if hive.hivex_node_children(node):
            raise EditFailed(
                Text(
                    en=f"The value {name} of {key} can't be removed: the key has others below it.",
                    zh=f"无法删除 {key} 的值 {name}：该键下还有子键。",
                )
            )
        parent, own = hive.hivex_node_parent(node), hive.hivex_node_name(node)
        hive.hivex_node_delete_child(node)
        node = hive.hivex_node_add_child(parent, own)
        for value in left:
            hive.hivex_node_set_value(node, *value)

    @contextmanager
    def _hive(self, path: str) -> Iterator[int]:
        with _told(Text(f"The registry hive {path} can't be changed", f"无法修改注册表文件 {path}")):
            self._handle.hivex_open(path, write=True)
            try:
                yield self._handle.hivex_root()
                self._handle.hivex_commit(None)
            finally:
                self._handle.hivex_close()


def _parts(key: str) -> list[str]:
    return [part for part in key.split("\\") if part]


@contextmanager
def _told(what: Text) -> Iterator[None]:
    """What libguestfs raises for everything, a dead appliance included, as EditFailed."""
    try:
        yield
    except GuestfsError as error:
        raise failed(what, str(error)[:500]) from error
