"""Each compression, made by the real tool, comes back whole and in bounded pieces; damage is told, not
guessed."""

from __future__ import annotations

import contextlib
import io
import random
import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgtool.errors import CannotRead
from imgtool.guest import compression
from imgtool.guest.compression import Budget, DamagedStream, Source, TooLong, decompress, identify

TOOLS = {
    "gzip": ("gzip", "-c"),
    "xz": ("xz", "-c", "--check=crc32"),
    "zstd": ("zstd", "-q", "-c"),
    "lz4": ("lz4", "-l", "-c"),
    "lzma": ("xz", "--format=lzma", "-c"),
    "bzip2": ("bzip2", "-c"),
}
ENDED = [name for name in TOOLS if name != "lz4"]  # those whose streams end by themselves


def packed(name: str, data: bytes) -> bytes:
    return subprocess.run(TOOLS[name], input=data, stdout=subprocess.PIPE, check=True).stdout


def unpacked(data: bytes, budget: Budget | None = None) -> tuple[bytes, Source]:
    source = Source(io.BytesIO(data))
    name = identify(source.peek(compression.LONGEST_MAGIC))
    assert name is not None
    return b"".join(decompress(name, source, budget or Budget(1 << 30, 60))), source


@pytest.fixture(scope="module")
def content() -> bytes:
    """Some megabytes, half of them hard to compress."""
    noise = random.Random(1)
    return b"".join(noise.randbytes(50_000) + bytes([n]) * 60_000 for n in range(40))


@pytest.mark.parametrize("name", TOOLS)
def test_the_real_tool_s_output_comes_back(name: str, content: bytes) -> None:
    assert unpacked(packed(name, content))[0] == content


@pytest.mark.parametrize("name", TOOLS)
def test_an_empty_stream_gives_nothing(name: str) -> None:
    assert unpacked(packed(name, b""))[0] == b""


@pytest.mark.parametrize("name", ENDED)
def test_a_stream_is_taken_to_its_end_and_no_further(name: str, content: bytes) -> None:
    data, source = unpacked(packed(name, content) + b"what follows")
    assert data == content
    assert source.take(100) == b"what follows"
    assert source.offset == len(packed(name, content)) + len(b"what follows")


def test_legacy_lz4_ends_at_zero_bytes(content: bytes) -> None:
    data, source = unpacked(packed("lz4", content) + bytes(8))
    assert data == content
    assert source.take(100) == bytes(8)


def test_legacy_lz4_goes_on_over_a_second_magic(content: bytes) -> None:
    assert unpacked(packed("lz4", content) * 2)[0] == content * 2


def test_what_follows_legacy_lz4_is_taken_for_a_block_as_the_kernel_does(content: bytes) -> None:
    with pytest.raises(DamagedStream):
        unpacked(packed("lz4", content) + b"070701")


@pytest.mark.parametrize("name", TOOLS)
def test_a_stream_cut_short_is_damaged(name: str, content: bytes) -> None:
    whole = packed(name, content)
    with pytest.raises(DamagedStream):
        unpacked(whole[: len(whole) * 2 // 3])


@pytest.mark.parametrize("name", TOOLS)
def test_a_bomb_stops_at_the_budget_in_bounded_pieces(name: str) -> None:
    zeros = packed(name, bytes(64 << 20))
    source = Source(io.BytesIO(zeros))
    largest = 0
    with pytest.raises(TooLong):  # noqa: PT012 - the loop is what must end
        for piece in decompress(name, source, Budget(20 << 20, 60)):
            largest = max(largest, len(piece))
    assert 0 < largest <= compression.LARGEST_PIECE


def test_time_is_bounded_as_well() -> None:
    with pytest.raises(TooLong):
        unpacked(packed("gzip", bytes(100)), Budget(1 << 30, -1))


def test_waiting_on_a_busy_machine_costs_nothing_and_work_does() -> None:
    budget = Budget(1 << 30, 0.05)
    budget.begin()
    time.sleep(0.06)  # what another process's turn looks like from here
    budget.spend(1)
    until = time.thread_time() + 0.06
    while time.thread_time() < until:
        pass
    with pytest.raises(TooLong):
        budget.spend(1)


def test_what_a_thread_does_between_two_turns_is_not_counted() -> None:
    budget = Budget(1 << 30, 0.02)
    budget.spend(1)
    until = time.thread_time() + 0.03
    while time.thread_time() < until:
        pass
    budget.begin()
    budget.spend(1)


def test_zeros_between_archives_are_counted() -> None:
    class Holes:
        def read(self, length: int, /) -> bytes:
            return bytes(length)

    with pytest.raises(TooLong):
        Source(Holes()).skip_zeros(Budget(64 << 20, 60))


def test_zstd_with_many_threads_and_a_long_window_comes_back(content: bytes) -> None:
    long = subprocess.run(
        ["zstd", "-q", "-c", "--ultra", "-20", "--long=27", "-T2"],
        input=content,
        capture_output=True,
        check=True,
    ).stdout
    assert unpacked(long)[0] == content


def test_a_zstd_window_beyond_the_kernel_s_limit_is_refused() -> None:
    # frame header: magic, descriptor 0, window 2^(10+21) bytes, then one empty last block
    with pytest.raises(DamagedStream, match="window"):
        unpacked(compression.ZSTD_MAGIC + bytes([0, 21 << 3]) + b"\x01\x00\x00")


def test_lzo_is_named_as_what_there_is_no_decoder_for() -> None:
    with pytest.raises(CannotRead, match="lzo"):
        unpacked(b"\x89LZO\0\r\n\x1a\n")


def test_nothing_else_is_taken_for_a_compression() -> None:
    for head in (b"", b"070701", b"\x04\x22\x4d\x18", b"MZ\0\0", b"PK\x03\x04", bytes(6)):
        assert identify(head) is None


@given(st.sampled_from(sorted(TOOLS)), st.binary(max_size=200), st.data())
def test_no_damage_gets_out_as_another_error(name: str, content: bytes, data: st.DataObject) -> None:
    whole = bytearray(packed_small(name, content))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    source = Source(io.BytesIO(bytes(whole)))
    try:
        for piece in decompress(name, source, Budget(64 << 20, 60)):
            assert len(piece) <= compression.LARGEST_PIECE
    except CannotRead:
        pass


def packed_small(name: str, data: bytes) -> bytes:
    """As packed(), in process: thousands of children would take long. The formats are the same."""
    import bz2
    import gzip
    import lzma

    import lz4.block
    import zstandard

    if name == "lz4":
        block = lz4.block.compress(data, store_size=False)
        return compression.LZ4_MAGIC + len(block).to_bytes(4, "little") + block
    return {
        "gzip": gzip.compress,
        "xz": lzma.compress,
        "lzma": lambda it: lzma.compress(it, format=lzma.FORMAT_ALONE),
        "bzip2": bz2.compress,
        "zstd": zstandard.ZstdCompressor().compress,
    }[name](data)


@given(st.binary(max_size=64))
def test_any_bytes_behind_a_magic_are_either_decoded_or_damaged(rest: bytes) -> None:
    for magic in (
        b"\x1f\x8b\x08",
        b"\xfd7zXZ\0",
        compression.ZSTD_MAGIC,
        compression.LZ4_MAGIC,
        b"]\0\0",
        b"BZh9",
    ):
        with contextlib.suppress(CannotRead):
            unpacked(magic + rest, Budget(64 << 20, 60))


@given(st.binary(max_size=3000), st.lists(st.integers(1, 700), max_size=30))
def test_a_source_gives_its_stream_in_order_whatever_is_asked(data: bytes, lengths: list[int]) -> None:
    source = Source(io.BytesIO(data))
    taken = b""
    for length in lengths:
        ahead = source.peek(length)
        piece = source.take(length)
        assert piece == ahead
        keep = len(piece) // 2
        source.give_back(piece[keep:])
        taken += piece[:keep]
        assert source.offset == len(taken)
    while piece := source.piece():
        taken += piece
    assert taken == data
