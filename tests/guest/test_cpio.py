"""cpio archives, made by the real cpio, are listed as the kernel would unpack them, however they are cut in
pieces."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgtool.guest import cpio
from imgtool.guest.cpio import DamagedArchive, Member, Reader


def archive(folder: Path, form: str = "newc") -> bytes:
    """All of a folder, packed by cpio in a fixed order."""
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return subprocess.run(
        ["cpio", "-o", "-H", form, "--quiet", "--reproducible"],
        input="\n".join(names).encode(),
        cwd=folder,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout


def newc(*members: tuple[str, bytes]) -> bytes:
    """A small archive written by hand, for contents that no folder can have; ends with the trailer."""
    packed = b""
    for name, data in (*members, (cpio.TRAILER, b"")):
        raw = name.encode("utf-8", "surrogateescape") + b"\0"
        fields = (0, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        packed += b"070701" + b"".join(b"%08X" % field for field in fields) + raw
        packed += bytes(-len(packed) % 4) + data
        packed += bytes(-len(packed) % 4)
    return packed


def listed(data: bytes, cut: int = 1 << 20) -> list[Member]:
    reader = Reader()
    for at in range(0, len(data), cut):
        reader.feed(data[at : at + cut])
    reader.finish()
    return reader.members


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    (root / "lib" / "modules").mkdir(parents=True)
    (root / "lib" / "modules" / "virtio.ko").write_bytes(b"module" * 1000)
    (root / "init").write_text("#!/bin/sh\n")
    (root / "empty").touch()
    os.symlink("init", root / "linuxrc")
    os.link(root / "init", root / "sbin-init")
    (root / "名前").write_bytes(b"x")
    return root


@pytest.mark.parametrize("form", ["newc", "crc"])
@pytest.mark.parametrize("cut", [1, 7, 111, 4096, 1 << 20])
def test_every_member_is_listed_wherever_the_pieces_end(folder: Path, form: str, cut: int) -> None:
    members = {member.name: member for member in listed(archive(folder, form), cut)}
    assert set(members) == {
        "empty",
        "init",
        "lib",
        "lib/modules",
        "lib/modules/virtio.ko",
        "linuxrc",
        "sbin-init",
        "名前",
    }
    assert members["lib/modules/virtio.ko"].size == 6000
    assert members["lib/modules/virtio.ko"].is_file
    assert members["linuxrc"].is_link
    assert not members["lib"].is_file
    assert not members["empty"].is_file
    assert members["init"].is_file
    assert members["sbin-init"].is_file


def test_leading_dots_and_slashes_are_no_part_of_a_name() -> None:
    assert [member.name for member in listed(newc(("./init", b""), ("/etc/x", b""), (".config", b"")))] == [
        "init",
        "etc/x",
        ".config",
    ]


def test_archives_follow_each_other_with_zero_bytes_between() -> None:
    data = newc(("a", b"1")) + bytes(400) + newc(("b", b"2")) + bytes(512)
    assert [member.name for member in listed(data, 13)] == ["a", "b"]


def test_an_archive_that_does_not_begin_on_a_multiple_of_four_is_refused_as_by_the_kernel() -> None:
    with pytest.raises(DamagedArchive):
        listed(newc(("a", b"1")) + bytes(2) + newc(("b", b"2")))


def test_an_archive_without_trailer_is_cut_short(folder: Path) -> None:
    whole = archive(folder)
    for length in (1, 50, 200, len(whole) // 2, whole.index(b"TRAILER!!!") - 110):
        with pytest.raises(DamagedArchive):
            listed(whole[:length])


def test_names_longer_than_the_kernel_s_limit_are_passed_over() -> None:
    assert [member.name for member in listed(newc(("a" * 5000, b"data"), ("b", b"2")))] == ["b"]


def test_a_size_near_four_gigabytes_is_stepped_over_without_memory() -> None:
    data = bytearray(newc(("big", b"")))
    data[6 + 6 * 8 : 6 + 7 * 8] = b"FFFFFFF0"
    reader = Reader(keep=lambda name: True)
    reader.feed(bytes(data))
    piece = bytes(8 << 20)
    for _ in range(500):
        reader.feed(piece)
    assert reader.members[0].size == 0xFFFFFFF0
    assert not reader.kept


def test_kept_data_comes_back_however_it_is_cut() -> None:
    data = newc(("a", b"1" * 999), ("wanted", b"content" * 777), ("c", b""))
    for cut in (1, 1000, 1 << 20):
        reader = Reader(keep=lambda name: name == "wanted")
        for at in range(0, len(data), cut):
            reader.feed(data[at : at + cut])
        reader.finish()
        assert reader.kept == {"wanted": b"content" * 777}
        assert [member.name for member in reader.members] == ["a", "wanted", "c"]


def test_a_reader_that_stops_leaves_what_follows_the_trailer() -> None:
    whole = newc(("a", b"1"))
    used = Reader().feed(whole + b"\x1f\x8bnot cpio", stop=True)
    assert (whole + b"\x1f\x8bnot cpio")[used:].lstrip(b"\0") == b"\x1f\x8bnot cpio"


def test_more_members_than_any_real_archive_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpio, "MOST_MEMBERS", 10)
    with pytest.raises(DamagedArchive):
        listed(newc(*((str(n), b"") for n in range(11))))


NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=30)), max_size=8), st.integers(1, 60))
def test_what_was_packed_is_listed(members: list[tuple[str, bytes]], cut: int) -> None:
    members = [(name, data) for name, data in members if name != cpio.TRAILER]
    assert [(it.name, it.size) for it in listed(newc(*members), cut)] == [
        (name, len(data)) for name, data in members
    ]


@given(st.binary(max_size=400), st.integers(1, 60))
def test_any_bytes_are_listed_or_refused(data: bytes, cut: int) -> None:
    with contextlib.suppress(DamagedArchive):
        listed(data, cut)


@given(st.data())
def test_a_damaged_header_is_listed_or_refused(data: st.DataObject) -> None:
    whole = bytearray(newc(("a", b"12345"), ("b", b"")))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DamagedArchive):
        listed(bytes(whole), data.draw(st.integers(1, 300)))
