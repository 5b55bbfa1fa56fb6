from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.errors import CannotRead
from imgtool.guest.fat import Fat
from imgtool.guest.filesystem import GuestReadFailed
from tests.guest.made_filesystems import Memory, find, read_everything, run, used_sectors

LOADER = random.Random(3).randbytes(70_001)


def _image(folder: Path, bits: int) -> bytes:
    image = folder / f"fat{bits}.img"
    size = {12: 2 << 20, 16: 20 << 20, 32: 34 << 20}[bits]
    image.write_bytes(b"")
    with image.open("r+b") as file:
        file.truncate(size)
    run("mkfs.vfat", "-F", str(bits), "-s", "1", "-n", "EFI", image)
    (folder / "loader").write_bytes(LOADER)
    (folder / "small").write_text("set x=1\n")
    for directory in ("EFI", "EFI/BOOT", "EFI/debian"):
        run("mmd", "-i", image, f"::{directory}")
    for target in ("EFI/BOOT/BOOTX64.EFI", "EFI/debian/shimx64.efi"):
        run("mcopy", "-i", image, folder / "loader", f"::{target}")
    for number in range(40):
        run(
            "mcopy", "-i", image, folder / "small", f"::EFI/debian/A long name of a file, number {number}.cfg"
        )
    return image.read_bytes()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    return {bits: _image(tmp_path_factory.mktemp(f"fat{bits}"), bits) for bits in (12, 16, 32)}


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_files_are_found_by_their_long_names_in_any_case(images: dict[int, bytes], bits: int) -> None:
    filesystem = Fat(Memory(images[bits]))
    assert filesystem.bits == bits
    node = find(filesystem, "/efi/DEBIAN/SHIMx64.efi")
    assert filesystem.read(node, 0, 1 << 20) == LOADER
    assert filesystem.read(node, 511, 60_000) == LOADER[511:60_511]
    assert filesystem.stat(node).size == len(LOADER)
    folder = find(filesystem, "/EFI/debian")
    expected = {f"A long name of a file, number {number}.cfg" for number in range(40)}
    assert set(filesystem.names(folder)) == expected | {"shimx64.efi"}
    assert filesystem.lookup(folder, "absent") is None


def test_a_chain_of_clusters_that_bites_its_tail_is_damage(images: dict[int, bytes]) -> None:
    volume = Memory(images[16])
    node = find(Fat(volume), "/EFI/BOOT/BOOTX64.EFI")
    first = int.from_bytes(volume.data[node + 26 : node + 28], "little")
    reserved = int.from_bytes(volume.data[14:16], "little") * 512
    volume.data[reserved + first * 2 + 2 : reserved + first * 2 + 4] = first.to_bytes(2, "little")
    again = Fat(volume)
    with pytest.raises(GuestReadFailed, match="cluster"):
        again.read(find(again, "/EFI/BOOT/BOOTX64.EFI"), 0, 1 << 20)


def test_a_file_whose_clusters_end_too_soon_is_damage_and_not_shorter(images: dict[int, bytes]) -> None:
    volume = Memory(images[16])
    node = find(Fat(volume), "/EFI/BOOT/BOOTX64.EFI")
    first = int.from_bytes(volume.data[node + 26 : node + 28], "little")
    reserved = int.from_bytes(volume.data[14:16], "little") * 512
    volume.data[reserved + first * 2 + 2 : reserved + first * 2 + 4] = b"\xff\xff"
    again = Fat(volume)
    with pytest.raises(GuestReadFailed, match="cluster"):
        again.read(find(again, "/EFI/BOOT/BOOTX64.EFI"), 0, 1 << 20)


def test_a_boot_sector_of_impossible_sizes_is_damage(images: dict[int, bytes]) -> None:
    for offset, value in ((11, 0), (13, 0), (13, 3), (16, 0)):
        volume = Memory(images[12])
        volume.data[offset] = value
        if offset == 11:
            volume.data[12] = 0
        with pytest.raises(GuestReadFailed, match="boot sector"):
            Fat(volume)


@settings(max_examples=40)
@given(seed=st.integers(0, 2**32), count=st.sampled_from([1, 3, 10, 60]))
def test_whatever_bytes_are_changed_only_a_typed_error_comes(
    images: dict[int, bytes], seed: int, count: int
) -> None:
    chosen = random.Random(seed)
    volume = Memory(images[12])
    sectors = used_sectors(Memory(images[12][: 256 << 10]))
    for _ in range(count):
        volume.data[chosen.choice(sectors) + chosen.randrange(512)] = chosen.choice(
            [0, 255, chosen.randrange(256)]
        )
    with contextlib.suppress(CannotRead):
        read_everything(Fat(volume), most=300)
