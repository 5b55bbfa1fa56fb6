"""Digests of a file, made bit by bit."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgtool.convert.crc64 import crc64_function
from imgtool.convert.digests import FileDigests

MIB = 1 << 20


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(0, 5 * MIB), share=st.one_of(st.none(), st.floats(0, 1)))
def test_they_are_the_whole_files_wherever_it_was_final_first(
    size: int, share: float | None, tmp_path: Path
) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    (tmp_path / "file").write_bytes(content)
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    with FileDigests(descriptor) as digests:
        if share is not None:
            digests.begin(int(size * share))
        sha256, crc64 = digests.finish(size)
    os.close(descriptor)
    whole = crc64_function()
    assert whole is not None
    assert (sha256, crc64) == (hashlib.sha256(content).hexdigest(), whole(content, 0))


def test_a_file_that_became_shorter_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1000))
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    with FileDigests(descriptor) as digests:
        digests.begin(2000)
        with pytest.raises(OSError, match="shorter"):
            digests.finish(2000)
    os.close(descriptor)


def test_leaving_ends_the_threads(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(4 << 30)
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    before = threading.active_count()
    with FileDigests(descriptor) as digests:
        digests.begin(4 << 30)
    assert threading.active_count() == before
    os.close(descriptor)
