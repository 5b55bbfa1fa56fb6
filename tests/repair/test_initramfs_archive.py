"""What is put behind an initramfs is unpacked with it, whatever its compression."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgtool.guest.initramfs import list_members
from imgtool.repair.initramfs_archive import Member, addition, archive
from tests.guest.test_compression import packed
from tests.guest.test_cpio import newc

COMPRESSIONS = ("", "gzip", "xz", "zstd", "lz4", "lzma", "bzip2")
MEMBERS = (
    Member("conf", None),
    Member("conf/modules", b"virtio_blk\n"),
    Member("conf/hook", b"#!/bin/sh\n", 0o755),
)


def grown(before: bytes, made: bytes) -> bytes:
    listed = list_members(io.BytesIO(before), "initrd")
    added = addition(made, io.BytesIO(before), len(before), listed)
    return before[: added.keep] + added.content


def test_cpio_unpacks_it_with_names_modes_and_contents(tmp_path: Path) -> None:
    command = ["cpio", "-idm", "--quiet", "--no-absolute-filenames"]
    subprocess.run(command, input=archive(MEMBERS), cwd=tmp_path, check=True)
    assert (tmp_path / "conf/modules").read_bytes() == b"virtio_blk\n"
    assert (tmp_path / "conf/modules").stat().st_mode & 0o7777 == 0o644
    assert (tmp_path / "conf/hook").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("early", [b"", newc(("kernel/x86/microcode/x.bin", b"code"))])
def test_what_is_behind_counts_and_what_was_before_stays(compression: str, early: bytes) -> None:
    main = newc(("init", b"#!/bin/sh\n"), ("conf/modules", b"\n"))
    before = early + (packed(compression, main) if compression else main)
    after = list_members(io.BytesIO(grown(before, archive(MEMBERS))), "initrd", keep=("conf/modules", "init"))
    assert after.kept == {"conf/modules": b"virtio_blk\n", "init": b"#!/bin/sh\n"}
    assert after.tail is None


def test_an_lz4_stream_stays_one_stream_that_lz4_itself_reads(tmp_path: Path) -> None:
    main = newc(("init", b"#!/bin/sh\n" * 1000))
    (tmp_path / "x.lz4").write_bytes(grown(packed("lz4", main), archive(MEMBERS)))
    unpacked = subprocess.run(["lz4", "-dc", tmp_path / "x.lz4"], capture_output=True, check=True).stdout
    assert unpacked == main + archive(MEMBERS)


def test_zeros_behind_an_lz4_stream_do_not_stand_between(tmp_path: Path) -> None:
    before = packed("lz4", newc(("init", b"x"))) + bytes(512)
    after = list_members(io.BytesIO(grown(before, archive(MEMBERS))), "initrd")
    assert "conf/modules" in after.members


def test_rubbish_behind_the_last_archive_goes_since_the_kernel_stops_there() -> None:
    before = packed("gzip", newc(("init", b"x"))) + b"rubbish that is no archive"
    after = list_members(io.BytesIO(grown(before, archive(MEMBERS))), "initrd")
    assert "conf/modules" in after.members
    assert after.tail is None


@given(st.lists(st.tuples(st.text("abcxyz/", min_size=1, max_size=30), st.binary(max_size=300)), max_size=20))
def test_any_names_and_contents_come_back(files: list[tuple[str, bytes]]) -> None:
    members = {name.strip("/"): content for name, content in files if name.strip("/")}
    made = archive(Member(name, content) for name, content in members.items())
    assert len(made) % 4 == 0
    if members:
        listed = list_members(io.BytesIO(made), "initrd", keep=members)
        assert listed.kept == {name: data for name, data in members.items() if data}
