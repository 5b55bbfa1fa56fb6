from __future__ import annotations

from pathlib import Path
from typing import Any

import imgtool.checks.filesystems as checks

from imgtool.disk.signatures import Signature
from imgtool.disk.volumes import Volume
from imgtool.image import Image, Options
from imgtool.profiles import load_profile
from imgtool.rules import Finding, Severity, Status, run
from tests.disk.made import MIB, tool, write
from tests.guest.made_disks import UUIDS, Part, disk_file, folder_of, system
from tests.guest.made_filesystems import make_xfs

OWN = f"UUID={UUIDS[0]} / ext4 defaults 0 1\n"
RULES = {rule.id: rule for rule in (checks.clean, checks.space)}


def judge(path: Path, rule: str = "disk.filesystem.clean", force: bool = False) -> list[Finding]:
    with Image(path, load_profile("tce"), Options(force_import=force)) as image:
        return run(image, RULES, [rule])


def debugfs(path: Path, *commands: str) -> None:
    for command in commands:
        tool("debugfs", "-w", "-R", command, f"{path}?offset={MIB}")


def test_filesystems_just_made_are_clean(tmp_path: Path) -> None:
    parts = (Part(system(OWN)), Part({"EFI/BOOT/BOOTX64.EFI": "x"}, "vfat"), Part({}, "swap"))
    (found,) = judge(disk_file(tmp_path, *parts))
    assert found.status is Status.PASS
    assert found.evidence == ("partition 1: ext4, clean", "partition 2: vfat, clean")


def test_a_journal_that_waits_to_be_replayed_is_a_warning(tmp_path: Path) -> None:
    path = disk_file(tmp_path, Part(system(OWN)), Part({"x": "x"}))
    debugfs(path, "feature needs_recovery")
    warned, good = judge(path)
    assert (warned.status, warned.evidence) == (Status.WARN, ("partition 1: ext4, needs_recovery",))
    assert warned.remedy is not None
    copy = path.with_name("disk-copy.img")
    command = (
        f"cp --sparse=always {path} {copy} && guestfish --rw --format=raw -a {copy} run : e2fsck /dev/sda1"
    )
    assert f"\n{command} forceall:true" in warned.remedy.en  # never the image itself
    assert (good.status, good.evidence) == (Status.PASS, ("partition 2: ext4, clean",))


def test_a_logical_volume_is_mended_under_the_name_that_guestfish_knows() -> None:
    names = ("/dev/mapper/vg-root", "/dev/vg/root", "/dev/disk/by-id/dm-name-vg-root")
    details = {"state": "errors", "needs_recovery": False}
    blocks: Any = None
    volume = Volume("vg/root", "lv", blocks, Signature("ext4", "", "", details), None, names)
    fault = checks.fault_of(volume)
    assert fault is not None
    assert fault.repair == "e2fsck /dev/vg/root forceall:true"


def test_an_error_flag_is_an_error(tmp_path: Path) -> None:
    path = disk_file(tmp_path, Part(system(OWN)))
    debugfs(path, "set_super_value state 3")
    (found,) = judge(path)
    assert (found.status, found.evidence) == (Status.FAIL, ("partition 1: ext4, state: errors",))


def test_an_ext2_that_was_not_unmounted_is_an_error(tmp_path: Path) -> None:
    path = disk_file(tmp_path, Part(system(OWN), "ext2"))
    debugfs(path, "set_super_value state 0")
    (found,) = judge(path)
    assert (found.status, found.evidence) == (Status.FAIL, ("partition 1: ext2, state: not clean",))


def test_a_fat_that_was_not_unmounted_is_a_warning(tmp_path: Path) -> None:
    path = disk_file(tmp_path, Part({"EFI/BOOT/BOOTX64.EFI": "x"}, "vfat"))
    write(path, MIB + 0x25, b"\x01")
    (found,) = judge(path)
    assert (found.status, found.evidence) == (Status.WARN, ("partition 1: vfat, dirty flag",))


def test_an_xfs_is_clean_when_its_log_ends_with_an_unmount(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    volume = make_xfs(tmp_path / "root", tmp_path / "v.img", "-m", "crc=0")
    assert [found.evidence for found in judge(volume)] == [("whole disk: xfs, clean",)]
    raw = volume.read_bytes()
    record = raw.index(b"\xfe\xed\xba\xbe")
    write(volume, record + 512 + 9, b"\x01")
    (found,) = judge(volume)
    assert (found.status, found.evidence) == (Status.WARN, ("whole disk: xfs, dirty log",))
    assert found.remedy is not None
    assert "run : mount /dev/sda / : umount /" in found.remedy.en


def test_a_log_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    volume = make_xfs(tmp_path / "root", tmp_path / "v.img", "-m", "crc=0")
    record = volume.read_bytes().index(b"\xfe\xed\xba\xbe")
    write(volume, record, b"\0\0\0\5")
    assert [found.status for found in judge(volume)] == [Status.UNKNOWN]


def test_a_root_with_little_room_is_a_warning_and_an_error_for_a_forced_import(tmp_path: Path) -> None:
    path = disk_file(tmp_path, Part(system(OWN)))
    (found,) = judge(path, "disk.filesystem.space")
    assert (found.status, found.severity) == (Status.WARN, Severity.WARNING)
    assert "less than 64 MiB free" in found.message.en
    assert found.evidence[0].endswith("MiB free of 24 MiB")
    (forced,) = judge(path, "disk.filesystem.space", force=True)
    assert forced.status is Status.FAIL


def test_a_root_without_inodes_is_full_though_it_has_bytes(tmp_path: Path) -> None:
    path = tmp_path / "whole.img"
    folder = folder_of(system(OWN), tmp_path / "root")
    tool("mke2fs", "-q", "-F", "-t", "ext4", "-N", "256", "-d", folder, path, "200M")
    (found,) = judge(path, "disk.filesystem.space")
    assert found.status is Status.WARN
    assert "less than 1000 inodes free" in found.message.en


def test_a_root_with_room_passes(tmp_path: Path) -> None:
    path = tmp_path / "whole.img"
    folder = folder_of(system(OWN), tmp_path / "root")
    tool("mke2fs", "-q", "-F", "-t", "ext4", "-d", folder, path, "200M")
    assert [found.status for found in judge(path, "disk.filesystem.space")] == [Status.PASS]
