"""Damaged and hostile btrfs: an answer that says so, in bounded time, and no other exception."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import pytest

pytest.importorskip("dissect.btrfs")

from imgtool.disk.blocks import Blocks, RawBlocks
from imgtool.errors import CannotRead
from imgtool.guest.btrfs import Btrfs
from imgtool.guest.btrfs_chunks import HEADER
from imgtool.guest.btrfs_extents import LZO, ZLIB, ZSTD, unpack
from imgtool.guest.btrfs_trees import POINTER, Store
from imgtool.guest.filesystem import Filesystem, GuestReadFailed
from tests.guest.made_btrfs import made

SECTOR = 4096
ROUNDS = 120
MOST_READ = 150


class Patched:
    """Blocks with some bytes changed."""

    def __init__(self, blocks: Blocks, changes: dict[int, bytes]) -> None:
        self._blocks = blocks
        self._changes = changes

    @property
    def size(self) -> int:
        return self._blocks.size

    def read(self, offset: int, length: int) -> bytes:
        data = bytearray(self._blocks.read(offset, length))
        for at, change in self._changes.items():
            for place, byte in enumerate(change, at - offset):
                if 0 <= place < length:
                    data[place] = byte
        return bytes(data)


def nodes(store: Store) -> list[int]:
    """The addresses of the nodes that lead to files, from their roots down."""
    found: list[int] = []
    todo = [store.superblock.chunk_root, store.superblock.root, *_roots(store)]
    while todo:
        address = todo.pop()
        found.append(address)
        node, header = store.checked_node(address)
        if header.level:
            todo += [
                struct.unpack_from("<Q", node, HEADER + POINTER * it + 17)[0] for it in range(header.nritems)
            ]
    return found


def _roots(store: Store) -> list[int]:
    tree = store.tree(5)
    assert tree is not None
    return [tree.root_offset]


def some(filesystem: Filesystem) -> None:
    """Read what is met first."""
    todo, left = [filesystem.root], MOST_READ
    while todo and left:
        node = todo.pop(0)
        for name in filesystem.names(node)[:40]:
            below = filesystem.lookup(node, name)
            left -= 1
            if below is None or not left:
                continue
            told = filesystem.stat(below)
            if told.kind == "directory":
                todo.append(below)
            elif told.kind == "symlink":
                filesystem.readlink(below)
            else:
                filesystem.read(below, 0, 1 << 18)


@pytest.mark.slow
@pytest.mark.xdist_group("appliance")
def test_bytes_that_were_changed_under_a_right_checksum_are_an_answer_and_no_crash() -> None:
    """On a btrfs with xxhash, whose checksums are not looked at: what is changed is believed."""
    blocks = RawBlocks(made() / "xxhash.img")
    store = Btrfs(blocks)._store
    addresses = nodes(store)
    dice = random.Random(7)
    refused = 0
    for _ in range(ROUNDS):
        changes = {}
        for _ in range(dice.randint(1, 4)):
            address = dice.choice(addresses[:3] if dice.random() < 0.4 else addresses)
            at = dice.choice((dice.randrange(48, 400), dice.randrange(48, store.superblock.node_size)))
            change = dice.choice((b"\0", b"\xff", dice.randbytes(1), dice.randbytes(8), b"\xff" * 8))
            for mirror in (0, 1):
                (place, *_) = store.chunks._places(address + at, len(change), mirror)
                changes[place[2]] = change
        try:
            filesystem = Btrfs(Patched(blocks, changes))
            some(filesystem)
            for subvolume in filesystem.subvolumes():
                filesystem.at(subvolume.number)
            filesystem.space()
        except CannotRead:
            refused += 1
    assert ROUNDS // 10 < refused < ROUNDS


@pytest.mark.slow
@pytest.mark.xdist_group("appliance")
@pytest.mark.parametrize("level", [1, 7])
def test_a_node_that_points_to_itself_is_damage(level: int) -> None:
    blocks = RawBlocks(made() / "xxhash.img")
    store = Btrfs(blocks)._store
    root = _roots(store)[0]
    pointer = struct.pack("<QBQQQ", 256, 1, 0, root, 1)
    changes = {}
    for mirror in (0, 1):
        (place, *_) = store.chunks._places(root, 200, mirror)
        changes[place[2] + 96] = struct.pack("<IB", 1, level) + pointer
    with pytest.raises(GuestReadFailed, match="btrfs"):
        some(Btrfs(Patched(blocks, changes)))


@pytest.mark.parametrize("kind", [ZLIB, LZO, ZSTD])
def test_rubbish_does_not_unpack(kind: int) -> None:
    for number in range(200):
        data = random.Random(number).randbytes(64 + number)
        try:
            assert len(unpack(data, kind, 1 << 17, SECTOR)) <= 1 << 17
        except GuestReadFailed:
            continue


def test_a_bomb_is_unpacked_no_further_than_the_extent_says() -> None:
    assert unpack(zlib.compress(bytes(1 << 25), 9), ZLIB, 1 << 17, SECTOR) == bytes(1 << 17)


def test_lzo_segments_that_lie_about_their_length_are_damage() -> None:
    for data in (b"\xff\xff\xff\xff" + b"\0" * 8, struct.pack("<II", 100, 1 << 31) + bytes(92)):
        with pytest.raises(GuestReadFailed):
            unpack(data, LZO, 1 << 17, SECTOR)


@pytest.mark.parametrize("path", [Path("/dev/null")])
def test_a_volume_that_is_too_small_is_damage(path: Path) -> None:
    with pytest.raises(GuestReadFailed), RawBlocks(path, 0) as blocks:
        Btrfs(blocks)
