"""The kernel's console: one that the platform's machines have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.remedy import change_argument, if_known, in_guest
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

USABLE_CONSOLES = re.compile(r"(tty[0-9]*|ttyS0|ttyAMA0|null)(,.*)?")

USABLE = "console=tty0 console=ttyS0,115200"


@rule(
    "linux.bootloader.console",
    Text("Kernel console", "内核控制台"),
    severity=Severity.INFO,
    source="field",
    family="linux",
    requires=("linux.bootloader",),
)
def console(image: Image) -> Iterator[Outcome]:
    """The kernel's console is one that the platform's machines have: the screen (tty0) or the serial port
    (ttyS0).

    A `console=hvc0` (Xen) or `ttyS1` shows nothing on the platform: the machine runs, but nobody sees why it
    does not. Without any `console=` the kernel uses the screen.

    Evidence: the arguments. Example: `console=hvc0`. The fix is
    `console=tty0 console=ttyS0,115200`.
    """
    entry = image.linux.bootloader.default
    if entry is None or entry.kernel is None:
        yield not_judged(Text(en="There is no default entry.", zh="没有默认菜单项。"))
        return
    named = [word[8:] for word in entry.arguments.split() if word.startswith("console=")]
    if not named or any(USABLE_CONSOLES.fullmatch(it) for it in named):
        yield kept(
            Text(en="The console is usable on the platform.", zh="控制台在平台上可用。"),
            " ".join(f"console={it}" for it in named) or f"{entry.source}: no console=, so the screen",
        )
        return
    yield broken(
        Text(
            en=f"The only console, {', '.join(named)}, is not there on the platform.",
            zh=f"平台上没有唯一指定的控制台 {', '.join(named)}。",
        ),
        f"{entry.source}: {' '.join(f'console={it}' for it in named)}",
        remedy=_usable(image.linux, named[-1]),
    )


@if_known
def _usable(guest: LinuxGuest, console: str) -> Text | None:
    command = change_argument(guest, f"console={console}", USABLE)
    return in_guest(command) if command else Text.same(USABLE)
