"""The machine that measures: what it is, and whether virtual machines run at full speed on it."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from imgtool.virtualization import backend_settings, kvm_usable


def describe() -> dict[str, str]:
    """What a reader needs to know to compare: one line a fact."""
    release = platform.freedesktop_os_release()
    return {
        "processor": f"{_processor()}, {os.cpu_count()} CPUs",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB",
        "system": f"{release.get('PRETTY_NAME', '?')}, Linux {platform.release()}",
        "python": platform.python_version(),
        "qemu": _first_line("qemu-img", "--version"),
        "libguestfs": _first_line("virt-inspector", "--version"),
        "kvm": "usable" if kvm_usable() else "not usable: libguestfs runs under TCG (force_tcg)",
        "load": f"{os.getloadavg()[0]:.1f} (one minute, at the start)",
    }


def libguestfs_environment() -> dict[str, str]:
    """What makes libguestfs work on this machine: its own QEMU, without KVM where that would hang."""
    settings = ":".join(backend_settings())
    return {"LIBGUESTFS_BACKEND": "direct"} | ({"LIBGUESTFS_BACKEND_SETTINGS": settings} if settings else {})


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _first_line(*command: str) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout
    except FileNotFoundError:
        return "not installed"
    return said.partition("\n")[0]
