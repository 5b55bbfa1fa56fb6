"""What the boot of a Windows reads, in order: the active partition, its boot sector, bootmgr, the BCD."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from imgtool.errors import CannotRead
from imgtool.guest.filesystem import open_filesystem
from imgtool.guest.tree import Tree
from imgtool.guest.windows.bcd import BootConfiguration, read_bcd
from imgtool.guest.windows.registry import open_hive
from imgtool.lazy import fact
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.volumes import Volume
    from imgtool.guest.windows.guest import WindowsGuest

BOOT_SECTORS = 8192
"""Bytes that NTFS keeps for the code of its boot sector ($Boot); FAT32's takes less."""
BIOS_STORE, UEFI_STORE = "/Boot/BCD", "/EFI/Microsoft/Boot/BCD"

Starts = Literal["bootmgr", "ntldr", "nothing known"]


@dataclass(frozen=True)
class Store:
    """A BCD that was found. volume: where; path: in it; tree: the files beside it."""

    volume: Volume
    path: str
    tree: Tree


class WindowsBoot:
    """Facts on the way from the partition table to the kernel. Each may raise CannotRead."""

    def __init__(self, guest: WindowsGuest) -> None:
        self._guest = guest

    @fact
    def active(self) -> Volume | None:
        """The volume of the active partition of an MBR."""
        return next(
            (
                it
                for it in self._guest.disk.volumes
                if it.partition is not None and it.partition.active and it.kind == "partition"
            ),
            None,
        )

    @fact
    def boot_sector(self) -> Starts:
        """What the active partition's boot sector loads, by the file name that its code holds."""
        volume = self.active
        if volume is None:
            return "nothing known"
        data = volume.blocks.read(0, min(BOOT_SECTORS, volume.blocks.size))
        names: tuple[Starts, ...] = ("bootmgr", "ntldr")
        for name in names:
            word = name.upper()
            if word.encode() in data or word.encode("utf-16-le") in data:
                return name
        return "nothing known"

    @fact
    def active_tree(self) -> Tree:
        """The files of the active partition. Raises CannotRead where there is none, or no reader for it."""
        volume = self.active
        if volume is None:
            raise CannotRead(Text(en="No partition is active.", zh="没有活动分区。"))
        return self._tree(volume)

    @fact
    def store(self) -> Store | None:
        """The BCD that a boot in BIOS mode reads: on the active partition."""
        volume = self.active
        if volume is None or not self.active_tree.is_file(BIOS_STORE):
            return None
        return Store(volume, BIOS_STORE, self.active_tree)

    @fact
    def other_stores(self) -> tuple[Store, ...]:
        """The BCDs elsewhere: on partitions that are not active, and for UEFI."""
        found = []
        for volume in self._guest.disk.volumes:
            if volume.signature.type not in ("ntfs", "vfat"):
                continue
            try:
                tree = self._tree(volume)
                paths = [BIOS_STORE] if volume is not self.active else []
                found += [Store(volume, path, tree) for path in (*paths, UEFI_STORE) if tree.is_file(path)]
            except CannotRead:
                continue
        return tuple(found)

    @fact
    def configuration(self) -> BootConfiguration:
        """The BCD of the active partition. Raises CannotRead where there is none, or a damaged one."""
        store = self.store
        if store is None:
            raise CannotRead(
                Text(en=f"The active partition has no {BIOS_STORE}.", zh=f"活动分区上没有 {BIOS_STORE}。")
            )
        return read_bcd(open_hive(store.tree, store.path))

    def read(self, store: Store) -> BootConfiguration:
        """Another BCD. Raises CannotRead."""
        return read_bcd(open_hive(store.tree, store.path))

    def _tree(self, volume: Volume) -> Tree:
        if volume is self._guest.root.volume:
            return self._guest.tree
        return Tree(open_filesystem(volume), volume)


def read_boot(guest: WindowsGuest) -> WindowsBoot:
    """The facts, none of them read yet."""
    return WindowsBoot(guest)


def default_volume(guest: WindowsGuest) -> Volume | None:
    """The volume that the default entry names, whichever Windows `guest` is. Raises CannotRead."""
    loader = guest.boot.configuration.default_loader
    device = (loader.os_device or loader.device) if loader is not None else None
    if device is None:
        return None
    if device.kind == "boot":
        return guest.boot.active
    for volume in guest.disk.volumes:
        partition = volume.partition
        if partition is not None and device.style == "mbr" and partition.start == device.offset:
            return volume
    return None
