"""linux.bootloader and what it names: the root and the console."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from imgtool.checks.bootloader import bootloader
from imgtool.checks.bootloader_root import root
from imgtool.checks.console import console
from imgtool.checks.kernel import kernel

from imgtool.errors import CannotRead
from tests.checks.boot_guest import CONFIG, OLD, V, grub_cfg, guest_image, judge, levels, only
from tests.guest.stand_in import ROOT, ROOT_UUID, logical, volume
from tests.guest.test_compression import packed
from tests.guest.test_cpio import newc

CFG = "/boot/grub/grub.cfg"


def test_a_good_boot_loader_is_kept_with_its_entry() -> None:
    outcome = only(bootloader, guest_image())
    assert outcome.kind == "kept"
    assert outcome.evidence[0] == "/boot/grub/grub.cfg:1: Debian GNU/Linux"


def test_without_configuration_it_is_an_error_with_the_guest_s_own_command() -> None:
    outcome = only(bootloader, guest_image({CFG: None}))
    assert outcome.kind == "broken"
    assert outcome.remedy is not None
    assert outcome.remedy.en == "update-grub"


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("", "error"),
        ("set default=0\n", "error"),
        ("menuentry Windows { chainloader +1 }\n", "undecided"),
    ],
)
def test_a_menu_without_a_linux_to_start(text: str, level: str) -> None:
    assert levels(bootloader, guest_image({CFG: text})) == [level]


def test_another_entry_without_its_files_is_a_warning() -> None:
    text = grub_cfg() + f"menuentry old {{ linux /boot/vmlinuz-{OLD} root=UUID={ROOT_UUID} }}\n"
    outcomes = judge(bootloader, guest_image({CFG: text}))
    assert levels(bootloader, guest_image({CFG: text})) == ["kept", "warning"]
    assert f"/boot/vmlinuz-{OLD}" in outcomes[1].message.en


def test_an_entry_that_is_a_file_of_its_own_is_removed() -> None:
    folder = "/boot/loader/entries"
    entry = f"linux /boot/vmlinuz-%s\noptions root=UUID={ROOT_UUID}\n"
    files = {
        CFG: "blscfg\n",
        f"{folder}/m-{V}.conf": entry % V,
        f"{folder}/m-0-rescue.conf": entry % "0-rescue",
    }
    kept, warned = judge(bootloader, guest_image(files))
    assert (kept.kind, warned.remedy and warned.remedy.en) == ("kept", f"rm {folder}/m-0-rescue.conf")


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ("ID=debian\n", "grub-install --efi-directory=/boot/efi && update-grub"),
        ("ID=sles\n", "update-bootloader --reinit"),
        (
            "ID=rhel\nVERSION_ID=9.3\n",
            "rm /boot/efi/EFI/x/grub.cfg && apt-get reinstall -y grub2-common"
            " && grub2-mkconfig -o /boot/grub2/grub.cfg",
        ),
    ],
)
def test_a_stub_that_leads_nowhere_is_made_anew(release: str, command: str) -> None:
    stub = "search.fs_uuid 00000000-0000-4000-8000-000000000000 root\nconfigfile ($root)/nowhere/grub.cfg\n"
    files = {CFG: None, "/boot/efi/EFI/x/grub.cfg": stub, "/etc/os-release": release}
    outcome = only(bootloader, guest_image(files))
    assert outcome.remedy is not None
    assert outcome.remedy.en == command


def test_the_default_entry_s_own_missing_files_are_left_to_linux_kernel() -> None:
    assert levels(bootloader, guest_image({f"/boot/vmlinuz-{V}": None})) == ["kept"]


def test_a_search_for_a_filesystem_that_is_nowhere_is_a_warning() -> None:
    text = "search --no-floppy --fs-uuid --set=root 00000000-0000-4000-8000-000000000000\n" + grub_cfg()
    assert levels(bootloader, guest_image({CFG: text})) == ["kept", "warning"]


SECOND = volume(2, "ext4", "22222222-2222-4222-8222-222222222222", "data")


@pytest.mark.parametrize(
    ("spec", "level"),
    [
        (f"UUID={ROOT_UUID}", "kept"),
        (f"UUID={ROOT_UUID.upper()}", "kept"),
        ("LABEL=cloudimg-rootfs", "kept"),
        ("PARTUUID=11223344-01", "kept"),
        (f"/dev/disk/by-uuid/{ROOT_UUID}", "kept"),
        ("/dev/vda1", "warning"),
        ("/dev/vda2", "error"),
        ("/dev/vda9", "error"),
        ("/dev/sda1", "error"),
        ("/dev/hda1", "error"),
        ("/dev/xvda1", "error"),
        ("/dev/nvme0n1p1", "error"),
        ("0801", "error"),
        ("/dev/disk/by-path/pci-0000:00:10.0-part1", "error"),
        ("UUID=99999999-9999-4999-8999-999999999999", "error"),
        ("LABEL=nowhere", "error"),
        ("/dev/mapper/vg-gone", "error"),
        ("LABEL=data", "warning"),
        ("ZFS=rpool/root", "undecided"),
    ],
)
def test_how_the_root_is_named(spec: str, level: str) -> None:
    image = guest_image({CFG: grub_cfg(f"root={spec} ro quiet")}, volumes=(ROOT, SECOND))
    assert levels(root, image) == [level]


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("/etc/default/grub", 'GRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX="quiet root=/dev/sda1"\n', 2),
        ("/etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT='root=/dev/sda1 quiet'\n", 1),
        ("/etc/default/grub.d/50-old.cfg", "GRUB_CMDLINE_LINUX=root=/dev/sda1\n", 1),
        ("/etc/kernel/cmdline", "root=/dev/sda1 ro\n", 1),
    ],
)
def test_what_the_next_kernels_entry_is_made_from_may_still_name_the_old_disk(
    path: str, text: str, line: int, tmp_path: Path
) -> None:
    image = guest_image({path: text})
    assert levels(root, image) == ["kept", "warning"]
    (_, outcome) = judge(root, image)
    assert outcome.evidence == (f"{path}:{line}: root=/dev/sda1",)
    assert outcome.remedy is not None
    file = tmp_path / "file"
    file.write_text(text)
    command = outcome.remedy.en.splitlines()[-1].replace(path, str(file))
    subprocess.run(["sh", "-ec", command], check=True)
    assert levels(root, guest_image({path: file.read_text()})) == ["kept"]


@pytest.mark.parametrize(
    "text",
    ["#GRUB_CMDLINE_LINUX=root=/dev/sda1\n", "GRUB_CMDLINE_LINUX='root=UUID=1'\n", "GRUB_DEVICE=/dev/sda1\n"],
)
def test_what_grub_is_not_told_is_no_fault(text: str) -> None:
    assert levels(root, guest_image({"/etc/default/grub": text})) == ["kept"]


BUILT_IN = {f"/boot/config-{V}": CONFIG.replace("=m", "=y") + "CONFIG_EXT4_FS=y\n"}


def alone(spec: str, **how: Any) -> Any:
    """The good guest with all drivers in its kernel, which is given no initramfs."""
    files = {**BUILT_IN, CFG: grub_cfg(f"root={spec} ro", initrd=""), **how.pop("files", {})}
    return guest_image(files, volumes=(ROOT, SECOND), **how)


@pytest.mark.parametrize(
    ("spec", "level"),
    [
        ("PARTUUID=11223344-01", "kept"),
        ("/dev/vda1", "warning"),
        ("/dev/sda1", "error"),
        (f"UUID={ROOT_UUID}", "error"),
        ("LABEL=cloudimg-rootfs", "error"),
        (f"/dev/disk/by-uuid/{ROOT_UUID}", "error"),
        ("/dev/mapper/vg-root", "error"),
    ],
)
def test_a_kernel_without_an_initramfs_knows_no_uuid_and_no_label(spec: str, level: str) -> None:
    assert levels(root, alone(spec)) == [level]
    assert levels(kernel, alone(spec)) == ["kept"]
    if level != "kept":
        outcome = only(root, alone(spec))
        assert outcome.remedy is not None
        assert f"|root={spec}\\b|root=PARTUUID=11223344-01|" in outcome.remedy.en
        assert f"mkinitramfs -o /boot/initrd.img-{V} {V} && update-grub" in outcome.remedy.en
        assert "mkinitramfs" in outcome.remedy.zh


def test_what_is_left_where_the_kernel_knows_no_lasting_name_is_an_initramfs() -> None:
    lv = logical("vg/root", "ext4", ROOT_UUID)
    files = {**BUILT_IN, CFG: grub_cfg("root=/dev/mapper/vg-root ro", initrd="")}
    outcome = only(root, guest_image(files, volumes=(ROOT, lv), root=lv))
    assert (outcome.kind, outcome.severity, outcome.fixable) == ("broken", None, False)
    assert outcome.remedy is not None
    assert outcome.remedy.en.startswith("printf")


def test_modules_make_the_missing_initramfs_the_fault_not_the_name() -> None:
    image = guest_image({CFG: grub_cfg(initrd="")})
    assert levels(root, image) == ["kept"]
    assert levels(kernel, image) == ["error"]


@pytest.mark.parametrize("spec", ["/dev/mapper/vg-root", "/dev/vg/root"])
def test_a_logical_volume_on_this_disk_is_kept(spec: str) -> None:
    lv = logical("vg/root", "xfs", ROOT_UUID)
    image = guest_image({CFG: grub_cfg(f"root={spec} ro")}, volumes=(ROOT, lv), root=lv)
    assert levels(root, image) == ["kept"]


def test_a_logical_volume_that_dracut_waits_for_must_be_on_this_disk() -> None:
    lv = logical("vg/root", "xfs", ROOT_UUID)
    files = {CFG: grub_cfg("root=/dev/mapper/vg-root ro rd.lvm.lv=vg/root rd.lvm.lv=vg/swap")}
    dracut = {**files, "/usr/bin/dracut": b"x"}
    outcomes = judge(root, guest_image(dracut, volumes=(ROOT, lv), root=lv))
    assert [it.kind for it in outcomes] == ["kept", "broken"]
    assert outcomes[1].evidence == (f"{CFG}:1: rd.lvm.lv=vg/swap",)
    assert outcomes[1].remedy is not None
    assert "sed -i 's| *rd\\.lvm\\.lv=vg/swap||'" in outcomes[1].remedy.en
    assert levels(root, guest_image(files, volumes=(ROOT, lv), root=lv)) == ["kept"]  # initramfs-tools
    swap = logical("vg/swap", "swap", "")
    assert levels(root, guest_image(dracut, volumes=(ROOT, lv, swap), root=lv)) == ["kept"]


def test_the_last_root_counts() -> None:
    image = guest_image({CFG: grub_cfg(f"root=/dev/sda1 root=UUID={ROOT_UUID}")})
    assert levels(root, image) == ["kept"]


def test_without_a_root_it_cannot_be_told() -> None:
    assert levels(root, guest_image({CFG: grub_cfg("ro quiet")})) == ["undecided"]


def test_a_root_by_its_partition_s_type_is_found_by_systemd_alone_and_from_systemd_boot() -> None:
    root_type = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
    typed = volume(1, "ext4", ROOT_UUID, part_type=root_type)
    generator = ("usr/lib/systemd/system-generators/systemd-gpt-auto-generator", b"\x7fELF")
    initrd = f"/boot/initrd.img-{V}"
    systemd = {initrd: packed("gzip", newc(("init", b"x"), generator))}
    boot = {
        CFG: None,
        "/boot/loader/loader.conf": "timeout 3\n",
        "/boot/loader/entries/debian.conf": f"title Debian\nlinux /vmlinuz-{V}\ninitrd /initrd.img-{V}\n",
    }

    def said(files: dict[str, Any]) -> list[str]:
        return levels(root, guest_image(files, volumes=(typed,), root=typed, kind="gpt", boot_code=b""))

    assert said({**systemd, **boot}) == ["kept"]
    assert said(boot) == ["undecided"]  # initramfs-tools looks for no types
    assert said({**systemd, CFG: grub_cfg("ro quiet")}) == ["undecided"]


def test_the_remedy_really_mends_the_file(tmp_path: Path) -> None:
    text = grub_cfg("root=/dev/sda1 ro") + "# /dev/sda11 stays\n"
    outcome = only(root, guest_image({CFG: text}))
    assert outcome.remedy is not None
    command = outcome.remedy.en.splitlines()[0]
    path = tmp_path / "grub.cfg"
    path.write_text(text)
    subprocess.run(["sh", "-ec", command.replace(CFG, str(path))], check=True)
    assert f"root=UUID={ROOT_UUID} ro" in path.read_text()
    assert levels(root, guest_image({CFG: path.read_text()})) == ["kept"]


def test_another_entry_with_an_old_device_name_is_a_warning() -> None:
    text = grub_cfg() + f"menuentry old {{ linux /boot/vmlinuz-{V} root=/dev/sda1 }}\n"
    assert levels(root, guest_image({CFG: text})) == ["kept", "warning"]


@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        ("", "kept"),
        ("console=tty0", "kept"),
        ("console=hvc0 console=ttyS0,115200n8", "kept"),
        ("console=hvc0", "info"),
        ("console=ttyS1,9600", "info"),
        ("console=xvc0", "info"),
    ],
)
def test_which_console_is_usable(arguments: str, level: str) -> None:
    assert levels(console, guest_image({CFG: grub_cfg(f"root=UUID={ROOT_UUID} {arguments}")})) == [level]


def submenus(depth: int, entry: str) -> str:
    """One entry below that many submenus."""
    head = "".join(f"{'  ' * level}submenu 'Level {level}' --id=l{level} {{\n" for level in range(depth))
    return head + entry + "}\n" * depth


ENTRY = (
    "menuentry 'Deep' --id=deep {{\n linux /boot/vmlinuz-{version} root=UUID={uuid} ro\n"
    " initrd /boot/initrd.img-{version}\n}}\n"
)


@pytest.mark.parametrize("default", ["l0>l1>l2>deep", "0>0>0>0", "Level 0>Level 1>Level 2>Deep"])
def test_a_default_below_nested_submenus_is_found(default: str) -> None:
    text = f"set default='{default}'\n" + submenus(3, ENTRY.format(version=V, uuid=ROOT_UUID))
    outcome = only(bootloader, guest_image({CFG: text}))
    assert outcome.kind == "kept"
    assert "Deep" in outcome.message.en


def test_of_a_thousand_entries_the_default_is_judged() -> None:
    old = "menuentry 'Old {0}' {{\n linux /boot/vmlinuz-{0} root=/dev/sda1\n}}\n"
    other = "".join(old.format(number) for number in range(999))
    text = "set default=999\n" + other + ENTRY.format(version=V, uuid=ROOT_UUID)
    found = judge(bootloader, guest_image({CFG: text}))
    assert any(it.kind == "kept" and "Deep" in it.message.en for it in found)
    assert "error" not in levels(bootloader, guest_image({CFG: text}))
    wrong = text.replace("default=999", "default=998")
    assert any("Old 998" in it.message.en for it in judge(bootloader, guest_image({CFG: wrong})))


def test_variables_and_another_configuration_are_followed() -> None:
    text = (
        f"set version={V}\nset prefix=/boot/grub\nset more=custom\n"
        "if [ -f $prefix/${more}.cfg ]; then\n  configfile ${prefix}/$more.cfg\nfi\n"
    )
    custom = ENTRY.format(version="${version}", uuid=ROOT_UUID)
    outcome = only(bootloader, guest_image({CFG: text, "/boot/grub/custom.cfg": custom}))
    assert outcome.kind == "kept"


@pytest.mark.parametrize(
    "text",
    [
        "configfile /boot/grub/grub.cfg\n",
        "source /boot/grub/grub.cfg\nconfigfile /boot/grub/grub.cfg\n",
        submenus(2000, ""),
        "menuentry 'x' {\n",
        "set a=$a$a\n" * 100,
        "\x00\xff{}{}{{{\n",
    ],
    ids=["itself", "itself twice", "2,000 submenus", "no end", "growing", "garbage"],
)
def test_a_configuration_that_leads_nowhere_does_not_pass(text: str) -> None:
    try:
        found = levels(bootloader, guest_image({CFG: text}))
    except CannotRead:
        found = ["undecided"]  # which is what becomes of it
    assert found in (["error"], ["undecided"])
