"""Volumes: partitions, whole disks, mirrors and logical volumes, each with what it holds."""

from __future__ import annotations

import os
import re
from pathlib import Path

from imgtool.disk.blocks import RawBlocks
from imgtool.disk.partitions import read_partition_table
from imgtool.disk.volumes import Volume, VolumeGroup, find_volumes
from tests.disk.made import MIB, gpt, mbr, sparse, tool, write
from tests.disk.test_lvm import physical
from tests.disk.test_signatures import raid

Found = tuple[tuple[Volume, ...], tuple[VolumeGroup, ...]]


def found(blocks: object) -> Found:
    assert hasattr(blocks, "read")
    return find_volumes(blocks, read_partition_table(blocks))  # type: ignore[arg-type]


def on_disk(path: Path) -> Found:
    with RawBlocks(path) as blocks:
        volumes, groups = found(blocks)
        for volume in volumes:
            assert volume.unreadable or len(volume.blocks.read(0, 512)) == 512
        return volumes, groups


def put(path: Path, offset: int, size: int, *make: str) -> None:
    """Make a filesystem inside a disk."""
    volume = sparse(path.with_name("volume"), size)
    tool(*make, volume)
    write(path, offset, volume.read_bytes())


def test_each_partition_is_a_volume_with_its_filesystem(tmp_path: Path) -> None:
    path = gpt(tmp_path / "disk", 'start=2048,size=16M,type=U\nsize=16M,type=L,name="root"\nsize=1M,type=L\n')
    put(path, MIB, 16 * MIB, "mkfs.vfat", "-n", "ESP")
    put(path, 17 * MIB, 16 * MIB, "mkfs.ext4", "-q", "-L", "root")
    volumes, groups = on_disk(path)
    assert [(v.name, v.kind, v.signature.type, v.signature.label) for v in volumes] == [
        ("partition 1", "partition", "vfat", "ESP"),
        ("partition 2", "partition", "ext4", "root"),
        ("partition 3", "partition", "", ""),
    ]
    assert volumes[1].partition is not None
    assert volumes[1].partition.name == "root"
    assert groups == ()


def test_an_extended_partition_is_no_volume_and_its_logical_ones_are(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", "1 : start=2048,size=20M,type=5\n5 : size=16M,type=83\n")
    put(path, 2 * MIB, 16 * MIB, "mkfs.ext4", "-q")
    volumes, _ = on_disk(path)
    assert [(v.name, v.signature.type) for v in volumes] == [("partition 5", "ext4")]


def test_a_bare_filesystem_is_the_whole_disk(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", 16 * MIB)
    tool("mkfs.ext4", "-q", path)
    volumes, _ = on_disk(path)
    assert [(v.name, v.kind, v.signature.type, v.partition) for v in volumes] == [
        ("whole disk", "disk", "ext4", None)
    ]


def test_an_empty_disk_has_no_volumes(tmp_path: Path) -> None:
    assert on_disk(sparse(tmp_path / "disk", MIB)) == ((), ())


def test_a_partition_that_is_not_in_the_image_is_a_volume_that_cannot_be_read(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", "2048,16M,83\n,16M,83\n")
    os.truncate(path, 10 * MIB)
    volumes, _ = on_disk(path)
    assert [(v.name, v.unreadable is not None) for v in volumes] == [
        ("partition 1", False),
        ("partition 2", True),
    ]


def test_logical_volumes_follow_their_group_with_linux_names(tmp_path: Path) -> None:
    volumes, groups = found(physical("lvm-mixed-pv0"))
    assert [(v.name, v.kind) for v in volumes] == [
        ("whole disk", "disk"),
        ("debian-vg/root", "lv"),
        ("debian-vg/other", "lv"),
        ("debian-vg/str-ipe", "lv"),
        ("debian-vg/mirror", "lv"),
        ("debian-vg/thin", "lv"),
    ]
    assert volumes[1].device_names[:2] == ("/dev/mapper/debian--vg-root", "/dev/debian-vg/root")
    assert volumes[3].device_names[:3] == (
        "/dev/mapper/debian--vg-str--ipe",
        "/dev/debian-vg/str-ipe",
        "/dev/disk/by-id/dm-name-debian--vg-str--ipe",
    )
    assert all(re.fullmatch(r"/dev/disk/by-id/dm-uuid-LVM-\w{64}", v.device_names[3]) for v in volumes[1:])
    assert len({v.device_names[3] for v in volumes[1:]}) == 5
    assert [v.unreadable is not None for v in volumes] == [False, False, False, True, False, True]
    (group,) = groups
    assert (group.name, group.complete, len(group.missing)) == ("debian-vg", False, 1)
    assert group.logical_volumes == ("root", "other", "str-ipe", "mirror", "thin")


def test_a_group_over_two_partitions_of_one_disk_is_whole(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", "2048,64M,8e\n,64M,8e\n", 130 * MIB)
    for number in (0, 1):
        member = bytearray(physical(f"lvm-plain-pv{number}").data)
        if number == 0:
            volume = sparse(tmp_path / "ext4", 8 * MIB)
            tool("mkfs.ext4", "-q", "-L", "inside", volume)
            member[MIB : 9 * MIB] = volume.read_bytes()
        write(path, (1 + 64 * number) * MIB, bytes(member))
    volumes, groups = on_disk(path)
    assert groups == (VolumeGroup("plain", True, (), ("one", "two")),)
    assert [(v.name, v.signature.type, v.signature.label) for v in volumes[2:]] == [
        ("plain/one", "ext4", "inside"),
        ("plain/two", "", ""),
    ]


def test_a_mirrors_content_is_a_volume(tmp_path: Path) -> None:
    size = 16 * MIB
    path = mbr(tmp_path / "disk", "2048,16M,fd\n", 17 * MIB)
    member = bytearray(raid("1.2", size, 1, 2))
    inside = sparse(tmp_path / "ext4", 8 * MIB)
    tool("mkfs.ext4", "-q", "-L", "mirrored", inside)
    member[MIB : 9 * MIB] = inside.read_bytes()
    write(path, MIB, bytes(member))
    volumes, _ = on_disk(path)
    assert [(v.name, v.kind, v.signature.type, v.signature.label) for v in volumes] == [
        ("partition 1", "partition", "linux_raid_member", "host:root"),
        ("md of partition 1", "md", "ext4", "mirrored"),
    ]
    assert volumes[1].device_names == ("/dev/md/root",)


def test_a_stripe_set_has_no_content_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(raid("1.2", 8 * MIB, 0, 2))
    volumes, _ = on_disk(path)
    assert [v.signature.type for v in volumes] == ["linux_raid_member"]
