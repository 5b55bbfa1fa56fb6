"""Finding the systems on a disk, and laying each one's own mounts over its root."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Literal

from imgtool.errors import CannotRead
from imgtool.guest.filesystem import Filesystem, GuestReadFailed, HasSubvolumes, open_filesystem
from imgtool.guest.holdings import Holding, holding, ostree_deployment
from imgtool.guest.tree import NotInGuest, Tree
from imgtool.records import dataclass, field, replace
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.disk.volumes import Volume
    from imgtool.guest.fstab import FstabEntry

    Opener = Callable[[Volume], Filesystem]

LooksLike = Literal["data-disk", "boot-only", "installer", "empty", "encrypted", "unknown"]
FSTAB_LIMIT = 1 << 20
ENCRYPTED = ("crypto_LUKS", "BitLocker")
NO_FILESYSTEM = ("", "swap", "LVM2_member")
"""What holds no files itself: nothing known, swap space, and what is read through its logical volumes."""
OF_AN_ARRAY = ("linux_raid_member",)
EMPTY_START = 64 << 10
COREOS_ROOT = "ROOT"


@dataclass(frozen=True)
class UnreadableMount:
    """A line of fstab whose volume is on this disk and can't be read: below it everything raises."""

    entry: FstabEntry
    volume: Volume
    reason: Text


@dataclass(frozen=True)
class Root:
    """A system: its files, and what became of its fstab.

    agrees: its fstab names this very volume as `/`, or the boot configuration starts this of several Windows;
    missing_mounts: lines of fstab whose device, or whose subvolume, is not on this disk, so that nothing is
    laid over their mount points; assumed_mounts: mount points that fstab does not name and that were filled
    by what is on the disk; fstab_problems: why fstab itself can't be read.
    """

    family: Literal["linux", "windows"]
    tree: Tree
    volume: Volume
    agrees: bool = False
    missing_mounts: tuple[FstabEntry, ...] = ()
    unreadable_mounts: tuple[UnreadableMount, ...] = ()
    assumed_mounts: tuple[str, ...] = ()
    fstab_problems: tuple[Text, ...] = ()


@dataclass(frozen=True)
class RootSearch:
    """What was looked at, and found.

    unreadable: volumes that may hold a system and why they can't be read; seen: one line for each volume with
    what it holds, as evidence.
    """

    roots: tuple[Root, ...]
    unreadable: tuple[tuple[Volume, Text], ...]
    looks_like: LooksLike
    seen: tuple[str, ...] = ()

    @property
    def root(self) -> Root | None:
        """The system that the disk starts, as far as can be told: one whose fstab agrees, else the first;
        where that one's boot loader starts another, that."""
        return self.roots[0] if self.roots else None


def open_natively(disk: Disk, volume: Volume) -> Filesystem:
    """The filesystem on a volume of a disk; a btrfs with those of its devices that are on the disk.

    Raises CannotRead.
    """
    beside = [it.blocks for it in disk.volumes if it is not volume and _same_btrfs(it, volume)]
    return open_filesystem(volume, beside)


@dataclass
class _Found:
    """The search so far."""

    open: Opener
    opened: list[tuple[Volume, Filesystem, Holding]] = field(default_factory=list)
    unreadable: list[tuple[Volume, Text]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def filesystem(self, volume: Volume) -> Filesystem:
        """The filesystem of a volume, opened once. Raises CannotRead."""
        for other, filesystem, _ in self.opened:
            if other is volume:
                return filesystem
        return self.open(volume)


def find_roots(disk: Disk, opener: Opener | None = None) -> RootSearch:
    """Every system on the disk. What can't be read is named in the answer, not raised.

    opener: opens the filesystem on a volume; natively, unless another one is given.
    """
    found = _Found(opener or partial(open_natively, disk))
    for volume in disk.volumes:
        _look(volume, found)
    roots = [
        root
        for volume, filesystem, holds in found.opened
        if (root := _root(disk, volume, filesystem, holds, found)) is not None
    ]
    if not roots:
        roots = list(_split_roots(disk, found))
    if sum(root.family == "windows" for root in roots) > 1:
        roots = _started_windows(disk, roots)
    roots.sort(key=lambda root: not root.agrees)
    if len(roots) > 1:
        roots = _started_first(disk, roots)
    return RootSearch(
        roots=tuple(roots),
        unreadable=tuple(found.unreadable),
        looks_like=_looks_like(disk, found),
        seen=tuple(found.seen),
    )


def _started_first(disk: Disk, roots: list[Root]) -> list[Root]:
    """Of several systems, first the one that the boot loader of the first starts: it may be another's."""
    from imgtool.guest.bootloader import read_bootloader
    from imgtool.guest.devices import resolve

    if roots[0].family != "linux":
        return roots
    try:
        entry = read_bootloader(roots[0].tree, disk).default
    except CannotRead:
        return roots  # linux.bootloader says why
    words = entry.arguments.split() if entry else []
    named = next((word.removeprefix("root=") for word in words if word.startswith("root=")), "")
    started = resolve(named, disk) if named else "unknown"
    return sorted(roots, key=lambda root: root.volume is not started)


def _look(volume: Volume, found: _Found) -> None:
    type_ = volume.signature.type
    if volume.unreadable is not None:
        found.unreadable.append((volume, volume.unreadable))
        found.seen.append(f"{volume.name}: unreadable")
        return
    mirrored = type_ in OF_AN_ARRAY and volume.signature.details.get("level") == 1
    if type_ in NO_FILESYSTEM or type_ == "iso9660" or mirrored:
        found.seen.append(f"{volume.name}: {type_ or 'nothing known'}")
        return
    if type_ in ENCRYPTED or type_ in OF_AN_ARRAY:
        reason = (
            Text(en=f"It is encrypted ({type_}).", zh=f"已加密（{type_}）。")
            if type_ in ENCRYPTED
            else Text(
                en="It is a member of an md array, which can't be read from one disk.",
                zh="它是 md 阵列的成员，无法从单个磁盘读取。",
            )
        )
        found.unreadable.append((volume, reason))
        found.seen.append(f"{volume.name}: {type_}")
        return
    first = next((it for it, _, _ in found.opened if _same_btrfs(it, volume)), None)
    if first is not None:
        found.seen.append(f"{volume.name}: btrfs, another device of the one on {first.name}")
        return
    try:
        filesystem = found.open(volume)
        holds = holding(Tree(filesystem, volume))
        if type_ == "btrfs":
            from imgtool.guest.subvolumes import with_system

            filesystem, holds = with_system(filesystem, lambda view: Tree(view, volume), holds)
    except CannotRead as error:
        found.unreadable.append((volume, error.statement()))
        found.seen.append(f"{volume.name}: {type_}, unreadable")
        return
    found.opened.append((volume, filesystem, holds))
    found.seen.append(f"{volume.name}: {type_}{_subvolume(filesystem)}, {holds.words}")


def _same_btrfs(one: Volume, other: Volume) -> bool:
    return (
        one.signature.type == other.signature.type == "btrfs" and one.signature.uuid == other.signature.uuid
    )


def _subvolume(filesystem: Filesystem) -> str:
    if filesystem.type != "btrfs" or not isinstance(filesystem, HasSubvolumes):
        return ""
    from imgtool.guest.subvolumes import own

    seen_from = own(filesystem)
    return f" (subvolume {seen_from.path})" if seen_from and seen_from.path != "/" else ""


def _root(disk: Disk, volume: Volume, filesystem: Filesystem, holds: Holding, found: _Found) -> Root | None:
    if holds.what == "windows":
        return Root("windows", Tree(filesystem, volume), volume)
    if holds.what == "linux":
        tree = Tree(filesystem, volume)
        if volume.signature.label == COREOS_ROOT and not tree.exists("/usr/lib"):
            split = next(_split_roots(disk, found), None)
            if split is not None:
                return split
        return _with_mounts(disk, tree, volume, found)
    if holds.what == "ostree":
        try:
            deployed = ostree_deployment(Tree(filesystem, volume))
        except CannotRead as error:
            found.unreadable.append((volume, error.statement()))
            return None
        return _with_mounts(disk, Tree(deployed, volume), volume, found)
    return None


def _started_windows(disk: Disk, roots: list[Root]) -> list[Root]:
    """Of several Windows, the one that the boot configuration starts agrees."""
    from imgtool.guest.windows.boot import default_volume
    from imgtool.guest.windows.guest import WindowsGuest

    for root in roots:
        if root.family == "windows":
            try:
                started = default_volume(WindowsGuest(root, disk))
            except CannotRead:
                return roots
            return [replace(it, agrees=it.agrees or it.volume is started) for it in roots]
    return roots


def _split_roots(disk: Disk, found: _Found) -> Iterator[Root]:
    """Container Linux keeps its system in a /usr volume; the one labelled ROOT is bare at first and later
    has links into /usr."""
    system = next(((volume, fs) for volume, fs, holds in found.opened if holds.what == "usr"), None)
    top = next(
        ((volume, fs) for volume, fs, _ in found.opened if volume.signature.label == COREOS_ROOT), None
    )
    if system is None or top is None:
        return
    tree = Tree(top[1], top[0])
    tree.mount("/usr", system[1], system[0])
    assumed = ["/usr"]
    for volume, filesystem, holds in found.opened:
        if holds.what == "esp" and Tree(filesystem, volume).is_dir("/coreos"):
            tree.mount("/boot", filesystem, volume)  # where its kernels are; no fstab says so
            assumed.append("/boot")
            break
    yield _with_mounts(disk, tree, top[0], found, tuple(assumed))


def _with_mounts(
    disk: Disk, tree: Tree, volume: Volume, found: _Found, assumed: tuple[str, ...] = ()
) -> Root:
    """The root with its fstab's volumes mounted, those nearest to the root first."""
    from imgtool.guest.devices import own_disks, resolve

    entries, problems = _fstab(tree)
    own = own_disks(entries)
    agrees = any(entry.mount_point == "/" and resolve(entry.spec, disk, own) is volume for entry in entries)
    missing: list[FstabEntry] = []
    unreadable: list[UnreadableMount] = []
    wanted = [
        entry
        for entry in entries
        if entry.needs_device and not entry.is_swap and entry.mount_point.startswith("/")
    ]
    for entry in sorted(wanted, key=lambda entry: entry.mount_point.count("/")):
        if entry.mount_point == "/":
            continue
        there = resolve(entry.spec, disk, own)
        if isinstance(there, str):
            missing.append(entry)
            continue
        try:
            below = found.filesystem(there)
            if below.type == "btrfs":
                from imgtool.guest.subvolumes import mounted

                below = mounted(below, entry.options)
            tree.mount(entry.mount_point, below, there)
        except NotInGuest:
            missing.append(entry)
        except CannotRead as error:
            tree.mount_unreadable(entry.mount_point, error)
            unreadable.append(UnreadableMount(entry, there, error.statement()))
    if _assume_boot(tree, volume, found):
        assumed = (*assumed, "/boot")
    return Root(
        family="linux",
        tree=tree,
        volume=volume,
        agrees=agrees,
        missing_mounts=tuple(missing),
        unreadable_mounts=tuple(unreadable),
        assumed_mounts=assumed,
        fstab_problems=tuple(problems),
    )


def _fstab(tree: Tree) -> tuple[tuple[FstabEntry, ...], list[Text]]:
    from imgtool.guest.fstab import parse_fstab

    try:
        return parse_fstab(tree.text("/etc/fstab", FSTAB_LIMIT)), []
    except NotInGuest:
        return (), []
    except CannotRead as error:
        return (), [error.statement()]


def _assume_boot(tree: Tree, root: Volume, found: _Found) -> bool:
    """Mount the disk's only boot volume where fstab is silent and /boot is empty: the boot loader reads its
    own volume by number, whatever fstab says."""
    if "/boot" in tree.mounts or "/boot" in tree.unreadable_mounts:
        return False
    boots = [
        (volume, fs) for volume, fs, holds in found.opened if holds.what == "boot" and volume is not root
    ]
    try:
        if len(boots) != 1 or (tree.is_dir("/boot") and set(tree.list("/boot")) - {"efi", "lost+found"}):
            return False
    except GuestReadFailed:
        return False
    tree.mount("/boot", boots[0][1], boots[0][0])
    return True


def _looks_like(disk: Disk, found: _Found) -> LooksLike:
    """What a disk without a system seems to be."""
    types = [volume.signature.type for volume in disk.volumes]
    held = [holds.what for _, _, holds in found.opened]
    if any(type_ in ENCRYPTED for type_ in types):
        return "encrypted"
    if "iso9660" in types or "installer" in held:
        return "installer"
    if found.unreadable:
        return "unknown"
    if held and all(what in ("boot", "esp", "empty") for what in held) and set(held) != {"empty"}:
        return "boot-only"
    if held:
        return "data-disk"
    if not any(types) and _starts_empty(disk):
        return "empty"
    return "unknown"


def _starts_empty(disk: Disk) -> bool:
    """Whether neither the disk (behind its partition table) nor any volume begins with anything."""
    starts = [disk.blocks] if disk.table.kind == "none" else [volume.blocks for volume in disk.volumes]
    try:
        return not any(any(blocks.read(0, min(blocks.size, EMPTY_START))) for blocks in starts)
    except CannotRead:
        return False
