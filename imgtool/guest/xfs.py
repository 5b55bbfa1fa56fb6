"""XFS, versions 4 and 5, read as it lies on the disk: a dirty log is not replayed.

Written after "XFS Algorithms & Data Structures" (xfs-documentation). A reader of our own for the same reason
as ext: damage must be an error, never a name that is missing. Numbers on the disk are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from imgtool.disk.blocks import Blocks
from imgtool.guest.crc32c import crc32c
from imgtool.guest.filesystem import (
    LARGEST_DIRECTORY,
    LONGEST_LINK,
    MOST_NAMES,
    Kind,
    Stat,
    damaged,
    read_volume,
    unsupported,
)
from imgtool.guest.xfs_superblock import read_superblock
from imgtool.records import dataclass, replace

# di_flags, di_flags2
REALTIME = 0x1
BIGTIME, NREXT64 = 0x8, 0x10

LOCAL, EXTENTS, BTREE = 1, 2, 3
BIGTIME_EPOCH = 1 << 31
LEAF_OFFSET = 1 << 35
"""Where, in a directory's own bytes, its names end and its indexes begin."""
DEEPEST = 9
FREE_TAG = 0xFFFF
BLOCK_MAGICS = {b"XD2B": 16, b"XDB3": 64}
DATA_MAGICS = {b"XD2D": 16, b"XDD3": 64, **BLOCK_MAGICS}
"""Directory data blocks: the length of their header. XD2B and XDB3 have an index at their end."""
MAP_MAGICS = {b"BMAP": 24, b"BMA3": 72}
LINK_HEADER = 56
KINDS: dict[int, Kind] = {0o4: "directory", 0o10: "file", 0o12: "symlink", 0o2: "device", 0o6: "device"}
KEPT_BYTES = 2 << 20
KEPT_NAMES = 400_000


@dataclass(frozen=True)
class Inode:
    """The fields of struct xfs_dinode that reading needs; fork: the data fork's bytes.

    attributes: those of the attribute fork, empty where there is none; with its format and count of extents.
    """

    number: int
    mode: int
    format: int
    uid: int
    gid: int
    size: int
    mtime: float
    extents: int
    realtime: bool
    fork: bytes
    attributes: bytes = b""
    attribute_format: int = 0
    attribute_extents: int = 0

    @property
    def kind(self) -> Kind:
        return KINDS.get(self.mode >> 12, "other")


@dataclass(frozen=True)
class _Branch:
    """An inner node of the tree of extents. most: how many keys have room before its pointers begin."""

    owner: int
    raw: bytes
    header: int
    most: int
    entries: int
    level: int


class Xfs:
    """An XFS filesystem. Raises GuestReadFailed from everything that reads."""

    type = "xfs"
    case_sensitive = True
    bears_threads = True  # what is kept is kept in dictionaries, looked up and set in one step each

    def __init__(self, blocks: Blocks) -> None:
        """Reads the superblock only."""
        self._blocks = blocks
        self.superblock = read_superblock(blocks)
        self._kept: dict[int, bytes] = {}
        self._inodes: dict[int, Inode] = {}
        self._directories: dict[int, dict[str, int]] = {}
        self._names = 0

    @property
    def uuid(self) -> str:
        """In lower case with dashes, as blkid says."""
        raw = self.superblock.uuid.hex()
        return "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:])) if int(raw, 16) else ""

    @property
    def label(self) -> str:
        """The filesystem's name."""
        return self.superblock.label

    @property
    def root(self) -> int:
        """The inode number of the top directory."""
        return self.superblock.root

    def lookup(self, directory: int, name: str) -> int | None:
        """The inode number of a name in a directory."""
        return self._directory(directory).get(name)

    def names(self, directory: int) -> list[str]:
        """The names in a directory."""
        return list(self._directory(directory))

    def stat(self, node: int) -> Stat:
        """What the inode says."""
        found = self._inode(node)
        return Stat(found.kind, found.mode & 0o7777, found.uid, found.gid, found.size, found.mtime)

    def readlink(self, node: int) -> str:
        """The target: in the inode itself where it fits, else in blocks, which version 5 gives headers."""
        found = self._inode(node)
        if found.kind != "symlink" or not 0 < found.size <= LONGEST_LINK:
            raise damaged("symbolic link", f"inode {node} is none, or {found.size} bytes long")
        if found.format == LOCAL:
            target = found.fork[: found.size]
        elif self.superblock.version == 4:
            target = self._content(found, 0, found.size)
        else:
            target = self._remote_link(found)
        if len(target) != found.size:
            raise damaged("symbolic link", f"the target of inode {node} is cut short")
        return target.decode("utf-8", "surrogateescape")

    def read(self, node: int, offset: int, length: int) -> bytes:
        """Bytes of a file; holes and unwritten extents read as zeros."""
        found = self._inode(node)
        if found.realtime:
            raise unsupported("XFS", f"files on a realtime device (inode {node})")
        return self._content(found, offset, max(0, min(length, found.size - offset)))

    def attribute(self, node: int, name: str) -> bytes | None:
        """The value of an extended attribute ("security.selinux"); None where the file has none."""
        from imgtool.guest.xfs_attributes import in_inode, in_leaf

        found = self._inode(node)
        if not found.attributes:
            return None
        if found.attribute_format == LOCAL:
            return in_inode(found.attributes, node, name)
        fork = replace(
            found,
            fork=found.attributes,
            format=found.attribute_format,
            extents=found.attribute_extents,
        )
        size = self.superblock.block_size
        for _, _, byte in self._mapped(fork, 0, 0):
            return in_leaf(self._metadata(byte, size, "extended attributes"), node, name)
        return None

    def _content(self, inode: Inode, offset: int, length: int) -> bytes:
        size = self.superblock.block_size
        first, last = offset // size, (offset + length - 1) // size
        parts: list[bytes] = []
        at = offset
        for logical, count, byte in self._mapped(inode, first, last) if length else ():
            start, end = max(logical * size, at), min((logical + count) * size, offset + length)
            if end <= start:
                continue
            parts.append(bytes(start - at))
            what = f"inode {inode.number}"
            parts.append(read_volume(self._blocks, byte + start - logical * size, end - start, what))
            at = end
        parts.append(bytes(offset + length - at))
        return b"".join(parts)

    def _remote_link(self, inode: Inode) -> bytes:
        size = self.superblock.block_size
        target = b""
        for _, count, byte in self._mapped(inode, 0, LONGEST_LINK // size):
            for block in range(count):
                raw = read_volume(self._blocks, byte + block * size, size, f"inode {inode.number}")
                offset, length = struct.unpack_from(">II", raw, 4)
                if raw[:4] != b"XSLM" or offset != len(target) or length > size - LINK_HEADER:
                    raise damaged("symbolic link", f"a block of inode {inode.number} has a wrong header")
                target += raw[LINK_HEADER : LINK_HEADER + length]
                if len(target) >= inode.size:
                    return target[: inode.size]
        return target

    def _block_at(self, number: int, what: str) -> int:
        """Where a filesystem block lies, in bytes: its number holds the group and the block in it."""
        this = self.superblock
        group, block = number >> this.group_bits, number & ((1 << this.group_bits) - 1)
        if group >= this.groups or block >= this.group_blocks:
            raise damaged(what, f"it points to block {block} of allocation group {group}")
        return (group * this.group_blocks + block) * this.block_size

    def _metadata(self, byte: int, length: int, what: str) -> bytes:
        """Metadata; the last few blocks are kept."""
        kept = self._kept.get(byte)
        if kept is None or len(kept) != length:
            kept = read_volume(self._blocks, byte, length, what)
            if len(self._kept) * self.superblock.block_size > KEPT_BYTES:
                self._kept.clear()
            self._kept[byte] = kept
        return kept

    def _inode(self, number: int) -> Inode:
        kept = self._inodes.get(number)
        if kept is not None:
            return kept
        this = self.superblock
        bits = this.inodes_per_block_bits
        at = self._block_at(number >> bits, f"inode number {number}")
        block = self._metadata(at, this.block_size, "inode table")
        start = (number & ((1 << bits) - 1)) * this.inode_size
        found = self._parse_inode(number, block[start : start + this.inode_size])
        if len(self._inodes) >= 20_000:
            self._inodes.clear()
        self._inodes[number] = found
        return found

    def _parse_inode(self, number: int, raw: bytes) -> Inode:
        magic, mode, version, format_, _, uid, gid = struct.unpack_from(">2sHBBHII", raw)
        (size,) = struct.unpack_from(">Q", raw, 56)
        fork_offset = raw[82]
        (flags,) = struct.unpack_from(">H", raw, 90)
        expected = (3,) if self.superblock.version == 5 else (1, 2)
        if magic != b"IN" or version not in expected:
            raise damaged("inode", f"{number} is none")
        flags2 = 0
        if version == 3:
            (flags2,) = struct.unpack_from(">Q", raw, 120)
            if int.from_bytes(raw[152:160], "big") != number or not _sealed(raw):
                raise damaged("inode", f"the checksum or number of inode {number} is wrong")
        if mode == 0:
            raise damaged("directory", f"it names inode {number}, which is not in use")
        if flags2 & BIGTIME:
            mtime = int.from_bytes(raw[40:48], "big") / 1e9 - BIGTIME_EPOCH
        else:
            seconds, nanoseconds = struct.unpack_from(">iI", raw, 40)
            mtime = seconds + nanoseconds / 1e9
        start = 176 if version == 3 else 100
        end = start + fork_offset * 8 if fork_offset else len(raw)
        if end > len(raw) or size >> 63:
            raise damaged("inode", f"the sizes of inode {number} contradict each other")
        extents = raw[24:32] if flags2 & NREXT64 else raw[76:80]
        return Inode(
            number=number,
            mode=mode,
            format=format_,
            uid=uid,
            gid=gid,
            size=size,
            mtime=mtime,
            extents=int.from_bytes(extents, "big"),
            realtime=bool(flags & REALTIME),
            fork=raw[start:end],
            attributes=raw[end:] if fork_offset else b"",
            attribute_format=raw[83],
            attribute_extents=int.from_bytes(raw[76:80] if flags2 & NREXT64 else raw[80:82], "big"),
        )

    def _mapped(self, inode: Inode, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """The runs (logical block, count, byte on the volume) of blocks first to last, holes left out."""
        what = f"extents of inode {inode.number}"
        if inode.format == EXTENTS:
            if inode.extents * 16 > len(inode.fork):
                raise damaged(what, "there are more than the inode can hold")
            yield from self._records(inode.fork[: inode.extents * 16], (first, last), (0, 1 << 54), what)
        elif inode.format == BTREE:
            level, entries = struct.unpack_from(">HH", inode.fork)
            most = (len(inode.fork) - 4) // 16
            if not 0 < level <= DEEPEST or entries > most:
                raise damaged(what, "the root of the tree has a wrong header")
            root = _Branch(inode.number, inode.fork, 4, most, entries, level)
            yield from self._branch(root, (first, last), (0, 1 << 54))
        else:
            raise damaged(what, f"they are in format {inode.format}")

    def _branch(
        self, node: _Branch, wanted: tuple[int, int], bounds: tuple[int, int]
    ) -> Iterator[tuple[int, int, int]]:
        """The runs under an inner node. bounds: the logical blocks that it may speak of, kept strictly,
        because a tree whose branches overlap could be walked for ever."""
        what = f"extents of inode {node.owner}"
        starts = struct.unpack_from(f">{node.entries}Q", node.raw, node.header)
        pointers = struct.unpack_from(f">{node.entries}Q", node.raw, node.header + node.most * 8)
        ends = (*starts[1:], bounds[1])
        before = bounds[0]
        for start, end, pointer in zip(starts, ends, pointers, strict=True):
            if not before <= start < end <= bounds[1]:
                raise damaged(what, "the keys of the tree are out of order")
            before = end
            if start > wanted[1] or end <= wanted[0]:
                continue
            size = self.superblock.block_size
            raw = self._metadata(self._block_at(pointer, what), size, what)
            level, count = struct.unpack_from(">HH", raw, 4)
            header = MAP_MAGICS.get(raw[:4], 0)
            room = (size - header) // 16
            right = raw[:4] == (b"BMA3" if self.superblock.version == 5 else b"BMAP")
            if not right or level != node.level - 1 or count > room:
                raise damaged(what, "a node of the tree has a wrong header")
            if header == 72 and int.from_bytes(raw[56:64], "big") != node.owner:
                raise damaged(what, "a node of the tree belongs to another inode")
            if level == 0:
                yield from self._records(raw[header : header + count * 16], wanted, (start, end), what)
            else:
                below = _Branch(node.owner, raw, header, room, count, level)
                yield from self._branch(below, wanted, (start, end))

    def _records(
        self, raw: bytes, wanted: tuple[int, int], bounds: tuple[int, int], what: str
    ) -> Iterator[tuple[int, int, int]]:
        this = self.superblock
        before = bounds[0]
        for high, low in struct.iter_unpack(">QQ", raw):
            logical = (high >> 9) & ((1 << 54) - 1)
            number = (high & 0x1FF) << 43 | low >> 21
            count = low & ((1 << 21) - 1)
            end = logical + count
            if logical < before or count == 0 or end > bounds[1]:
                raise damaged(what, "an extent is out of order")
            before = end
            byte = self._block_at(number, what)
            if (number & ((1 << this.group_bits) - 1)) + count > this.group_blocks:
                raise damaged(what, "an extent runs past its allocation group")
            unwritten = high >> 63
            if not unwritten and logical <= wanted[1] and end > wanted[0]:
                yield logical, count, byte

    def _directory(self, number: int) -> dict[str, int]:
        kept = self._directories.get(number)
        if kept is not None:
            return kept
        inode = self._inode(number)
        if inode.kind != "directory":
            raise damaged("directory", f"inode {number} is none")
        found: dict[str, int] = {}
        if inode.format == LOCAL:
            self._short_form(inode, found)
        else:
            self._data_blocks(inode, found)
        if self._names + len(found) > KEPT_NAMES:
            self._directories.clear()
            self._names = 0
        self._directories[number] = found
        self._names += len(found)
        return found

    def _short_form(self, inode: Inode, found: dict[str, int]) -> None:
        """A directory small enough to be kept in its inode."""
        raw = inode.fork[: inode.size]
        wide = 8 if len(raw) > 1 and raw[1] else 4
        what = f"inode {inode.number}"
        if len(raw) < 2 + wide or inode.size > len(inode.fork):
            raise damaged("directory", f"{what} is cut short")
        at = 2 + wide
        typed = 1 if self.superblock.typed else 0
        for _ in range(raw[0]):
            length = raw[at] if at < len(raw) else 0
            end = at + 3 + length + typed + wide
            if length == 0 or end > len(raw):
                raise damaged("directory", f"an entry of {what} is cut short")
            name = raw[at + 3 : at + 3 + length]
            found[name.decode("utf-8", "surrogateescape")] = int.from_bytes(raw[end - wide : end], "big")
            at = end

    def _data_blocks(self, inode: Inode, found: dict[str, int]) -> None:
        """A directory in blocks of its own: the names only, not the indexes behind them."""
        size, block = self.superblock.directory_block, self.superblock.block_size
        pieces: dict[int, int] = {}
        for logical, count, byte in self._mapped(inode, 0, LEAF_OFFSET // block - 1):
            if (len(pieces) + count) * block > LARGEST_DIRECTORY:
                raise damaged("directory", f"inode {inode.number} has more than {LARGEST_DIRECTORY} bytes")
            pieces.update((logical + index, byte + index * block) for index in range(count))
        each = size // block
        if not pieces:
            raise damaged("directory", f"inode {inode.number} has no blocks")
        for start in sorted({piece // each * each for piece in pieces}):
            what = f"directory inode {inode.number}"
            if any(start + index not in pieces for index in range(each)):
                raise damaged("directory", f"a block of inode {inode.number} is missing")
            raw = b"".join(self._metadata(pieces[start + index], block, what) for index in range(each))
            self._entries(inode.number, raw, found)

    def _entries(self, number: int, raw: bytes, found: dict[str, int]) -> None:
        """The names of one directory block, into `found`."""
        header = DATA_MAGICS.get(raw[:4])
        if header != (64 if self.superblock.version == 5 else 16):
            raise damaged("directory", f"a block of inode {number} has no header")
        if header == 64 and int.from_bytes(raw[40:48], "big") != number:
            raise damaged("directory", f"a block of inode {number} belongs to another")
        end = len(raw)
        if raw[:4] in BLOCK_MAGICS:
            end -= 8 + 8 * int.from_bytes(raw[-8:-4], "big")
        at = header
        typed = 1 if self.superblock.typed else 0
        wrong = damaged("directory", f"an entry of inode {number} has a wrong length or tag")
        while at < end:
            if at + 8 > end:
                raise wrong
            if raw[at] == 0xFF and raw[at + 1] == 0xFF:
                length = int.from_bytes(raw[at + 2 : at + 4], "big")
            else:
                size = raw[at + 8] if at + 9 <= end else 0
                length = (9 + size + typed + 2 + 7) & ~7
                if size == 0:
                    raise wrong
            if length < 8 or length % 8 or at + length > end:
                raise wrong
            if int.from_bytes(raw[at + length - 2 : at + length], "big") != at:
                raise wrong
            if not (raw[at] == 0xFF and raw[at + 1] == 0xFF):
                name = raw[at + 9 : at + 9 + size]
                if name not in (b".", b".."):
                    found[name.decode("utf-8", "surrogateescape")] = int.from_bytes(raw[at : at + 8], "big")
                    if len(found) > MOST_NAMES:
                        raise damaged("directory", f"inode {number} holds more than {MOST_NAMES} names")
            at += length
        if at != end:
            raise wrong


def _sealed(raw: bytes) -> bool:
    """Whether the checksum of a version 3 inode is right."""
    plain = raw[:100] + bytes(4) + raw[104:]
    return crc32c(plain) ^ 0xFFFFFFFF == int.from_bytes(raw[100:104], "little")
