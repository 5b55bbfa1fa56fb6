"""An initramfs is listed as Linux unpacks it: archives of every compression, behind each other, made by real
tools."""

from __future__ import annotations

import io
import itertools
import subprocess
from pathlib import Path

import pytest

from imgtool.guest import initramfs
from imgtool.guest.compression import Budget
from imgtool.guest.initramfs import DamagedInitramfs, Initramfs, list_members, read_initramfs, together
from tests.guest.memory_tree import MemoryTree
from tests.guest.test_compression import TOOLS, packed
from tests.guest.test_cpio import archive, newc

VERSION = "6.1.0-50-cloud-amd64"
BLK = f"usr/lib/modules/{VERSION}/kernel/drivers/block/virtio_blk.ko"


def listed(data: bytes) -> Initramfs:
    return list_members(io.BytesIO(data), "/boot/initrd.img")


def aligned(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


@pytest.fixture(scope="module")
def main(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small initramfs as cpio makes it."""
    root = tmp_path_factory.mktemp("initramfs")
    modules = root / "usr" / "lib" / "modules" / VERSION
    for path in (
        "block/virtio_blk.ko",
        "virtio/virtio.ko",
        "virtio/virtio_pci.ko.xz",
        "virtio/virtio-ring.ko.zst",
    ):
        file = modules / "kernel" / "drivers" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"\x7fELF" * 5000)
    (modules / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\nkernel/drivers/net/virtio_net.ko\n")
    (root / "init").write_text("#!/bin/sh\n")
    return archive(root)


@pytest.fixture(scope="module")
def microcode(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    root = tmp_path_factory.mktemp("microcode")
    file = root / "kernel" / "x86" / "microcode" / "GenuineIntel.bin"
    file.parent.mkdir(parents=True)
    file.write_bytes(bytes(range(256)) * 400)
    return archive(root)


@pytest.mark.parametrize("name", ["", *TOOLS])
def test_one_archive_of_each_compression(name: str, main: bytes) -> None:
    found = listed(packed(name, main) if name else main)
    assert [it.compression for it in found.archives] == [name]
    assert found.versions == (VERSION,)
    assert found.path_of("virtio_blk", VERSION) == BLK
    assert found.tail is None


@pytest.mark.parametrize("name", ["", *TOOLS])
def test_microcode_comes_first_uncompressed(name: str, main: bytes, microcode: bytes) -> None:
    padded = microcode + bytes(-len(microcode) % 512)
    found = listed(padded + (packed(name, main) if name else main))
    assert [it.compression for it in found.archives] == ["", name]
    assert found.archives[1].offset == len(padded)
    assert found.path_of("virtio_pci", VERSION)
    assert "kernel/x86/microcode/GenuineIntel.bin" in found.members


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(["", *TOOLS], 2)))
def test_archives_of_any_mixture_follow_each_other(first: str, second: str, main: bytes) -> None:
    other = newc((f"usr/lib/modules/{VERSION}/kernel/net/net_failover.ko", b"ELF"))
    # LZ4 ends only at zero bytes; the others may be followed at once
    gap = 8 if first == "lz4" else 0
    head = packed(first, main) if first else main
    data = aligned(head + bytes(gap)) + (packed(second, other) if second else other) + bytes(512)
    found = listed(data)
    assert [it.compression for it in found.archives] == [first, second]
    assert found.path_of("virtio_blk", VERSION)
    assert found.path_of("net_failover", VERSION)


def test_a_later_member_takes_the_place_of_an_earlier_one(main: bytes) -> None:
    assert listed(main + newc((BLK, b""))).path_of("virtio_blk", VERSION) is None


def test_a_dash_in_a_module_s_name_is_an_underscore(main: bytes) -> None:
    assert (listed(main).path_of("virtio_ring", VERSION) or "").endswith("virtio-ring.ko.zst")


def test_modules_of_another_kernel_do_not_count(main: bytes) -> None:
    assert listed(main).path_of("virtio_blk", "6.1.0-49-cloud-amd64") is None


def test_its_own_list_of_builtin_modules_is_read(main: bytes) -> None:
    assert listed(packed("zstd", main)).builtin_modules(VERSION) == {"ext4", "virtio_net"}


def test_an_old_mkinitrd_keeps_modules_without_a_version() -> None:
    found = listed(packed("gzip", newc(("init", b"#!/bin/nash"), ("lib/virtio_blk.ko", b"ELF"))))
    assert found.path_of("virtio_blk", "2.6.18-398.el5") == "lib/virtio_blk.ko"


def test_an_empty_file_is_no_module() -> None:
    assert listed(newc(("init", b"x"), (BLK, b""))).path_of("virtio_blk", VERSION) is None


@pytest.mark.parametrize("name", ["", *TOOLS])
def test_a_truncated_one_is_damaged_and_tells_what_was_read(name: str, main: bytes) -> None:
    whole = packed(name, main * 60) if name else main
    with pytest.raises(DamagedInitramfs) as caught:
        listed(whole[: len(whole) * 9 // 10])
    assert caught.value.read.archives[-1].compression == name
    assert caught.value.path == "/boot/initrd.img"


def test_a_second_archive_that_is_damaged_leaves_the_first_one_s_members(main: bytes) -> None:
    whole = packed("gzip", main) + packed("xz", main)[:-50]
    with pytest.raises(DamagedInitramfs) as caught:
        listed(whole)
    assert caught.value.read.path_of("virtio_blk", VERSION)


@pytest.mark.parametrize(
    "data", [b"", bytes(4096), b"\x04\x22\x4d\x18rest", b"no archive", b"\x89LZO\0\r\n\x1a\n", b"07070"]
)
def test_what_is_no_archive_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedInitramfs):
        listed(data)


def test_microcode_alone_with_something_unknown_behind_it_is_damaged(microcode: bytes) -> None:
    with pytest.raises(DamagedInitramfs):
        listed(microcode + b"\x04\x22\x4d\x18")


def test_what_follows_a_whole_initramfs_is_noted(main: bytes) -> None:
    data = aligned(packed("gzip", main))
    found = listed(data + b"key=value\n#BOOTCONFIG\n")
    assert found.tail == len(data)
    assert found.path_of("virtio_blk", VERSION)


def test_an_uncompressed_archive_off_a_multiple_of_four_is_not_unpacked(main: bytes) -> None:
    data = aligned(packed("gzip", main))
    found = listed(data + b"\0\0" + newc(("extra", b"1")))
    assert found.tail == len(data) + 2
    assert "extra" not in found.members


def test_a_bomb_is_given_up(main: bytes) -> None:
    zeros = packed("zstd", newc(("big", bytes(64 << 20))))
    with pytest.raises(DamagedInitramfs, match="more data"):
        list_members(io.BytesIO(zeros), "/boot/initrd.img", Budget(16 << 20, 60))


def test_a_bomb_in_the_number_of_archives_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(initramfs, "MOST_ARCHIVES", 5)
    with pytest.raises(DamagedInitramfs):
        listed(newc(("a", b"")) * 6)


def test_several_files_of_one_entry_are_taken_together(main: bytes, microcode: bytes) -> None:
    found = together([listed(microcode), listed(main)])
    assert found.path_of("virtio_blk", VERSION)
    assert len(found.archives) == 2


def test_it_is_read_from_the_guest_s_tree(main: bytes) -> None:
    tree = MemoryTree({"/boot/initrd.img-1": packed("zstd", main)})
    assert read_initramfs(tree, "/boot/initrd.img-1").versions == (VERSION,)


HOST = sorted(Path("/boot").glob("initrd.img-*"))


@pytest.mark.skipif(not HOST, reason="this machine has no initramfs of its own")
def test_this_machine_s_own_initramfs_is_listed_as_cpio_lists_it(tmp_path: Path) -> None:
    from imgtool.guest.compression import decompress, identify, Source  # noqa: I001 - beside its only use

    with HOST[0].open("rb") as stream:
        found = list_members(stream, str(HOST[0]))
    names: set[str] = set()
    source = Source(io.BytesIO(HOST[0].read_bytes()))
    for part in found.archives:
        source.skip_zeros(Budget(2 << 30, 60))
        name = identify(source.peek(6))
        if part.compression == "" or name is None:
            pytest.skip("this machine's initramfs has an uncompressed part; cpio can't be shown its end")
        unpacked = b"".join(decompress(name, source, Budget(2 << 30, 60)))
        command = ["cpio", "-it", "--quiet"]
        output = subprocess.run(command, input=unpacked, stdout=subprocess.PIPE, check=True).stdout
        names |= set(output.decode("utf-8", "surrogateescape").splitlines())
    assert set(found.members) == names
