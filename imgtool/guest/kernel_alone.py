"""A kernel that is given no initramfs: what it must have built in, and by which names it finds its root.

UUID= and LABEL= stand in the filesystem, and logical volumes in their group; only programs look there, and
those are in the initramfs. The kernel itself knows devices by name and number, and partitions by what the
partition table says of them (block/early-lookup.c of Linux; init/do_mounts.c before 6.4).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead

if TYPE_CHECKING:
    from imgtool.disk.volumes import Volume
    from imgtool.guest.bootloader import BootEntry
    from imgtool.guest.kernels import Kernel
    from imgtool.guest.linux import LinuxGuest
    from imgtool.guest.modules import Place

DISK_DRIVERS = ("virtio_pci", "virtio_blk")
_FILESYSTEMS = {"ext2": ("ext4", "ext2"), "ext3": ("ext4", "ext3"), "ext4": ("ext4",)}
_ALIKE = ("xfs", "btrfs", "f2fs", "jfs", "reiserfs")
_KNOWN = re.compile(r"PARTUUID=.+|PARTLABEL=.+|/dev/(?!disk/|mapper/)[^/]+|[0-9]+:[0-9]+|[0-9a-fA-F]{3,5}")
PARTUUID_SINCE = (2, 6, 37)
PARTUUID_OF_MBR_SINCE = (3, 8)


def drivers_of_root(guest: LinuxGuest, kernel: Kernel) -> dict[str, Place]:
    """What this kernel needs for its root, and where it has each."""
    modules = guest.modules(kernel)
    found = {name: modules.place(name) for name in DISK_DRIVERS}
    kind = guest.root.volume.signature.type
    names = _FILESYSTEMS.get(kind, (kind,) if kind in _ALIKE else ())
    if names:  # any of them reads it
        places = {name: modules.place(name) for name in names}
        best = next((name for name in names if places[name] == "builtin"), names[0])
        found[best] = places[best]
    return found


def mounts_root_alone(guest: LinuxGuest, entry: BootEntry) -> bool:
    """Whether the kernel of an entry, for want of an initramfs, mounts its root itself, and has the drivers.

    No where it lacks them, or where that can't be told: then it needs an initramfs, which linux.kernel says.
    """
    if entry.initrds or entry.kernel is None:
        return False
    from imgtool.guest.kernels import kernel_of_entry

    try:
        kernel = kernel_of_entry(guest.tree, guest.kernels, entry)
        if kernel is None or guest.modules(kernel).option("INITRAMFS_SOURCE") == "y":
            return False
        return all(place == "builtin" for place in drivers_of_root(guest, kernel).values())
    except CannotRead:
        return False


def kernel_knows(spec: str) -> bool:
    """Whether `root=` with this value means something to the kernel itself."""
    return _KNOWN.fullmatch(spec) is not None


def name_for_kernel(volume: Volume, kernel: str) -> str | None:
    """The lasting name by which a kernel of this version finds a volume by itself; None for none.

    On GPT a partition's own GUID; on MBR the disk's signature with the partition's number, 1b2c3d4e-01.
    """
    partition = volume.partition
    if volume.kind != "partition" or partition is None or not partition.uuid:
        return None
    numbers = tuple(int(part) for part in re.findall(r"[0-9]+", kernel.partition("-")[0])[:3])
    since = (
        PARTUUID_OF_MBR_SINCE if re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{2}", partition.uuid) else PARTUUID_SINCE
    )
    return f"PARTUUID={partition.uuid}" if numbers >= since else None
