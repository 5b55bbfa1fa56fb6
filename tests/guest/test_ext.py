from __future__ import annotations

import contextlib
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.disk.blocks import RawBlocks, Slice
from imgtool.errors import CannotRead
from imgtool.guest.ext import Ext
from imgtool.guest.filesystem import GuestReadFailed
from tests.guest.made_filesystems import (
    Memory,
    differences,
    fill,
    find,
    make_ext,
    read_everything,
    run,
    used_sectors,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = fill(tmp_path_factory.mktemp("ext") / "root")
    (made / "etc/new\nline").write_text("odd")
    with open(os.fsencode(made) + b"/etc/not-utf8-\xff\xfe", "wb") as file:
        file.write(b"odd")
    return made


@pytest.fixture(scope="module")
def plain(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An ext4 without checksums, so that damage reaches what reads the structures."""
    image = tmp_path_factory.mktemp("plain") / "plain.img"
    options = ("-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^has_journal")
    return make_ext(folder, image, *options, size="8M").read_bytes()


@pytest.mark.parametrize(
    "options",
    [
        "-t ext2 -b 1024",
        "-t ext2 -b 4096",
        "-t ext3 -I 128",
        "-t ext4",
        "-t ext4 -b 1024",
        "-t ext4 -O ^64bit,^flex_bg",
        "-t ext4 -O ^metadata_csum,uninit_bg",
        "-t ext4 -O bigalloc -C 16384",
        "-t ext4 -O meta_bg,^resize_inode",
        "-t ext4 -O inline_data",
        "-t ext4 -O encrypt,casefold,verity,quota,project,mmp,ea_inode",
        "-t ext4 -O sparse_super2,large_dir,stable_inodes,metadata_csum_seed",
    ],
)
def test_every_file_comes_back_as_it_went_in(options: str, folder: Path, tmp_path: Path) -> None:
    image = make_ext(folder, tmp_path / "v.img", *options.split(), size="64M")
    with RawBlocks(image) as blocks:
        assert differences(Ext(blocks), folder) == []


def test_it_is_named_by_its_uuid_and_label(tmp_path: Path) -> None:
    uuid = "0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9"
    image = make_ext(None, tmp_path / "v.img", "-t", "ext4", "-U", uuid, "-L", "cloudimg")
    with RawBlocks(image) as blocks:
        assert (Ext(blocks).uuid, Ext(blocks).label, Ext(blocks).type) == (uuid, "cloudimg", "ext4")


def test_preallocated_blocks_that_were_never_written_read_as_zeros(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/file").write_bytes(b"x" * 8192)
    image = make_ext(tmp_path / "root", tmp_path / "v.img", "-t", "ext4", "-b", "4096")
    run("debugfs", "-w", "-R", "fallocate /file 2 9", image)
    run("debugfs", "-w", "-R", "set_inode_field /file size 40960", image)
    with RawBlocks(image) as blocks:
        filesystem = Ext(blocks)
        assert filesystem.read(find(filesystem, "/file"), 0, 50_000) == b"x" * 8192 + bytes(32_768)


def test_a_journal_that_waits_to_be_replayed_does_not_stop_the_reading(folder: Path, tmp_path: Path) -> None:
    image = make_ext(folder, tmp_path / "v.img", "-t", "ext4")
    run("debugfs", "-w", "-R", "feature needs_recovery", image)
    with RawBlocks(image) as blocks:
        assert differences(Ext(blocks), folder) == []


def test_an_encrypted_directory_is_named_and_not_read(folder: Path, tmp_path: Path) -> None:
    image = make_ext(folder, tmp_path / "v.img", "-t", "ext4", "-O", "encrypt")
    run("debugfs", "-w", "-R", "set_inode_field /etc flags 0x80800", image)
    with RawBlocks(image) as blocks:
        filesystem = Ext(blocks)
        with pytest.raises(GuestReadFailed, match="encrypted"):
            filesystem.names(find(filesystem, "/etc"))


def test_a_directory_of_ten_thousand_names_is_listed(tmp_path: Path) -> None:
    folder = tmp_path / "root/many"
    folder.mkdir(parents=True)
    (folder / "0").write_text("")
    for number in range(1, 10_000):  # mke2fs takes nine times as long for three times as many
        os.link(folder / "0", folder / str(number))
    image = make_ext(tmp_path / "root", tmp_path / "v.img", "-t", "ext4", "-N", "1000", size="64M")
    with RawBlocks(image) as blocks:
        filesystem = Ext(blocks)
        assert len(filesystem.names(find(filesystem, "/many"))) == 10_000


def test_a_zeroed_directory_block_is_damage_and_not_a_shorter_directory(plain: bytes) -> None:
    volume = Memory(plain)
    at = plain.index(b"a-name-that-takes-some-room-000200") & ~1023
    volume.data[at : at + 1024] = bytes(1024)
    filesystem = Ext(volume)
    with pytest.raises(GuestReadFailed, match="directory"):
        filesystem.lookup(find(filesystem, "/many"), "a-name-that-takes-some-room-000399")


@pytest.mark.parametrize("length", [0, 4, 13, 2000])
def test_a_directory_entry_of_a_wrong_length_is_damage(plain: bytes, length: int) -> None:
    volume = Memory(plain)
    at = plain.index(b"os-release") - 8
    volume.data[at + 4 : at + 6] = length.to_bytes(2, "little")
    filesystem = Ext(volume)
    with pytest.raises(GuestReadFailed, match="directory"):
        filesystem.names(find(filesystem, "/etc"))


def test_an_inode_whose_checksum_is_wrong_is_damage(folder: Path, tmp_path: Path) -> None:
    image = make_ext(folder, tmp_path / "v.img", "-t", "ext4", "-b", "4096", "-O", "metadata_csum")
    volume = Memory(image.read_bytes())
    number = find(Ext(volume), "/etc/os-release")
    where = run("debugfs", "-R", f"imap <{number}>", image)  # "… located at block N, offset 0xM"
    block, offset = where.split("block ")[-1].split(", offset ")
    volume.data[int(block) * 4096 + int(offset, 16)] ^= 0x01
    filesystem = Ext(volume)
    with pytest.raises(GuestReadFailed, match=f"checksum of inode {number}"):
        filesystem.stat(find(filesystem, "/etc/os-release"))


def test_a_superblock_whose_checksum_is_wrong_is_damage(tmp_path: Path) -> None:
    volume = Memory(make_ext(None, tmp_path / "v.img", "-t", "ext4", "-O", "metadata_csum").read_bytes())
    volume.data[1024 + 0x78] ^= 1
    with pytest.raises(GuestReadFailed, match="checksum"):
        Ext(volume)


def test_a_feature_that_is_not_understood_is_named(plain: bytes) -> None:
    for bits, name in ((0x1, "compression"), (0x400000, "0x400000")):
        volume = Memory(plain)
        old = int.from_bytes(volume.data[1024 + 0x60 : 1024 + 0x64], "little")
        volume.data[1024 + 0x60 : 1024 + 0x64] = (old | bits).to_bytes(4, "little")
        with pytest.raises(GuestReadFailed, match=name):
            Ext(volume)


def test_a_volume_cut_short_is_damage(plain: bytes) -> None:
    with pytest.raises(GuestReadFailed, match="superblock"):
        Ext(Slice(Memory(plain), 0, 1500))
    filesystem = Ext(Slice(Memory(plain), 0, 100_000))
    with pytest.raises(GuestReadFailed, match="outside the volume"):
        filesystem.read(find(filesystem, "/usr/lib/rand"), 0, 1 << 20)


def test_extents_that_overlap_are_refused_so_that_no_tree_is_walked_for_ever(plain: bytes) -> None:
    volume = Memory(plain)
    filesystem = Ext(volume)
    inode = filesystem._inode(find(filesystem, "/etc/holes"))
    block = int.from_bytes(inode.map[16:20], "little")
    assert int.from_bytes(inode.map[6:8], "little") > 0, "the file has a tree of extents"
    at = block * 1024 + 12
    volume.data[at + 12 : at + 16] = volume.data[at : at + 4]
    again = Ext(volume)
    with pytest.raises(GuestReadFailed, match="out of order"):
        again.read(inode.number, 0, 5_000_000)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), count=st.sampled_from([1, 3, 10, 60]))
def test_whatever_bytes_are_changed_only_a_typed_error_comes(plain: bytes, seed: int, count: int) -> None:
    chosen = random.Random(seed)
    volume = Memory(plain)
    sectors = _sectors(plain)
    for _ in range(count):
        at = chosen.choice(sectors) + chosen.randrange(512)
        volume.data[at] = chosen.choice([0, 255, 0x7F, chosen.randrange(256)])
    with contextlib.suppress(CannotRead):
        read_everything(Ext(volume))


_kept: dict[int, list[int]] = {}


def _sectors(data: bytes) -> list[int]:
    if id(data) not in _kept:
        _kept[id(data)] = used_sectors(Memory(data))
    return _kept[id(data)]
