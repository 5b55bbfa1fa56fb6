from __future__ import annotations

import sys
from pathlib import Path

import pytest

from imgtool.disk.blocks import RawBlocks
from imgtool.disk.disk import Disk
from imgtool.extras import install_command
from imgtool.guest.filesystem import GuestReadFailed
from imgtool.guest.root import find_roots
from tests.disk.made import MIB, sparse, tool, write
from tests.guest.made_disks import UUIDS, Part, disk_file, disk_of, folder_of, system
from tests.guest.made_filesystems import make_ntfs

BOOT = {"vmlinuz-6.1.0": "k", "initrd.img-6.1.0": "i", "grub/grub.cfg": "menuentry"}


def test_a_root_is_found_by_what_is_in_it(tmp_path: Path) -> None:
    search = find_roots(disk_of(tmp_path, Part(system(f"UUID={UUIDS[0]} / ext4 defaults 0 1\n"))))
    assert search.root is not None
    assert (search.root.family, search.root.volume.name, search.root.agrees) == ("linux", "partition 1", True)
    assert search.root.tree.text("/etc/os-release").startswith("ID=debian")


@pytest.mark.parametrize(
    "files",
    [
        system(without=("usr/lib/os-release", "etc/os-release")),
        system("UUID=x / ext4 defaults 0 1\n", without=("usr/",)),
        {
            "etc/redhat-release": "CentOS release 6.10",
            "bin/sh": "",
            "sbin/init": "",
            "lib/x": "",
            "var/x": "",
        },
    ],
    ids=["no os-release", "usr elsewhere", "an old CentOS"],
)
def test_a_root_without_os_release_is_one_all_the_same(files: dict[str, str], tmp_path: Path) -> None:
    assert find_roots(disk_of(tmp_path, Part(files))).root is not None


@pytest.mark.parametrize(
    ("spec", "table"),
    [
        (f"UUID={UUIDS[1]}", "mbr"),
        ("LABEL=bootfs", "mbr"),
        ("PARTUUID=abcd1234-02", "mbr"),
        ("/dev/sda2", "mbr"),
        ("/dev/disk/by-label/bootfs", "mbr"),
        ("PARTLABEL=part-2", "gpt"),
    ],
)
def test_boot_is_mounted_however_fstab_names_it(spec: str, table: str, tmp_path: Path) -> None:
    fstab = f"UUID={UUIDS[0]} / ext4 defaults 0 1\n{spec} /boot ext4 defaults 0 2\n"
    files = system(fstab, **{"boot/covered": "x"})
    disk = disk_of(tmp_path, Part(files), Part(BOOT, label="bootfs"), table=table)
    root = find_roots(disk).root
    assert root is not None
    assert root.tree.exists("/boot/grub/grub.cfg")
    assert not root.tree.exists("/boot/covered")
    assert root.tree.mounts["/boot"].name == "partition 2"


def test_mounts_within_mounts_are_laid_in_order(tmp_path: Path) -> None:
    fstab = (
        "UUID=0000-0003 /boot/efi vfat umask=0077 0 1\n"
        f"UUID={UUIDS[1]} /boot ext4 defaults 0 2\nUUID={UUIDS[0]} / ext4 defaults 0 1\n"
    )
    parts = (Part(system(fstab)), Part({**BOOT, "efi/": ""}), Part({"EFI/debian/shimx64.efi": "s"}, "vfat"))
    root = find_roots(disk_of(tmp_path, *parts)).root
    assert root is not None
    assert root.tree.exists("/boot/efi/EFI/DEBIAN/SHIMX64.EFI")
    assert root.tree.exists("/boot/grub/grub.cfg")


def test_a_mount_that_is_not_on_this_disk_is_kept_as_missing(tmp_path: Path) -> None:
    others = "/dev/sdb1 /data ext4 defaults 0 0\nUUID=none /srv xfs nofail 0 0\n"
    fstab = f"UUID={UUIDS[0]} / ext4 defaults 0 1\n{others}"
    root = find_roots(disk_of(tmp_path, Part(system(fstab)))).root
    assert root is not None
    assert [entry.mount_point for entry in root.missing_mounts] == ["/data", "/srv"]


def test_below_a_usr_that_cannot_be_read_nothing_is_said_to_be_absent(tmp_path: Path) -> None:
    fstab = f"UUID={UUIDS[0]} / ext4 defaults 0 1\n/dev/sda2 /usr f2fs defaults 0 2\n"
    files = system(fstab, without=("usr/",))
    disk = disk_of(tmp_path, Part(files), Part({"lib/os-release": "ID=debian"}, options=("-O", "mmp")))
    blocks = disk.blocks.read(0, disk.blocks.size)
    damaged = bytearray(blocks)
    damaged[25 * MIB + 1024 + 0x60] |= 1
    (tmp_path / "damaged.img").write_bytes(damaged)
    root = find_roots(Disk(RawBlocks(tmp_path / "damaged.img"))).root
    assert root is not None
    assert [mount.entry.mount_point for mount in root.unreadable_mounts] == ["/usr"]
    for path in ("/usr/lib/os-release", "/bin/sh", "/etc/os-release"):
        with pytest.raises(GuestReadFailed, match="/usr"):
            root.tree.exists(path)


def test_where_fstab_is_silent_the_only_boot_partition_fills_an_empty_boot(tmp_path: Path) -> None:
    files = system(f"UUID={UUIDS[0]} / ext4 defaults 0 1\n", without=("boot/",))
    root = find_roots(disk_of(tmp_path, Part(files), Part(BOOT))).root
    assert root is not None
    assert root.assumed_mounts == ("/boot",)
    assert root.tree.exists("/boot/grub/grub.cfg")


def test_of_two_systems_the_one_whose_fstab_agrees_comes_first(tmp_path: Path) -> None:
    other = system("UUID=somewhere-else / ext4 defaults 0 1\n")
    own = system(f"UUID={UUIDS[1]} / ext4 defaults 0 1\n")
    search = find_roots(disk_of(tmp_path, Part(other), Part(own)))
    assert [root.volume.name for root in search.roots] == ["partition 2", "partition 1"]


def test_of_two_systems_the_one_that_the_boot_loader_starts_comes_first(tmp_path: Path) -> None:
    menu = f"menuentry Debian {{\n  linux /boot/vmlinuz root=UUID={UUIDS[1]} ro\n}}\n"
    first = system(f"UUID={UUIDS[0]} / ext4 defaults 0 1\n") | {"boot/grub/grub.cfg": menu}
    second = system(f"UUID={UUIDS[1]} / ext4 defaults 0 1\n")
    search = find_roots(disk_of(tmp_path, Part(first), Part(second)))
    assert [root.volume.name for root in search.roots] == ["partition 2", "partition 1"]


@pytest.mark.parametrize(
    ("parts", "looks_like"),
    [
        (
            (
                Part(
                    {"backups/2024/root.tar": "x", "rootfs/etc/os-release": "ID=debian", "rootfs/bin/sh": ""}
                ),
            ),
            "data-disk",
        ),
        ((Part(BOOT),), "boot-only"),
        ((Part(BOOT), Part({"EFI/BOOT/BOOTX64.EFI": "x"}, "vfat")), "boot-only"),
        ((Part({"casper/vmlinuz": "x", "isolinux/x": ""}),), "installer"),
        ((Part({}, "nothing"),), "empty"),
        ((Part({}, "swap"),), "unknown"),
    ],
)
def test_a_disk_without_a_system_is_named_for_what_it_looks_like(
    parts: tuple[Part, ...], looks_like: str, tmp_path: Path
) -> None:
    search = find_roots(disk_of(tmp_path, *parts))
    assert (search.root, search.looks_like, search.unreadable) == (None, looks_like, ())


def test_an_empty_file_looks_empty(tmp_path: Path) -> None:
    search = find_roots(Disk(RawBlocks(sparse(tmp_path / "empty.img", 8 * MIB))))
    assert (search.root, search.looks_like) == (None, "empty")


def test_a_windows_root_is_found_by_its_registry(tmp_path: Path) -> None:
    config = "Windows/System32/config"
    folder = folder_of({f"{config}/SYSTEM": "regf", f"{config}/SOFTWARE": "regf"}, tmp_path / "root")
    root = find_roots(Disk(RawBlocks(make_ntfs(folder, tmp_path / "v.img")))).root
    assert root is not None
    assert (root.family, root.tree.read("/windows/system32/CONFIG/system")) == ("windows", b"regf")


def test_a_system_in_an_ostree_deployment_is_found(tmp_path: Path) -> None:
    base = "ostree/deploy/fedora-coreos/deploy/0a1b.0/"
    files = {base + path: content for path, content in system().items()}
    files["ostree/boot.1/fedora-coreos/0a1b/0"] = "-> ../../../deploy/fedora-coreos/deploy/0a1b.0"
    root = find_roots(disk_of(tmp_path, Part(files, label="root"))).root
    assert root is not None
    assert root.tree.text("/etc/os-release").startswith("ID=debian")


def test_a_system_that_is_all_in_usr_is_put_together_from_its_two_volumes(tmp_path: Path) -> None:
    usr = {"lib/os-release": "ID=coreos\n", "bin/sh": "", "lib/systemd/systemd": ""}
    root = find_roots(disk_of(tmp_path, Part(usr, label="USR-A"), Part({"etc/": ""}, label="ROOT"))).root
    assert root is not None
    assert root.volume.name == "partition 2"
    assert root.tree.text("/usr/lib/os-release") == "ID=coreos\n"


def test_a_volume_that_cannot_be_read_is_named_with_its_reason(tmp_path: Path) -> None:
    path = disk_file(tmp_path, Part(BOOT), Part({}, "nothing"))
    tool("mkfs.f2fs", "-q", "-f", volume := sparse(tmp_path / "f2fs", 64 * MIB))
    write(path, 25 * MIB, volume.read_bytes()[: 4 * MIB])
    search = find_roots(Disk(RawBlocks(path)))
    assert search.root is None
    (volume, why), *others = search.unreadable
    assert (volume.name, others) == ("partition 2", [])
    assert "no reader for f2fs" in why.en


@pytest.fixture
def no_dissect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which the extra [btrfs] is not installed."""
    for name in [name for name in sys.modules if name.startswith(("dissect", "imgtool.guest.btrfs"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "dissect", None)


@pytest.mark.usefixtures("no_dissect")
def test_btrfs_without_its_extra_is_unreadable_and_the_reason_is_how_to_install_it(tmp_path: Path) -> None:
    tool("mkfs.btrfs", "-q", volume := sparse(tmp_path / "volume", 128 * MIB))
    search = find_roots(Disk(RawBlocks(volume)))
    ((_, why),) = search.unreadable
    assert install_command("btrfs") in why.en
    assert install_command("btrfs") in why.zh


def test_etc_that_links_to_itself_makes_no_root_and_no_hang(tmp_path: Path) -> None:
    files = {"etc": "-> etc", "bin": "-> sbin", "sbin": "-> bin", "usr/x": "", "var/x": ""}
    assert find_roots(disk_of(tmp_path, Part(files))).root is None
