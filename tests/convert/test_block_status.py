"""Block status and structured replies of an NBD server, and what becomes of servers that get them wrong."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.disk.blocks import ReadFailed
from imgtool.disk.nbd import NbdBlocks, ServerFailed
from tests.disk.test_nbd import ACK, EXPORT, HELLO, Script, connected

SIZE = 4096  # of EXPORT
CONTEXT = 7
REPLY = (0x3E889045565A9).to_bytes(8, "big")
STRUCTURED = REPLY + (8).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes(4)
UNKNOWN_OPTION = REPLY + (8).to_bytes(4, "big") + (0x80000001).to_bytes(4, "big") + bytes(4)
NAMED = (
    REPLY
    + (10).to_bytes(4, "big")
    + (4).to_bytes(4, "big")
    + (19).to_bytes(4, "big")
    + CONTEXT.to_bytes(4, "big")
    + b"base:allocation"
)
HAS_IT = HELLO + STRUCTURED + NAMED + ACK + EXPORT + ACK


def chunk(kind: int, data: bytes, *, last: bool = True, handle: int = 1, length: int | None = None) -> bytes:
    """One chunk of a structured reply."""
    size = len(data) if length is None else length
    head = (0x668E33EF).to_bytes(4, "big") + int(last).to_bytes(2, "big") + kind.to_bytes(2, "big")
    return head + handle.to_bytes(8, "big") + size.to_bytes(4, "big") + data


def status(*ranges: tuple[int, int], context: int = CONTEXT) -> bytes:
    """The content of a status chunk: (length, flags)."""
    return context.to_bytes(4, "big") + b"".join(
        length.to_bytes(4, "big") + flags.to_bytes(4, "big") for length, flags in ranges
    )


def at(offset: int, data: bytes) -> bytes:
    """The content of a data chunk."""
    return offset.to_bytes(8, "big") + data


def saying(answer: bytes, before: bytes = HAS_IT) -> Script:
    """A server that answers the first request so, and then ends."""

    def script(peer: socket.socket) -> None:
        peer.sendall(before + answer)
        peer.shutdown(socket.SHUT_WR)
        while peer.recv(4096):
            pass

    return script


def test_ranges_are_told_with_what_reads_as_zeroes() -> None:
    answer = chunk(5, status((1024, 0), (1024, 3), (1024, 1), (1024, 2)))
    with connected(saying(answer)) as ours, NbdBlocks(ours, allocation=True) as blocks:
        # a hole that is not said to read as zeroes may hold anything
        assert blocks.zeroes(0) == [(1024, False), (1024, True), (1024, False), (1024, True)]


@pytest.mark.parametrize(
    "before",
    [HELLO + UNKNOWN_OPTION + EXPORT + ACK, HELLO + STRUCTURED + ACK + EXPORT + ACK, HELLO + EXPORT + ACK],
)
def test_without_block_status_all_is_data(before: bytes) -> None:
    with (
        connected(saying(b"", before)) as ours,
        NbdBlocks(ours, allocation=before[18:] != EXPORT + ACK) as blocks,
    ):
        assert blocks.zeroes(1024) == [(3072, False)]


WRONG = {
    "nothing": b"",
    "no chunk": bytes(20),
    "cut short": chunk(5, status((4096, 0)))[:-1],
    "another's handle": chunk(5, status((4096, 0)), handle=9),
    "no range": chunk(5, status()),
    "an empty range": chunk(5, status((0, 0), (4096, 0))),
    "half a range": chunk(5, status((4096, 0)) + b"\0\0\0\0"),
    "a huge chunk": chunk(5, status((4096, 0)), length=0xFFFFFFFC),
    "another context": chunk(5, status((4096, 0), context=8)),
    "data instead": chunk(1, at(0, bytes(4096))),
    "only an end": chunk(0, b""),
    "an end with content": chunk(0, b"1234"),
    "a simple reply": (0x67446698).to_bytes(4, "big") + bytes(4) + (1).to_bytes(8, "big") + bytes(99),
    "a huge error": chunk(0x8001, bytes(6), length=1 << 30),
    "no last chunk": chunk(5, status((4096, 0)), last=False),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_block_status_fails_it_and_every_later_read(name: str) -> None:
    with connected(saying(WRONG[name])) as ours, NbdBlocks(ours, allocation=True) as blocks:
        with pytest.raises(ReadFailed):
            blocks.zeroes(0)
        with pytest.raises(ReadFailed):
            blocks.read(0, 512)


def test_chunks_come_in_any_order_with_holes() -> None:
    answer = chunk(1, at(1024, b"b" * 512), last=False)
    answer += chunk(2, at(1536, (512).to_bytes(4, "big")), last=False)
    answer += chunk(1, at(512, b"a" * 512), last=False) + chunk(0, b"")
    with connected(saying(answer)) as ours, NbdBlocks(ours, allocation=True) as blocks:
        assert blocks.read(512, 1536) == b"a" * 512 + b"b" * 512 + bytes(512)


@pytest.mark.parametrize(
    "answer",
    [
        chunk(1, at(0, bytes(511))),
        chunk(1, at(0, bytes(513))),
        chunk(1, at(1, bytes(512))),
        chunk(1, at((1 << 64) - 1, bytes(512))),
        chunk(2, at(0, (1024).to_bytes(4, "big"))),
        chunk(2, at(0, bytes(9))),
        chunk(1, bytes(7)),
        chunk(9, at(0, bytes(512))),
        chunk(1, b"", length=0xFFFFFFFF),
    ],
)
def test_data_that_was_not_asked_for_fails_the_read(answer: bytes) -> None:
    with (
        connected(saying(answer)) as ours,
        NbdBlocks(ours, allocation=True) as blocks,
        pytest.raises(ReadFailed),
    ):
        blocks.read(0, 512)


def test_after_an_error_of_the_disk_the_connection_goes_on() -> None:
    error = chunk(0x8001, (5).to_bytes(4, "big") + (2).to_bytes(2, "big") + b"no")
    answer = error + chunk(1, at(0, b"x" * 512), handle=2)
    with connected(saying(answer)) as ours, NbdBlocks(ours, allocation=True) as blocks:
        with pytest.raises(ReadFailed, match="QEMU"):
            blocks.zeroes(0)
        assert blocks.read(0, 512) == b"x" * 512


@given(st.binary(max_size=120))
@settings(max_examples=60, deadline=None)
def test_no_answer_is_anything_but_a_failed_read_or_ranges(answer: bytes) -> None:
    with (
        connected(saying(chunk(5, answer)[:20] + answer)) as ours,
        NbdBlocks(ours, allocation=True) as blocks,
    ):
        try:
            told = blocks.zeroes(0)
        except ReadFailed:
            return
        assert told
        assert all(length > 0 for length, _ in told)


@pytest.mark.parametrize("before", [HELLO + STRUCTURED + NAMED * 100, HELLO + STRUCTURED, HELLO + b"\0" * 40])
def test_a_server_that_does_not_come_to_the_point_is_refused(before: bytes) -> None:
    with connected(saying(b"", before)) as ours, pytest.raises(ServerFailed):
        NbdBlocks(ours, allocation=True)
