"""The kernel command line, wherever a guest keeps it: what the boot loader reads now, and what its
configuration is made from later."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from imgtool.remedy import GRUB_DEFAULTS, LARGEST_CONFIG

if TYPE_CHECKING:
    from imgtool.guest.linux import LinuxGuest
    from imgtool.repair.draft import Draft

ENVIRONMENT_BLOCK = 1024
ENVIRONMENTS = (
    "/boot/grub2/grubenv",
    "/boot/grub/grubenv",
    "/boot/efi/EFI/*/grubenv",
)
LATER = (
    GRUB_DEFAULTS,
    f"{GRUB_DEFAULTS}.d/*.cfg",
    "/etc/kernel/cmdline",
    "/etc/grub.d/40_custom",
    "/etc/sysconfig/bootloader",
)
_SOURCE_LINE = re.compile(r":[0-9]+$")


def places(guest: LinuxGuest) -> list[str]:
    """The files that hold kernel arguments, each once: the boot loader's own first. Raises CannotRead."""
    loader, tree = guest.bootloader, guest.tree
    paths = [_SOURCE_LINE.sub("", entry.source) for entry in loader.entries]
    paths += [loader.config_path] if loader.config_path else []
    paths += [path for pattern in (*ENVIRONMENTS, *LATER) for path in tree.glob(pattern)]
    found: dict[str, str] = {}
    for path in paths:
        if path and tree.is_file(path) and tree.stat(path).size <= LARGEST_CONFIG:
            found.setdefault(tree.realpath(path), path)
    return list(found)


def replace_argument(guest: LinuxGuest, draft: Draft, argument: str, instead: str) -> int:
    """Put another argument, or "" for none, in the place of one; how many files had it.

    Only whole words count. Raises CannotRead, CannotMend.
    """
    whole = re.compile(rf"(?<![^\s\"'=]){re.escape(argument)}(?![^\s\"'\\])")
    return sum(edit(draft, path, lambda text: _replaced(text, whole, instead)) for path in places(guest))


def edit(draft: Draft, path: str, change: Callable[[str], str]) -> bool:
    """Edit one of these files; an environment block of GRUB's keeps its form."""
    is_block = path.endswith("/grubenv")
    return draft.edit(path, (lambda text: _as_block(change(_of_block(text)))) if is_block else change)


def _replaced(text: str, whole: re.Pattern[str], instead: str) -> str:
    if instead:
        return whole.sub(lambda found: instead, text)
    return re.sub(rf"[ \t]*{whole.pattern}", "", text)


def _of_block(text: str) -> str:
    return text.rstrip("#")


def _as_block(text: str) -> str:
    """Padded with # to whole kilobytes, as grub-editenv writes it."""
    return text + "#" * (-len(text.encode("utf-8", "surrogateescape")) % ENVIRONMENT_BLOCK)
