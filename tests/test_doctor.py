"""What doctor believes about a machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imgtool.doctor import Item, examine, kvm_usable, readable_kernels, ready
from imgtool.text import Text


@pytest.mark.parametrize(
    ("flags", "usable"),
    [
        ("flags\t\t: fpu vme vmx sse", True),
        ("flags\t\t: fpu svm", True),
        ("flags\t\t: fpu vme sse", False),
        ("flags\t\t: fpu svm_lock vmxx", False),
        ("vmx flags\t: vnmi preemption_timer", False),
        ("bugs\t\t: vmx", False),
    ],
)
def test_kvm_needs_its_device_and_the_cpus_flag(tmp_path: Path, flags: str, usable: bool) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\n{flags}\nbugs\t\t:\n")
    device = tmp_path / "kvm"
    assert not kvm_usable(device, cpuinfo)
    device.touch()
    assert kvm_usable(device, cpuinfo) is usable


def test_kernels_that_may_not_be_read_do_not_count(tmp_path: Path) -> None:
    for name in ("vmlinuz-6.1.0-1-amd64", "vmlinuz-6.1.0-2-amd64", "initrd.img-6.1.0-2-amd64"):
        (tmp_path / name).touch()
    assert readable_kernels(tmp_path) == ["6.1.0-1-amd64", "6.1.0-2-amd64"]
    if os.geteuid() != 0:
        (tmp_path / "vmlinuz-6.1.0-2-amd64").chmod(0)
        assert readable_kernels(tmp_path) == ["6.1.0-1-amd64"]


def test_a_machine_without_boot_has_no_kernels(tmp_path: Path) -> None:
    assert readable_kernels(tmp_path / "boot") == []


def test_only_what_check_needs_decides() -> None:
    here, optional = Item("a", True, True, "1", Text.same("a")), Item("b", False, False, "", Text.same("b"))
    assert ready([here, optional])
    assert not ready([here, Item("c", False, True, "", Text.same("c"))])


def test_what_is_missing_comes_with_a_remedy_in_both_languages() -> None:
    for item in examine():
        assert item.purpose.en
        assert item.purpose.zh
        assert (item.remedy is None) == item.present, item.name
