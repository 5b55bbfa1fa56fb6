"""Whether programs of the guest can be run at all: only on a machine of their own kind."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from imgtool.repair.draft import CannotMend
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.linux import LinuxGuest

_RUNS = {"x86_64": ("x86_64", "i386"), "aarch64": ("arm64",)}


def require_same_machine(guest: LinuxGuest, instead: Text | None = None) -> None:
    """Raise CannotMend where the guest's programs don't run here. instead: what does without them."""
    here, there = platform.machine(), guest.architecture
    if there in _RUNS.get(here, ()):
        return
    en, zh = (f" {instead.en}", instead.zh) if instead else ("", "")
    raise CannotMend(
        Text(
            en=f"The guest's own programs ({there}) don't run on this machine ({here}).{en}",
            zh=f"客户机程序（{there}）无法在本机（{here}）上运行。{zh}",
        )
    )
