"""btrfs, read-only: one subvolume at a time, through the optional dissect.btrfs (the extra [btrfs]).

What is read is the state of the last commit: a log tree that waits to be replayed is left alone, as other
filesystems' journals are.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator, Sequence

from imgtool.disk.blocks import Blocks
from imgtool.disk.signatures import dashed
from imgtool.guest.btrfs_extents import Files
from imgtool.guest.btrfs_trees import Store, Tree, reading
from imgtool.guest.filesystem import LONGEST_LINK, MOST_NAMES, Kind, Space, Stat, Subvolume, damaged
from imgtool.records import dataclass

TOP = 5
"""The number of the subvolume that every btrfs has."""
EMPTY = 2
"""The inode of a directory that stands where a snapshot's nested subvolume would be."""
ROOT_DIRECTORY = 6
INODE_ITEM, INODE_REF, ATTRIBUTE, DIRECTORY_ITEM, DIRECTORY_INDEX = 1, 12, 24, 84, 96
ROOT_ITEM, ROOT_REF = 132, 156
READ_ONLY = 1
MOST_SUBVOLUMES = 2000
DEEPEST = 64
KINDS: dict[int, Kind] = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
DEVICES = (stat.S_IFBLK, stat.S_IFCHR)


@dataclass(frozen=True)
class _Entry:
    """A name in a directory, and what it leads to: an inode, or another subvolume's root (type ROOT_ITEM).

    Extended attributes have the same form, with their value as data.
    """

    name: bytes
    objectid: int
    type: int
    data: bytes = b""


class Btrfs:
    """A btrfs, seen from the root of one subvolume; a node is that subvolume's number above 64 bits of inode.

    Raises GuestReadFailed from all that reads, and CannotRead that names it where a device is missing.
    """

    type = "btrfs"
    case_sensitive = True

    def __init__(
        self, blocks: Blocks, beside: Sequence[Blocks] = (), *, store: Store | None = None, subvolume: int = 0
    ) -> None:
        """beside: the filesystem's other devices. subvolume: its number, the default one where it is 0."""
        self._store = store or Store(blocks, beside)
        self._blocks = blocks
        superblock = self._store.superblock
        self.uuid = dashed(superblock.fsid)
        self.label = superblock.label
        self._files = Files(self._store)
        self._nested: dict[tuple[int, int], bool] = {}
        self.subvolume = subvolume or self.default_subvolume()
        self.root = self._top(self.subvolume)

    def default_subvolume(self) -> int:
        """The number of the subvolume that is mounted where none is named."""
        with reading("btrfs default subvolume"):
            data = self._store.roots.get(ROOT_DIRECTORY, DIRECTORY_ITEM, _hash(b"default"))
            for entry in _entries(data or b""):
                if entry.name == b"default":
                    return entry.objectid
        return TOP

    def at(self, subvolume: int) -> Btrfs:
        """The same filesystem from another subvolume's root."""
        return Btrfs(self._blocks, store=self._store, subvolume=subvolume)

    def subvolumes(self) -> list[Subvolume]:
        """Every subvolume and snapshot that can be reached, outer ones first; the top one is "/"."""
        found = {TOP: Subvolume(TOP, "/", False, False)}
        todo = [TOP]
        with reading("btrfs subvolumes"):
            for parent in todo:
                for number, data in self._store.roots.items(parent, ROOT_REF):
                    if number in found:
                        continue
                    directory, _, length = struct.unpack_from("<2QH", data)
                    name = _text(data[18 : 18 + length])
                    folder = self._path_in(parent, directory)
                    path = "/".join((found[parent].path.rstrip("/"), *folder, name))
                    item = self._store.root_item(number) or b""
                    flags = int.from_bytes(item[208:216], "little")
                    snapshot = any(item[263:279])
                    found[number] = Subvolume(number, path, bool(flags & READ_ONLY), snapshot)
                    todo.append(number)
                    if len(found) > MOST_SUBVOLUMES:
                        raise damaged("btrfs", f"it has more than {MOST_SUBVOLUMES} subvolumes")
        return list(found.values())

    def space(self) -> Space:
        """What is free, and of how much."""
        return Space(*self._store.space())

    def lookup(self, directory: int, name: str) -> int | None:
        """The node of a name in a directory; None when there is no such name."""
        number, inode = _split(directory)
        if inode == EMPTY:
            return None
        wanted = name.encode("utf-8", "surrogateescape")
        with reading(f"btrfs directory (inode {inode})"):
            data = self._tree(number).get(inode, DIRECTORY_ITEM, _hash(wanted))
            for entry in _entries(data or b""):
                if entry.name == wanted:
                    return self._node(number, entry)
        return None

    def names(self, directory: int) -> list[str]:
        """The names in a directory, in the order in which they were made."""
        number, inode = _split(directory)
        found: list[str] = []
        if inode == EMPTY:
            return found
        with reading(f"btrfs directory (inode {inode})"):
            for _, data in self._tree(number).items(inode, DIRECTORY_INDEX):
                found += [_text(entry.name) for entry in _entries(data)]
                if len(found) > MOST_NAMES:
                    raise damaged("directory", f"it holds more than {MOST_NAMES} names")
        return found

    def stat(self, node: int) -> Stat:
        """Kind, owner, mode, size and time of a node."""
        number, inode = _split(node)
        if inode == EMPTY:
            return Stat("directory", 0o755, 0, 0, 0, 0.0)
        with reading(f"btrfs inode {inode}"):
            data = self._tree(number).get(inode, INODE_ITEM, 0)
            if data is None:
                raise damaged("btrfs inode", f"{inode} of subvolume {number} is not there")
            (size,) = struct.unpack_from("<Q", data, 16)
            uid, gid, mode = struct.unpack_from("<3I", data, 44)
            seconds, part = struct.unpack_from("<qI", data, 136)
        kind = "device" if stat.S_IFMT(mode) in DEVICES else KINDS.get(stat.S_IFMT(mode), "other")
        return Stat(kind, mode & 0o7777, uid, gid, size, seconds + part / 1e9)

    def readlink(self, node: int) -> str:
        """The target of a symbolic link."""
        size = self.stat(node).size
        if size > LONGEST_LINK:
            raise damaged("symbolic link", f"inode {_split(node)[1]} is {size} bytes long")
        return _text(self.read(node, 0, size))

    def read(self, node: int, offset: int, length: int) -> bytes:
        """At most `length` bytes of a file from `offset`; fewer at its end."""
        number, inode = _split(node)
        length = max(0, min(length, self.stat(node).size - offset))
        if not length:
            return b""
        with reading(f"btrfs file (inode {inode})"):
            return self._files.read(self._tree(number), (number, inode), offset, length)

    def attribute(self, node: int, name: str) -> bytes | None:
        """The value of an extended attribute ("security.selinux"); None where the file has none."""
        number, inode = _split(node)
        wanted = name.encode()
        if inode == EMPTY:
            return None
        with reading(f"btrfs inode {inode}"):
            data = self._tree(number).get(inode, ATTRIBUTE, _hash(wanted))
            for entry in _entries(data or b""):
                if entry.name == wanted:
                    return entry.data
        return None

    def _tree(self, number: int) -> Tree:
        tree = self._store.tree(number)
        if tree is None:
            raise damaged("btrfs", f"subvolume {number} is not there")
        return tree

    def _top(self, number: int) -> int:
        with reading("btrfs subvolume"):
            item = self._store.root_item(number) or b""
        directory = int.from_bytes(item[168:176], "little")
        if not directory:
            raise damaged("btrfs", f"subvolume {number} is not there")
        return number << 64 | directory

    def _node(self, number: int, entry: _Entry) -> int:
        if entry.type != ROOT_ITEM:
            return number << 64 | entry.objectid
        # A snapshot keeps the name of what is nested in its origin, and it leads to an empty directory.
        key = number, entry.objectid
        if key not in self._nested:
            self._nested[key] = self._store.roots.get(number, ROOT_REF, entry.objectid) is not None
        return self._top(entry.objectid) if self._nested[key] else number << 64 | EMPTY

    def _path_in(self, number: int, directory: int) -> list[str]:
        """The folders that lead from a subvolume's root to one of its directories."""
        tree, names = self._tree(number), []
        top = self._top(number) & (1 << 64) - 1
        while directory != top:
            parent, data = next(tree.items(directory, INODE_REF), (0, b""))
            (length,) = struct.unpack_from("<H", data, 8)
            names.append(_text(data[10 : 10 + length]))
            directory = parent
            if len(names) > DEEPEST:
                raise damaged("btrfs directory", f"it is more than {DEEPEST} folders deep")
        return names[::-1]


def _split(node: int) -> tuple[int, int]:
    return node >> 64, node & (1 << 64) - 1


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _hash(name: bytes) -> int:
    from dissect.util.hash.crc32c import update

    running: int = update(1, name)
    return (running ^ 0xFFFFFFFF) & 0xFFFFFFFF


def _entries(data: bytes) -> Iterator[_Entry]:
    """Directory entries; names with the same hash share one item."""
    at = 0
    while at + 30 <= len(data):
        objectid, kind = struct.unpack_from("<QB", data, at)
        extra, length = struct.unpack_from("<2H", data, at + 25)
        name = data[at + 30 : at + 30 + length]
        if len(name) != length or not length or b"/" in name or b"\0" in name:
            raise damaged("btrfs directory", "an entry has no proper name")
        end = at + 30 + length + extra
        yield _Entry(name, objectid, kind, data[end - extra : end])
        at = end
