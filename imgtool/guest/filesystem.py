"""One small read-only interface to every filesystem, and the choice of its reader.

A node is a number that the filesystem itself gives its files: an inode number, an MFT record number, the
identifier of a FAT directory entry. Names are str; bytes that are not UTF-8 come as surrogate escapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from imgtool.disk.blocks import Blocks
from imgtool.errors import CannotRead
from imgtool.records import dataclass
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.volumes import Volume

Kind = Literal["file", "directory", "symlink", "device", "other"]

LARGEST_DIRECTORY = 64 << 20
"""Bytes of directory data that are read for one directory."""
MOST_NAMES = 200_000
"""Names that one directory may hold."""
LONGEST_LINK = 65_536
"""Bytes of a symbolic link's target."""


def _no_btrfs() -> Text:
    from imgtool.extras import install_command

    command = install_command("btrfs")
    return Text(
        f"Reading btrfs needs an extra: {command}; or install libguestfs, which reads it too:"
        " apt-get install python3-guestfs libguestfs-tools.",
        f"读取 btrfs 需要扩展：{command}；也可安装 libguestfs 读取："
        "apt-get install python3-guestfs libguestfs-tools。",
    )


class NotInGuest(CannotRead):
    """A path that the guest does not have."""


class TooLarge(CannotRead):
    """A file that is larger than its reader allows."""


class LinkLoop(CannotRead):
    """Symbolic links that lead round in a circle, or too many of them."""


class GuestReadFailed(CannotRead):
    """A part of a filesystem that is damaged, or that this version does not understand."""


@dataclass(frozen=True)
class Stat:
    """What a filesystem says of a file. mode: permission bits (0o7777); size: bytes; mtime: seconds, UTC."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    mtime: float


@dataclass(frozen=True)
class Subvolume:
    """Of a btrfs. number: what subvolid= names; path: from the filesystem's top, "/" for the top itself."""

    number: int
    path: str
    read_only: bool
    snapshot: bool


@dataclass(frozen=True)
class Space:
    """Of a filesystem, in bytes, as `df` counts."""

    free: int
    total: int


class Filesystem(Protocol):
    """Read-only. Every method may raise GuestReadFailed; none follows links."""

    @property
    def type(self) -> str:
        """As blkid says: ext4, xfs, vfat, ntfs."""

    @property
    def uuid(self) -> str:
        """As blkid says; "" if none."""

    @property
    def label(self) -> str:
        """ "" if none."""

    @property
    def case_sensitive(self) -> bool:
        """Whether Name and name are two files."""

    @property
    def root(self) -> int:
        """The node of the top directory."""

    def lookup(self, directory: int, name: str) -> int | None:
        """The node of a name in a directory; None when there is no such name."""

    def names(self, directory: int) -> list[str]:
        """The names in a directory, without . and .., in the order of the disk."""

    def stat(self, node: int) -> Stat:
        """Kind, owner, mode, size and time of a node."""

    def readlink(self, node: int) -> str:
        """The target of a symbolic link."""

    def read(self, node: int, offset: int, length: int) -> bytes:
        """At most `length` bytes of a file from `offset`; fewer at its end."""


@runtime_checkable
class MeasuresSpace(Protocol):
    """A filesystem that knows more of its room than its superblock says."""

    def space(self) -> Space:
        """What is free, and of how much. Raises GuestReadFailed."""


@runtime_checkable
class HasSubvolumes(Protocol):
    """A filesystem that holds several trees of files, of which one is mounted by default."""

    subvolume: int
    """The number of the one that this is seen from."""

    def default_subvolume(self) -> int:
        """The number of the one that is mounted where none is named."""

    def subvolumes(self) -> list[Subvolume]:
        """All of them. Raises GuestReadFailed."""

    def at(self, subvolume: int) -> Filesystem:
        """The same filesystem from the root of another one."""


def damaged(what: str, where: str) -> GuestReadFailed:
    """A structure that contradicts its format. what: the structure; where: which one, and how."""
    return GuestReadFailed(
        Text(
            en=f"The filesystem is damaged: {what}: {where}.",
            zh=f"文件系统已损坏：{what}：{where}。",
        )
    )


class Unsupported(GuestReadFailed):
    """A feature of a filesystem that is not read natively; nothing says that it is damaged."""


class NoReader(CannotRead):
    """A filesystem that is not read natively at all, or not without what is not installed."""


def unsupported(type_: str, feature: str) -> Unsupported:
    """A feature of a filesystem that this version does not read."""
    return Unsupported(
        Text(
            en=f"This version can't read {type_} with {feature}.",
            zh=f"此版本无法读取使用 {feature} 的 {type_}。",
        )
    )


def read_volume(blocks: Blocks, offset: int, length: int, what: str) -> bytes:
    """Bytes of the volume that hold `what`. Raises GuestReadFailed, also where they lie past its end."""
    if offset < 0 or length < 0 or offset + length > blocks.size:
        raise damaged(
            what, f"bytes {offset} to {offset + length} are outside the volume of {blocks.size} bytes"
        )
    try:
        return blocks.read(offset, length)
    except GuestReadFailed:
        raise
    except CannotRead as error:
        why = error.statement()
        raise GuestReadFailed(
            Text(en=f"The {what} can't be read. {why.en}", zh=f"无法读取 {what}。{why.zh}")
        ) from error


def open_filesystem(volume: Volume, beside: Sequence[Blocks] = ()) -> Filesystem:
    """The filesystem on a volume, by its signature.

    beside: the other devices of a btrfs of several. Raises NoReader that names what is missing when it has
    no reader here, Unsupported for features that it does not know, other GuestReadFailed when damaged.
    """
    type_ = volume.signature.type
    if type_ in ("ext2", "ext3", "ext4"):
        from imgtool.guest.ext import Ext

        return Ext(volume.blocks)
    if type_ == "xfs":
        from imgtool.guest.xfs import Xfs

        return Xfs(volume.blocks)
    if type_ == "vfat":
        from imgtool.guest.fat import Fat

        return Fat(volume.blocks, uuid=volume.signature.uuid, label=volume.signature.label)
    if type_ == "ntfs":
        from imgtool.guest.ntfs import Ntfs

        return Ntfs(volume.blocks, uuid=volume.signature.uuid)
    if type_ == "btrfs":
        try:
            from imgtool.guest.btrfs import Btrfs
        except ImportError as error:
            raise NoReader(_no_btrfs()) from error
        return Btrfs(volume.blocks, beside)
    if not type_:
        raise CannotRead(
            Text(
                en=f"No known filesystem is on {volume.name}.",
                zh=f"{volume.name_zh} 上没有可识别的文件系统。",
            )
        )
    raise NoReader(
        Text(
            en=f"This version has no reader for {type_}, which is on {volume.name}.",
            zh=f"此版本无法读取 {volume.name_zh} 上的 {type_}。",
        )
    )
