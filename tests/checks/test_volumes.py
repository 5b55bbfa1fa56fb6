"""disk.other-disks and disk.encrypted: what lies on the disk and can't do without more than the disk."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from imgtool.checks import volumes as room

from imgtool.image import Image
from imgtool.profiles import load_profile
from imgtool.rules import Finding, Rule, Severity, Status, run
from tests.disk.made import MIB, gpt, mbr, sparse, tool, write
from tests.disk.test_lvm import physical
from tests.disk.test_signatures import raid

RULES = {found.id: found for found in vars(room).values() if isinstance(found, Rule)}


def judged(path: Path, name: str) -> list[Finding]:
    with Image(path, load_profile("tce")) as image:
        return [finding for finding in run(image, RULES) if finding.id == f"disk.{name}"]


def only(path: Path, name: str) -> Finding:
    (found,) = judged(path, name)
    return found


def system(path: Path, crypttab: str = "") -> None:
    """A small Linux root in ext4, as far as it takes to be known for one."""
    tree = path.with_name("tree")
    for folder in (
        "etc",
        "bin",
        "sbin",
        "usr/bin",
        "usr/lib",
        "var/lib",
        "proc",
        "sys",
        "dev",
        "root",
        "lib",
    ):
        (tree / folder).mkdir(parents=True, exist_ok=True)
    (tree / "etc/os-release").write_text("ID=debian\nVERSION_ID=12\n")
    (tree / "etc/fstab").write_text("")
    (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tree / "sbin/init").write_text("#!/bin/sh\n")
    if crypttab:
        (tree / "etc/crypttab").write_text(crypttab)
    tool("mkfs.ext4", "-q", "-d", tree, sparse(path, 24 * MIB))


def test_an_ordinary_disk_needs_nothing_else(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", "2048,,83\n")
    assert [only(path, name).status for name in ("other-disks", "encrypted")] == [Status.PASS] * 2


def test_a_group_with_a_disk_missing_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", "2048,,8e\n", 66 * MIB)
    write(path, MIB, physical("lvm-mixed-pv0").data)
    found = only(path, "other-disks")
    assert found.status is Status.FAIL
    assert "debian-vg" in found.message.en
    assert found.evidence[0].startswith("missing: pv1 (/dev/loop1, ")
    assert found.remedy is not None
    assert "vgreduce debian-vg" in found.remedy.zh


def test_a_whole_group_passes(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", "2048,64M,8e\n,64M,8e\n", 130 * MIB)
    write(path, MIB, physical("lvm-plain-pv0").data)
    write(path, 65 * MIB, physical("lvm-plain-pv1").data)
    found = only(path, "other-disks")
    assert (found.status, found.evidence) == (Status.PASS, ("volume group plain: complete",))


@pytest.mark.parametrize(
    ("level", "disks", "here", "status"),
    [
        (0, 2, 1, Status.FAIL),
        (1, 2, 1, Status.WARN),
        (5, 3, 1, Status.FAIL),
        (5, 3, 2, Status.WARN),
        (6, 4, 2, Status.WARN),
        (10, 4, 1, Status.FAIL),
        (-1, 2, 1, Status.FAIL),
        (0, 2, 2, Status.PASS),
        (1, 1, 1, Status.PASS),
    ],
)
def test_an_array_is_judged_by_whether_it_starts_with_what_is_here(
    level: int, disks: int, here: int, status: Status, tmp_path: Path
) -> None:
    path = mbr(tmp_path / "disk", "2048,8M,fd\n" + ",8M,fd\n" * (here - 1))
    for number in range(here):
        write(path, (1 + 8 * number) * MIB, raid("1.2", 8 * MIB, level, disks))
    found = only(path, "other-disks")
    assert found.status is status
    if status is not Status.PASS:
        assert f"of {disks} disks has {here} of them here" in found.message.en


def test_a_windows_dynamic_disk_is_an_error(tmp_path: Path) -> None:
    found = only(mbr(tmp_path / "disk", "2048,,42\n"), "other-disks")
    assert (found.status, "dynamic disk" in found.message.en) == (Status.FAIL, True)
    ldm = "type=AF9B60A0-1431-4F62-BC68-3311714A69AD\n"
    assert only(gpt(tmp_path / "gpt", "start=2048,size=8M," + ldm), "other-disks").status is Status.FAIL


def test_a_btrfs_of_two_devices_with_one_here_is_one_error(tmp_path: Path) -> None:
    one, two = sparse(tmp_path / "one", 128 * MIB), sparse(tmp_path / "two", 128 * MIB)
    tool("mkfs.btrfs", "-q", "-d", "raid1", "-m", "raid1", one, two)
    path = mbr(tmp_path / "disk", "2048,128M,83\n,128M,83\n", 260 * MIB)
    write(path, MIB, one.read_bytes())
    found = only(path, "other-disks")
    assert (found.status, "2 devices has 1" in found.message.en) == (Status.FAIL, True)
    write(path, 129 * MIB, two.read_bytes())
    assert only(path, "other-disks").status is Status.PASS


def test_a_journal_on_another_disk_is_an_error(tmp_path: Path) -> None:
    volume = sparse(tmp_path / "ext4", 16 * MIB)
    tool("mkfs.ext4", "-q", "-O", "^has_journal", volume)
    tool("debugfs", "-w", "-R", "feature has_journal", volume)
    path = mbr(tmp_path / "disk", "2048,16M,83\n")
    write(path, MIB, volume.read_bytes())
    found = only(path, "other-disks")
    assert (found.status, "journal of partition 1" in found.message.en) == (Status.FAIL, True)


def luks(path: Path) -> str:
    """A LUKS 1 volume; its UUID."""
    options = ["-q", "--type", "luks1", "--pbkdf-force-iterations", "1000"]
    tool("cryptsetup", "luksFormat", *options, sparse(path, 8 * MIB), given=b"passphrase")
    return tool("cryptsetup", "luksUUID", path).decode().strip()


def test_a_disk_with_nothing_but_an_encrypted_volume_fails(tmp_path: Path) -> None:
    uuid = luks(tmp_path / "luks")
    path = mbr(tmp_path / "disk", "2048,24M,83\n,8M,83\n")
    write(path, 25 * MIB, (tmp_path / "luks").read_bytes())
    found = only(path, "encrypted")
    assert found.status is Status.FAIL
    assert found.evidence == (f"partition 2: crypto_LUKS version 1 {uuid}",)


@pytest.mark.parametrize(
    ("crypttab", "status", "says"),
    [
        ("", Status.WARN, "starts without it"),
        ("data UUID={} none luks\n", Status.FAIL, "waits for its passphrase"),
        ("data UUID={}\n", Status.FAIL, "waits for its passphrase"),
        ("data /dev/disk/by-uuid/{} none luks\n", Status.FAIL, "waits for its passphrase"),
        ("data /dev/sda2 none luks\n", Status.FAIL, "waits for its passphrase"),
        ("data UUID={} /etc/data.key luks\n", Status.WARN, "key file"),
        ("data UUID={} none luks,nofail\n", Status.WARN, "can start without it"),
        ("data UUID={} none noauto\n", Status.WARN, "can start without it"),
        ("# data UUID={} none luks\n", Status.WARN, "starts without it"),
    ],
)
def test_beside_a_readable_system_what_opens_the_volume_decides(
    crypttab: str, status: Status, says: str, tmp_path: Path
) -> None:
    uuid = luks(tmp_path / "luks")
    system(tmp_path / "root", crypttab.format(uuid))
    path = mbr(tmp_path / "disk", "2048,24M,83\n,8M,83\n")
    write(path, MIB, (tmp_path / "root").read_bytes())
    write(path, 25 * MIB, (tmp_path / "luks").read_bytes())
    found = only(path, "encrypted")
    assert (found.status, says in found.message.en) == (status, True), found
    assert any("crypttab" in line for line in found.evidence) == (says != "starts without it")


def test_bitlocker_fails_where_no_system_can_be_read(tmp_path: Path) -> None:
    path = mbr(tmp_path / "disk", "2048,,7\n")
    write(path, MIB, b"\xeb\x58\x90-FVE-FS-".ljust(510, b"\0") + b"\x55\xaa")
    found = only(path, "encrypted")
    assert (found.status, "BitLocker" in found.message.en) == (Status.FAIL, True)
    assert found.remedy is not None
    assert "manage-bde -off" in found.remedy.zh


def test_whether_the_system_needs_it_is_unknown_beside_a_volume_that_cannot_be_read(tmp_path: Path) -> None:
    luks(tmp_path / "luks")
    path = mbr(tmp_path / "disk", "2048,24M,83\n,8M,83\n")
    damaged = sparse(tmp_path / "ext4", 24 * MIB)
    tool("mkfs.ext4", "-q", damaged)
    write(damaged, 1024 + 32, struct.pack("<II", 0, 0))  # no blocks, no inodes in a group
    write(path, MIB, damaged.read_bytes())
    write(path, 25 * MIB, (tmp_path / "luks").read_bytes())
    assert only(path, "encrypted").status is Status.UNKNOWN


def test_levels_are_the_catalogues() -> None:
    assert {found.severity for found in RULES.values()} == {Severity.ERROR}
