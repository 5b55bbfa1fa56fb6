"""Filesystems as the kernel of libguestfs's appliance reads them: the other engine, by the same interface.

Everything is mounted read-only and without replaying a journal, so that both engines see the same state. Only
the appliance's answers are believed, and those are bounded like anything else that comes from an image.
"""

from __future__ import annotations

import stat
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from imgtool.appliance import GuestfsError, mounting_failed
from imgtool.disk.blocks import Cached, ReadFailed, within
from imgtool.errors import MachineLacks
from imgtool.guest.filesystem import (
    LARGEST_DIRECTORY,
    LONGEST_LINK,
    MOST_NAMES,
    GuestReadFailed,
    Kind,
    NoReader,
    Space,
    Stat,
    Subvolume,
    damaged,
    unsupported,
)
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.volumes import Volume

MOUNT_OPTIONS = {
    "ext3": "ro,noload",
    "ext4": "ro,noload",
    "xfs": "ro,norecovery,nouuid",
    "btrfs": "ro,rescue=nologreplay",
    "vfat": "ro,utf8",
    "ntfs": "ro",
}
MOUNTABLE = (
    *MOUNT_OPTIONS,
    "ext2",
    "f2fs",
    "exfat",
    "jfs",
    "reiserfs",
    "nilfs2",
    "hfsplus",
    "udf",
    "squashfs",
    "erofs",
)
"""What Linux has a reader of; whether the appliance's kernel has it too shows when it is mounted."""
TOP = 5
"""The number of the subvolume that every btrfs has."""
BY_PROGRAM = ("ntfs",)
"""Mounted by a program of the appliance's, not by its kernel."""
CASELESS = ("vfat", "ntfs", "exfat", "hfsplus")
PIECE = 1 << 20
"""Bytes of a file that one call reads; libguestfs's messages take 4 MiB."""
KEPT_PIECES = 24
MOST_MOUNTS = 128
MOST_SHOWN = 64
KINDS: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
DEVICES = (stat.S_IFBLK, stat.S_IFCHR)


class Appliance:
    """A running appliance that has an image as one of its drives; mounts what it is asked for.

    drive: what it calls that. number: tells apart the places where those who share the appliance mount.
    """

    def __init__(self, guest: Any, drive: str = "/dev/sda", number: int = 0) -> None:
        self.guest = guest
        self._drive = drive
        self._number = number
        self._mounts = 0

    def device(self, volume: Volume) -> str:
        """What the appliance calls a volume."""
        if volume.kind == "partition" and volume.partition is not None:
            return f"{self._drive}{volume.partition.number}"
        if volume.kind == "lv":
            return f"/dev/{volume.name}"
        if volume.kind == "disk":
            return self._drive
        raise NoReader(
            Text(
                en=f"{volume.name} is not read through libguestfs.",
                zh=f"不通过 libguestfs 读取 {volume.name_zh}。",
            )
        )

    def logical_volumes(self) -> list[str]:
        """Every logical volume that the appliance has, as group/volume."""
        with asking("logical volumes"):
            return [name.removeprefix("/dev/") for name in self.guest.lvs()]

    def blocks(self, device: str) -> Cached:
        """The bytes of a device of the appliance's."""
        return Cached(DeviceBlocks(self.guest, device))

    def open(self, volume: Volume) -> LibguestfsFilesystem:
        """Mount the filesystem on a volume. Raises NoReader, GuestReadFailed, MachineLacks."""
        return LibguestfsFilesystem(self, volume)

    def mount(self, device: str, type_: str, options: str) -> str:
        """Mount a filesystem where nothing else is; the path.

        Raises GuestReadFailed, NoReader, MachineLacks.
        """
        if self._mounts >= MOST_MOUNTS:
            raise damaged("disk", f"more than {MOST_MOUNTS} filesystems are to be mounted")
        self._mounts += 1
        path = f"/imgtool{self._number}.{self._mounts}"
        try:
            self.guest.mkmountpoint(path)
            self.guest.mount_vfs(options, type_, device, path)
        except GuestfsError as error:
            why = mounting_failed(type_, error)
            if isinstance(why, MachineLacks) or type_ in BY_PROGRAM:
                raise why from error
            if self._has(type_):
                raise GuestReadFailed(why.statement()) from error
            raise NoReader(
                Text(
                    en=f"Neither imgtool nor the kernel of libguestfs's appliance reads {type_}.",
                    zh=f"imgtool 和 libguestfs 运行环境的内核都无法读取 {type_}。",
                )
            ) from error
        return path

    def _has(self, type_: str) -> bool:
        with asking("the appliance's filesystems"):
            return bool(self.guest.filesystem_available(type_))


@contextmanager
def asking(what: str) -> Iterator[None]:
    """What the appliance answers with an error, as GuestReadFailed."""
    try:
        yield
    except GuestfsError as error:
        if type(error) is not GuestfsError:
            raise
        said = " ".join(str(error).split())[:300]
        raise damaged(what, f"libguestfs: {said}") from error


class DeviceBlocks:
    """The bytes of a device of the appliance: a logical volume as its kernel puts it together."""

    def __init__(self, guest: Any, device: str) -> None:
        self._guest = guest
        self._device = device
        with asking("volume"):
            self._size = int(guest.blockdev_getsize64(device))

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        within(self, offset, length)
        parts = []
        end = offset + length
        while offset < end:
            try:
                part = self._guest.pread_device(self._device, min(end - offset, PIECE), offset)
            except GuestfsError as error:
                raise ReadFailed(offset, length, " ".join(str(error).split())[:200]) from error
            if not part:
                raise ReadFailed(offset, length, "the device ends before it")
            parts.append(part)
            offset += len(part)
        return b"".join(parts)


class LibguestfsFilesystem:
    """A mounted filesystem; a node is a number that we give to a path when it is first met."""

    def __init__(self, appliance: Appliance, volume: Volume, subvolume: int = 0) -> None:
        self._appliance = appliance
        self._volume = volume
        self._guest = appliance.guest
        self.type = volume.signature.type
        self.uuid = volume.signature.uuid
        self.label = volume.signature.label
        self.case_sensitive = self.type not in CASELESS
        self.root = 0
        options = MOUNT_OPTIONS.get(self.type, "ro")
        if subvolume:
            options += f",subvolid={subvolume}"
        top = appliance.mount(appliance.device(volume), self.type, options)
        self._paths = [top]
        self._nodes = {top: 0}
        self._stats: dict[int, Stat] = {}
        self._folded: dict[int, dict[str, str]] = {}
        self._pieces: OrderedDict[tuple[int, int], bytes] = OrderedDict()

    def lookup(self, directory: int, name: str) -> int | None:
        """The node of a name in a directory; None when there is no such name."""
        if not self.case_sensitive:
            if directory not in self._folded:
                self._folded[directory] = {each.casefold(): each for each in self.names(directory)}
            there = self._folded[directory].get(name.casefold())
            if there is None:
                return None
            name = there
        path = f"{self._paths[directory]}/{name}"
        known = self._nodes.get(path)
        if known is not None:
            return known
        found = self._status(path)
        if found is None:
            return None
        node = len(self._paths)
        self._paths.append(path)
        self._nodes[path] = node
        self._stats[node] = found
        return node

    def names(self, directory: int) -> list[str]:
        """The names in a directory, in the order in which the appliance's kernel gives them."""
        with TemporaryDirectory(prefix="imgtool-names-") as folder:
            listing = Path(folder, "names")
            with asking("directory"):
                self._guest.ls0(self._paths[directory], str(listing))
            if listing.stat().st_size > LARGEST_DIRECTORY:
                raise damaged("directory", f"its names take more than {LARGEST_DIRECTORY} bytes")
            found = listing.read_bytes().split(b"\0")[:-1]
        if len(found) > MOST_NAMES:
            raise damaged("directory", f"it holds more than {MOST_NAMES} names")
        return [name.decode("utf-8", "surrogateescape") for name in found]

    def stat(self, node: int) -> Stat:
        """Kind, owner, mode, size and time of a node."""
        kept = self._stats.get(node)
        if kept is None:
            found = self._status(self._paths[node])
            if found is None:
                raise damaged("file", "it is gone")
            self._stats[node] = kept = found
        return kept

    def readlink(self, node: int) -> str:
        """The target of a symbolic link."""
        with asking("symbolic link"), _utf8("symbolic links"):
            target = str(self._guest.readlink(self._paths[node]))
        if len(target) > LONGEST_LINK:
            raise damaged("symbolic link", f"it is {len(target)} characters long")
        return target

    def read(self, node: int, offset: int, length: int) -> bytes:
        """At most `length` bytes of a file from `offset`; fewer at its end."""
        told = self.stat(node)
        if told.kind != "file":
            return b""  # opening a pipe or a device would not end
        end = min(offset + length, told.size)
        parts = []
        while offset < end:
            number, inside = divmod(offset, PIECE)
            part = self._piece(node, number)[inside : inside + end - offset]
            if not part:
                raise damaged("file", "it ends before its size")
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def attribute(self, node: int, name: str) -> bytes | None:
        """The value of an extended attribute ("security.selinux"); None where the file has none."""
        try:
            with _utf8("extended attributes"):
                value = self._guest.lgetxattr(self._paths[node], name)
        except GuestfsError as error:
            if "No data available" in str(error) or "not supported" in str(error):
                return None
            raise damaged("extended attribute", " ".join(str(error).split())[:200]) from error
        return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")

    def space(self) -> Space:
        """What is free, and of how much."""
        with asking("space"):
            told = self._guest.statvfs(self._paths[0])
        return Space(told["bavail"] * told["frsize"], told["blocks"] * told["frsize"])

    def _piece(self, node: int, number: int) -> bytes:
        key = node, number
        kept = self._pieces.get(key)
        if kept is None:
            with asking("file"):
                kept = bytes(self._guest.pread(self._paths[node], PIECE, number * PIECE))
            self._pieces[key] = kept
            if len(self._pieces) > KEPT_PIECES:
                self._pieces.popitem(last=False)
        else:
            self._pieces.move_to_end(key)
        return kept

    def _status(self, path: str) -> Stat | None:
        try:
            with _utf8("names"):
                found = self._guest.lstatns(path)
        except GuestfsError as error:
            if (
                str(error)
                .rstrip()
                .endswith(("No such file or directory", "Not a directory", "name too long"))
            ):
                return None
            raise damaged("file", "libguestfs: " + " ".join(str(error).split())[:300]) from error
        mode = found["st_mode"]
        kind = "device" if stat.S_IFMT(mode) in DEVICES else KINDS.get(stat.S_IFMT(mode), "other")
        return Stat(
            kind=kind,
            mode=mode & 0o7777,
            uid=found["st_uid"],
            gid=found["st_gid"],
            size=found["st_size"],
            mtime=found["st_mtime_sec"] + found["st_mtime_nsec"] / 1e9,
        )


class LibguestfsBtrfs(LibguestfsFilesystem):
    """A btrfs, seen from one of its subvolumes."""

    def __init__(self, appliance: Appliance, volume: Volume, subvolume: int = 0) -> None:
        super().__init__(appliance, volume, subvolume)
        self.subvolume = subvolume or self.default_subvolume()
        self._listed: list[Subvolume] | None = None

    def default_subvolume(self) -> int:
        """The number of the subvolume that is mounted where none is named."""
        with asking("btrfs default subvolume"):
            return int(self._guest.btrfs_subvolume_get_default(self._paths[0]))

    def at(self, subvolume: int) -> LibguestfsBtrfs:
        """The same filesystem from another subvolume's root."""
        return LibguestfsBtrfs(self._appliance, self._volume, subvolume)

    def subvolumes(self) -> list[Subvolume]:
        """Every subvolume and snapshot, outer ones first; the top one is "/"."""
        if self._listed is None:
            top = self if self.subvolume == TOP else self.at(TOP)
            with asking("btrfs subvolumes"), _utf8("names of subvolumes"):
                listed = self._guest.btrfs_subvolume_list(top._paths[0])
                if len(listed) > MOST_NAMES:
                    raise damaged("btrfs", f"it has more than {MOST_NAMES} subvolumes")
                listed.sort(key=lambda it: (it["btrfssubvolume_path"].count("/"), it["btrfssubvolume_id"]))
                found = [Subvolume(TOP, "/", False, False)]
                for each in listed:
                    path, told = "/" + each["btrfssubvolume_path"], {}
                    if len(found) <= MOST_SHOWN:
                        told = self._guest.btrfs_subvolume_show(top._paths[0] + path)
                    read_only = "readonly" in told.get("Flags", "")
                    snapshot = told.get("Parent UUID", "-") not in ("-", "")
                    found.append(Subvolume(each["btrfssubvolume_id"], path, read_only, snapshot))
            self._listed = found
        return self._listed


@contextmanager
def _utf8(what: str) -> Iterator[None]:
    """libguestfs takes and gives strings of UTF-8 alone."""
    try:
        yield
    except UnicodeError as error:
        raise unsupported("libguestfs", f"{what} that are not UTF-8") from error
