"""ext2, ext3 and ext4, read as they lie on the disk: a journal that waits to be replayed is not replayed.

Written after the kernel's Documentation/filesystems/ext4. A reader of our own, because a directory or extent
block that is damaged must be an error here, never a name that is missing (libfsext passes over a zeroed
directory block), and because opening must not read every block group (libfsext: 72,000 reads on 500 GiB).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from imgtool.disk.blocks import Blocks
from imgtool.guest.crc32c import crc32c
from imgtool.guest.ext_superblock import (
    FILETYPE,
    META_BG,
    RECOVER,
    ROOT_INODE,
    SPARSE_SUPER,
    SPARSE_SUPER2,
    read_superblock,
)
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
from imgtool.records import dataclass

# i_flags
ENCRYPTED, COMPRESSED, HAS_EXTENTS, INLINE = 0x800, 0x4, 0x80000, 0x10000000

EXTENT_MAGIC = 0xF30A
DEEPEST = 5
UNWRITTEN = 32768
ENTRY = struct.Struct("<IHBB")
KINDS: dict[int, Kind] = {0o4: "directory", 0o10: "file", 0o12: "symlink", 0o2: "device", 0o6: "device"}
KEPT_BLOCKS = 256
KEPT_NAMES = 400_000


@dataclass(frozen=True)
class Inode:
    """The fields of struct ext4_inode that reading needs."""

    number: int
    mode: int
    uid: int
    gid: int
    size: int
    mtime: float
    flags: int
    map: bytes
    raw: bytes

    @property
    def kind(self) -> Kind:
        return KINDS.get(self.mode >> 12, "other")


class Ext:
    """An ext2, ext3 or ext4 filesystem. Raises GuestReadFailed from everything that reads."""

    case_sensitive = True
    bears_threads = True  # what is kept is kept in dictionaries, looked up and set in one step each
    root = ROOT_INODE

    def __init__(self, blocks: Blocks) -> None:
        """Reads the superblock only."""
        self._blocks = blocks
        self.superblock = read_superblock(blocks)
        self._kept_blocks: dict[int, bytes] = {}
        self._tables: dict[int, int] = {}
        self._inodes: dict[int, Inode] = {}
        self._directories: dict[int, dict[str, int]] = {}
        self._names = 0

    @property
    def type(self) -> str:
        """ext4 when it uses what only ext4 has, ext3 when it has a journal, else ext2."""
        if self.superblock.incompatible & ~(FILETYPE | RECOVER | META_BG) or self.superblock.read_only & ~0x7:
            return "ext4"
        return "ext3" if self.superblock.compatible & 0x4 else "ext2"

    @property
    def uuid(self) -> str:
        """In lower case with dashes, as blkid says."""
        raw = self.superblock.uuid.hex()
        return "-".join((raw[:8], raw[8:12], raw[12:16], raw[16:20], raw[20:])) if int(raw, 16) else ""

    @property
    def label(self) -> str:
        """The volume name."""
        return self.superblock.label

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
        """The target: kept in the inode itself when shorter than 60 bytes."""
        found = self._inode(node)
        if found.flags & ENCRYPTED:
            raise unsupported("ext4", f"encrypted symbolic links (inode {node})")
        if found.kind != "symlink" or not 0 < found.size <= LONGEST_LINK:
            raise damaged("symbolic link", f"inode {node} is none, or {found.size} bytes long")
        if found.size < 60 and not found.flags & (HAS_EXTENTS | INLINE):
            target = found.map[: found.size]
        else:
            target = self.read(node, 0, found.size)
        return target.decode("utf-8", "surrogateescape")

    def read(self, node: int, offset: int, length: int) -> bytes:
        """Bytes of a file; holes and unwritten extents read as zeros."""
        found = self._inode(node)
        if found.flags & (ENCRYPTED | COMPRESSED):
            how = "encrypted" if found.flags & ENCRYPTED else "compressed"
            raise unsupported("ext4", f"{how} files (inode {node})")
        length = max(0, min(length, found.size - offset))
        if found.flags & INLINE:
            return self._inline(found)[offset : offset + length].ljust(length, b"\0")
        size = self.superblock.block_size
        first, last = offset // size, (offset + length - 1) // size
        parts: list[bytes] = []
        at = offset
        for logical, count, physical in self._mapped(found, first, last) if length else ():
            start, end = max(logical * size, at), min((logical + count) * size, offset + length)
            if end <= start:
                continue
            parts.append(bytes(start - at))
            parts.append(
                read_volume(
                    self._blocks, physical * size + start - logical * size, end - start, f"inode {node}"
                )
            )
            at = end
        parts.append(bytes(offset + length - at))
        return b"".join(parts)

    def attribute(self, node: int, name: str) -> bytes | None:
        """The value of an extended attribute ("security.selinux"); None where the file has none."""
        from imgtool.guest.ext_attributes import in_block, in_inode

        raw = self._inode(node).raw
        found = in_inode(raw, node, name)
        block = int.from_bytes(raw[0x68:0x6C] + raw[0x76:0x78], "little")
        if found is None and block:
            found = in_block(self._block(block, "extended attributes"), node, name)
        return found

    def _block(self, number: int, what: str) -> bytes:
        """A block of metadata; the last few are kept."""
        kept = self._kept_blocks.get(number)
        if kept is None:
            size = self.superblock.block_size
            if not 0 < number < self.superblock.blocks:
                raise damaged(what, f"it points to block {number} of {self.superblock.blocks}")
            kept = read_volume(self._blocks, number * size, size, what)
            if len(self._kept_blocks) * size > KEPT_BLOCKS * 4096:
                self._kept_blocks.clear()
            self._kept_blocks[number] = kept
        return kept

    def _inode_table(self, group: int) -> int:
        """The block in which a group's inode table begins."""
        if group not in self._tables:
            this = self.superblock
            per_block = this.block_size // this.descriptor_size
            raw = self._block(self._descriptor_block(group // per_block), "group descriptors")
            at = group % per_block * this.descriptor_size
            low, high = raw[at + 8 : at + 12], raw[at + 40 : at + 44] if this.descriptor_size >= 64 else b""
            self._tables[group] = int.from_bytes(low + high, "little")
        return self._tables[group]

    def _descriptor_block(self, index: int) -> int:
        """The block that holds the index-th block of group descriptors."""
        this = self.superblock
        home = 1 if this.block_size == 1024 else 0
        if not this.incompatible & META_BG or index < this.first_meta_group:
            return home + 1 + index
        group = index * (this.block_size // this.descriptor_size)
        first = group * this.blocks_per_group + this.first_data_block
        if index == 0 and this.block_size == 1024 and this.first_data_block == 0:
            first += 1
        return first + (1 if self._has_superblock(group) else 0)

    def _has_superblock(self, group: int) -> bool:
        this = self.superblock
        if group == 0:
            return True
        if this.compatible & SPARSE_SUPER2:
            return group in this.backup_groups
        if group == 1 or not this.read_only & SPARSE_SUPER:
            return True
        for base in (3, 5, 7):
            power = base
            while power < group:
                power *= base
            if power == group:
                return True
        return False

    def _inode(self, number: int) -> Inode:
        kept = self._inodes.get(number)
        if kept is not None:
            return kept
        this = self.superblock
        if not 0 < number <= this.inodes:
            raise damaged("inode number", f"{number} of {this.inodes}")
        group, index = divmod(number - 1, this.inodes_per_group)
        at, within = divmod(index * this.inode_size, this.block_size)
        block = self._block(self._inode_table(group) + at, "inode table")
        found = self._parse_inode(number, block[within : within + this.inode_size])
        if len(self._inodes) >= 20_000:
            self._inodes.clear()
        self._inodes[number] = found
        return found

    def _parse_inode(self, number: int, raw: bytes) -> Inode:
        mode, uid, size, _, _, mtime, deleted, gid, links = struct.unpack_from("<HHIIIIIHH", raw)
        flags, size_high, uid_high, gid_high = struct.unpack_from("<I72xI8xHH", raw, 0x20)
        if self.superblock.checksummed and not self._sealed(number, raw):
            raise damaged("inode", f"the checksum of inode {number} is wrong")
        if mode == 0 or (links == 0 and deleted):
            raise damaged("directory", f"it names inode {number}, which is not in use")
        seconds = float(mtime - (1 << 32) if mtime >> 31 else mtime)
        if len(raw) >= 0x8C and int.from_bytes(raw[0x80:0x82], "little") >= 12:
            extra = int.from_bytes(raw[0x88:0x8C], "little")
            seconds += ((extra & 3) << 32) + (extra >> 2) / 1e9
        kind = mode >> 12
        return Inode(
            number=number,
            mode=mode,
            uid=uid | uid_high << 16,
            gid=gid | gid_high << 16,
            size=size | (size_high << 32 if kind in (0o4, 0o10) else 0),
            mtime=seconds,
            flags=flags,
            map=raw[0x28:0x64],
            raw=raw,
        )

    def _sealed(self, number: int, raw: bytes) -> bool:
        """Whether an inode's checksum is right."""
        wide = len(raw) > 128 and int.from_bytes(raw[0x80:0x82], "little") >= 4
        stated = int.from_bytes(raw[0x7C:0x7E] + (raw[0x82:0x84] if wide else b""), "little")
        plain = bytearray(raw)
        plain[0x7C:0x7E] = b"\0\0"
        if wide:
            plain[0x82:0x84] = b"\0\0"
        summed = crc32c(number.to_bytes(4, "little") + raw[0x64:0x68], self.superblock.seed)
        summed = crc32c(bytes(plain), summed)
        return stated == (summed if wide else summed & 0xFFFF)

    def _inline(self, inode: Inode) -> bytes:
        """The data kept in the inode: its block map, then the extended attribute system.data."""
        return inode.map + _attribute_data(inode)

    def _mapped(self, inode: Inode, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """The runs (logical block, count, physical block) of blocks first to last, without the holes."""
        if inode.flags & HAS_EXTENTS:
            yield from self._extents(inode, inode.map, (first, last), (0, 1 << 32), None)
        else:
            yield from self._block_map(inode, first, last)

    def _extents(
        self, inode: Inode, node: bytes, wanted: tuple[int, int], bounds: tuple[int, int], above: int | None
    ) -> Iterator[tuple[int, int, int]]:
        """The runs under a node. bounds: the logical blocks, first and past the last, that it may speak of;
        kept strictly, because a tree whose branches overlap could be walked for ever."""
        magic, entries, _, depth = struct.unpack_from("<HHHH", node)
        what = f"extent tree of inode {inode.number}"
        if magic != EXTENT_MAGIC or 12 + entries * 12 > len(node) or depth > DEEPEST:
            raise damaged(what, "a node has a wrong header")
        if above is not None and depth != above - 1:
            raise damaged(what, "its levels are out of order")
        first, last = wanted
        before = bounds[0]
        if depth == 0:
            for at in range(12, 12 + entries * 12, 12):
                logical, count, high, low = struct.unpack_from("<IHHI", node, at)
                written = count <= UNWRITTEN
                count = count if written else count - UNWRITTEN
                physical = low | high << 32
                end = logical + count
                if logical < before or count == 0 or end > bounds[1]:
                    raise damaged(what, "an extent is out of order")
                if not 0 < physical <= self.superblock.blocks - count:
                    raise damaged(what, "an extent is outside the filesystem")
                before = end
                if written and logical <= last and end > first:
                    yield logical, count, physical
            return
        starts = [int.from_bytes(node[at : at + 4], "little") for at in range(12, 12 + entries * 12, 12)]
        ends = [*starts[1:], bounds[1]]
        for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
            if not before <= start < end <= bounds[1]:
                raise damaged(what, "its index is out of order")
            before = end
            if start <= last and end > first:
                low, high = struct.unpack_from("<IH", node, 16 + index * 12)
                child = self._block(low | high << 32, what)
                yield from self._extents(inode, child, wanted, (start, end), depth)

    def _block_map(self, inode: Inode, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """ext2 and ext3: 12 direct blocks, then one, two and three levels of indirect blocks."""
        run: tuple[int, int, int] | None = None
        logical = first
        while logical <= last:
            physical, hole = self._mapped_block(inode, logical)
            if physical == 0:
                logical += hole
                continue
            if physical >= self.superblock.blocks:
                raise damaged(f"block map of inode {inode.number}", f"it points to block {physical}")
            if run and run[0] + run[1] == logical and run[2] + run[1] == physical:
                run = (run[0], run[1] + 1, run[2])
            else:
                if run:
                    yield run
                run = (logical, 1, physical)
            logical += 1
        if run:
            yield run

    def _mapped_block(self, inode: Inode, logical: int) -> tuple[int, int]:
        """The physical block, or 0 for a hole; and how many blocks from this one the hole lasts at least."""
        pointers = struct.unpack("<15I", inode.map)
        if logical < 12:
            return pointers[logical], 1
        per_block = self.superblock.block_size // 4
        index, levels = logical - 12, 1
        while index >= per_block**levels:
            index -= per_block**levels
            levels += 1
            if levels > 3:
                raise damaged(f"inode {inode.number}", "it is larger than its block map")
        pointer = pointers[11 + levels]
        for level in range(levels - 1, -1, -1):
            span = per_block ** (level + 1)
            if pointer == 0:
                return 0, span - index % span
            block = self._block(pointer, f"block map of inode {inode.number}")
            slot = index // per_block**level % per_block
            pointer = int.from_bytes(block[slot * 4 : slot * 4 + 4], "little")
        return pointer, 1

    def _directory(self, number: int) -> dict[str, int]:
        kept = self._directories.get(number)
        if kept is not None:
            return kept
        inode = self._inode(number)
        if inode.kind != "directory":
            raise damaged("directory", f"inode {number} is none")
        if inode.flags & ENCRYPTED:
            raise unsupported("ext4", f"encrypted directories (inode {number})")
        if inode.size > LARGEST_DIRECTORY or inode.size == 0:
            raise damaged("directory", f"inode {number} is {inode.size} bytes long")
        found: dict[str, int] = {}
        if inode.flags & INLINE:
            self._entries(number, inode.map[4:], found)
            self._entries(number, _attribute_data(inode), found)
        else:
            size = self.superblock.block_size
            runs = list(self._mapped(inode, 0, max(0, inode.size // size - 1)))
            if inode.size % size or sum(count for _, count, _ in runs) < inode.size // size:
                raise damaged("directory", f"blocks of inode {number} are missing")
            data = self.read(number, 0, inode.size)
            for at in range(0, len(data), size):
                self._entries(number, data[at : at + size], found)
        if self._names + len(found) > KEPT_NAMES:
            self._directories.clear()
            self._names = 0
        self._directories[number] = found
        self._names += len(found)
        return found

    def _entries(self, number: int, block: bytes, found: dict[str, int]) -> None:
        """The names of one directory block, into `found`."""
        typed = self.superblock.incompatible & FILETYPE
        at, end = 0, len(block)
        while at < end:
            if at + 8 > end:
                raise damaged("directory", f"an entry of inode {number} is cut short")
            inode, length, name_length, high = ENTRY.unpack_from(block, at)
            if length in (0, 65535) and end == 65536:
                length = 65536
            if not typed:
                name_length |= high << 8
            if length < 8 or length % 4 or at + length > end or name_length + 8 > length:
                raise damaged("directory", f"an entry of inode {number} has a wrong length")
            if inode:
                name = block[at + 8 : at + 8 + name_length]
                if inode > self.superblock.inodes or not name:
                    raise damaged("directory", f"an entry of inode {number} points nowhere")
                if name not in (b".", b".."):
                    found[name.decode("utf-8", "surrogateescape")] = inode
                    if len(found) > MOST_NAMES:
                        raise damaged("directory", f"inode {number} holds more than {MOST_NAMES} names")
            at += length


def _attribute_data(inode: Inode) -> bytes:
    """The value of the extended attribute system.data in the inode's own space; empty when there is none."""
    raw = inode.raw
    start = 128 + int.from_bytes(raw[0x80:0x82], "little") + 4 if len(raw) > 128 else len(raw)
    if raw[start - 4 : start] != b"\x00\x00\x02\xea":
        return b""
    at = start
    while at + 16 <= len(raw) and raw[at : at + 4] != bytes(4):
        name_length, index, offset, _, size = struct.unpack_from("<BBHII", raw, at)
        if index == 7 and raw[at + 16 : at + 16 + name_length] == b"data":
            if start + offset + size > len(raw):
                raise damaged("inline data", f"inode {inode.number}")
            return raw[start + offset : start + offset + size]
        at += 16 + (name_length + 3 & ~3)
    return b""
