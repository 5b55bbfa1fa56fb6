"""Boot loaders' configurations as the distributions write them, and the entry each starts by default."""

from __future__ import annotations

from typing import Any

import pytest

from imgtool.errors import CannotRead
from imgtool.guest.bootloader import BootLoader, read_bootloader
from imgtool.guest.grub import parse_environment
from tests.guest.memory_tree import Link
from tests.guest.stand_in import BOOT, BOOT_UUID, ESP, ESP_UUID, ROOT, ROOT_UUID, disk, guest_tree, logical

GRUB_CODE = (
    b"\xeb\x63\x90".ljust(0x5C, b"\0") + (1).to_bytes(8, "little") + b"GRUB \0Geom\0Hard Disk\0Read\0 Error"
)
LEGACY_CODE = b"\xeb\x48\x90".ljust(0x3E, b"\0") + b"\x03\x02" + bytes(4) + b"\1\0\0\0" + b"GRUB \0Geom\0"

DEBIAN_HEADER = f"""\
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="%s"
fi

if [ x"${{feature_menuentry_id}}" = xy ]; then
  menuentry_id_option="--id"
else
  menuentry_id_option=""
fi
export menuentry_id_option

function savedefault {{
  if [ -z "${{boot_once}}" ]; then
    saved_entry="${{chosen}}"
    save_env saved_entry
  fi
}}
function load_video {{
  if [ x$feature_all_video_module = xy ]; then
    insmod all_video
  else
    insmod efi_gop
  fi
}}
if [ x$feature_default_font_path = xy ] ; then
   font=unicode
else
insmod part_msdos
set root='hd0,msdos1'
search --no-floppy --fs-uuid --set=root {ROOT_UUID}
    font="/usr/share/grub/unicode.pf2"
fi
if loadfont $font ; then
  set gfxmode=auto
  load_video
  insmod gfxterm
fi
terminal_output gfxterm
"""


def debian_entry(
    title: str, name: str, version: str, extra: str = "", root: str = f"UUID={ROOT_UUID}"
) -> str:
    return f"""\
menuentry '{title}' --class debian --class gnu-linux --class os $menuentry_id_option '{name}' {{
  load_video
  insmod gzio
  if [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
  insmod part_msdos
  insmod ext2
  set root='hd0,msdos1'
  if [ x$feature_platform_search_hint = xy ]; then
    search --no-floppy --fs-uuid --set=root --hint-bios=hd0,msdos1 --hint-efi=hd0,msdos1 {ROOT_UUID}
  else
    search --no-floppy --fs-uuid --set=root {ROOT_UUID}
  fi
  echo  'Loading Linux {version} ...'
  linux  /boot/vmlinuz-{version} root={root} ro {extra} quiet
  echo  'Loading initial ramdisk ...'
  initrd  /boot/initrd.img-{version}
}}
"""


def debian(default: str = "0") -> str:
    new, old = "6.1.0-18-amd64", "6.1.0-17-amd64"
    return (
        DEBIAN_HEADER % default
        + debian_entry("Debian GNU/Linux", f"gnulinux-simple-{ROOT_UUID}", new)
        + "submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced' {\n"
        + debian_entry(f"Debian GNU/Linux, with Linux {new}", f"gnulinux-{new}-advanced", new)
        + debian_entry(f"Debian GNU/Linux, with Linux {old}", f"gnulinux-{old}-advanced", old)
        + debian_entry(
            f"Debian GNU/Linux, with Linux {old} (recovery mode)", f"gnulinux-{old}-recovery", old, "single"
        )
        + "}\n"
    )


KERNELS: dict[str, Any] = {
    f"/boot/{name}-{version}": b"x"
    for version in ("6.1.0-18-amd64", "6.1.0-17-amd64")
    for name in ("vmlinuz", "initrd.img")
}


def grub(files: dict[str, Any], *volumes: Any, **how: Any) -> BootLoader:
    tree = guest_tree({**KERNELS, **files}, **how)
    held = disk(*(volumes or (ROOT,)), boot_code=GRUB_CODE, kind="gpt" if len(volumes) > 1 else "mbr")
    return read_bootloader(tree, held)


def default_kernel(loader: BootLoader) -> str | None:
    return loader.default.kernel if loader.default else None


def test_debian_starts_its_first_entry() -> None:
    loader = grub({"/boot/grub/grub.cfg": debian()})
    assert loader.kind == "grub2"
    assert loader.config_path == "/boot/grub/grub.cfg"
    assert loader.default is not None
    assert loader.default.title == "Debian GNU/Linux"
    assert loader.default.kernel == "/boot/vmlinuz-6.1.0-18-amd64"
    assert loader.default.initrds == ("/boot/initrd.img-6.1.0-18-amd64",)
    assert loader.default.arguments == f"root=UUID={ROOT_UUID} ro quiet"
    assert loader.default.source.startswith("/boot/grub/grub.cfg:")
    assert len(loader.entries) == 4
    assert not loader.problems


@pytest.mark.parametrize(
    "default",
    [
        "1>1",
        "gnulinux-advanced>gnulinux-6.1.0-17-amd64-advanced",
        "Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 6.1.0-17-amd64",
        "1>gnulinux-6.1.0-17-amd64-advanced",
    ],
)
def test_an_entry_in_a_submenu_is_found_by_number_title_or_id(default: str) -> None:
    loader = grub({"/boot/grub/grub.cfg": debian(default)})
    assert default_kernel(loader) == "/boot/vmlinuz-6.1.0-17-amd64"
    assert "recovery" not in loader.default.title


def test_a_default_that_is_not_in_the_menu_is_told_and_the_first_starts() -> None:
    loader = grub({"/boot/grub/grub.cfg": debian("gone")})
    assert default_kernel(loader) == "/boot/vmlinuz-6.1.0-18-amd64"
    assert "gone" in loader.problems[0].en


def test_a_saved_entry_comes_from_grubenv() -> None:
    env = "# GRUB Environment Block\nsaved_entry=1>1\n" + "#" * 900
    loader = grub({"/boot/grub/grub.cfg": debian("${saved_entry}"), "/boot/grub/grubenv": env})
    assert default_kernel(loader) == "/boot/vmlinuz-6.1.0-17-amd64"


def test_an_entry_for_one_boot_only_is_not_the_default() -> None:
    env = "# GRUB Environment Block\nnext_entry=1>1\nrecordfail=1\n" + "#" * 900
    loader = grub({"/boot/grub/grub.cfg": debian("0"), "/boot/grub/grubenv": env})
    assert default_kernel(loader) == "/boot/vmlinuz-6.1.0-18-amd64"


def test_ubuntu_with_its_own_boot_partition() -> None:
    text = f"""\
set default="0"
if [ "${{recordfail}}" = 1 ]; then set timeout=30; else set timeout=0; fi
function gfxmode {{ set gfxpayload="${{1}}"; }}
if [ "${{recordfail}}" != 1 ]; then
  if hwmatch ${{prefix}}/gfxblacklist.txt 3; then set linux_gfx_mode=keep; else set linux_gfx_mode=text; fi
else
  set linux_gfx_mode=text
fi
export linux_gfx_mode
menuentry 'Ubuntu' --class ubuntu $menuentry_id_option 'gnulinux-simple' {{
  recordfail
  gfxmode $linux_gfx_mode
  search --no-floppy --fs-uuid --set=root {BOOT_UUID}
  linux  /vmlinuz-5.15.0-91-generic root=/dev/mapper/ubuntu--vg-ubuntu--lv ro  console=tty1 console=ttyS0
  initrd  /initrd.img-5.15.0-91-generic
}}
"""
    files = {"/boot/grub/grub.cfg": text, "/boot/vmlinuz-5.15.0-91-generic": b"x"}
    loader = grub(files, ROOT, BOOT, boot=BOOT)
    assert default_kernel(loader) == "/boot/vmlinuz-5.15.0-91-generic"
    assert loader.default.initrds == ("/boot/initrd.img-5.15.0-91-generic",)


CENTOS7 = f"""\
set pager=1
if [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
else
   set default="${{saved_entry}}"
fi
menuentry 'CentOS Linux (3.10.0-1160.el7.x86_64) 7 (Core)' --class centos $menuentry_id_option 'a' {{
  set gfxpayload=keep
  set root='hd0,gpt2'
  search --no-floppy --fs-uuid --set=root --hint='hd0,gpt2'  {BOOT_UUID}
  linux16 /vmlinuz-3.10.0-1160.el7.x86_64 root=/dev/mapper/centos-root ro rd.lvm.lv=centos/root
  initrd16 /initramfs-3.10.0-1160.el7.x86_64.img
}}
menuentry 'CentOS Linux (0-rescue-0123) 7 (Core)' --class centos --unrestricted $menuentry_id_option 'b' {{
  search --no-floppy --fs-uuid --set=root {BOOT_UUID}
  linux16 /vmlinuz-0-rescue-0123 root=/dev/mapper/centos-root ro
  initrd16 /initramfs-0-rescue-0123.img
}}
"""


def test_centos_7_by_saved_title() -> None:
    env = "# GRUB Environment Block\nsaved_entry=CentOS Linux (0-rescue-0123) 7 (Core)\n#####"
    files = {"/boot/grub2/grub.cfg": CENTOS7, "/boot/grub2/grubenv": env}
    assert default_kernel(grub(files, ROOT, BOOT, boot=BOOT)) == "/boot/vmlinuz-0-rescue-0123"
    first = grub({"/boot/grub2/grub.cfg": CENTOS7}, ROOT, BOOT, boot=BOOT)
    assert default_kernel(first) == "/boot/vmlinuz-3.10.0-1160.el7.x86_64"


ROCKY9 = f"""\
set pager=1
if [ -f ${{config_directory}}/grubenv ]; then
  load_env -f ${{config_directory}}/grubenv
elif [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
   set boot_once=true
else
   set default="${{saved_entry}}"
fi
insmod part_gpt
set root='hd0,gpt2'
search --no-floppy --fs-uuid --set=root {BOOT_UUID}
set boot='hd0,gpt2'
search --no-floppy --fs-uuid --set=boot {BOOT_UUID}
if [ -z "${{kernelopts}}" ]; then
  set kernelopts="root=UUID={ROOT_UUID} ro "
fi
insmod blscfg
blscfg
if [ "$grub_platform" = "efi" ]; then
  fwsetup --is-supported
  if [ $? = 0 ]; then
    menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {{ fwsetup }}
  fi
fi
if [ -f  ${{config_directory}}/custom.cfg ]; then source ${{config_directory}}/custom.cfg; fi
"""


def bls_entry(version: str, options: str) -> str:
    return f"""\
title Rocky Linux ({version}) 9.3 (Blue Onyx)
version {version}
linux /vmlinuz-{version}
initrd /initramfs-{version}.img $tuned_initrd
options {options}
grub_users $grub_users
grub_arg --unrestricted
grub_class rocky
"""


def rocky(options: str, env: str = "") -> dict[str, Any]:
    files: dict[str, Any] = {"/boot/grub2/grub.cfg": ROCKY9}
    for version in ("5.14.0-362.8.1.el9_3.x86_64", "5.14.0-70.el9.x86_64", "0-rescue-0123abcd"):
        files[f"/boot/loader/entries/0123abcd-{version}.conf"] = bls_entry(version, options)
        files[f"/boot/vmlinuz-{version}"] = files[f"/boot/initramfs-{version}.img"] = b"x"
    if env:
        files["/boot/grub2/grubenv"] = f"# GRUB Environment Block\n{env}\n####"
    return files


def test_rocky_9_starts_its_newest_bls_entry() -> None:
    loader = grub(rocky(f"root=UUID={ROOT_UUID} ro $tuned_params"), ROOT, BOOT, boot=BOOT)
    assert default_kernel(loader) == "/boot/vmlinuz-5.14.0-362.8.1.el9_3.x86_64"
    assert loader.default.initrds == ("/boot/initramfs-5.14.0-362.8.1.el9_3.x86_64.img",)
    assert loader.default.arguments == f"root=UUID={ROOT_UUID} ro"
    assert [it.kernel for it in loader.entries if it.kernel][-1] == "/boot/vmlinuz-0-rescue-0123abcd"


def test_rocky_8_takes_kernelopts_and_tuned_variables_from_grubenv() -> None:
    env = "saved_entry=0123abcd-5.14.0-70.el9.x86_64\nkernelopts=root=/dev/sda2 ro\ntuned_params=skew_tick=1"
    loader = grub(rocky("$kernelopts $tuned_params", env), ROOT, BOOT, boot=BOOT)
    assert default_kernel(loader) == "/boot/vmlinuz-5.14.0-70.el9.x86_64"
    assert loader.default.arguments == "root=/dev/sda2 ro skew_tick=1"
    assert loader.default.source == "/boot/loader/entries/0123abcd-5.14.0-70.el9.x86_64.conf"


def test_kernelopts_without_grubenv_come_from_grub_cfg() -> None:
    loader = grub(rocky("$kernelopts"), ROOT, BOOT, boot=BOOT)
    assert loader.default.arguments == f"root=UUID={ROOT_UUID} ro"


def test_the_stub_in_the_esp_leads_to_the_configuration() -> None:
    stub = (
        f"search.fs_uuid {ROOT_UUID} root hd0,gpt1 \n"
        "set prefix=($root)'/boot/grub'\n"
        "configfile $prefix/grub.cfg\n"
    )
    tree = guest_tree(
        {**KERNELS, "/boot/grub/grub.cfg": debian(), "/boot/efi/EFI/debian/grub.cfg": stub}, esp=ESP
    )
    from imgtool.guest import grub as grub_module

    loader = grub_module.read(tree, disk(ROOT, ESP, kind="gpt"), "/boot/efi/EFI/debian/grub.cfg")
    assert loader.config_path == "/boot/grub/grub.cfg"
    assert default_kernel(loader) == "/boot/vmlinuz-6.1.0-18-amd64"
    assert not loader.problems


def test_a_stub_that_searches_a_filesystem_of_another_disk_finds_no_menu() -> None:
    stub = (
        "search.fs_uuid 00000000-dead-4eef-8000-000000000000 root\n"
        "set prefix=($root)'/boot/grub'\n"
        "configfile $prefix/grub.cfg\n"
    )
    tree = guest_tree(
        {**KERNELS, "/boot/grub/grub.cfg": debian(), "/boot/efi/EFI/debian/grub.cfg": stub}, esp=ESP
    )
    from imgtool.guest import grub as grub_module

    loader = grub_module.read(tree, disk(ROOT, ESP, kind="gpt"), "/boot/efi/EFI/debian/grub.cfg")
    assert loader.default is None
    assert "00000000-dead" in loader.problems[0].en


def test_rhel_s_stub_with_a_variable_for_the_device() -> None:
    stub = (
        f"search --no-floppy --fs-uuid --set=dev {BOOT_UUID}\n"
        "set prefix=($dev)/grub2\n"
        "export $prefix\n"
        "configfile $prefix/grub.cfg\n"
    )
    files = {**rocky("root=UUID=x ro"), "/boot/efi/EFI/rocky/grub.cfg": stub}
    from imgtool.guest import grub as grub_module

    tree = guest_tree(files, boot=BOOT, esp=ESP)
    loader = grub_module.read(tree, disk(ROOT, BOOT, ESP, kind="gpt"), "/boot/efi/EFI/rocky/grub.cfg")
    assert default_kernel(loader) == "/boot/vmlinuz-5.14.0-362.8.1.el9_3.x86_64"


def test_opensuse_on_a_logical_volume_named_by_grub() -> None:
    text = """\
set btrfs_relative_path="y"
export btrfs_relative_path
if [ -f ${config_directory}/grubenv ]; then load_env -f ${config_directory}/grubenv; fi
if [ "${next_entry}" ]; then set default="${next_entry}"; else set default="${saved_entry}"; fi
if [ -z "$default" ]; then set default=0; fi
menuentry 'openSUSE Leap 15.5' --class opensuse $menuentry_id_option 'gnulinux-simple' {
  set root='lvm/system-root'
  if [ x$feature_platform_search_hint = xy ]; then
    search --no-floppy --fs-uuid --set=root --hint='lvm/system-root' 11111111-0000-4000-8000-000000000000
  fi
  linux /boot/vmlinuz-5.14.21-150500.55-default root=/dev/mapper/system-root splash=silent
  initrd /boot/initrd-5.14.21-150500.55-default
}
"""
    lv = logical("system/root", "ext4", "11111111-0000-4000-8000-000000000000")
    tree = guest_tree({"/boot/grub2/grub.cfg": text, "/boot/vmlinuz-5.14.21-150500.55-default": b"x"})
    tree.mounts["/"] = lv
    loader = read_bootloader(tree, disk(lv, boot_code=GRUB_CODE))
    assert default_kernel(loader) == "/boot/vmlinuz-5.14.21-150500.55-default"
    assert not loader.problems


def test_btrfs_paths_from_the_top_lose_their_subvolume() -> None:
    from dataclasses import replace

    from imgtool.disk.signatures import Signature

    btrfs = replace(ROOT, signature=Signature("btrfs", ROOT_UUID, ""))
    text = (
        f"menuentry x {{ search --fs-uuid --set=root {ROOT_UUID}\n"
        "linux /@/boot/vmlinuz-6.1.0-18-amd64 rootflags=subvol=@ }"
    )
    tree = guest_tree({**KERNELS, "/boot/grub/grub.cfg": text})
    tree.mounts["/"] = btrfs
    assert (
        default_kernel(read_bootloader(tree, disk(btrfs, boot_code=GRUB_CODE)))
        == "/boot/vmlinuz-6.1.0-18-amd64"
    )


def test_a_kernel_that_is_gone_keeps_the_path_where_it_should_be() -> None:
    text = debian_entry("x", "x", "9.9.9")
    assert default_kernel(grub({"/boot/grub/grub.cfg": text})) == "/boot/vmlinuz-9.9.9"


def test_a_configuration_that_grub_cannot_read_is_not_guessed() -> None:
    with pytest.raises(CannotRead, match=r"/boot/grub/grub.cfg: line 3"):
        grub({"/boot/grub/grub.cfg": "set default=0\nmenuentry 'x' {\nlinux /vmlinuz"})


def test_files_that_include_each_other_end() -> None:
    with pytest.raises(CannotRead):
        grub({"/boot/grub/grub.cfg": "source /boot/grub/grub.cfg"})


MENU_LST = """\
# grub.conf generated by anaconda
default=1
timeout=5
splashimage=(hd0,0)/boot/grub/splash.xpm.gz
hiddenmenu
title CentOS (2.6.32-754.el6.x86_64)
  root (hd0,0)
  kernel /boot/vmlinuz-2.6.32-754.el6.x86_64 ro root=/dev/sda1 rd_NO_LUKS quiet
  initrd /boot/initramfs-2.6.32-754.el6.x86_64.img
title CentOS (2.6.32-696.el6.x86_64)
  kernel (hd0,0)/boot/vmlinuz-2.6.32-696.el6.x86_64 ro root=LABEL=root
  initrd /boot/initramfs-2.6.32-696.el6.x86_64.img
"""


def test_grub_legacy_counts_entries_and_partitions_from_zero() -> None:
    files = {
        "/boot/grub/grub.conf": MENU_LST,
        "/boot/grub/menu.lst": Link("./grub.conf"),
        "/boot/vmlinuz-2.6.32-696.el6.x86_64": b"x",
    }
    loader = read_bootloader(guest_tree(files), disk(ROOT, boot_code=LEGACY_CODE))
    assert loader.kind == "grub-legacy"
    assert default_kernel(loader) == "/boot/vmlinuz-2.6.32-696.el6.x86_64"
    assert loader.default.arguments == "ro root=LABEL=root"
    assert loader.entries[0].initrds == ("/boot/initramfs-2.6.32-754.el6.x86_64.img",)


def test_grub_legacy_s_boot_code_prefers_its_menu_over_a_grub_cfg_that_lies_about() -> None:
    files = {**KERNELS, "/boot/grub/menu.lst": MENU_LST, "/boot/grub/grub.cfg": debian()}
    assert read_bootloader(guest_tree(files), disk(ROOT, boot_code=LEGACY_CODE)).kind == "grub-legacy"
    assert read_bootloader(guest_tree(files), disk(ROOT, boot_code=GRUB_CODE)).kind == "grub2"


def test_grub_legacy_on_its_own_boot_partition() -> None:
    text = "default 0\ntitle x\nroot (hd0,1)\nkernel /vmlinuz-2 root=/dev/sda1\ninitrd /initrd-2\n"
    files = {"/boot/grub/menu.lst": text, "/boot/vmlinuz-2": b"x", "/boot/initrd-2": b"x"}
    loader = read_bootloader(guest_tree(files, boot=BOOT), disk(ROOT, BOOT, boot_code=LEGACY_CODE))
    assert default_kernel(loader) == "/boot/vmlinuz-2"


def test_entries_that_only_grub_could_read_start_nothing_without_its_configuration() -> None:
    files: dict[str, bytes | str | Link] = {
        "/boot/loader/entries/a-5.14.0.conf": "title Rocky Linux\nlinux /vmlinuz-5.14.0\n",
        "/boot/vmlinuz-5.14.0": "",
    }
    loader = read_bootloader(guest_tree(files), disk(ROOT, boot_code=GRUB_CODE))
    assert (loader.kind, loader.default) == ("none", None)


def test_systemd_boot_starts_what_loader_conf_names() -> None:
    def entry(version: str) -> str:
        return (
            "title Arch\n"
            f"version {version}\n"
            f"linux /vmlinuz-{version}\n"
            "initrd /ucode.img\n"
            f"initrd /{version}.img\n"
            "options root=UUID=x rw\n"
        )

    files: dict[str, Any] = {
        "/boot/loader/entries/arch-5.9.conf": entry("5.9"),
        "/boot/loader/entries/arch-5.10.conf": entry("5.10"),
        "/boot/loader/loader.conf": "timeout 3\ndefault arch-5.9\n",
        "/boot/vmlinuz-5.9": b"x",
        "/boot/vmlinuz-5.10": b"x",
    }
    loader = read_bootloader(guest_tree(files, boot=ESP), disk(ROOT, ESP, kind="gpt"))
    assert loader.kind == "systemd-boot"
    assert default_kernel(loader) == "/boot/vmlinuz-5.9"
    assert loader.default.initrds == ("/boot/ucode.img", "/boot/5.9.img")
    files["/boot/loader/loader.conf"] = "timeout 3\n"
    newest = read_bootloader(guest_tree(files, boot=ESP), disk(ROOT, ESP, kind="gpt"))
    assert default_kernel(newest) == "/boot/vmlinuz-5.10"


def test_extlinux_starts_its_default_label() -> None:
    text = (
        "DEFAULT l0\n"
        "LABEL other\n"
        " LINUX ../vmlinuz-1\n"
        "LABEL l0\n"
        "  LINUX ../vmlinuz-2\n"
        "  INITRD ../initrd-2\n"
        "  APPEND root=/dev/vda1 ro\n"
    )
    files = {"/boot/extlinux/extlinux.conf": text, "/boot/vmlinuz-2": b"x"}
    loader = read_bootloader(guest_tree(files), disk(ROOT))
    assert loader.kind == "extlinux"
    assert default_kernel(loader) == "/boot/vmlinuz-2"
    assert loader.default.arguments == "root=/dev/vda1 ro"


def test_without_any_configuration_there_is_none() -> None:
    loader = read_bootloader(guest_tree(KERNELS), disk(ROOT))
    assert loader.kind == "none"
    assert loader.default is None


def test_a_grubenv_keeps_blanks_and_unescapes_backslashes() -> None:
    text = "# GRUB Environment Block\nkernelopts=root=UUID=1 ro \nodd=a\\\\b\n######"
    assert parse_environment(text) == {"kernelopts": "root=UUID=1 ro ", "odd": "a\\b"}
    assert parse_environment("kernelopts=x") == {}


def test_the_label_of_a_filesystem_can_be_searched() -> None:
    text = (
        "menuentry x { search --no-floppy --label cloudimg-rootfs --set=root\n"
        "linux /boot/vmlinuz-6.1.0-18-amd64 }"
    )
    loader = grub({"/boot/grub/grub.cfg": text})
    assert default_kernel(loader) == "/boot/vmlinuz-6.1.0-18-amd64"
    assert not loader.problems
    assert ESP_UUID
