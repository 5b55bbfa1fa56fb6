from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.errors import CannotRead
from imgtool.guest.filesystem import GuestReadFailed
from imgtool.guest.ntfs import Ntfs
from tests.guest.made_filesystems import Memory, find, make_ntfs, read_everything, used_sectors

HIVE = random.Random(4).randbytes(200_001)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("ntfs")
    config = folder / "root/Windows/System32/config"
    config.mkdir(parents=True)
    (config / "SOFTWARE").write_bytes(HIVE)
    (config / "中文.txt").write_text("x")
    (folder / "root/Windows/link").symlink_to("System32/config")
    for number in range(300):
        (folder / f"root/Windows/file{number}.txt").write_text(str(number))
    return make_ntfs(folder / "root", folder / "v.img").read_bytes()


def test_files_are_found_in_any_case(image: bytes) -> None:
    filesystem = Ntfs(Memory(image))
    assert filesystem.label == "System"
    node = find(filesystem, "/windows/SYSTEM32/Config/software")
    assert filesystem.read(node, 0, 1 << 20) == HIVE
    assert filesystem.read(node, 1000, 70_000) == HIVE[1000:71_000]
    assert filesystem.stat(node).size == len(HIVE)
    folder = find(filesystem, "/Windows")
    assert {f"file{number}.txt" for number in range(300)} < set(filesystem.names(folder))
    assert filesystem.lookup(folder, "absent") is None


def test_a_symbolic_link_reads_with_slashes(image: bytes) -> None:
    filesystem = Ntfs(Memory(image))
    node = find(filesystem, "/Windows/link")
    assert filesystem.stat(node).kind == "symlink"
    assert filesystem.readlink(node) == "System32/config"


def test_a_volume_without_its_mft_is_damage(image: bytes) -> None:
    volume = Memory(image)
    at = int.from_bytes(volume.data[48:56], "little") * 4096
    volume.data[at : at + 4096] = bytes(4096)
    with pytest.raises(GuestReadFailed, match="NTFS volume"):
        Ntfs(volume)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), count=st.sampled_from([1, 3, 10, 60]))
def test_whatever_bytes_are_changed_only_a_typed_error_comes(image: bytes, seed: int, count: int) -> None:
    chosen = random.Random(seed)
    volume = Memory(image)
    sectors = used_sectors(Memory(image[: 1 << 20]))
    for _ in range(count):
        volume.data[chosen.choice(sectors) + chosen.randrange(512)] = chosen.choice(
            [0, 255, chosen.randrange(256)]
        )
    with contextlib.suppress(CannotRead):
        read_everything(Ntfs(volume), most=200)
