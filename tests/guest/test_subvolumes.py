"""Which subvolume of a btrfs holds the system, and which ones fstab, GRUB and the kernel mean."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("dissect.btrfs")

from imgtool.disk.blocks import RawBlocks
from imgtool.disk.disk import Disk
from imgtool.guest.root import find_roots
from imgtool.guest.subvolumes import named
from tests.guest.made_btrfs import made


@pytest.mark.parametrize(
    ("options", "meant"),
    [
        ("defaults,noatime", None),
        ("subvol=@", "/@"),
        ("subvol=/@/home/", "/@/home"),
        ("subvolid=257,subvol=/x", "/x"),
        ("subvol=x,subvolid=257", 257),
        ("subvolid=0", 5),
        ("subvolid=0x101", 257),
        ("subvolid=five", "five"),
    ],
)
def test_the_last_option_that_names_a_subvolume_counts(options: str, meant: str | int | None) -> None:
    assert named(options.split(",")) == meant


@pytest.mark.slow
@pytest.mark.xdist_group("appliance")
def test_suse_is_found_in_its_default_subvolume_with_its_own_mounts_over_it() -> None:
    search = find_roots(Disk(RawBlocks(made() / "suse.img")))
    (root,) = search.roots
    assert root.tree.text("/etc/os-release").startswith('ID="sles"')
    assert root.tree.text("/etc/newer") == "written after the snapshot"
    assert root.tree.text("/var/lib/rpm/x") == "var's own"
    assert set(root.tree.mounts) == {"/", "/home", "/var", "/.snapshots"}
    assert root.tree.list("/.snapshots") == ["1", "2"]
    assert root.agrees
    assert root.missing_mounts == ()
    assert search.seen == ("whole disk: btrfs (subvolume /@/.snapshots/1/snapshot), a Linux system",)


@pytest.mark.slow
@pytest.mark.xdist_group("appliance")
def test_ubuntu_is_found_where_its_own_fstab_says_and_not_in_a_copy_or_snapshot_of_it() -> None:
    search = find_roots(Disk(RawBlocks(made() / "ubuntu.img")))
    (root,) = search.roots
    assert search.seen == ("whole disk: btrfs (subvolume /@), a Linux system",)
    assert root.tree.text("/nested/file") == "in the nested one"
    assert root.tree.text("/home/eve/file") == "at home"
    assert not root.tree.exists("/home/covered")


@pytest.mark.slow
@pytest.mark.xdist_group("appliance")
def test_two_devices_of_one_btrfs_are_one_filesystem(tmp_path: Path) -> None:
    from tests.disk.made import MIB, mbr, write

    disk = mbr(tmp_path / "disk.img", "size=256M, type=83\nsize=256M, type=83\n", size=514 * MIB)
    for number in (1, 2):
        write(disk, MIB + (number - 1) * 256 * MIB, (made() / f"raid0-{number}.img").read_bytes())
    search = find_roots(Disk(RawBlocks(disk)))
    assert search.unreadable == ()
    assert search.seen == (
        "partition 1: btrfs, files (alike, etc, many, mixed, text, usr)",
        "partition 2: btrfs, another device of the one on partition 1",
    )
