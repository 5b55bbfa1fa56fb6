"""The trees of a btrfs: searched by dissect.btrfs, on nodes that were checked before."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dissect.btrfs.tree import BTree, Cursor

from imgtool.disk.blocks import Blocks
from imgtool.errors import ImgtoolError
from imgtool.guest.btrfs_chunks import (
    BLOCK_GROUP_TREE,
    CHUNK_ITEM,
    COPIES,
    DATA,
    HEADER,
    MOST_CHUNKS,
    Chunks,
    parse_chunk,
    read_superblock,
)
from imgtool.guest.filesystem import damaged

MOST_LEVELS = 8
KEPT_NODES = 512
"""Of 16 KiB, for all trees together."""
KEPT_TREES = 64
MOST_STEPS = 3_000_000
"""From node to node, for everything that is read of one filesystem."""
ITEM, POINTER = 25, 33
ROOT_ITEM, CHUNK_OBJECT, DEVICE_OBJECT, DEVICE_ITEM, BLOCK_GROUP = 132, 256, 1, 216, 192
EXTENT_TREE, BLOCK_GROUPS = 2, 11
RESERVED = 1 << 20
"""The first bytes of each device, which btrfs gives to nobody."""


@contextmanager
def reading(what: str) -> Iterator[None]:
    """What a damaged structure makes its parser raise, as GuestReadFailed."""
    try:
        yield
    except ImgtoolError:
        raise
    except (
        ValueError,
        LookupError,
        EOFError,
        OverflowError,
        struct.error,
        TypeError,
        AttributeError,
    ) as error:
        raise damaged(what, f"{type(error).__name__}: {error}"[:200]) from error


class Header:
    """Of a node: how many items it has, and how far it is above the leaves."""

    __slots__ = ("level", "nritems")

    def __init__(self, node: bytes) -> None:
        self.nritems, self.level = struct.unpack_from("<IB", node, 96)


class Tree(BTree):  # type: ignore[misc]
    """A tree by the address of its root."""

    def __init__(self, store: Store, address: int) -> None:
        super().__init__(store, root_offset=address)
        self._read_node = store.checked_node

    def cursor(self) -> Cursor:
        """A cursor that goes down one level at a time and not for ever."""
        return _Cursor(self)

    def get(self, objectid: int, kind: int, offset: int) -> bytes | None:
        """The item with this key."""
        cursor = self.cursor()
        if not cursor.search(objectid, kind, offset):
            return None
        key = cursor.item().key
        found = (key.objectid, key.type, key.offset) == (objectid, kind, offset)
        return bytes(cursor.data()) if found else None

    def items(self, objectid: int, kind: int, offset: int = 0) -> Iterator[tuple[int, bytes]]:
        """The items of an object and a type from an offset on, each with its offset."""
        for item, data in self.cursor().iter(objectid, kind, offset, ignore_offset=True):
            yield item.key.offset, bytes(data)


class _Cursor(Cursor):  # type: ignore[misc]
    def push(self, address: int, initial_index: int = 0) -> None:
        above = self._header
        super().push(address, initial_index)
        here = self._header
        if len(self._path) > MOST_LEVELS or (above is not None and here.level != above.level - 1):
            raise damaged("btrfs tree", f"node {address:#x} is at level {here.level}")
        if above is not None and not here.nritems:
            raise damaged("btrfs tree", f"node {address:#x} is empty")

    def search(self, objectid: int | None = None, type: int | None = None, offset: int | None = None) -> bool:  # noqa: A002
        if not self._header.nritems:
            return False
        found: bool = super().search(objectid, type, offset)
        return found


class Store:
    """The devices and trees of one btrfs; each tree is opened when first asked for."""

    def __init__(self, blocks: Blocks, beside: Sequence[Blocks] = ()) -> None:
        """beside: its other devices, as far as they are here. Raises GuestReadFailed, Missing."""
        superblocks = [(read_superblock(each), each) for each in (blocks, *beside)]
        newest = max((it for it, _ in superblocks), key=lambda it: it.generation)
        devices = {it.device: each for it, each in superblocks if it.fsid == newest.fsid}
        self.superblock = newest
        self.chunks = Chunks(newest, devices)
        self._nodes: OrderedDict[int, tuple[memoryview, Header]] = OrderedDict()
        self._trees: OrderedDict[int, Tree | None] = OrderedDict()
        self._steps = 0
        with reading("btrfs chunk tree"):
            self.chunks.add_system_chunks()
            self._chunk_tree = Tree(self, newest.chunk_root)
            chunks = []
            for start, data in self._chunk_tree.items(CHUNK_OBJECT, CHUNK_ITEM):
                chunks.append(parse_chunk(start, data))
                if len(chunks) > MOST_CHUNKS:
                    raise damaged("btrfs chunk tree", f"more than {MOST_CHUNKS} chunks")
            self.chunks.add(chunks)
            self.roots = Tree(self, newest.root)

    def checked_node(self, address: int) -> tuple[memoryview, Header]:
        """A node and its header, from memory where it was read before."""
        self._steps += 1
        if self._steps > MOST_STEPS:
            raise damaged("btrfs", f"its trees take more than {MOST_STEPS} steps")
        kept = self._nodes.get(address)
        if kept is not None:
            self._nodes.move_to_end(address)
            return kept
        node = self.chunks.node(address)
        header = Header(node)
        room = (len(node) - HEADER) // (POINTER if header.level else ITEM)
        if header.nritems > room or header.level >= MOST_LEVELS:
            raise damaged("btrfs node", f"{address:#x}: {header.nritems} items at level {header.level}")
        kept = memoryview(node), header
        self._nodes[address] = kept
        if len(self._nodes) > KEPT_NODES:
            self._nodes.popitem(last=False)
        return kept

    def root_item(self, number: int) -> bytes | None:
        """The newest root item of a tree; None where there is no such tree."""
        found = None
        for _, data in self.roots.items(number, ROOT_ITEM):
            found = data
        return found

    def tree(self, number: int) -> Tree | None:
        """A tree by its number: 2 extents, 5 the top subvolume, from 256 on the others."""
        if number not in self._trees:
            item = self.root_item(number)
            if item is not None and len(item) < 239:
                raise damaged("btrfs tree", f"the root item of {number} has {len(item)} bytes")
            address = int.from_bytes(item[176:184], "little") if item else 0
            self._trees[number] = Tree(self, address) if address else None
            if len(self._trees) > KEPT_TREES:
                self._trees.popitem(last=False)
        return self._trees[number]

    def space(self) -> tuple[int, int]:
        """(free, total) in bytes, as `df` counts: what is free in the data chunks, and what they may take.

        The superblock's own count would do for a lone profile; metadata that is kept twice it counts once.
        Linux fs/btrfs/super.c, btrfs_statfs.
        """
        with reading("btrfs space"):
            number = BLOCK_GROUPS if self.superblock.compat_ro & BLOCK_GROUP_TREE else EXTENT_TREE
            groups = self.tree(number)
            free, copies = 0, 1
            for chunk in self.chunks.chunks:
                if not chunk.type & DATA:
                    continue
                item = groups.get(chunk.start, BLOCK_GROUP, chunk.length) if groups else None
                if item is None:
                    raise damaged("btrfs space", f"chunk {chunk.start:#x} has no block group")
                free += max(chunk.length - int.from_bytes(item[:8], "little"), 0)
                copies = COPIES.get(chunk.profile, 1)
            total = unallocated = 0
            for _, data in self._chunk_tree.items(DEVICE_OBJECT, DEVICE_ITEM):
                size, used = struct.unpack_from("<2Q", data, 8)
                total += size
                left = (size - used - RESERVED) // (64 << 10) * (64 << 10)
                unallocated += max(left, 0)
        return free + unallocated // copies, total // copies
