"""disk.boot-mode and its fallback: how a disk starts, what the platform takes, what was declared."""

from __future__ import annotations

from dataclasses import replace

import pytest
from imgtool.checks.boot_mode import boot_mode, fallback

from imgtool.profiles import load_profile
from tests.checks.boot_guest import guest_image, judge, levels, only


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


def test_a_disk_without_a_system_is_left_to_disk_root() -> None:
    assert levels(boot_mode, guest_image(boot_code=b"", found_root=None)) == ["not judged"]


def test_another_mode_than_declared_is_an_error() -> None:
    outcome = only(boot_mode, guest_image(boot_mode="uefi"))
    assert outcome.kind == "broken"
    assert "declared to start by UEFI" in outcome.message.en
    assert levels(boot_mode, guest_image(boot_mode="bios")) == ["kept"]


def test_a_mode_that_the_deployment_does_not_take_is_an_error() -> None:
    profile = load_profile("tce")
    uefi_only = replace(profile, disk=replace(profile.disk, boot_modes=("uefi",)))
    assert levels(boot_mode, guest_image(profile=uefi_only)) == ["error"]


def test_every_outcome_is_said_in_both_languages() -> None:
    for outcome in judge(boot_mode, guest_image(boot_code=b"")) + judge(boot_mode, guest_image()):
        assert outcome.message.zh != outcome.message.en
