"""What a disk holds: partitions, or the disk as a whole, and the logical volumes and mirrors inside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from imgtool.disk.blocks import Blocks, ReadFailed, Slice, Unreadable
from imgtool.disk.partitions import Partition, PartitionTable
from imgtool.disk.signatures import Signature, identify
from imgtool.records import dataclass
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.lvm import Group, LogicalVolume

LAST_PARTITION = 255  # Linux makes no device for later ones (DISK_MAX_PARTS)


@dataclass(frozen=True)
class Volume:
    """A range of bytes that a filesystem can lie on.

    name: "partition 1", "debian-vg/root", "md of partition 2", "whole disk". device_names: the names Linux
    gives it that do not depend on the disk's. unreadable: why nothing can be read from it, None where it can.
    """

    name: str
    kind: Literal["partition", "lv", "md", "disk"]
    blocks: Blocks
    signature: Signature
    partition: Partition | None
    device_names: tuple[str, ...] = ()
    unreadable: Text | None = None

    @property
    def name_zh(self) -> str:
        """The name within a Chinese sentence: 分区 1."""
        return name_in_chinese(self.name)


def name_in_chinese(name: str) -> str:
    """A volume's name within a Chinese sentence."""
    from re import sub

    return sub(r"\bpartition (\d+)", r"分区 \1", name).replace("whole disk", "整个磁盘")


@dataclass(frozen=True)
class VolumeGroup:
    """An LVM volume group. missing: the physical volumes that this disk does not hold."""

    name: str
    complete: bool
    missing: tuple[str, ...]
    logical_volumes: tuple[str, ...]


def find_volumes(blocks: Blocks, table: PartitionTable) -> tuple[tuple[Volume, ...], tuple[VolumeGroup, ...]]:
    """Every volume of a disk, outer ones first, and its volume groups."""
    volumes = [_partition_volume(blocks, partition) for partition in table.partitions if _holds(partition)]
    if not volumes:
        whole = _volume("whole disk", "disk", blocks, None)
        volumes = [whole] if whole.signature.type or whole.unreadable else []
    volumes += [mirror for volume in volumes if (mirror := _mirror(volume)) is not None]
    members = [volume for volume in volumes if volume.signature.type == "LVM2_member"]
    if not members:
        return tuple(volumes), ()
    from imgtool.disk.lvm import read_groups

    groups = []
    for group in read_groups([member.blocks for member in members]):
        names = tuple(logical.name for logical in group.volumes)
        groups.append(VolumeGroup(group.name, not group.missing, group.missing, names))
        for logical in group.volumes:
            devices = _device_names(group, logical)
            name = f"{group.name}/{logical.name}"
            if isinstance(logical.content, Text):
                content = Unreadable(logical.size, logical.content.en)
                why = logical.content
                volumes.append(Volume(name, "lv", content, Signature(), None, devices, why))
            else:
                volumes.append(_volume(name, "lv", logical.content, None, devices))
    return tuple(volumes), tuple(groups)


def _holds(partition: Partition) -> bool:
    return partition.length > 0 and not partition.extended and partition.number <= LAST_PARTITION


def _partition_volume(blocks: Blocks, partition: Partition) -> Volume:
    inside = Slice(blocks, partition.start, partition.length)
    return _volume(f"partition {partition.number}", "partition", inside, partition)


def _volume(
    name: str,
    kind: Literal["partition", "lv", "md", "disk"],
    blocks: Blocks,
    partition: Partition | None,
    devices: tuple[str, ...] = (),
) -> Volume:
    try:
        return Volume(name, kind, blocks, identify(blocks), partition, devices)
    except ReadFailed as failure:
        return Volume(name, kind, blocks, Signature(), partition, devices, failure.statement())


def _mirror(volume: Volume) -> Volume | None:
    """The content of an md RAID 1 member: any one member holds all of it."""
    signature = volume.signature
    if signature.type != "linux_raid_member" or signature.details["level"] != 1:
        return None
    start, size = signature.details["data_start"], signature.details["data_size"]
    if not 0 < size <= volume.blocks.size - start:
        return None
    name = signature.details["name"]
    devices = (f"/dev/md{name}",) if name.isdigit() else ()
    if name and not name.isdigit():
        short = name.rpartition(":")[2]  # mdadm writes host:name
        devices = (f"/dev/md/{short}", *((f"/dev/md{short}",) if short.isdigit() else ()))
    inside = Slice(volume.blocks, start, size)
    return _volume(f"md of {volume.name}", "md", inside, None, devices)


def _device_names(group: Group, logical: LogicalVolume) -> tuple[str, ...]:
    """What udev's 13-dm-disk.rules and LVM's own rules call it; the installer of Ubuntu writes dm-uuid."""
    mapped = f"{group.name.replace('-', '--')}-{logical.name.replace('-', '--')}"
    uuid = f"{group.uuid}{logical.uuid}".replace("-", "")
    return (
        f"/dev/mapper/{mapped}",
        f"/dev/{group.name}/{logical.name}",
        f"/dev/disk/by-id/dm-name-{mapped}",
        *((f"/dev/disk/by-id/dm-uuid-LVM-{uuid}",) if len(uuid) == 64 else ()),
    )
