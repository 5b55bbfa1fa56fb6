from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.errors import CannotRead
from imgtool.guest.architecture import elf_architecture, read_architecture, read_programs
from tests.guest.memory_tree import Link, MemoryTree
from tests.guest.owned_tree import elf


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (elf(0x3E), "x86_64"),
        (elf(0x3E, bits=32), "x32"),
        (elf(0x03, bits=32), "i386"),
        (elf(0xB7), "arm64"),
        (elf(0x28, bits=32), "arm"),
        (elf(0x16, big_endian=True), "s390x"),
        (elf(0x15, big_endian=True), "ppc64"),
        (elf(0x15), "ppc64le"),
        (elf(0x102), "loongarch64"),
        (elf(0x5E), "machine 94"),
        (b"#!/bin/sh\n" + bytes(40), None),
        (b"\x7fELF", None),
        (b"", None),
    ],
)
def test_the_machine_is_read_from_the_elf_header(header: bytes, name: str | None) -> None:
    assert elf_architecture(header) == name


def test_the_tests_own_python_is_what_it_is() -> None:
    import platform
    import sys

    known = {"x86_64": "x86_64", "aarch64": "arm64", "i686": "i386"}
    assert elf_architecture(Path(sys.executable).resolve().read_bytes()[:64]) == known[platform.machine()]


def test_links_are_followed_and_scripts_are_passed_over() -> None:
    tree = MemoryTree(
        {
            "/sbin/init": Link("../lib/systemd/systemd"),
            "/lib/systemd/systemd": elf(0xB7),
            "/bin/sh": b"#!/bin/busybox\n",
        }
    )
    assert [program.path for program in read_programs(tree)] == ["/sbin/init", "/lib/systemd/systemd"]  # type: ignore[arg-type]
    assert read_architecture(tree) == "arm64"  # type: ignore[arg-type]


def test_a_root_without_programs_has_no_architecture() -> None:
    with pytest.raises(CannotRead):
        read_architecture(MemoryTree({"/etc/hostname": "x"}))  # type: ignore[arg-type]


@given(st.binary(max_size=64))
@settings(max_examples=100)
def test_no_header_is_too_strange(data: bytes) -> None:
    elf_architecture(data)
    elf_architecture(b"\x7fELF" + data)
