from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from imgtool.disk.partitions import Partition
from imgtool.disk.signatures import Signature
from imgtool.disk.volumes import Volume
from imgtool.guest.devices import FIRST_DISKS, best_name, kernel_name, own_disks, resolve
from imgtool.guest.fstab import parse_fstab


def partition(number: int, uuid: str = "", name: str = "") -> Partition:
    return Partition(number, 1 << 20, 1 << 20, "83", False, name, uuid, False)


def volume(
    number: int, type_: str, uuid: str = "", label: str = "", *, part: str = "", name: str = ""
) -> Volume:
    blocks: Any = None
    return Volume(
        f"partition {number}",
        "partition",
        blocks,
        Signature(type_, uuid, label),
        partition(number, part, name),
    )


ROOT = volume(1, "ext4", "6a2d1f0e-5b1c-4d56-9c1e-2f60b4a1d201", "root fs", part="1b2c3d4e-01", name="ROOT")
ESP = volume(2, "vfat", "ABCD-1234", "EFI", part="1b2c3d4e-02")
PV = volume(3, "LVM2_member", "aaaaaa-bbbb", part="1b2c3d4e-03")
LV_NAMES = (
    "/dev/mapper/vg-data",
    "/dev/vg/data",
    "/dev/disk/by-id/dm-name-vg-data",
    f"/dev/disk/by-id/dm-uuid-LVM-{'x' * 64}",
)
LV = Volume("vg/data", "lv", None, Signature("xfs", "11-22"), None, LV_NAMES)  # type: ignore[arg-type]
DISK: Any = SimpleNamespace(volumes=(ROOT, ESP, PV, LV))


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("UUID=6a2d1f0e-5b1c-4d56-9c1e-2f60b4a1d201", ROOT),
        ("UUID=6A2D1F0E-5B1C-4D56-9C1E-2F60B4A1D201", ROOT),
        ('UUID="ABCD-1234"', ESP),
        ("LABEL=root fs", ROOT),
        ("LABEL=ROOT", "unknown"),
        ("PARTLABEL=ROOT", ROOT),
        ("PARTUUID=1B2C3D4E-02", ESP),
        ("UUID=aaaaaa-bbbb", "unknown"),
        ("UUID=", "unknown"),
        ("LABEL=", "unknown"),
        ("PARTLABEL=", "unknown"),
        ("/dev/disk/by-uuid/ABCD-1234", ESP),
        ("/dev/disk/by-label/root\\x20fs", ROOT),
        ("/dev/disk/by-partuuid/1b2c3d4e-01", ROOT),
        ("/dev/disk/by-id/ata-QEMU_1-part1", "unknown"),
        ("/dev/mapper/vg-data", LV),
        ("/dev/vg/data", LV),
        ("/dev/mapper/vg-other", "unknown"),
        ("/dev/disk/by-id/dm-name-vg-data", LV),
        (f"/dev/disk/by-id/dm-uuid-LVM-{'x' * 64}", LV),
        (f"/dev/disk/by-id/dm-uuid-LVM-{'y' * 64}", "unknown"),
        ("/dev/sda1", ROOT),
        ("/dev/vda2", ESP),
        ("/dev/nvme0n1p1", ROOT),
        ("/dev/mmcblk0p2", ESP),
        ("/dev/sda9", "unknown"),
        ("/dev/sda0", "unknown"),
        ("/dev/sda", "unknown"),
        ("/dev/sdb1", "elsewhere"),
        ("/dev/vdb", "elsewhere"),
        ("/dev/xvdf1", "elsewhere"),
        ("/dev/nvme1n1p1", "elsewhere"),
        ("/dev/root", "unknown"),
        ("tmpfs", "unknown"),
    ],
)
def test_a_device_name_means_one_volume_of_this_disk_or_none(spec: str, found: object) -> None:
    assert resolve(spec, DISK) is found or resolve(spec, DISK) == found


def test_a_disk_without_partitions_answers_to_its_bare_name() -> None:
    whole = Volume("whole disk", "disk", None, Signature("ext4", "1"), None)  # type: ignore[arg-type]
    disk: Any = SimpleNamespace(volumes=(whole,))
    assert resolve("/dev/sda", disk) is whole
    assert resolve("/dev/sda1", disk) == "unknown"


def test_the_root_line_says_which_disk_this_one_was() -> None:
    own = own_disks(parse_fstab("/dev/sdb1 / ext4\n/dev/sda1 /data ext4\n"))
    assert own == {"sdb"}
    assert resolve("/dev/sdb1", DISK, own) is ROOT
    assert resolve("/dev/sda1", DISK, own) == "elsewhere"


def test_without_such_a_root_line_this_is_the_first_disk() -> None:
    assert own_disks(parse_fstab("UUID=1 / ext4\n/dev/sdb1 /data ext4\n")) == FIRST_DISKS


@pytest.mark.parametrize(
    ("spec", "disk", "number"),
    [("/dev/sdaa12", "sdaa", 12), ("/dev/hda", "hda", None), ("/dev/nvme0n1", "nvme0n1", None)],
)
def test_kernel_names_have_a_disk_and_a_partition(spec: str, disk: str, number: int | None) -> None:
    name = kernel_name(spec)
    assert name is not None
    assert (name.disk, name.partition) == (disk, number)


@pytest.mark.parametrize(
    "spec", ["/dev/mapper/sda1", "/dev/sr0", "/dev/md0", "sda1", "/dev/sda1x", "/dev/vg/sda"]
)
def test_other_names_are_no_kernel_names(spec: str) -> None:
    assert kernel_name(spec) is None


def test_the_lasting_name_is_the_logical_volumes_then_the_uuid_then_the_partitions() -> None:
    assert best_name(LV) == "/dev/mapper/vg-data"
    assert best_name(ROOT) == "UUID=6a2d1f0e-5b1c-4d56-9c1e-2f60b4a1d201"
    assert best_name(volume(4, "", part="1b2c3d4e-04")) == "PARTUUID=1b2c3d4e-04"
    assert best_name(volume(4, "")) is None
