"""Which lines of a guest's fstab do not fit this image, and how each should read instead.

The rules on fstab tell of them, and the repair changes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.disk.volumes import Volume
    from imgtool.guest.fstab import FstabEntry
    from imgtool.guest.linux import LinuxGuest

NOT_STORAGE = re.compile(
    r"/dev/(cdrom|cdrw|dvd|dvdrw|sr|scd|fd|floppy|loop|zram|ram|shm|fuse|nbd|pmem)[0-9]*"
)
HIDING = ("crypto_LUKS", "BitLocker", "zfs_member", "bcache", "VMFS_volume_member", "drbd")


def mended_line(guest: LinuxGuest, entry: FstabEntry) -> str | None:
    """A line that is not read as it was meant, as it should be; None: it is to be commented out."""
    if entry.raw.startswith("\ufeff"):
        return entry.raw.removeprefix("\ufeff")
    if not entry.problems:
        return line_of(entry, entry.spec)
    there = resolved(guest, entry)
    right = right_root_line(guest) if entry.mount_point == "/" else None
    if right and (there is None or there.name != guest.root.volume.name):
        return right
    if there is None or not entry.mount_point.startswith("/"):
        return None
    return line_of(entry, entry.spec, entry.type or there.signature.type or "auto")


def wrong_root_lines(guest: LinuxGuest) -> tuple[list[FstabEntry], list[FstabEntry]]:
    """The lines for / that name another device than the root; where none does, those that are too many."""
    entries = [entry for entry in guest.fstab if entry.mount_point == "/" and not entry.problems]
    wrong = []
    for entry in entries:
        if not entry.needs_device or by_passing_name(guest, entry) or is_untold_root(guest, entry):
            continue
        there = resolved(guest, entry)
        if there is None or there.name != guest.root.volume.name:
            wrong.append(entry)
    return wrong, [] if wrong else entries[1:]


def is_untold_root(guest: LinuxGuest, entry: FstabEntry) -> bool:
    """A line for / whose device may be in a part of the disk that can't be read."""
    if not entry.needs_device or by_passing_name(guest, entry) or resolved(guest, entry) is not None:
        return False
    return cannot_tell(guest, entry)


def lacks_root_line(guest: LinuxGuest) -> bool:
    """No line is for /, and the kernel does not mount it writable by itself."""
    if any(entry.mount_point == "/" for entry in guest.fstab) or guest.release.family in ("coreos", "arch"):
        return False
    return read_or_write(guest)[-1:] != ["rw"]


def read_or_write(guest: LinuxGuest) -> list[str]:
    """The words ro and rw of the kernel command line."""
    return [word for word in (guest.kernel_arguments or "").split() if word in ("ro", "rw")]


def absent(guest: LinuxGuest) -> list[FstabEntry]:
    """The lines that the boot waits for and whose device is not on this image, for certain."""
    return [entry for entry in unresolved(guest) if not cannot_tell(guest, entry)]


def unresolved(guest: LinuxGuest) -> Iterator[FstabEntry]:
    """The lines that the boot waits for and whose device was not found on this image."""
    for entry in guest.fstab:
        if entry.problems or entry.mount_point == "/" or not (entry.mandatory or _swap_at_boot(entry)):
            continue
        if by_passing_name(guest, entry) or of_other_disk(guest, entry) or NOT_STORAGE.fullmatch(entry.spec):
            continue
        if resolved(guest, entry) is None and not _in_broken_group(guest.disk, entry.spec):
            yield entry


def host_shares(guest: LinuxGuest) -> list[FstabEntry]:
    """The lines that the boot waits for and that mount a folder of the old machine's host."""
    return [
        entry
        for entry in guest.fstab
        if not entry.problems and entry.is_host_share and entry.at_boot and not entry.nofail
    ]


def of_other_disk(guest: LinuxGuest, entry: FstabEntry) -> bool:
    """The line names another disk by the kernel's name for it (/dev/vdb1)."""
    from imgtool.guest.devices import kernel_name

    name = kernel_name(entry.spec)
    return entry.needs_device and name is not None and name.disk not in guest.own_disks


def of_other_disks(guest: LinuxGuest) -> list[FstabEntry]:
    """The lines for disks that are not imported: named as the kernel does, or so that the boot goes on
    without the volume, which this disk does not hold for certain."""
    return [
        entry
        for entry in guest.fstab
        if not entry.problems and (of_other_disk(guest, entry) or _is_optional_elsewhere(guest, entry))
    ]


def _is_optional_elsewhere(guest: LinuxGuest, entry: FstabEntry) -> bool:
    if not entry.needs_device or entry.mount_point == "/" or not (entry.nofail or not entry.at_boot):
        return False
    if by_passing_name(guest, entry) or NOT_STORAGE.fullmatch(entry.spec):
        return False
    absent = resolved(guest, entry) is None and not _in_broken_group(guest.disk, entry.spec)
    return absent and not cannot_tell(guest, entry)


def by_passing_name(guest: LinuxGuest, entry: FstabEntry) -> bool:
    """The line names this disk by the kernel's name for it, or any disk by where it is attached."""
    from imgtool.guest.devices import is_passing_link, kernel_name

    if not entry.needs_device or of_other_disk(guest, entry):
        return False
    return kernel_name(entry.spec) is not None or is_passing_link(entry.spec)


def line_of(entry: FstabEntry, spec: str, kind: str | None = None) -> str:
    """The entry as a line of fstab, with another device."""
    words = (
        _escaped(spec),
        _escaped(entry.mount_point),
        kind or entry.type,
        ",".join(entry.options) or "defaults",
        str(entry.freq),
        str(entry.passno),
    )
    return " ".join(words)


def resolved(guest: LinuxGuest, entry: FstabEntry) -> Volume | None:
    """The volume of this disk that the line names; None where there is none."""
    from imgtool.guest.devices import resolve

    found = resolve(entry.spec, guest.disk, guest.own_disks)
    return None if isinstance(found, str) else found


def right_root_line(guest: LinuxGuest) -> str | None:
    """The line for / that this guest should have; None where its root has no lasting name."""
    from imgtool.guest.devices import best_name

    name = best_name(guest.root.volume)
    if name is None:
        return None
    held = next((entry for entry in guest.fstab if entry.mount_point == "/" and entry.type), None)
    options = ",".join(held.options) if held else ""
    return f"{name} / {guest.root.volume.signature.type or 'auto'} {options or 'defaults'} 0 1"


def _swap_at_boot(entry: FstabEntry) -> bool:
    return entry.is_swap and entry.needs_device and entry.at_boot and not entry.nofail


def _in_broken_group(disk: Disk, spec: str) -> bool:
    """The line names a logical volume of a group that lacks a disk: disk.other-disks says so."""
    for group in disk.groups:
        mapped = f"/dev/mapper/{group.name.replace('-', '--')}-"
        if not group.complete and spec.startswith((f"/dev/{group.name}/", mapped)):
            return True
    return False


def cannot_tell(guest: LinuxGuest, entry: FstabEntry) -> bool:
    """Something on this disk can't be looked into, and the device may be in there."""
    from imgtool.guest.devices import tag

    meant = tag(entry.spec)
    if meant is not None and meant[0] in ("PARTUUID", "PARTLABEL"):
        return False
    types = {volume.signature.type for volume in guest.disk.volumes}
    if types & set(HIDING) or any(volume.unreadable for volume in guest.disk.volumes):
        return True
    if not all(group.complete for group in guest.disk.groups) and meant is not None:
        return True
    return "linux_raid_member" in types and (
        meant is not None or entry.spec.startswith(("/dev/md", "/dev/disk/by-id/md-"))
    )


def line_instead(guest: LinuxGuest, entry: FstabEntry) -> str | None:
    """The line with the one volume that it can have meant; None where there is none."""
    from imgtool.guest.devices import best_name

    used = [resolved(guest, other) for other in guest.fstab]
    names = {volume.name for volume in used if volume is not None} | {guest.root.volume.name}
    free = [
        volume
        for volume in guest.disk.volumes
        if volume.name not in names and volume.signature.type == entry.type
    ]
    if len(free) == 1 and entry.mount_point in (
        "/boot",
        "/boot/efi",
        "/usr",
        "/var",
        "/home",
        "none",
        "swap",
    ):
        name = best_name(free[0])
        if name:
            return line_of(entry, name)
    return None


def _escaped(field: str) -> str:
    return re.sub(r"[ \t\n\\]", lambda found: f"\\{ord(found[0]):03o}", field)
