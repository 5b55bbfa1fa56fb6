"""linux.kernel: the default kernel, its modules and its initramfs are there and belong together."""

from __future__ import annotations

from typing import Any

import pytest
from imgtool.checks.kernel import kernel

from tests.checks.boot_guest import (
    CONFIG,
    OLD,
    V,
    grub_cfg,
    guest_image,
    initramfs,
    judge,
    kernel_files,
    levels,
    only,
)
from tests.guest.stand_in import ROOT_UUID
from tests.guest.test_compression import packed
from tests.guest.test_cpio import newc
from tests.guest.test_kernels import bzimage

CFG = "/boot/grub/grub.cfg"
INITRD = f"/boot/initrd.img-{V}"


def without_modules() -> dict[str, Any]:
    return {path: None for path in guest_image().linux.tree.files if path.startswith("/lib/modules")}


def test_a_kernel_with_all_that_belongs_to_it_is_kept() -> None:
    outcome = only(kernel, guest_image())
    assert outcome.kind == "kept"
    assert outcome.evidence == (f"/boot/vmlinuz-{V}", INITRD, f"/lib/modules/{V}")


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({f"/boot/vmlinuz-{V}": None}, f"linux-image-{V}"),
        ({f"/boot/vmlinuz-{V}": b""}, f"linux-image-{V}"),
        ({INITRD: None}, f"mkinitramfs -o {INITRD} {V}"),
        ({INITRD: b""}, f"mkinitramfs -o {INITRD} {V}"),
        (without_modules(), f"linux-image-{V}"),
        ({INITRD: initramfs(OLD)}, f"mkinitramfs -o {INITRD} {V}"),
        ({CFG: grub_cfg(initrd="")}, f"mkinitramfs -o {INITRD} {V} && update-grub"),
    ],
)
def test_what_is_missing_is_one_error_with_its_remedy(changes: dict[str, Any], remedy: str) -> None:
    outcome = only(kernel, guest_image(changes))
    assert outcome.kind == "broken"
    assert outcome.severity is None
    assert outcome.remedy is not None
    assert remedy in outcome.remedy.en


def test_an_initramfs_of_another_kernel_is_named_with_its_version() -> None:
    outcome = only(kernel, guest_image({INITRD: initramfs(OLD)}))
    assert outcome.evidence == (f"{INITRD}: modules for {OLD}",)


def test_a_kernel_with_everything_built_in_needs_no_initramfs() -> None:
    changes = {
        CFG: grub_cfg("root=PARTUUID=11223344-01", initrd=""),
        f"/boot/config-{V}": CONFIG.replace("=m", "=y"),
    }
    assert levels(kernel, guest_image(changes)) == ["kept"]
    modular = {**changes, f"/lib/modules/{V}/modules.builtin": "kernel/fs/xfs/xfs.ko\n"}
    outcome = only(kernel, guest_image(modular))
    assert (outcome.kind, "ext4 is not built in" in outcome.message.en) == ("broken", True)


def test_a_kernel_s_file_has_to_be_one_and_whole() -> None:
    image = f"/boot/vmlinuz-{V}"
    outcome = only(kernel, guest_image({image: b"<html>404</html>" * 100}))
    assert "is no kernel" in outcome.message.en
    assert outcome.remedy is not None
    assert outcome.remedy.en == f"apt-get install --reinstall linux-image-{V}"
    whole = bytearray(bzimage(V))
    whole[0x1F4:0x1F8] = (len(whole) // 16 - 3 * 512 // 16).to_bytes(4, "little")
    whole[0x1F1] = 2
    assert levels(kernel, guest_image({image: bytes(whole)})) == ["kept"]
    outcome = only(kernel, guest_image({image: bytes(whole[:-20])}))
    assert f"has {len(whole) - 20} bytes of {len(whole) // 16 * 16}" in outcome.message.en


def test_an_initramfs_without_its_first_program_is_not_used_by_the_kernel() -> None:
    only_microcode = packed("gzip", newc(("kernel/x86/microcode/GenuineIntel.bin", b"x")))
    outcome = only(kernel, guest_image({INITRD: only_microcode}))
    assert (outcome.kind, outcome.severity) == ("broken", None)
    assert "no /init" in outcome.message.en
    assert outcome.remedy is not None
    assert f"mkinitramfs -o {INITRD}" in outcome.remedy.en
    other = grub_cfg(f"root=UUID={ROOT_UUID} rdinit=/kernel/x86/microcode/GenuineIntel.bin")
    assert levels(kernel, guest_image({INITRD: only_microcode, CFG: other})) == ["kept"]
    no_config = {INITRD: only_microcode, f"/boot/config-{V}": None}
    assert levels(kernel, guest_image(no_config)) == ["kept"]  # the kernel may have one in it


UBUNTU = f"""\
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
function initrdfail {{
    if [ -n "${{have_grubenv}}" ]; then if [ -n "${{partuuid}}" ]; then
      if [ -z "${{initrdfail}}" ]; then
        set initrdfail=1
      fi
      save_env initrdfail
    fi; fi
}}
set partuuid=11223344-01
menuentry 'Ubuntu' --class ubuntu {{
  if [ "${{initrdfail}}" = 1 ]; then
    linux /boot/vmlinuz-{V} root=PARTUUID=11223344-01 ro console=ttyS0
    initrd /boot/initrd.img-{V}
  else
    linux /boot/vmlinuz-{V} root=PARTUUID=11223344-01 ro console=ttyS0 panic=-1
  fi
  initrdfail
}}
"""


def test_ubuntus_first_try_without_an_initramfs_is_no_fault_where_a_second_with_one_follows() -> None:
    files: dict[str, Any] = {CFG: UBUNTU, "/boot/grub/grubenv": "# GRUB Environment Block\n"}
    assert only(kernel, guest_image(files)).evidence[1] == INITRD
    assert levels(kernel, guest_image({CFG: UBUNTU})) == ["error"]
    assert levels(kernel, guest_image({**files, INITRD: None})) == ["error"]


def test_a_kernel_that_no_package_brought_is_a_warning() -> None:
    image = guest_image({f"/var/lib/dpkg/info/linux-image-{V}.list": None, "/var/lib/dpkg/info/x.list": ""})
    assert levels(kernel, image) == ["kept", "warning"]


def test_an_initramfs_that_cannot_be_read_is_not_guessed() -> None:
    outcome = only(kernel, guest_image({INITRD: initramfs()[:-40]}))
    assert outcome.kind == "undecided"
    assert INITRD in outcome.message.en


def test_every_fault_is_said_in_both_languages() -> None:
    for changes in ({INITRD: None}, without_modules(), {INITRD: initramfs(OLD)}):
        for outcome in judge(kernel, guest_image(changes)):
            assert outcome.message.zh != outcome.message.en


@pytest.mark.parametrize(
    ("identity", "version", "level"),
    [
        ("tencentos", "5.4.119-19-0009.1", "kept"),
        ("tencentos", "5.4.241-1-tlinux4-0017.7", "kept"),
        ("opencloudos", "5.4.241-1-tlinux4-0017.7", "kept"),
        ("centos", "3.10.0-1160.el7.x86_64", "kept"),
        ("centos", "5.4.119-19-0009.1", "warning"),
        ("tencentos", "5.4.1-1.el8.elrepo.x86_64", "warning"),
    ],
)
def test_which_kernels_of_rpm_are_the_distribution_s_own(identity: str, version: str, level: str) -> None:
    files = {
        **kernel_files(version),
        "/etc/os-release": f"ID={identity}\nID_LIKE=rhel\nVERSION_ID=3.1\n",
        CFG: grub_cfg().replace(V, version),
    }
    assert levels(kernel, guest_image(files))[-1] == level


def test_the_initramfs_is_made_where_the_entry_has_it() -> None:
    files = {"/boot/early.img": initramfs(OLD), CFG: grub_cfg(initrd="/boot/early.img")}
    outcome = only(kernel, guest_image(files))
    assert outcome.remedy is not None
    assert outcome.remedy.en.endswith(f"mkinitramfs -o /boot/early.img {V}")
