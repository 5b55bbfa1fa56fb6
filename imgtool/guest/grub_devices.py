"""GRUB's names for this disk's volumes, and where in the guest's tree their files are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.disk.volumes import Volume
    from imgtool.guest.tree import Tree

_NAME = re.compile(r"(?:hd0|ahci0|ata0|usb0)(?:,(?:msdos|gpt)?([0-9]{1,3}))?(?:,[a-z]+\d+)*")
_PATH = re.compile(r"\(([^()]*)\)(.*)", re.DOTALL)


class Devices:
    """The disk as GRUB sees it: one disk, hd0. GRUB legacy counts partitions from 0 (`legacy`)."""

    def __init__(self, tree: Tree, disk: Disk, legacy: bool = False) -> None:
        self.tree = tree
        self.disk = disk
        self._first = 0 if legacy else 1

    def name_of(self, volume: Volume) -> str:
        """hd0,msdos1 for a partition, lvm/vg-lv for a logical volume, hd0 for the disk itself."""
        if volume.kind == "lv":
            group, _, logical = volume.name.partition("/")
            return f"lvm/{group.replace('-', '--')}-{logical.replace('-', '--')}"
        if volume.kind == "md":
            return f"md/{volume.name}"
        if volume.partition is None:
            return "hd0"
        table = "gpt" if self.disk.table.kind == "gpt" else "msdos"
        return f"hd0,{table}{volume.partition.number}"

    def volume(self, name: str) -> Volume | None:
        """The volume with a name of GRUB's; None for one on another disk, or no volume at all."""
        found = _NAME.fullmatch(name)
        for volume in self.disk.volumes:
            if volume.kind in ("lv", "md"):
                if name == self.name_of(volume):
                    return volume
            elif found and found[1] and volume.partition is not None:
                if volume.partition.number == int(found[1]) + 1 - self._first:
                    return volume
            elif found and not found[1] and volume.kind == "disk":
                return volume
        return None

    def search(self, option: str, value: str) -> str | None:
        """What `search --fs-uuid`, `--label`, `--part-label` or `--file` finds."""
        for volume in self.disk.volumes:
            signature = volume.signature
            if signature.type in ("", "LVM2_member", "linux_raid_member", "swap"):
                continue
            if (
                (option == "uuid" and signature.uuid.lower() == value.lower())
                or (option == "label" and signature.label == value)
                or (
                    option == "part-label" and volume.partition is not None and volume.partition.name == value
                )
                or (option == "file" and self._holds(volume, value))
            ):
                return self.name_of(volume)
        return None

    def home(self, path: str) -> tuple[str, str]:
        """A path of the tree as GRUB names it: the device, and the path on it."""
        real = self.tree.realpath(path)
        mount = max(
            (it for it in self.tree.mounts if it in ("/", real) or real.startswith(it + "/")), key=len
        )
        return self.name_of(self.tree.mounts[mount]), "/" + real[len(mount.rstrip("/")) :].lstrip("/")

    def place(self, path: str, root: str) -> str:
        """Where in the tree the file is that GRUB calls `(device)/path`, or `/path` on its $root.

        A device that is mounted nowhere in the tree, or a name that GRUB alone knows (lvmid/..., a disk
        behind a controller's own name): the file is looked for where guests have it, in / and in /boot.
        """
        found = _PATH.fullmatch(path)
        device, inside = (found[1], found[2]) if found else (root, path)
        inside = "/" + inside.lstrip("/")
        volume = self.volume(device)
        mounts = [] if volume is None else self._mounts(volume)
        candidates = [mount.rstrip("/") + inside for mount in mounts]
        if volume is not None and volume.signature.type == "btrfs":
            # GRUB counts from the top of btrfs, the tree from the subvolume that is mounted: /@/boot,
            # /@rootfs/boot, /@/.snapshots/1/snapshot/boot
            candidates += self._below_own_subvolume(inside)
            candidates += [mount.rstrip("/") + "/" + inside[1:].partition("/")[2] for mount in mounts]
            candidates.append(inside)
        if not mounts:
            candidates += [inside, "/boot" + inside]
        return next((it for it in candidates if self.tree.exists(it)), candidates[0])

    def _below_own_subvolume(self, inside: str) -> list[str]:
        from imgtool.guest.filesystem import HasSubvolumes
        from imgtool.guest.subvolumes import own

        if not isinstance(self.tree.filesystem, HasSubvolumes):
            return []
        here = own(self.tree.filesystem)
        prefix = here.path.rstrip("/") + "/" if here else "/"
        return [inside[len(prefix) - 1 :]] if inside.startswith(prefix) else []

    def _mounts(self, volume: Volume) -> list[str]:
        here = [mount for mount, mounted in self.tree.mounts.items() if mounted.name == volume.name]
        return sorted(here, key=len)

    def _holds(self, volume: Volume, path: str) -> bool:
        inside = "/" + path.lstrip("/")
        return any(self.tree.exists(mount.rstrip("/") + inside) for mount in self._mounts(volume))
