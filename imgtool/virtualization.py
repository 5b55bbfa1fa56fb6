"""Whether virtual machines run at full speed here: one decision, for QEMU and for libguestfs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

FORCE_TCG = "force_tcg"


def kvm_usable(
    device: Path = Path("/dev/kvm"),
    cpuinfo: Path = Path("/proc/cpuinfo"),
    opener: Callable[..., int] = os.open,
) -> bool:
    """Whether KVM can be used: the device opens and the CPU has vmx or svm.

    Both, because some hosts expose a /dev/kvm on which ordinary guests hang for ever. Processors that list no
    `flags` at all (arm64 says `Features`) have no such flag to show: there the device decides.
    """
    try:
        os.close(opener(device, os.O_RDWR | os.O_CLOEXEC))
        said = cpuinfo.read_text(errors="replace")
    except OSError:
        return False
    if re.search(r"^Features\s*:", said, re.MULTILINE):
        return True
    return re.search(r"^flags\s*:.*\b(?:vmx|svm)\b", said, re.MULTILINE) is not None


def accelerator() -> str:
    """The value of QEMU's -accel for a guest of this machine's own architecture."""
    return "kvm" if kvm_usable() else "tcg,thread=multi"


def backend_settings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """libguestfs's backend settings: the user's own, and `force_tcg` where KVM can't be used."""
    own = [word for word in environment.get("LIBGUESTFS_BACKEND_SETTINGS", "").split(":") if word]
    return own if FORCE_TCG in own or kvm_usable() else [*own, FORCE_TCG]


def readable_kernels(boot: Path = Path("/boot")) -> list[str]:
    """The versions of the kernels in a /boot that we may read (Ubuntu makes them readable by root only).

    libguestfs builds its appliance from one of them; containers and minimal machines have none.
    """
    try:
        found = sorted(boot.glob("vmlinuz-*"))
    except OSError:
        return []
    return [file.name.removeprefix("vmlinuz-") for file in found if os.access(file, os.R_OK)]
