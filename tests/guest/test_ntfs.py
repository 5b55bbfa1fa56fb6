from __future__ import annotations

import contextlib
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.errors import CannotRead
from imgtool.guest.filesystem import GuestReadFailed
from imgtool.guest.ntfs import Ntfs
from tests.guest.made_filesystems import Memory, find, make_ntfs, read_everything, run, used_sectors

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


def test_a_junction_reads_as_a_link_and_one_to_another_volume_is_named(image: bytes, tmp_path: Path) -> None:
    (tmp_path / "root/Users").mkdir(parents=True)
    (tmp_path / "root/Users/a.txt").write_text("here")
    (tmp_path / "root/Documents and Settings").symlink_to("X" * 60)
    made = make_ntfs(tmp_path / "root", tmp_path / "v.img").read_bytes()
    for target, expected in (
        ("C:\\Users", "/Users"),
        ("Volume{0f1e2d3c-0000-0000-0000-100000000000}\\", None),
    ):
        filesystem = Ntfs(Memory(with_junction(made, target)))
        node = find(filesystem, "/Documents and Settings")
        assert filesystem.stat(node).kind == "symlink"
        if expected:
            assert filesystem.readlink(node) == expected
        else:
            with pytest.raises(GuestReadFailed, match="another volume"):
                filesystem.readlink(node)


def with_junction(volume: bytes, target: str) -> bytes:
    """The volume with its symbolic link to XX... made a junction (MS-FSCC 2.1.2.4 and 2.1.2.5)."""
    at = volume.index("XXXX".encode("utf-16-le")) - 20
    tag, length = struct.unpack_from("<IH", volume, at)
    assert tag == 0xA000000C
    substitute, shown = f"\\??\\{target}".encode("utf-16-le"), target.encode("utf-16-le")
    names = struct.pack("<HHHH", 0, len(substitute), len(substitute) + 2, len(shown))
    data = names + substitute + b"\0\0" + shown + b"\0\0"
    junction = (struct.pack("<IHH", 0xA0000003, len(data), 0) + data).ljust(8 + length, b"\0")
    return volume[:at] + junction + volume[at + len(junction) :]


def test_a_named_stream_is_read_apart_from_the_file(image: bytes, tmp_path: Path) -> None:
    path = tmp_path / "v.img"
    path.write_bytes(image)
    (tmp_path / "mark").write_bytes(b"[ZoneTransfer]\r\nZoneId=3\r\n")
    run("ntfscp", "-f", "-q", "-N", "Zone.Identifier", path, tmp_path / "mark", "Windows/file7.txt")
    filesystem = Ntfs(Memory(path.read_bytes()))
    marked, plain = find(filesystem, "/Windows/file7.txt"), find(filesystem, "/Windows/file8.txt")
    assert filesystem.stream(marked, "Zone.Identifier", 100) == b"[ZoneTransfer]\r\nZoneId=3\r\n"
    assert filesystem.read(marked, 0, 100) == b"7"
    assert filesystem.stream(plain, "Zone.Identifier", 100) is None


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
