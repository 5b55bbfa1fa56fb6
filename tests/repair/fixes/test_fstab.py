from __future__ import annotations

from pathlib import Path

import pytest

from tests.guest.stand_in import BOOT, BOOT_UUID, ROOT, ROOT_UUID
from tests.repair.folder_guest import FolderGuest, mends

ROOT_LINE = f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n"


def test_a_data_disk_is_commented_out_and_the_line_kept_for_people(tmp_path: Path) -> None:
    guest = FolderGuest(tmp_path, {"/etc/fstab": f"{ROOT_LINE}/dev/vdb1 /data ext4 defaults 0 2\n"})
    plan = mends(guest, "linux.fstab.data-disk")
    assert guest.text("/etc/fstab") == (
        f"{ROOT_LINE}# imgtool: not on this image, commented out: /dev/vdb1 /data ext4 defaults 0 2\n"
    )
    assert "-/dev/vdb1 /data ext4 defaults 0 2" in plan.steps[0].diff


def test_a_device_name_becomes_the_uuid_of_that_volume(tmp_path: Path) -> None:
    guest = FolderGuest(
        tmp_path,
        {"/etc/fstab": "/dev/sda1 / ext4 defaults 0 1\n/dev/sda2 /boot xfs defaults 0 2\n"},
        volumes=(ROOT, BOOT),
    )
    mends(guest, "linux.fstab.device-names")
    assert guest.text("/etc/fstab") == (
        f"UUID={ROOT_UUID} / ext4 defaults 0 1\nUUID={BOOT_UUID} /boot xfs defaults 0 2\n"
    )


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("UUID=f0e1d2c3-b4a5-4697-8879-6a5b4c3d2e1f /srv ext4 defaults 0 2", ""),
        ("\x7fELF", ""),
        ("host /mnt 9p defaults 0 0", ""),
        ("tmpfs /tmp tmpfs defaults 0 x", "tmpfs /tmp tmpfs defaults 0 0"),
        ("\ufefftmpfs /tmp tmpfs defaults 0 0", "tmpfs /tmp tmpfs defaults 0 0"),
    ],
)
def test_a_line_that_stops_the_boot_or_can_not_be_read(tmp_path: Path, line: str, instead: str) -> None:
    guest = FolderGuest(tmp_path, {"/etc/fstab": f"{ROOT_LINE}{line}\n"})
    mends(guest, "linux.fstab")
    last = guest.text("/etc/fstab").splitlines()[-1]
    assert last == instead if instead else last.startswith("# imgtool: not on this image")


def test_the_root_of_another_disk_becomes_this_one(tmp_path: Path) -> None:
    other = "UUID=f0e1d2c3-b4a5-4697-8879-6a5b4c3d2e1f / ext4 noatime 0 1\n"
    guest = FolderGuest(tmp_path, {"/etc/fstab": other})
    mends(guest, "linux.fstab")
    assert guest.text("/etc/fstab") == f"UUID={ROOT_UUID} / ext4 noatime 0 1\n"


def test_a_missing_line_for_the_root_is_added(tmp_path: Path) -> None:
    guest = FolderGuest(tmp_path, {"/etc/fstab": "tmpfs /tmp tmpfs defaults 0 0"})
    mends(guest, "linux.fstab")
    assert guest.text("/etc/fstab").splitlines()[-1] == f"UUID={ROOT_UUID} / ext4 defaults 0 1"


def test_line_ends_of_windows_and_bytes_that_are_no_text_stay(tmp_path: Path) -> None:
    content = (
        ROOT_LINE.encode().replace(b"\n", b"\r\n") + b"# caf\xe9\r\n/dev/vdb1 /data ext4 defaults 0 0\r\n"
    )
    guest = FolderGuest(tmp_path, {"/etc/fstab": content})
    mends(guest, "linux.fstab.data-disk")
    after = (tmp_path / "etc/fstab").read_bytes()
    assert after.startswith(content[: content.index(b"/dev/vdb1")])
    assert after.endswith(b"/dev/vdb1 /data ext4 defaults 0 0\r\n")


def test_three_fixes_of_one_file_build_on_one_another(tmp_path: Path) -> None:
    guest = FolderGuest(
        tmp_path,
        {"/etc/fstab": "/dev/sda1 / ext4 defaults 0 1\n/dev/sdb1 /d xfs rw 0 0\nhost /m 9p rw 0 0\n"},
    )
    plan, _ = guest.mend()
    assert {step.mends for step in plan.steps} == {
        "linux.fstab",
        "linux.fstab.data-disk",
        "linux.fstab.device-names",
    }
    lines = guest.text("/etc/fstab").splitlines()
    assert lines[0] == f"UUID={ROOT_UUID} / ext4 defaults 0 1"
    assert all(line.startswith("# imgtool") for line in lines[1:])
