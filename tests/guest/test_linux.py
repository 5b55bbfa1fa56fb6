"""The facts of a Linux guest that are read in a way of their own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from imgtool.errors import CannotRead
from imgtool.guest.initramfs import DamagedInitramfs
from imgtool.guest.linux import LinuxGuest
from tests.guest.memory_tree import MemoryTree
from tests.guest.test_compression import packed
from tests.guest.test_cpio import newc

INITRD = "/boot/initrd.img"


def guest(content: bytes, bears_threads: bool = True) -> LinuxGuest:
    tree: Any = MemoryTree({INITRD: content})
    tree.bears_threads = lambda path: bears_threads and tree.is_file(path)
    disk: Any = SimpleNamespace(blocks=SimpleNamespace(bears_processes=False))
    return LinuxGuest(SimpleNamespace(tree=tree), disk)  # type: ignore[arg-type]


@pytest.mark.parametrize("bears_threads", [True, False])
@pytest.mark.parametrize("compression", ["gzip", "zstd", "xz"])
def test_an_initramfs_unpacked_in_the_background_is_the_same(compression: str, bears_threads: bool) -> None:
    content = packed(compression, newc(("lib/modules/6.1.0/virtio.ko", b"\x7fELF"), ("init", b"#!/bin/sh")))
    plain, ahead = guest(content), guest(content, bears_threads)
    ahead.begin_initramfs(INITRD)
    ahead.begin_initramfs(INITRD)
    assert ahead.initramfs(INITRD) == plain.initramfs(INITRD)
    assert ahead.initramfs(INITRD) is ahead.initramfs(INITRD)


def test_a_damaged_initramfs_is_told_to_who_asks_for_it() -> None:
    damaged = guest(packed("zstd", newc(("init", bytes(1000))))[:-20])
    damaged.begin_initramfs(INITRD)
    for _ in range(2):
        with pytest.raises(DamagedInitramfs):
            damaged.initramfs(INITRD)


def test_a_guest_that_is_closed_stops_what_it_began() -> None:
    bomb = guest(packed("gzip", bytes(256 << 20)))
    bomb.begin_initramfs(INITRD)
    bomb.close()
    with pytest.raises(CannotRead, match="too long"):
        bomb.initramfs(INITRD)
