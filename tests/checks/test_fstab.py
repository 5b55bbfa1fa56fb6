from __future__ import annotations

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from imgtool.checks.fstab import data_disk, device_names, fstab

from imgtool.disk.volumes import Volume
from imgtool.guest.fstab import parse_fstab
from tests.checks.linux_guest import ROOT, ROOT_UUID, image, judge, level, levels, only, remedy, volume

GOOD = f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n"
RULES = (fstab, data_disk, device_names)


def table(text: str, **more: Any) -> Any:
    return image({"/etc/fstab": text}, **more)


def errors(text: str, **more: Any) -> list[str]:
    """The rules that give an error, as a run would: those that build on linux.fstab only when it holds."""
    given = table(text, **more)
    if "error" in levels(fstab, given):
        return [fstab.id]
    return [rule.id for rule in RULES if "error" in levels(rule, given)]


def applied(text: str, command: str, tmp_path: Path) -> str:
    """The table after the remedy's sed command was really run."""
    path = tmp_path / "fstab"
    path.write_text(text)
    script = "\n".join(line for line in command.splitlines() if line.startswith("sed "))
    subprocess.run(["sh", "-ec", script.replace("/etc/fstab", str(path))], check=True)
    return path.read_text()


def test_a_good_table_is_kept_by_every_rule() -> None:
    assert [levels(rule, table(GOOD)) for rule in RULES] == [["kept"], ["kept"], ["kept"]]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("UUID=11111111-2222-3333-4444-555555555555 /srv ext4 defaults 0 2", "linux.fstab"),
        ("LABEL=nowhere /srv ext4 defaults 0 2", "linux.fstab"),
        ("/dev/mapper/other-lv /srv ext4 defaults 0 2", "linux.fstab"),
        ("/dev/md0 /srv ext4 defaults 0 2", "linux.fstab"),
        ("/dev/disk/by-uuid/1234 /srv ext4 defaults 0 2", "linux.fstab"),
        ("just words", "linux.fstab"),
        ("share /mnt/share vboxsf defaults 0 0", "linux.fstab"),
        ("hostshare /mnt/share 9p trans=virtio 0 0", "linux.fstab"),
        (".host:/ /mnt/hgfs fuse.vmhgfs-fuse allow_other 0 0", "linux.fstab"),
        ("/dev/vdb1 /data ext4 defaults 0 0", "linux.fstab.data-disk"),
        ("/dev/sdb1 /data ext4 defaults 0 0", "linux.fstab.data-disk"),
        ("/dev/xvdb1 /data ext4 defaults 0 0", "linux.fstab.data-disk"),
        ("/dev/sdc /data xfs defaults 0 0", "linux.fstab.data-disk"),
        ("/dev/sda1 /again ext4 defaults 0 0", "linux.fstab.device-names"),
        ("/dev/sda7 /gone ext4 defaults 0 0", "linux.fstab.device-names"),
        ("/dev/disk/by-id/ata-X-part1 /x ext4 defaults 0 0", "linux.fstab.device-names"),
        ("/dev/disk/by-path/pci-0-part1 /x ext4 defaults 0 0", "linux.fstab.device-names"),
    ],
)
def test_one_fault_is_one_rules_error(line: str, rule: str) -> None:
    assert errors(GOOD + line + "\n") == [rule]


@pytest.mark.parametrize(
    "line",
    [
        f"UUID={ROOT_UUID} /again ext4 noauto 0 0",
        "proc /proc proc defaults 0 0",
        "tmpfs /tmp tmpfs defaults 0 0",
        "/dev/cdrom /media/cdrom iso9660 ro 0 0",
        "/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0",
        "/dev/zram0 none swap sw 0 0",
        "server:/export /mnt nfs defaults 0 0",
        "/srv/a /srv/b none bind 0 0",
        "share /mnt/share vboxsf nofail 0 0",
        "hostshare /mnt/share 9p trans=virtio,_netdev 0 0",
        ".host:/ /mnt/hgfs fuse.vmhgfs-fuse noauto 0 0",
        "/swapfile none swap sw 0 0",
        f"UUID={ROOT_UUID} /home btrfs subvol=@home 0 0",
        "PARTUUID=1b2c3d4e-01 /again ext4 defaults 0 0",
    ],
)
def test_what_the_boot_does_not_wait_for_is_no_fault(line: str) -> None:
    assert [levels(rule, table(GOOD + line + "\n")) for rule in RULES] == [["kept"], ["kept"], ["kept"]]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("UUID=1111 none swap sw 0 0", fstab),
        ("UUID=1111 /x ext4 defaults # note", fstab),
        (f"UUID={ROOT_UUID} / ext4 defaults 0 1", fstab),
        ("/dev/vdb1 /data ext4 defaults,nofail 0 0", data_disk),
        ("/dev/vdb1 /data ext4 noauto 0 0", data_disk),
        ("UUID=1111 /srv ext4 nofail 0 2", data_disk),
        ("LABEL=backup /srv ext4 noauto 0 2", data_disk),
        ("/dev/mapper/data-srv /srv xfs x-systemd.automount 0 0", data_disk),
        ("/dev/vdb1 none swap sw 0 0", data_disk),
        ("/dev/sda2 none swap sw 0 0", device_names),
        ("/dev/sda1 /again ext4 nofail 0 0", device_names),
        ("/dev/vda1 /again ext4 defaults 0 0", device_names),
    ],
)
def test_what_only_delays_or_may_go_wrong_later_is_a_warning(line: str, rule: Any) -> None:
    assert "warning" in levels(rule, table(GOOD + line + "\n"))


def test_whether_a_line_without_need_is_of_another_disk_stays_open_behind_what_is_encrypted() -> None:
    locked = volume(2, "crypto_LUKS", "2222")
    volumes = (ROOT, locked)
    assert levels(data_disk, table(GOOD + "UUID=1111 /srv ext4 nofail 0 2\n", volumes=volumes)) == ["kept"]


def test_a_root_by_dev_sda1_gets_the_roots_own_uuid(tmp_path: Path) -> None:
    text = "# static\n/dev/sda1 / ext4 errors=remount-ro 0 1\n"
    outcome = only(device_names, table(text))
    assert outcome.evidence == ("/etc/fstab:2: /dev/sda1 / ext4 errors=remount-ro 0 1",)
    mended = applied(text, remedy(outcome), tmp_path)
    assert mended == f"# static\nUUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n"
    assert errors(mended) == []


def test_ubuntus_name_for_its_logical_volume_stays_and_one_that_is_not_here_is_absent() -> None:
    link = f"/dev/disk/by-id/dm-uuid-LVM-{'x' * 64}"
    root = Volume("ubuntu-vg/ubuntu-lv", "lv", ROOT.blocks, ROOT.signature, None, (link,))
    assert errors(f"{link} / ext4 defaults 0 1\n", volumes=(root,)) == []
    assert levels(device_names, table(f"{link} / ext4 defaults 0 1\n", volumes=(root,))) == ["kept"]
    gone = f"{link}\t/ ext4 defaults 0 1\n/dev/disk/by-id/dm-uuid-LVM-{'y' * 64} /srv ext4 defaults 0 2\n"
    assert errors(gone, volumes=(root,)) == ["linux.fstab"]


def test_dev_root_is_whatever_the_kernel_mounts() -> None:
    assert errors("/dev/root / ext4 defaults 0 1\n") == []


def test_a_line_that_cannot_be_read_is_one_outcome() -> None:
    assert levels(fstab, table(GOOD + 'LABEL="a b" /x ext4 defaults 0 0\n')) == ["error"]


def test_a_root_on_what_was_the_second_disk_is_a_device_name_and_no_data_disk() -> None:
    assert errors("/dev/sdb1 / ext4 defaults 0 1\n") == ["linux.fstab.device-names"]


def test_options_and_escapes_survive_the_remedy(tmp_path: Path) -> None:
    text = GOOD + '/dev/sda1 /a\\040b&|c ext4 x="1,2",ro 0 2\n'
    mended = applied(text, remedy(only(device_names, table(text))), tmp_path)
    entry = parse_fstab(mended)[1]
    assert (entry.spec, entry.mount_point) == (f"UUID={ROOT_UUID}", "/a b&|c")
    assert entry.options == ('x="1,2"', "ro")


def test_a_data_disk_is_commented_out(tmp_path: Path) -> None:
    text = GOOD + "/dev/vdb1 /data ext4 defaults 0 0\n"
    outcome = only(data_disk, table(text))
    assert outcome.evidence == ("/etc/fstab:2: /dev/vdb1 /data ext4 defaults 0 0",)
    mended = applied(text, remedy(outcome), tmp_path)
    assert mended == GOOD + "# /dev/vdb1 /data ext4 defaults 0 0\n"
    assert errors(mended) == []


def test_each_data_disk_is_named() -> None:
    text = GOOD + "/dev/vdb1 /a ext4 defaults 0 0\n/dev/vdc1 /b ext4 defaults,nofail 0 0\n"
    assert levels(data_disk, table(text)) == ["error", "warning"]


def test_an_unknown_root_is_replaced_by_the_real_one(tmp_path: Path) -> None:
    text = "UUID=1111 / ext4 noatime 0 1\n"
    outcome = only(fstab, table(text))
    mended = applied(text, remedy(outcome), tmp_path)
    assert mended == f"UUID={ROOT_UUID} / ext4 noatime 0 1\n"


def test_a_root_line_for_another_volume_is_an_error() -> None:
    other = volume(2, "ext4", "2222")
    assert levels(fstab, table("UUID=2222 / ext4 defaults 0 1\n", volumes=(ROOT, other))) == ["error"]


def test_the_one_volume_that_a_line_can_have_meant_is_proposed() -> None:
    esp = volume(2, "vfat", "ABCD-1234")
    text = GOOD + "UUID=0000-0000 /boot/efi vfat umask=0077 0 1\n"
    assert "UUID=ABCD-1234 /boot/efi vfat umask=0077 0 1" in remedy(
        only(fstab, table(text, volumes=(ROOT, esp)))
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [("root=x ro", "error"), ("root=x rw", "kept"), ("root=x", "warning"), (None, "warning")],
)
def test_without_a_root_line_the_kernels_ro_stays(arguments: str | None, expected: str) -> None:
    assert levels(fstab, table("proc /proc proc\n", arguments=arguments)) == [expected]


def test_a_short_line_is_completed(tmp_path: Path) -> None:
    text = f"UUID={ROOT_UUID} /\n"
    outcome = only(fstab, table(text))
    assert level(fstab, outcome) == "error"
    assert errors(applied(text, remedy(outcome), tmp_path)) == []


def test_an_unreadable_root_line_is_replaced_by_the_right_one(tmp_path: Path) -> None:
    text = "UUID=broken /\n"
    assert (
        applied(text, remedy(only(fstab, table(text))), tmp_path) == f"UUID={ROOT_UUID} / ext4 defaults 0 1\n"
    )


LUKS = volume(2, "crypto_LUKS", "3333")
MEMBER = volume(2, "linux_raid_member", "4444")
BROKEN_GROUP = SimpleNamespace(name="my-vg", complete=False, missing=("pv1",), logical_volumes=("data",))


@pytest.mark.parametrize(
    ("line", "volumes", "groups", "expected"),
    [
        ("UUID=1111 /srv ext4 defaults 0 2", (ROOT, LUKS), (), "undecided"),
        ("/dev/mapper/secret /srv ext4 defaults 0 2", (ROOT, LUKS), (), "undecided"),
        ("PARTUUID=1111 /srv ext4 defaults 0 2", (ROOT, LUKS), (), "error"),
        ("/dev/md0 /srv ext4 defaults 0 2", (ROOT, MEMBER), (), "undecided"),
        ("UUID=1111 /srv ext4 defaults 0 2", (ROOT,), (BROKEN_GROUP,), "undecided"),
        ("/dev/mapper/my--vg-data /srv ext4 defaults 0 2", (ROOT,), (BROKEN_GROUP,), "kept"),
        ("/dev/my-vg/data /srv ext4 defaults 0 2", (ROOT,), (BROKEN_GROUP,), "kept"),
        ("/dev/mapper/other-data /srv ext4 defaults 0 2", (ROOT, volume(2, "LVM2_member")), (), "error"),
    ],
)
def test_what_cannot_be_looked_into_is_never_an_error(
    line: str, volumes: Any, groups: Any, expected: str
) -> None:
    assert levels(fstab, table(GOOD + line + "\n", volumes=volumes, groups=groups)) == [expected]


def test_no_table_at_all_is_for_another_rule() -> None:
    given = image(without=["/etc/fstab"])
    assert [levels(rule, given) for rule in RULES] == [["not judged"]] * 3


def test_a_byte_order_mark_is_seen_and_taken_out(tmp_path: Path) -> None:
    text = "\ufeff# comment\n" + GOOD
    outcome = only(fstab, table(text))
    assert level(fstab, outcome) == "error"
    assert applied(text, remedy(outcome), tmp_path) == "# comment\n" + GOOD


def test_a_hostile_table_gives_a_bounded_report_without_control_characters() -> None:
    text = GOOD + "".join(f"UUID=\x1b[3{n} /m\x1b{n} ext4 defaults 0 0\n" for n in range(4000))
    outcomes = judge(fstab, table(text))
    assert 0 < len(outcomes) <= 64
    for outcome in outcomes:
        for words in (outcome.message.en, outcome.message.zh, *outcome.evidence, remedy(outcome)):
            assert "\x1b" not in words
