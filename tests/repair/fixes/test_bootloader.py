from __future__ import annotations

from pathlib import Path

from tests.checks.boot_guest import CONFIG, V, grub_cfg
from tests.guest.stand_in import ROOT_UUID
from tests.repair.folder_guest import FolderGuest, mends

GRUB = "/boot/grub/grub.cfg"
DEFAULTS = "/etc/default/grub"


def test_root_by_a_device_name_becomes_the_uuid_now_and_for_later(tmp_path: Path) -> None:
    guest = FolderGuest(
        tmp_path,
        {
            GRUB: grub_cfg("root=/dev/sda1 ro quiet"),
            DEFAULTS: 'GRUB_CMDLINE_LINUX="root=/dev/sda1 quiet"\nGRUB_DISABLE_LINUX_UUID=true\n',
        },
    )
    mends(guest, "linux.bootloader.root")
    assert guest.text(GRUB) == grub_cfg(f"root=UUID={ROOT_UUID} ro quiet")
    assert f'"root=UUID={ROOT_UUID} quiet"' in guest.text(DEFAULTS)
    assert "\nGRUB_DISABLE_LINUX_UUID" not in guest.text(DEFAULTS)


def test_a_root_that_is_told_for_later_alone_becomes_the_uuid_as_well(tmp_path: Path) -> None:
    guest = FolderGuest(tmp_path, {DEFAULTS: "GRUB_CMDLINE_LINUX='root=/dev/sda1 quiet'\n"})
    mends(guest, "linux.bootloader.root")
    assert f"'root=UUID={ROOT_UUID} quiet'" in guest.text(DEFAULTS)
    assert guest.text(GRUB) == grub_cfg()


def test_a_name_that_only_begins_so_is_left_alone(tmp_path: Path) -> None:
    text = grub_cfg("root=/dev/sda1 ro") + "# root=/dev/sda11 myroot=/dev/sda1\n"
    guest = FolderGuest(tmp_path, {GRUB: text})
    mends(guest, "linux.bootloader.root")
    assert guest.text(GRUB).endswith("# root=/dev/sda11 myroot=/dev/sda1\n")


def test_a_root_in_the_environment_block_keeps_the_blocks_size(tmp_path: Path) -> None:
    block = "# GRUB Environment Block\nkernelopts=root=/dev/sda1 ro\n".ljust(1024, "#")
    entry = f"title CentOS\nlinux /boot/vmlinuz-{V}\ninitrd /boot/initrd.img-{V}\noptions $kernelopts\n"
    guest = FolderGuest(
        tmp_path,
        {
            GRUB: "load_env\nblscfg\n",
            "/boot/grub/grubenv": block,
            "/boot/loader/entries/x.conf": entry,
        },
    )
    mends(guest, "linux.bootloader.root")
    made = guest.text("/boot/grub/grubenv")
    assert len(made) == 1024
    assert f"kernelopts=root=UUID={ROOT_UUID} ro\n#" in made


def test_other_entries_of_the_menu_are_mended_too(tmp_path: Path) -> None:
    good, bad = grub_cfg(), grub_cfg("root=/dev/hda1 ro")
    guest = FolderGuest(tmp_path, {GRUB: good + bad})
    mends(guest, "linux.bootloader.root")
    assert guest.text(GRUB) == good + grub_cfg(f"root=UUID={ROOT_UUID} ro")


def test_a_kernel_without_an_initramfs_gets_the_name_that_it_knows_itself(tmp_path: Path) -> None:
    files = {
        f"/boot/config-{V}": CONFIG.replace("=m", "=y") + "CONFIG_EXT4_FS=y\n",
        GRUB: grub_cfg(f"root=UUID={ROOT_UUID} ro", initrd=""),
        DEFAULTS: "GRUB_DISABLE_LINUX_PARTUUID=true\nGRUB_TIMEOUT=1\n",
    }
    guest = FolderGuest(tmp_path, files)
    mends(guest, "linux.bootloader.root")
    assert "root=PARTUUID=11223344-01 ro" in guest.text(GRUB)
    assert guest.text(DEFAULTS) == "GRUB_TIMEOUT=1\nGRUB_DISABLE_LINUX_PARTUUID=false\n"
