"""btrfs read natively is what Linux wrote: files, links, compression, subvolumes, snapshots, profiles."""

from __future__ import annotations

import os
import random
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("dissect.btrfs")

from imgtool.disk.blocks import RawBlocks
from imgtool.errors import CannotRead
from imgtool.guest.btrfs import Btrfs
from imgtool.guest.btrfs_chunks import Missing
from imgtool.guest.filesystem import Filesystem, GuestReadFailed, Unsupported
from tests.disk.made import MIB
from tests.guest.made_btrfs import ALIKE, COMPRESSIONS, CSUMS, PROFILES, UUID, made
from tests.guest.made_filesystems import Memory

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("appliance")]  # the appliance fills them, once


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the volumes were filled with."""
    folder = tmp_path_factory.mktemp("source")
    subprocess.run(["tar", "-C", folder, "-xpf", made() / "source.tar"], check=True)
    return folder


def opened(*names: str) -> Btrfs:
    first, *others = (RawBlocks(made() / name) for name in names)
    return Btrfs(first, others)


def find(filesystem: Filesystem, path: str) -> int:
    node = filesystem.root
    for name in path.strip("/").split("/"):
        below = filesystem.lookup(node, name)
        assert below is not None, (path, name)
        node = below
    return node


def content(filesystem: Filesystem, path: str) -> bytes:
    return filesystem.read(find(filesystem, path), 0, 1 << 30)


def same(filesystem: Filesystem, node: int, folder: Path) -> Iterator[str]:
    """Compare a folder of a filesystem with one of this machine; the paths that were."""
    assert sorted(filesystem.names(node)) == sorted(path.name for path in folder.iterdir())
    for path in folder.iterdir():
        below = filesystem.lookup(node, path.name)
        assert below is not None, path
        told, status = filesystem.stat(below), path.lstat()
        assert (told.mode, told.uid, told.gid) == (stat.S_IMODE(status.st_mode), 7, 9), path
        assert told.mtime == 1_700_000_000, path
        if path.is_symlink():
            assert (told.kind, filesystem.readlink(below)) == ("symlink", os.readlink(path))
        elif path.is_dir():
            assert told.kind == "directory"
            yield from same(filesystem, below, path)
        else:
            expected = path.read_bytes()
            assert (told.kind, told.size) == ("file", len(expected)), path
            assert filesystem.read(below, 0, len(expected) + 5) == expected, path
            for offset in (1, 4095, 131_073, max(len(expected) - 7, 0)):
                assert filesystem.read(below, offset, 5000) == expected[offset : offset + 5000], (
                    path,
                    offset,
                )
        yield str(path)


@pytest.mark.parametrize("how", COMPRESSIONS)
def test_every_file_comes_out_as_it_went_in_however_it_is_compressed(how: str, source: Path) -> None:
    filesystem = opened("compressed.img")
    assert len(list(same(filesystem, find(filesystem, how), source))) > 400


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_read_from_all_its_devices(profile: str, source: Path) -> None:
    names = [f"{profile}-{number}.img" for number in range(1, PROFILES[profile] + 1)]
    filesystem = opened(*random.Random(1).sample(names, len(names)))
    assert len(list(same(filesystem, filesystem.root, source))) > 400


@pytest.mark.parametrize("csum", CSUMS)
def test_every_kind_of_checksum_is_read(csum: str) -> None:
    filesystem = opened(f"{csum}.img")
    assert content(filesystem, "etc/os-release") == b"ID=debian\n"


def test_a_mirror_is_read_without_its_other_half(source: Path) -> None:
    filesystem = opened("raid1-2.img")
    assert len(list(same(filesystem, filesystem.root, source))) > 400


@pytest.mark.parametrize("profile", ["raid0", "raid5"])
def test_a_device_that_is_missing_is_named(profile: str) -> None:
    with pytest.raises(CannotRead) as why:
        content(opened(f"{profile}-1.img"), "mixed")
    assert isinstance(why.value, Missing)
    assert f"has {PROFILES[profile]} devices, of which this disk holds number 1" in str(why.value)
    assert "is missing" in str(why.value)


def test_names_with_the_same_hash_are_two_files() -> None:
    filesystem = opened("compressed.img")
    for name in ALIKE:
        assert content(filesystem, f"none/alike/{name}") == name.encode()
    assert filesystem.lookup(find(filesystem, "none/alike"), "neither") is None


def test_what_was_allocated_and_never_written_reads_as_zeros() -> None:
    assert content(opened("compressed.img"), "allocated") == bytes(5 * MIB)


def test_the_default_subvolume_is_what_is_read() -> None:
    filesystem = opened("suse.img")
    assert content(filesystem, "etc/os-release").startswith(b'ID="sles"')
    listed = {it.path: it for it in filesystem.subvolumes()}
    assert {"/", "/@", "/@/home", "/@/var", "/@/.snapshots"} < set(listed)
    assert listed["/@/.snapshots/1/snapshot"].number == filesystem.subvolume == filesystem.default_subvolume()
    second = listed["/@/.snapshots/2/snapshot"]
    assert (second.read_only, second.snapshot) == (True, True)
    assert not listed["/@"].snapshot
    assert (filesystem.uuid, filesystem.label) == (UUID.format(1), "SUSE")


def test_a_snapshot_is_what_was_there_when_it_was_made() -> None:
    filesystem = opened("suse.img")
    listed = {it.path: it.number for it in filesystem.subvolumes()}
    before = filesystem.at(listed["/@/.snapshots/2/snapshot"])
    assert before.lookup(find(before, "etc"), "newer") is None
    assert content(filesystem, "etc/newer") == b"written after the snapshot"


def test_a_nested_subvolume_is_a_folder_and_empty_in_a_snapshot() -> None:
    filesystem = opened("ubuntu.img")
    assert content(filesystem, "@/nested/file") == b"in the nested one"
    nested = find(filesystem, "timeshift/snapshots/1/@/nested")
    assert filesystem.names(nested) == []
    assert filesystem.lookup(nested, "file") is None
    assert filesystem.stat(nested).kind == "directory"


def test_the_space_is_what_linux_says(tmp_path: Path) -> None:
    from imgtool.appliance import Drive, appliance

    names = ["compressed.img", "suse.img", "dup-1.img"]
    with appliance([Drive(made() / name, "raw") for name in names]) as guest:
        for device, name in zip("abc", names, strict=True):
            guest.mount_ro(f"/dev/sd{device}", "/")
            said = guest.statvfs("/")
            guest.umount_all()
            space = opened(name).space()
            assert abs(space.free - said["bavail"] * said["bsize"]) <= 2 * MIB, name
            assert abs(space.total - said["blocks"] * said["bsize"]) <= 2 * MIB, name


def damage(name: str, change: bytes, at: int) -> Memory:
    memory = Memory((made() / name).read_bytes())
    memory.data[at : at + len(change)] = change
    return memory


def everything(filesystem: Filesystem) -> int:
    """Read all there is; how many files that was."""
    todo, count = [filesystem.root], 0
    while todo:
        node = todo.pop()
        for name in filesystem.names(node):
            below = filesystem.lookup(node, name)
            assert below is not None
            told = filesystem.stat(below)
            count += 1
            if told.kind == "directory":
                todo.append(below)
            elif told.kind == "symlink":
                filesystem.readlink(below)
            else:
                filesystem.read(below, 0, 1 << 20)
    return count


def test_a_node_that_was_overwritten_is_damage_and_no_missing_file() -> None:
    """dissect.btrfs by itself lists fewer names and raises nothing."""
    memory = Memory((made() / "ubuntu.img").read_bytes())
    filesystem = Btrfs(memory)
    store = filesystem._store
    tree = store.tree(filesystem.subvolume)
    assert tree is not None
    for device, _, offset, size in store.chunks._places(tree.root_offset, store.superblock.node_size, 0):
        assert device == 1
        memory.data[offset + 200 : offset + size] = bytes(size - 200)
    for device, _, offset, size in store.chunks._places(tree.root_offset, store.superblock.node_size, 1):
        assert device == 1
        memory.data[offset + 200 : offset + size] = bytes(size - 200)
    with pytest.raises(GuestReadFailed, match="btrfs node"):
        everything(Btrfs(memory))


def test_one_bad_copy_of_a_node_is_read_from_the_other() -> None:
    memory = Memory((made() / "ubuntu.img").read_bytes())
    store = Btrfs(memory)._store
    assert store.chunks.copies(store.superblock.root) == 2
    for _, _, offset, size in store.chunks._places(store.superblock.root, store.superblock.node_size, 0):
        memory.data[offset : offset + size] = bytes(size)
    assert content(Btrfs(memory), "@/etc/passwd").startswith(b"root:")


@pytest.mark.parametrize("bit", [0x1000, 0x2000, 0x4000, 1 << 40])
def test_features_that_are_not_known_are_named_and_refused(bit: int) -> None:
    from dissect.util.hash.crc32c import update

    memory = Memory((made() / "ubuntu.img").read_bytes())
    at = 65536 + 188
    flags = int.from_bytes(memory.data[at : at + 8], "little") | bit
    memory.data[at : at + 8] = flags.to_bytes(8, "little")
    memory.data[65536:65540] = update(0, bytes(memory.data[65536 + 32 : 65536 + 4096])).to_bytes(4, "little")
    with pytest.raises(Unsupported, match="btrfs with"):
        Btrfs(memory)
