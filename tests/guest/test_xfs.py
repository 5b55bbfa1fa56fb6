from __future__ import annotations

import contextlib
import random
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.disk.blocks import RawBlocks, Slice
from imgtool.errors import CannotRead
from imgtool.guest.crc32c import crc32c
from imgtool.guest.filesystem import GuestReadFailed
from imgtool.guest.xfs import BTREE, Xfs
from imgtool.guest.xfs_log import log_state
from imgtool.guest.xfs_superblock import read_superblock
from tests.guest.made_filesystems import Memory, differences, fill, find, make_xfs, read_everything, run

HEAD = 64 << 20


class Patched:
    """An image file with changes laid over it."""

    def __init__(self, blocks: RawBlocks, changes: dict[int, int] | None = None) -> None:
        self._blocks = blocks
        self.changes = changes or {}
        self.size = blocks.size

    def read(self, offset: int, length: int) -> bytes:
        data = self._blocks.read(offset, length)
        inside = [at for at in self.changes if offset <= at < offset + length]
        if not inside:
            return data
        changed = bytearray(data)
        for at in inside:
            changed[at - offset] = self.changes[at]
        return bytes(changed)

    def put(self, offset: int, data: bytes) -> None:
        self.changes.update({offset + index: byte for index, byte in enumerate(data)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = fill(tmp_path_factory.mktemp("xfs") / "root", names=3000)
    (made / "usr/lib/a/b/block").mkdir()
    for number in range(30):
        (made / f"usr/lib/a/b/block/some-name-{number}").write_text("x")
    return made


@pytest.fixture(scope="module")
def image(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_xfs(folder, tmp_path_factory.mktemp("v5") / "v.img", "-L", "rootfs")


@pytest.fixture(scope="module")
def old(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 4: no checksums, so that damage reaches what reads the structures."""
    return make_xfs(folder, tmp_path_factory.mktemp("v4") / "v.img", "-m", "crc=0")


@pytest.mark.parametrize(
    "options",
    [
        "-m crc=0",
        "-m crc=0 -n ftype=0",
        "-m reflink=1,bigtime=1,inobtcount=1",
        "-m bigtime=0 -i sparse=0",
        "-b size=1024",
        "-n size=16384",
        "-i size=2048",
        "-i nrext64=1",
        "-s size=4096",
    ],
)
def test_every_file_comes_back_as_it_went_in(options: str, folder: Path, tmp_path: Path) -> None:
    if "nrext64" in options and "nrext64" not in _mkfs_help():
        pytest.skip("this mkfs.xfs does not know nrext64")
    made = make_xfs(folder, tmp_path / "v.img", *options.split())
    with RawBlocks(made) as blocks:
        assert differences(Xfs(blocks), folder) == []


def _mkfs_help() -> str:
    return subprocess.run(["mkfs.xfs"], capture_output=True, check=False).stderr.decode()


def test_it_is_named_by_its_uuid_and_label(image: Path) -> None:
    said = run("xfs_db", "-r", "-c", "uuid", image)
    with RawBlocks(image) as blocks:
        assert Xfs(blocks).uuid in said
        assert Xfs(blocks).label == "rootfs"


def test_a_file_of_many_pieces_is_read_through_its_tree_of_extents(tmp_path: Path) -> None:
    """A version 4 image whose file's extents are put into a tree by hand: a leaf, an extent a block."""
    (tmp_path / "root").mkdir()
    content = random.Random(5).randbytes(40 * 4096 - 77)
    (tmp_path / "root/file").write_bytes(content)
    made = make_xfs(tmp_path / "root", tmp_path / "v.img", "-m", "crc=0")
    with RawBlocks(made) as blocks:
        filesystem = Xfs(blocks)
        node = find(filesystem, "/file")
        (logical, count, byte), *rest = filesystem._mapped(filesystem._inode(node), 0, 100)
        assert (logical, count, rest) == (0, 40, [])
        first, leaf = byte // 4096, filesystem.superblock.group_blocks - 1
        pieces = [
            (index << 9 | index_block >> 43, (index_block & (1 << 43) - 1) << 21 | 1)
            for index in range(40)
            for index_block in [first + index]
        ]
        patched = Patched(blocks)
        raw = struct.pack(">4sHHqq", b"BMAP", 0, 40, -1, -1) + b"".join(
            struct.pack(">QQ", *p) for p in pieces
        )
        patched.put(leaf * 4096, raw)
        at = _inode_at(filesystem, node)
        patched.put(at + 5, bytes([BTREE]))
        most = (filesystem.superblock.inode_size - 100 - 4) // 16
        patched.put(at + 100, struct.pack(">HHQ", 1, 1, 0))
        patched.put(at + 104 + most * 8, struct.pack(">Q", leaf))
        assert Xfs(patched).read(node, 0, 1 << 20) == content
        patched.put(leaf * 4096 + 24, struct.pack(">QQ", *pieces[1]))
        with pytest.raises(GuestReadFailed, match="out of order"):
            Xfs(patched).read(node, 0, 1 << 20)


def _inode_at(filesystem: Xfs, node: int) -> int:
    bits = filesystem.superblock.inodes_per_block_bits
    start = filesystem._block_at(node >> bits, "")
    return start + (node & ((1 << bits) - 1)) * filesystem.superblock.inode_size


def test_preallocated_blocks_that_were_never_written_read_as_zeros(old: Path) -> None:
    with RawBlocks(old) as blocks:
        filesystem = Xfs(blocks)
        node = find(filesystem, "/usr/lib/rand")
        patched = Patched(blocks)
        at = _inode_at(filesystem, node) + 100
        patched.put(at, bytes([blocks.read(at, 1)[0] | 0x80]))
        assert Xfs(patched).read(node, 0, 1 << 20) == bytes(150_001)


def test_a_long_link_is_put_together_from_its_blocks(folder: Path, image: Path) -> None:
    with RawBlocks(image) as blocks:
        filesystem = Xfs(blocks)
        node = find(filesystem, "/etc/long")
        assert filesystem.readlink(node) == str((folder / "etc/long").readlink())


def test_a_zeroed_directory_block_is_damage_and_not_a_shorter_directory(image: Path) -> None:
    with RawBlocks(image) as blocks:
        filesystem = Xfs(blocks)
        node = find(filesystem, "/many")
        runs = list(filesystem._mapped(filesystem._inode(node), 0, 1000))
        patched = Patched(blocks)
        patched.put(runs[-1][2], bytes(4096))
        with pytest.raises(GuestReadFailed, match="directory"):
            Xfs(patched).lookup(node, "a-name-that-takes-some-room-000000")


def test_an_inode_whose_checksum_is_wrong_is_damage(image: Path) -> None:
    with RawBlocks(image) as blocks:
        filesystem = Xfs(blocks)
        node = find(filesystem, "/etc/os-release")
        patched = Patched(blocks)
        patched.put(_inode_at(filesystem, node) + 3, b"\xff")
        with pytest.raises(GuestReadFailed, match=f"inode {node}"):
            Xfs(patched).stat(node)


def test_a_superblock_whose_checksum_is_wrong_is_damage(image: Path) -> None:
    with RawBlocks(image) as blocks:
        patched = Patched(blocks)
        patched.put(108, b"another")
        with pytest.raises(GuestReadFailed, match="checksum"):
            Xfs(patched)


def test_a_feature_that_is_not_understood_is_named(image: Path) -> None:
    with RawBlocks(image) as blocks:
        for bits, name in ((0x100, "metadir"), (0x80000000, "0x80000000")):
            patched = Patched(blocks)
            sector = bytearray(blocks.read(0, 512))
            sector[216:220] = (int.from_bytes(sector[216:220], "big") | bits).to_bytes(4, "big")
            sector[224:228] = bytes(4)
            sector[224:228] = (crc32c(bytes(sector)) ^ 0xFFFFFFFF).to_bytes(4, "little")
            patched.put(0, bytes(sector))
            with pytest.raises(GuestReadFailed, match=name):
                Xfs(patched)


def test_a_file_on_a_realtime_device_is_not_read_from_this_one(old: Path) -> None:
    with RawBlocks(old) as blocks:
        filesystem = Xfs(blocks)
        node = find(filesystem, "/usr/lib/rand")
        patched = Patched(blocks)
        patched.put(_inode_at(filesystem, node) + 91, b"\x01")
        with pytest.raises(GuestReadFailed, match="realtime"):
            Xfs(patched).read(node, 0, 10)


def test_a_volume_cut_short_is_damage(image: Path) -> None:
    with RawBlocks(image) as blocks, pytest.raises(GuestReadFailed, match="superblock"):
        Xfs(Slice(blocks, 0, 400))


def test_the_log_of_a_new_filesystem_is_clean(image: Path, old: Path) -> None:
    for path in (image, old):
        with RawBlocks(path) as blocks:
            assert log_state(blocks, read_superblock(blocks)) == "clean"


def _ring(path: Path, first: int, records: int) -> Memory:
    """The image with a log of `records` two-block records, the first at block `first` of the ring; the last
    is an unmount. Everything before the end is of cycle 8, what is behind it of cycle 7."""
    volume = Memory(path.read_bytes())
    superblock = read_superblock(volume)
    group = superblock.log_start >> superblock.group_bits
    block = superblock.log_start & ((1 << superblock.group_bits) - 1)
    start = (group * superblock.group_blocks + block) * superblock.block_size
    length = superblock.log_blocks * superblock.block_size // 512
    old = bytearray(volume.data[start : start + 1024])
    end = first + records * 2
    for at in range(length):
        cycle = (9 if at < end - length else 8) if end > length else (8 if at < end else 7)
        volume.data[start + at * 512 : start + at * 512 + 512] = cycle.to_bytes(4, "big") + bytes(508)
    for index in range(records):
        at = (first + 2 * index) % length
        cycle = 9 if first + 2 * index >= length else 8
        last = index == records - 1
        header = bytearray(old[:512])
        header[4:8] = cycle.to_bytes(4, "big")
        lsn = cycle << 32 | at
        header[16:24] = header[24:32] = lsn.to_bytes(8, "big")
        header[32:36] = bytes(4)
        header[12:16] = (512).to_bytes(4, "big")
        header[40:44] = (1).to_bytes(4, "big")
        body = bytearray(old[512:])
        body[0:4] = cycle.to_bytes(4, "big")
        body[9] = 0x20 if last else 0x01
        volume.data[start + at * 512 : start + at * 512 + 512] = header
        after = (at + 1) % length
        volume.data[start + after * 512 : start + after * 512 + 512] = body
    return volume


@pytest.mark.parametrize("first", [0, 100, -7, -6, -4])
def test_the_log_is_a_ring_and_clean_only_when_its_last_record_is_an_unmount(old: Path, first: int) -> None:
    with RawBlocks(old) as blocks:
        superblock = read_superblock(blocks)
    length = superblock.log_blocks * superblock.block_size // 512
    volume = _ring(old, first % length, 3)
    assert log_state(volume, superblock) == "clean"
    at = volume.data.index(b"\x20", _last_body(volume, superblock, first % length, 3) + 9)
    volume.data[at] = 0x01
    assert log_state(volume, superblock) == "dirty"


def _last_body(volume: Memory, superblock: object, first: int, records: int) -> int:
    made = read_superblock(volume)
    block = made.log_start & ((1 << made.group_bits) - 1)
    start = ((made.log_start >> made.group_bits) * made.group_blocks + block) * made.block_size
    length = made.log_blocks * made.block_size // 512
    return start + (first + records * 2 - 1) % length * 512


def test_xfs_logprint_judges_the_same_ring_alike(old: Path, tmp_path: Path) -> None:
    volume = _ring(old, 100, 3)
    copy = tmp_path / "copy.img"
    copy.write_bytes(volume.data)
    assert "<CLEAN>" in run("xfs_logprint", "-t", copy)
    volume.data[_last_body(volume, None, 100, 3) + 9] = 0x01
    copy.write_bytes(volume.data)
    assert "<DIRTY>" in run("xfs_logprint", "-t", copy)
    assert log_state(volume, read_superblock(volume)) == "dirty"


@pytest.fixture(scope="module")
def places(old: Path) -> list[int]:
    """Where structures begin: superblock, inodes, directories; not the log, not file contents."""
    wanted = (
        b"XFSB",
        b"XAGF",
        b"XAGI",
        b"IN\x41",
        b"IN\x81",
        b"IN\xa1",
        b"XD2B",
        b"XD2D",
        b"XDB3",
        b"XDD3",
        b"IABT",
    )
    with RawBlocks(old) as blocks:
        data = blocks.read(0, HEAD)
    return [at for at in range(0, len(data), 256) if data[at : at + 4].startswith(wanted)]


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), count=st.sampled_from([1, 3, 10, 60]))
def test_whatever_bytes_are_changed_only_a_typed_error_comes(
    old: Path, places: list[int], seed: int, count: int
) -> None:
    chosen = random.Random(seed)
    with RawBlocks(old) as blocks:
        patched = Patched(blocks)
        for _ in range(count):
            at = chosen.choice([0, *places[:40], chosen.choice(places)]) + chosen.randrange(256)
            patched.put(at, bytes([chosen.choice([0, 255, 0x7F, chosen.randrange(256)])]))
        with contextlib.suppress(CannotRead):
            read_everything(Xfs(patched), most=300)
