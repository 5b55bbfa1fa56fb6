"""Which subvolume of a btrfs a mount means, and which one holds the system."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from imgtool.errors import CannotRead
from imgtool.guest.filesystem import Filesystem, HasSubvolumes, NotInGuest, Subvolume
from imgtool.guest.holdings import Holding, holding
from imgtool.guest.tree import Tree
from imgtool.text import Text

MOST_TRIED = 64
KEEPERS = (".snapshots", "timeshift", "snapshots", ".timeshift")
"""Folders in which tools keep snapshots of a system: snapper's, timeshift's."""
FSTAB_LIMIT = 1 << 20
TOP = 5
"""The number of the top, which may also be called 0."""


def named(options: Iterable[str]) -> str | int | None:
    """What `subvol=` or `subvolid=` among mount options names: a path from the top, or a number.

    The last one counts (btrfs(5)); None where there is none, and the default subvolume is meant.
    """
    found: str | int | None = None
    for option in options:
        key, _, value = option.partition("=")
        if key == "subvol" and value:
            found = "/" + value.strip("/")
        elif key == "subvolid":
            try:
                found = int(value, 0) or TOP
            except ValueError:
                found = value  # which the kernel refuses, and no subvolume is called
    return found


def find(filesystem: HasSubvolumes, wanted: str | int | None) -> Subvolume | None:
    """The subvolume that `named` means; None where there is no such one. Raises GuestReadFailed."""
    wanted = filesystem.default_subvolume() if wanted is None else wanted
    return next((it for it in filesystem.subvolumes() if wanted in (it.number, it.path)), None)


def own(filesystem: HasSubvolumes) -> Subvolume | None:
    """The subvolume that the filesystem is seen from."""
    return find(filesystem, filesystem.subvolume)


def mounted(filesystem: Filesystem, options: Iterable[str]) -> Filesystem:
    """The filesystem as these options mount it. Raises NotInGuest where it has no such subvolume."""
    if not isinstance(filesystem, HasSubvolumes):
        return filesystem
    wanted = named(options)
    if wanted is None:
        return filesystem.at(filesystem.default_subvolume())
    there = find(filesystem, wanted)
    if there is None:
        raise NotInGuest(
            Text(en=f"The btrfs has no subvolume {wanted}.", zh=f"该 btrfs 中没有子卷 {wanted}。")
        )
    return filesystem.at(there.number)


def with_system(
    filesystem: Filesystem, look: Callable[[Filesystem], Tree], holds: Holding
) -> tuple[Filesystem, Holding]:
    """The filesystem as seen from the subvolume that holds the system, and what that holds.

    The default subvolume (SUSE), unless its fstab names another one as `/`; else the one whose own fstab
    names itself (Ubuntu's @, Fedora's root, Debian's @rootfs): a snapshot of it names its origin. Else the
    first with a system in it, snapshots last. holds: what the default one, which `filesystem` shows, holds.
    """
    if not isinstance(filesystem, HasSubvolumes):
        return filesystem, holds
    default = filesystem.default_subvolume()
    if holds.what == "linux":
        wanted = _root_of_fstab(look(filesystem))
        other = None if wanted is None else find(filesystem, wanted)
        if other is None or other.number == default:
            return filesystem, holds
    elif holds.what in ("windows", "ostree"):
        return filesystem, holds
    best: tuple[Filesystem, Holding] | None = (filesystem, holds) if holds.what == "linux" else None
    for subvolume in sorted(filesystem.subvolumes(), key=_rank)[:MOST_TRIED]:
        if subvolume.number == default:
            continue
        view = filesystem.at(subvolume.number)
        tree = look(view)
        held = holding(tree)
        if held.what not in ("linux", "ostree"):
            continue
        if _root_of_fstab(tree) in (subvolume.number, subvolume.path):
            return view, held
        best = best or (view, held)
    return best or (filesystem, holds)


def _rank(subvolume: Subvolume) -> tuple[bool, bool, int, str]:
    parts = subvolume.path.strip("/").split("/")
    return any(part in KEEPERS for part in parts), subvolume.snapshot, len(parts), subvolume.path


def _root_of_fstab(tree: Tree) -> str | int | None:
    """The subvolume that a tree's own fstab names as /; None where it names none, or can't be read."""
    from imgtool.guest.fstab import parse_fstab

    try:
        entries = parse_fstab(tree.text("/etc/fstab", FSTAB_LIMIT))
    except CannotRead:
        return None
    return next((named(it.options) for it in entries if it.mount_point == "/" and not it.problems), None)
