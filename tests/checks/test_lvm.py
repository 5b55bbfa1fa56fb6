"""linux.lvm: LVM's filters and the platform's disk."""

from __future__ import annotations

from typing import Any

import pytest
from imgtool.checks.lvm import device_filter

from imgtool.guest.lvm_filter import names_on_platform, refusal
from tests.checks.boot_guest import MODULES, V, grub_cfg, guest_image, judge, levels, path_of
from tests.guest.stand_in import ROOT_UUID, logical, volume
from tests.guest.test_compression import packed
from tests.guest.test_cpio import newc

CONF = "/etc/lvm/lvm.conf"
CFG = "/boot/grub/grub.cfg"
PV = volume(2, "LVM2_member", "AbCdEf-1111-2222-3333-4444-5555-666666", part_type="8e")
ROOT_LV = logical("vg/root", "xfs", ROOT_UUID)
HOME_LV = logical("vg/home", "xfs", "22222222-2222-4222-8222-222222222222")
ONLY_SDA = 'devices {\n filter = [ "a|^/dev/sda[0-9]*$|", "r|.*|" ]\n}\n'


def guest(files: dict[str, Any] | None = None, *, inside: str = "", others: bool = True) -> Any:
    members = [("init", b"x"), *((path_of(name), b"\x7fELF") for name in MODULES)]
    members += [(CONF[1:], inside.encode())] if inside else []
    initrd = {f"/boot/initrd.img-{V}": packed("gzip", newc(*members))}
    volumes = (PV, ROOT_LV, HOME_LV) if others else (PV, ROOT_LV)
    return guest_image({**initrd, **(files or {})}, volumes=volumes, root=ROOT_LV)


@pytest.mark.parametrize(
    ("setting", "takes"),
    [
        ("", True),
        ("filter = []", True),
        ('filter = [ "a|.*|" ]', True),
        ('filter = "r|/dev/cdrom|"', True),
        ('filter = [ "a|^/dev/sda2$|", "r|.*|" ]', False),
        ('filter = [ "a/dev/sda/", "r/.*/" ]', False),
        ('filter = [ "a|/dev/sda.*|", "a|/dev/vda.*|", "r|.*|" ]', True),
        ('filter = [ "a|^/dev/sd.*|" ]', True),
        ('filter = [ "a|/dev/disk/by-id/.*|", "r|.*|" ]', True),
        ('filter = [ "r|^/dev/vd|", "a|/by-path/|" ]', True),
        ('global_filter = [ "r|.*|" ]', False),
        ('# filter = [ "r|.*|" ]', True),
        ('filter = [ "a|^/dev/(sda|vda)|", "r|.*|" ]', None),
    ],
)
def test_which_filters_leave_the_platform_s_disk_out(setting: str, takes: bool | None) -> None:
    found = refusal([f"devices {{\n{setting}\n}}\n"], names_on_platform(PV))
    assert (None if found is None else found.certain) == (None if takes else takes is False)


def test_the_local_file_has_the_last_word_and_a_broken_one_none() -> None:
    names = names_on_platform(PV)
    assert refusal([ONLY_SDA, 'devices { filter = [ "a|.*|" ] }'], names) is None
    assert refusal([ONLY_SDA, "devices { filter = ["], names) is not None


def test_without_lvm_there_is_nothing_to_judge_and_without_a_filter_all_is_well() -> None:
    assert levels(device_filter, guest_image()) == ["not judged"]
    assert levels(device_filter, guest()) == ["kept"]


def test_the_initramfs_own_filter_counts_for_the_root() -> None:
    (outcome,) = judge(device_filter, guest(inside=ONLY_SDA, others=False))
    assert (outcome.kind, outcome.severity) == ("broken", None)
    assert "the root is not found" in outcome.message.en
    assert outcome.evidence[0].startswith(f"/boot/initrd.img-{V}: etc/lvm/lvm.conf: filter = ")
    assert outcome.remedy is not None
    assert f"mkinitramfs -o /boot/initrd.img-{V} {V}" in outcome.remedy.en


def test_the_system_s_filter_counts_for_the_other_volumes_that_the_boot_waits_for() -> None:
    mounted = {CONF: ONLY_SDA, "/etc/fstab": "/dev/mapper/vg-home /home xfs defaults 0 0\n"}
    (outcome,) = judge(device_filter, guest(mounted))
    assert (outcome.severity, "vg/home is not found" in outcome.message.en) == (None, True)
    early = {CFG: grub_cfg(f"root=UUID={ROOT_UUID} rd.lvm.lv=vg/root rd.lvm.lv=vg/home")}
    assert levels(device_filter, guest({**mounted, **early})) == ["warning"]
    later = {**mounted, "/etc/fstab": "/dev/mapper/vg-home /home xfs nofail 0 0\n"}
    assert levels(device_filter, guest(later)) == ["warning"]
    assert levels(device_filter, guest({CONF: ONLY_SDA})) == ["warning"]


def test_a_list_of_disks_by_the_old_hardware_is_a_warning() -> None:
    line = "IDTYPE={} IDNAME=naa.6000c29 DEVNAME=/dev/sda2 PVID=AbCdEf1111222233334444555566666 PART=2\n"
    path = "/etc/lvm/devices/system.devices"
    uuid = PV.signature.uuid.replace("-", "")
    for kind, expected in (("sys_wwid", "warning"), ("devname", "kept")):
        text = f"VERSION=1.1.2\nIDTYPE={kind} IDNAME=naa.6000c29 DEVNAME=/dev/sda2 PVID={uuid} PART=2\n"
        assert levels(device_filter, guest({path: text})) == [expected]
    assert levels(device_filter, guest({path: line.format("sys_wwid")})) == ["kept"]  # another disk's
