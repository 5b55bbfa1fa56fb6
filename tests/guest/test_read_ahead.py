"""A stream read one step ahead gives the same bytes, and the same failure."""

from __future__ import annotations

import io
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.disk.blocks import ReadFailed
from imgtool.guest.read_ahead import ReadAhead


@given(data=st.binary(max_size=400), piece=st.integers(1, 50))
@settings(max_examples=50)
def test_the_bytes_come_in_order_and_then_nothing(data: bytes, piece: int) -> None:
    with ReadAhead(io.BytesIO(data), piece) as ahead:
        assert b"".join(iter(lambda: ahead.read(1), b"")) == data
        assert ahead.read(1) == b""


class Damaged(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= 20:
            raise ReadFailed(20, 10, "made to fail")
        return super().read(size)


def test_a_failure_comes_where_it_happened() -> None:
    with ReadAhead(Damaged(bytes(100)), 10) as ahead:
        assert ahead.read(10) + ahead.read(10) == bytes(20)
        with pytest.raises(ReadFailed):
            ahead.read(10)
        assert ahead.read(10) == b""


def test_leaving_early_ends_the_thread() -> None:
    with ReadAhead(io.BytesIO(bytes(1000)), 1) as ahead:
        ahead.read(1)
    assert "read-ahead" not in {thread.name for thread in threading.enumerate()}
