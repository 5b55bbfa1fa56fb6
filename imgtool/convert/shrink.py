"""Dropping what a guest's file systems do not use: fstrim through libguestfs, on a copy.

The copy is a qcow2, where discarded blocks leave the file, whatever the storage under it can do. The guest's
file systems are mounted by the appliance's kernel, never by this machine's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgtool.convert import qemu_img
from imgtool.errors import CannotRead, MachineLacks
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import ImageFile

NOT_FILESYSTEMS = ("swap", "unknown", "")


def shrink(file: ImageFile, copy: Path, at: Callable[[int], None] = lambda done: None) -> tuple[Text, ...]:
    """Copy the image to `copy` (qcow2) and drop the unused blocks there; notes on what could not be trimmed.

    Raises MachineLacks without libguestfs or a kernel for its appliance, CannotRead when the appliance fails.
    """
    _require()
    qemu_img.convert(file, copy, "qcow2", {"compat": "1.1"}, at=at)
    return _trim(copy)


def _require() -> None:
    from importlib.util import find_spec

    from imgtool.doctor import readable_kernels

    if find_spec("guestfs") is None:
        raise MachineLacks("guestfs", "python3-guestfs")
    if not readable_kernels(Path("/boot")):
        raise MachineLacks("kernel in /boot (libguestfs needs one)", "linux-image-cloud-amd64")


def _trim(copy: Path) -> tuple[Text, ...]:
    notes = []
    trimmed = 0
    with _appliance(copy) as (guest, failure):
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
            except failure as error:
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


@contextmanager
def _appliance(copy: Path) -> Iterator[tuple[Any, type[Exception]]]:
    """libguestfs with the copy as its one disk, and the error that it raises."""
    import guestfs

    from imgtool.doctor import kvm_usable

    handle = guestfs.GuestFS(python_return_dict=True)
    try:
        handle.set_network(False)
        if not kvm_usable():
            # settings of the backend: the user's own stay
            ours = [word for word in os.environ.get("LIBGUESTFS_BACKEND_SETTINGS", "").split(":") if word]
            handle.set_backend_settings([*ours, *([] if "force_tcg" in ours else ["force_tcg"])])
        handle.set_backend("direct")
        handle.add_drive_opts(os.path.abspath(copy), format="qcow2", discard="enable", cachemode="unsafe")
        handle.launch()
        yield handle, RuntimeError
        handle.shutdown()
    except RuntimeError as error:
        raise CannotRead(
            Text(
                en=f"libguestfs can't work on the image: {str(error)[:500]}. `imgtool doctor` says what "
                "it needs.",
                zh=f"libguestfs 无法处理该镜像：{str(error)[:500]}。`imgtool doctor` 会列出所需条件。",
            )
        ) from error
    finally:
        handle.close()
