"""Blocks: every implementation gives the bytes of the file under it, or says that it can't."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgtool.disk.blocks import (
    BlockFile,
    Blocks,
    Cached,
    Extents,
    RawBlocks,
    ReadFailed,
    Slice,
    Striped,
    Unreadable,
    within,
)
from imgtool.errors import CannotRead


class Memory:
    """Blocks in memory that remember what was read, and cannot read `bad`."""

    def __init__(self, data: bytes, bad: range = range(0)) -> None:
        self.data = data
        self.bad = bad
        self.reads: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        within(self, offset, length)
        self.reads.append((offset, length))
        if offset < self.bad.stop and offset + length > self.bad.start:
            raise ReadFailed(offset, length, "bad")
        return self.data[offset : offset + length]


DATA = bytes(range(256)) * 40 + b"the end"


def test_raw_blocks_are_the_files_bytes_also_without_whole_sectors(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(DATA)
    with RawBlocks(path) as blocks:
        assert blocks.size == len(DATA)
        assert blocks.read(len(DATA) - 7, 7) == b"the end"
        assert blocks.read(5, 0) == b""


@pytest.mark.parametrize(
    ("offset", "length"), [(len(DATA), 1), (0, len(DATA) + 1), (-1, 1), (1, -1), (1 << 80, 1)]
)
def test_reading_outside_fails_with_the_range(tmp_path: Path, offset: int, length: int) -> None:
    path = tmp_path / "disk"
    path.write_bytes(DATA)
    with RawBlocks(path) as blocks, pytest.raises(ReadFailed) as failed:
        blocks.read(offset, length)
    assert (failed.value.offset, failed.value.length) == (offset, length)


def test_a_raw_file_cut_short_while_it_is_open_fails_instead_of_giving_less(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(DATA)
    with RawBlocks(path) as blocks:
        path.write_bytes(DATA[:100])
        with pytest.raises(ReadFailed):
            blocks.read(50, 100)


def test_a_file_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CannotRead, match="nothing can't be opened"):
        RawBlocks(tmp_path / "nothing")


def test_a_fixed_vhds_footer_is_not_part_of_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(DATA + b"conectix" * 64)
    with RawBlocks(path, size=len(DATA)) as blocks, pytest.raises(ReadFailed):
        blocks.read(len(DATA), 1)


def test_a_slice_past_the_end_of_its_disk_reads_what_is_there_and_fails_beyond() -> None:
    part = Slice(Memory(b"0123456789"), 4, 100)
    assert part.size == 100
    assert part.read(0, 6) == b"456789"
    with pytest.raises(ReadFailed):
        part.read(0, 7)
    with pytest.raises(ReadFailed):
        part.read(99, 2)


@given(st.data())
def test_extents_and_stripes_are_their_places_in_order(data: st.DataObject) -> None:
    pieces = data.draw(st.lists(st.binary(max_size=40), min_size=1, max_size=6))
    linear = Extents([(Memory(b"xx" + piece), 2, len(piece)) for piece in pieces])
    whole = b"".join(pieces)
    offset = data.draw(st.integers(0, len(whole)))
    length = data.draw(st.integers(0, len(whole) - offset))
    assert linear.read(offset, length) == whole[offset : offset + length]

    stripe, columns, rows = 4, len(pieces), 3
    content = bytes(range(stripe * columns * rows))
    chunks = [content[at : at + stripe] for at in range(0, len(content), stripe)]
    places = [(Memory(b"-" + b"".join(chunks[column::columns])), 1) for column in range(columns)]
    striped = Striped(list(places), stripe, len(content))
    offset = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, len(content) - offset))
    assert striped.read(offset, length) == content[offset : offset + length]


@given(
    st.integers(0, 700),
    st.lists(st.tuples(st.integers(0, 700), st.integers(0, 300)), max_size=20),
    st.integers(1, 8),
)
def test_cached_bytes_are_the_bytes(size: int, reads: list[tuple[int, int]], limit: int) -> None:
    data = bytes(number % 251 for number in range(size))
    cached = Cached(Memory(data), block=16, limit=16 * limit)
    for offset, length in reads:
        if offset + length <= size:
            assert cached.read(offset, length) == data[offset : offset + length]
        else:
            with pytest.raises(ReadFailed):
                cached.read(offset, length)


def test_the_cache_reads_a_block_once_and_keeps_to_its_limit() -> None:
    under = Memory(bytes(1000))
    cached = Cached(under, block=10, limit=50)
    for _ in range(3):
        cached.read(101, 5)
    assert under.reads == [(100, 10)]
    for block in (3, 30, 60, 90, 40):
        cached.read(block * 10, 10)
    cached.read(101, 5)
    assert under.reads.count((100, 10)) == 2
    assert sum(map(len, cached._kept.values())) <= 50


def test_sequential_reading_asks_for_more_and_more_at_once() -> None:
    under = Memory(bytes(40 * 1024 * 1024))
    cached = Cached(under)
    for offset in range(0, under.size, 4096):
        cached.read(offset, 4096)
    assert len(under.reads) < 50
    assert max(length for _, length in under.reads) <= 2 * 1024 * 1024


def test_scattered_reading_asks_for_nothing_more() -> None:
    under = Memory(bytes(8 * 1024 * 1024))
    cached = Cached(under)
    for block in (3, 90, 17, 55):
        cached.read(block * 65536 + 5, 10)
    assert [length for _, length in under.reads] == [65536] * 4


def test_damage_in_what_was_read_ahead_does_not_hurt_what_was_asked_for() -> None:
    under = Memory(bytes(200), bad=range(45, 46))
    cached = Cached(under, block=10, limit=200)
    assert b"".join(cached.read(offset, 10) for offset in range(0, 40, 10)) == bytes(40)
    with pytest.raises(ReadFailed):
        cached.read(40, 10)
    assert cached.read(50, 10) == bytes(10)


def test_a_read_larger_than_the_cache_is_not_kept() -> None:
    under = Memory(bytes(1000))
    cached = Cached(under, block=10, limit=100)
    assert cached.read(3, 900) == bytes(900)
    assert under.reads == [(3, 900)]


@given(st.binary(max_size=50), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8))
def test_a_block_file_reads_and_seeks_as_a_file_does(data: bytes, steps: list[tuple[int, int]]) -> None:
    ours, real = BlockFile(Memory(data)), io.BytesIO(data)
    for offset, length in steps:
        assert ours.seek(offset) == real.seek(offset)
        assert ours.read(length) == real.read(length)
        assert ours.tell() == ours.get_offset() == real.tell()
    assert ours.seek(0, 2) == real.seek(0, 2) == ours.get_size()
    assert ours.read() == b""
    with pytest.raises(OSError, match="Invalid"):
        ours.seek(-1)


def test_an_unreadable_volume_has_a_size_and_a_reason() -> None:
    blocks: Blocks = Unreadable(512, "it is thin")
    assert blocks.size == 512
    with pytest.raises(ReadFailed, match="it is thin"):
        blocks.read(0, 1)
