"""One decision on KVM, which QEMU and libguestfs both follow; and the kernels that an appliance can use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imgtool import virtualization
from imgtool.virtualization import accelerator, backend_settings, kvm_usable, readable_kernels


@pytest.mark.parametrize(
    ("flags", "usable"),
    [
        ("flags\t\t: fpu vme vmx sse", True),
        ("flags\t\t: fpu svm", True),
        ("flags\t\t: fpu vme sse", False),
        ("flags\t\t: fpu svm_lock vmxx", False),
        ("vmx flags\t: vnmi preemption_timer", False),
        ("bugs\t\t: vmx", False),
        ("Features\t: fp asimd", True),
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


def test_a_device_that_does_not_open_is_not_usable(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t\t: vmx\n")

    def refused(path: Path, flags: int) -> int:
        raise PermissionError(13, "Permission denied")

    assert not kvm_usable(tmp_path, cpuinfo, refused)


@pytest.mark.parametrize(
    ("usable", "own", "settings", "accel"),
    [
        (True, "", [], "kvm"),
        (False, "", ["force_tcg"], "tcg,thread=multi"),
        (False, "network_bridge=br0", ["network_bridge=br0", "force_tcg"], "tcg,thread=multi"),
        (False, "force_tcg", ["force_tcg"], "tcg,thread=multi"),
        (True, "force_tcg", ["force_tcg"], "kvm"),
    ],
)
def test_qemu_and_libguestfs_follow_the_same_decision(
    monkeypatch: pytest.MonkeyPatch, usable: bool, own: str, settings: list[str], accel: str
) -> None:
    monkeypatch.setattr(virtualization, "kvm_usable", lambda: usable)
    assert backend_settings({"LIBGUESTFS_BACKEND_SETTINGS": own}) == settings
    assert accelerator() == accel
