"""Dropping what a guest's file systems do not use: fstrim through libguestfs, on a copy.

The copy is a qcow2, where discarded blocks leave the file, whatever the storage under it can do. The guest's
file systems are mounted by the appliance's kernel, never by this machine's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from imgtool.appliance import Drive, GuestfsError, appliance, require
from imgtool.convert import qemu_img
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import ImageFile

NOT_FILESYSTEMS = ("swap", "unknown", "")


def shrink(file: ImageFile, copy: Path, at: Callable[[int], None] = lambda done: None) -> tuple[Text, ...]:
    """Copy the image to `copy` (qcow2) and drop the unused blocks there; notes on what could not be trimmed.

    Raises MachineLacks without libguestfs or a kernel for its appliance, ApplianceFailed when that fails.
    """
    require()
    qemu_img.convert(file, copy, "qcow2", {"compat": "1.1"}, at=at)
    return _trim(copy)


def _trim(copy: Path) -> tuple[Text, ...]:
    notes = []
    trimmed = 0
    with appliance([Drive(copy, "qcow2", writable=True, discard=True)], session_limit=math.inf) as guest:
        for device, kind in sorted(guest.list_filesystems().items()):
            if kind in NOT_FILESYSTEMS:
                continue
            try:
                guest.mount_options("discard", device, "/")
                try:
                    guest.fstrim("/")
                    guest.sync()
                    trimmed += 1
                finally:
                    guest.umount_all()
            except GuestfsError as error:
                why = str(error)[:200]
                notes.append(
                    Text(
                        en=f"{device} ({kind}) was not shrunk: {why}",
                        zh=f"未能精简 {device}（{kind}）：{why}",
                    )
                )
    if not trimmed:
        notes.append(Text(en="No file system was shrunk.", zh="没有文件系统被精简。"))
    return tuple(notes)
