"""disk.boot-mode and its fallback: how a disk starts, what the platform takes, what was declared."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

import pytest
from imgtool.checks.boot_mode import _copy as fallback_remedy
from imgtool.checks.boot_mode import boot_mode, fallback

from imgtool.guest.boot_mode import Loader
from imgtool.profiles import load_profile
from tests.checks.boot_guest import guest_image, judge, levels, only
from tests.guest.stand_in import ROOT, volume


def test_a_disk_with_grub_starts_by_bios() -> None:
    outcome = only(boot_mode, guest_image())
    assert outcome.kind == "kept"
    assert "GRUB 2" in outcome.evidence[0]
    assert levels(fallback, guest_image()) == ["not judged"]


@pytest.mark.parametrize("how", [{"boot_code": b""}, {"core": b""}])
def test_a_disk_without_boot_code_does_not_start(how: dict[str, bytes]) -> None:
    outcome = only(boot_mode, guest_image(**how))
    assert outcome.kind == "broken"
    assert outcome.remedy is not None
    assert "grub-install --target=i386-pc /dev/vda" in outcome.remedy.en


REDHAT = {"/etc/os-release": "ID=rhel\nVERSION_ID=9.3\n", "/usr/bin/apt-get": None, "/usr/bin/dnf": b"x"}


@pytest.mark.parametrize(
    ("files", "command"),
    [
        (
            {},
            "apt-get install -y grub-efi-amd64-bin && "
            "grub-install --target=x86_64-efi --efi-directory=/boot/efi --removable",
        ),
        (
            {"/usr/lib/grub/x86_64-efi/linux.mod": b"x"},
            "\ngrub-install --target=x86_64-efi --efi-directory=/boot/efi --removable",
        ),
        (
            REDHAT,
            "\ndnf reinstall -y grub2-efi-x64 shim-x64 || dnf install -y grub2-efi-x64 shim-x64",
        ),
    ],
)
def test_a_uefi_loader_is_installed_as_the_distribution_does(files: dict[str, Any], command: str) -> None:
    esp = volume(2, "ext4", "", part_type="ef")
    outcome = only(boot_mode, guest_image(files, boot_code=b"", volumes=(ROOT, esp)))
    assert outcome.remedy is not None
    assert outcome.remedy.en.endswith(command)


def test_a_gpt_disk_without_room_for_grub_is_exported_anew() -> None:
    outcome = only(boot_mode, guest_image(boot_code=b"", kind="gpt"))
    assert outcome.remedy is not None
    assert "grub" not in outcome.remedy.en


def test_a_disk_without_a_system_is_left_to_disk_root() -> None:
    assert levels(boot_mode, guest_image(boot_code=b"", found_root=None)) == ["not judged"]


def test_another_mode_than_declared_is_an_error() -> None:
    outcome = only(boot_mode, guest_image(boot_mode="uefi"))
    assert outcome.kind == "broken"
    assert "declared to start by UEFI" in outcome.message.en
    assert outcome.remedy is not None
    assert outcome.remedy.en == "Import it with boot mode BIOS."  # there is no partition for the other
    assert levels(boot_mode, guest_image(boot_mode="bios")) == ["kept"]


def test_a_mode_that_the_deployment_does_not_take_is_an_error() -> None:
    profile = load_profile("tce")
    uefi_only = replace(profile, disk=replace(profile.disk, boot_modes=("uefi",)))
    assert levels(boot_mode, guest_image(profile=uefi_only)) == ["error"]


def test_a_loader_s_name_is_one_word_of_the_remedy_s_command() -> None:
    loader = Loader("\\EFI\\its own; reboot\\shimx64.efi", "x86_64", "partition 1")
    remedy = fallback_remedy(guest_image(), (loader,), "BOOTX64.EFI")
    lead, command = remedy.en.splitlines()
    assert lead == "In the guest, as root:"
    folder = "/boot/efi/EFI/its own; reboot"
    assert shlex.split(command.replace("/grub*.efi", "/grub.efi"), posix=True) == [
        "mkdir", "-p", "/boot/efi/EFI/BOOT", "&&",
        "cp", f"{folder}/shimx64.efi", "/boot/efi/EFI/BOOT/BOOTX64.EFI", "&&",
        "cp", f"{folder}/grub.efi", "/boot/efi/EFI/BOOT/",
    ]  # fmt: skip


def test_every_outcome_is_said_in_both_languages() -> None:
    for outcome in judge(boot_mode, guest_image(boot_code=b"")) + judge(boot_mode, guest_image()):
        assert outcome.message.zh != outcome.message.en
