"""Which volume of the disk a device name means: UUID=, LABEL=, /dev/sda1, /dev/mapper/vg-root ..."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from imgtool.guest.fstab import FstabEntry, split_tag
from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.disk.volumes import Volume

FIRST_DISKS = frozenset({"sda", "hda", "vda", "xvda", "nvme0n1", "mmcblk0"})
_KERNEL_NAME = re.compile(
    r"/dev/((?:[shv]d|xvd|ubd)[a-z]{1,3})([0-9]{1,3})?|/dev/((?:nvme\d{1,3}n|mmcblk)\d{1,3})(?:p(\d{1,3}))?"
)
# udev's links by controller, serial number or place; those of device-mapper and md say what is on the disk
_PASSING_LINK = re.compile(
    r"/dev/disk/(by-id/(?!(dm|md)-(name|uuid)-)|by-path/|by-dname/|by-diskseq/|azure/|by-loop-ref/).+"
)
_LINKS = {"by-uuid": "UUID", "by-label": "LABEL", "by-partuuid": "PARTUUID", "by-partlabel": "PARTLABEL"}
_NO_FILESYSTEM = frozenset({"LVM2_member", "linux_raid_member"})


@dataclass(frozen=True)
class KernelName:
    """A device named as the kernel numbers it: disk "sda", partition 1 (None for the whole disk)."""

    disk: str
    partition: int | None


def kernel_name(spec: str) -> KernelName | None:
    """The parts of `/dev/sda1`, `/dev/nvme0n1p2`, `/dev/xvda` ...; None for any other device name."""
    found = _KERNEL_NAME.fullmatch(spec)
    if found is None:
        return None
    disk, number = (found[1], found[2]) if found[1] else (found[3], found[4])
    return KernelName(disk, int(number) if number else None)


def is_passing_link(spec: str) -> bool:
    """Whether it is a link that is gone, or means another volume, once the disk is on another machine."""
    return _PASSING_LINK.fullmatch(spec) is not None


def tag(spec: str) -> tuple[str, str] | None:
    """("UUID", value) of `UUID=value`, and of the udev link that means the same (/dev/disk/by-uuid/value)."""
    if spec.startswith("/dev/disk/"):
        folder, _, value = spec.removeprefix("/dev/disk/").partition("/")
        if folder not in _LINKS or not value:
            return None
        return _LINKS[folder], _unescaped(value)
    return split_tag(spec)


def own_disks(entries: Iterable[FstabEntry]) -> frozenset[str]:
    """The kernel names this disk had where the image was made.

    The disk that the root line names, where it names one (`/dev/sdb2 /` makes it sdb); else the first disk of
    every kind of controller.
    """
    for entry in entries:
        name = kernel_name(entry.spec)
        if entry.mount_point == "/" and name is not None:
            return frozenset({name.disk})
    return FIRST_DISKS


def resolve(
    spec: str, disk: Disk, own: frozenset[str] = FIRST_DISKS
) -> Volume | Literal["elsewhere", "unknown"]:
    """The volume of `disk` that a device name means.

    "elsewhere": a kernel name of another disk (/dev/vdb1), which no disk image holds; "unknown": nothing on
    this disk answers to the name (a UUID of another disk, a removed partition, a by-id link).
    """
    name = kernel_name(spec)
    if name is not None:
        if name.disk not in own:
            return "elsewhere"
        return next((it for it in disk.volumes if _is_numbered(it, name.partition)), "unknown")
    meant = tag(spec)
    if meant is not None:
        return next(_tagged(disk, *meant), "unknown")
    return next((volume for volume in disk.volumes if spec in volume.device_names), "unknown")


def best_name(volume: Volume) -> str | None:
    """How an fstab or a kernel command line should name the volume: by its filesystem's UUID, if it has one.

    Logical volumes keep their /dev/mapper name. None where no lasting name is known.
    """
    if volume.kind == "lv" and volume.device_names:
        return volume.device_names[0]
    if volume.signature.uuid:
        return f"UUID={volume.signature.uuid}"
    return f"PARTUUID={volume.partition.uuid}" if volume.partition and volume.partition.uuid else None


def _is_numbered(volume: Volume, number: int | None) -> bool:
    if volume.kind == "partition" and volume.partition is not None:
        return volume.partition.number == number
    return volume.kind == "disk" and number is None


def _tagged(disk: Disk, name: str, value: str) -> Iterator[Volume]:
    for volume in disk.volumes:
        signature = volume.signature
        if name == "UUID":
            held = "" if signature.type in _NO_FILESYSTEM else signature.uuid
            same = held.lower() == value.lower()
        elif name == "LABEL":
            held = signature.label
            same = held == value
        elif name == "PARTUUID":
            held = volume.partition.uuid if volume.kind == "partition" and volume.partition else ""
            same = held.lower() == value.lower()
        elif name == "PARTLABEL":
            held = volume.partition.name if volume.kind == "partition" and volume.partition else ""
            same = held == value
        else:
            return
        if held and same:
            yield volume


def _unescaped(link: str) -> str:
    data = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda found: bytes.fromhex(found[1].decode()), link.encode())
    return data.decode("utf-8", "replace")
