from __future__ import annotations

from typing import Any

import pytest
from imgtool.checks.distribution import architecture, distribution

from imgtool.guest.kernels import Kernel
from tests.checks.linux_guest import image, level, levels, only, remedy
from tests.guest.owned_tree import elf


def os_release(identity: str, version: str, like: str = "") -> dict[str, str]:
    return {
        "/etc/os-release": f"ID={identity}\nVERSION_ID={version}\nID_LIKE='{like}'\nPRETTY_NAME={identity}\n"
    }


def test_debian_12_is_imported_as_debian_12() -> None:
    outcome = only(distribution, image())
    assert outcome.kind == "kept"
    assert "OsType Debian, OsVersion 12" in outcome.message.en
    assert "12.15" in outcome.evidence[0]


def test_a_derivative_with_numbers_of_its_own_is_a_warning_that_names_the_type() -> None:
    outcome = only(distribution, image(os_release("linuxmint", "21", "ubuntu debian")))
    assert level(distribution, outcome) == "warning"
    assert "OsType Ubuntu" in remedy(outcome)


def test_another_distribution_is_a_warning_with_the_list() -> None:
    outcome = only(distribution, image(os_release("gentoo", "2.15")))
    assert level(distribution, outcome) == "warning"
    assert "CentOS" in outcome.message.en


def test_a_guest_that_says_nothing_is_undecided() -> None:
    assert only(distribution, image(without=["/etc/os-release", "/etc/debian_version"])).kind == "undecided"


def programs(machine: int, bits: int = 64) -> dict[str, Any]:
    return {"/lib/systemd/systemd": elf(machine, bits)}


@pytest.mark.parametrize(
    ("machine", "bits", "said"), [(0x3E, 64, "x86_64"), (0xB7, 64, "arm_64"), (0x03, 32, "x86_64")]
)
def test_what_the_platform_runs_is_kept_and_named_as_import_image_does(
    machine: int, bits: int, said: str
) -> None:
    outcome = only(architecture, image(programs(machine, bits)))
    assert outcome.kind == "kept"
    assert outcome.message.en.endswith(f"Architecture {said}.")


def test_another_machine_is_an_error_that_names_it() -> None:
    outcome = only(architecture, image(programs(0x16)))
    assert level(architecture, outcome) == "error"
    assert outcome.evidence[0] == "/sbin/init: s390x"


def test_no_program_at_all_is_undecided() -> None:
    assert only(architecture, image(without=["/lib/systemd/systemd"])).kind == "undecided"


def with_kernel(given: Any, name: str) -> Any:
    kernel = Kernel("6.1", "/boot/vmlinuz-6.1", None, None, None, name)
    given.linux.__dict__["_facts"]["default_kernel"] = (kernel, None)
    return given


def test_a_64_bit_kernel_with_32_bit_programs_is_noted() -> None:
    outcome = only(architecture, with_kernel(image(programs(0x03, 32)), "x86_64"))
    assert outcome.kind == "kept"
    assert "x86_64 kernel with a i386 user land" in outcome.message.en


def test_a_32_bit_kernel_cannot_run_64_bit_programs() -> None:
    outcome = only(architecture, with_kernel(image(), "i386"))
    assert level(architecture, outcome) == "warning"


def test_a_boot_loader_that_cannot_be_read_does_not_matter_here() -> None:
    assert only(architecture, image(arguments=None)).kind == "kept"


def test_another_architecture_than_declared_is_an_error() -> None:
    assert levels(architecture, image(architecture="x86_64")) == ["kept"]
    outcome = only(architecture, image(architecture="arm_64"))
    assert level(architecture, outcome) == "error"
    assert remedy(outcome).endswith("--architecture x86_64")
    arm = {"/lib/systemd/systemd": elf(0xB7), "/usr/bin/apt-get": elf(0xB7)}
    assert levels(architecture, image(arm, architecture="arm_64")) == ["kept"]
