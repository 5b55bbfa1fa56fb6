"""Subvolumes of a btrfs root, as fstab and the kernel's command line name them; for the rules on both."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.remedy import GRUB_DEFAULTS, if_known, quoted
from imgtool.rules import Outcome, Severity, broken
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.bootloader import BootEntry
    from imgtool.guest.filesystem import HasSubvolumes
    from imgtool.guest.fstab import FstabEntry
    from imgtool.guest.linux import LinuxGuest

SHOWN = 12


def absent_subvolume(guest: LinuxGuest, entry: FstabEntry) -> Outcome | None:
    """A line of fstab that mounts a subvolume which the root's btrfs does not have."""
    from imgtool.guest.devices import resolve
    from imgtool.guest.subvolumes import find, named

    filesystem = _of_root(guest)
    wanted = named(entry.options)
    if filesystem is None or wanted is None:
        return None
    there = resolve(entry.spec, guest.disk, guest.own_disks)
    if isinstance(there, str) or there.signature.uuid != guest.root.volume.signature.uuid:
        return None
    if find(filesystem, wanted) is not None:
        return None
    waits = entry.mandatory or entry.mount_point == "/"
    return broken(
        Text(
            f"fstab mounts subvolume {wanted} at {entry.mount_point}, and the btrfs has none of that name"
            + (": the boot stops in emergency mode." if waits else "."),
            f"fstab 将子卷 {wanted} 挂载到 {entry.mount_point}，但该 btrfs 中没有此子卷"
            + ("：启动会停在紧急模式。" if waits else "。"),
        ),
        str(entry),
        *_listed(filesystem),
        severity=None if waits else Severity.WARNING,
        remedy=Text.same(f"sed -i '{entry.line}s/^/#/' /etc/fstab"),
        fixable=entry.mount_point != "/",
    )


def judged_rootflags(guest: LinuxGuest, entry: BootEntry) -> Iterator[Outcome]:
    """`rootflags=` of a boot entry against the subvolume in which the system was found."""
    from imgtool.guest.subvolumes import find, named, own

    filesystem = _of_root(guest)
    if filesystem is None:
        return
    flags = rootflags(entry.arguments)
    wanted = named(flags.split(","))
    meant = find(filesystem, wanted)
    here = own(filesystem)
    if here is None or meant == here:
        return
    evidence = f"{entry.source}: rootflags={flags}" if flags else f"{entry.source}: no rootflags="
    if meant is None:
        yield broken(
            Text(
                f"rootflags= names subvolume {wanted}, and the btrfs has none of that name.",
                f"rootflags= 指定了子卷 {wanted}，但该 btrfs 中没有此子卷。",
            ),
            evidence,
            *_listed(filesystem),
            remedy=_remedy(guest, flags, here.path),
            fixable=False,
        )
        return
    if wanted is None:
        # dracut may have written rootflags into the initramfs; initramfs-tools has only the command line
        certain = guest.release.initramfs_tool == "mkinitramfs"
        yield broken(
            Text(
                f"The system is in subvolume {here.path}; without rootflags=subvol= the default one"
                f" ({meant.path}) is mounted as the root.",
                f"系统位于子卷 {here.path}；没有 rootflags=subvol= 时会将默认子卷（{meant.path}）挂载为根。",
            ),
            evidence,
            severity=None if certain else Severity.WARNING,
            remedy=_remedy(guest, flags, here.path),
            fixable=False,
        )
        return
    yield broken(
        Text(
            f"The boot entry starts subvolume {meant.path}; the system that was judged is in {here.path}.",
            f"启动项使用子卷 {meant.path}，而所检查的系统位于 {here.path}。",
        ),
        evidence,
        severity=Severity.WARNING,
        remedy=_remedy(guest, flags, here.path),
        fixable=False,
    )


def rootflags(arguments: str) -> str:
    """The value of the last rootflags= that the kernel is given; "" for none."""
    words = [word.replace('"', "").replace("'", "") for word in arguments.split()]
    return next((word[10:] for word in reversed(words) if word.startswith("rootflags=")), "")


def _of_root(guest: LinuxGuest) -> HasSubvolumes | None:
    from imgtool.guest.filesystem import HasSubvolumes

    if guest.root.volume.signature.type != "btrfs":
        return None
    filesystem = guest.tree.filesystem
    return filesystem if isinstance(filesystem, HasSubvolumes) else None


def _listed(filesystem: HasSubvolumes) -> tuple[str, ...]:
    paths = [f"{it.path} ({it.number})" for it in filesystem.subvolumes()]
    more = ["…"] if len(paths) > SHOWN else []
    return (f"subvolumes: {', '.join([*paths[:SHOWN], *more])}",)


@if_known
def _remedy(guest: LinuxGuest, flags: str, path: str) -> Text | None:
    """The subvolume in rootflags= of every kernel; other mount options stay, and no other rootflags= does."""
    kept = [it for it in flags.split(",") if it and not it.startswith(("subvol=", "subvolid="))]
    wanted = quoted("rootflags=" + ",".join([*kept, f"subvol={path.lstrip('/')}"]))
    command = guest.release.bootloader_command(guest.bootloader.config_path or "")
    if guest.release.family == "redhat":
        return Text.same(f"grubby --update-kernel=ALL --remove-args=rootflags --args={wanted}")
    if not command or not re.fullmatch(r"[\w@:/.,=+-]+", wanted):
        return None
    edit = f"sed -i -e 's| *rootflags=[^ \"]*||g' -e 's|^GRUB_CMDLINE_LINUX=\"|&{wanted} |' {GRUB_DEFAULTS}"
    return Text.same(f"{edit} && {command}")
