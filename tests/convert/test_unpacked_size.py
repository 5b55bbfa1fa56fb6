"""What a compressed file says of its size, and what it can't."""

from __future__ import annotations

import gzip
import lzma
import os
import subprocess
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgtool.convert.unpacked_size import GZIP_MODULUS, least_size

DATA = b"some text " * 50_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "packed"


@pytest.mark.parametrize(
    ("kind", "packed"),
    [
        ("gzip", gzip.compress(DATA)),
        ("xz", lzma.compress(DATA)),
        ("zstd", zstandard.ZstdCompressor().compress(DATA)),
    ],
    ids=[
        "gzip",
        "xz",
        "zstd",
    ],  # not their bytes: gzip's have the time in them, and are another's in each worker
)
def test_a_stream_says_its_size(kind: str, packed: bytes, path: Path) -> None:
    path.write_bytes(packed)
    assert least_size(kind, path, 1000) == len(DATA)


def test_the_blocks_of_an_xz_file_are_counted_together(path: Path) -> None:
    done = subprocess.run(["xz", "-c", "--block-size=100000"], input=DATA, capture_output=True, check=True)
    path.write_bytes(done.stdout)
    assert least_size("xz", path, 0) == len(DATA)


def test_gzip_knows_its_size_up_to_multiples_of_4_gib(path: Path) -> None:
    path.write_bytes(gzip.compress(DATA))
    assert least_size("gzip", path, len(DATA) + 1) == len(DATA) + GZIP_MODULUS
    assert least_size("gzip", path, 2 * GZIP_MODULUS) == len(DATA) + 2 * GZIP_MODULUS


def test_bzip2_and_a_zstd_stream_without_a_size_say_nothing(path: Path) -> None:
    packer = zstandard.ZstdCompressor().compressobj()
    path.write_bytes(packer.compress(DATA) + packer.flush())
    assert least_size("zstd", path, 0) is None
    assert least_size("bzip2", path, 0) is None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(("gzip", "xz", "zstd")), content=st.binary(max_size=64), end=st.booleans())
def test_no_content_makes_it_fail(kind: str, content: bytes, end: bool, path: Path) -> None:
    path.write_bytes(content + (lzma.compress(b"x" * 100)[-28:-12] if end else b"") + b"YZ" * end)
    said = least_size(kind, path, 10)
    assert said is None or said >= 10


def test_an_index_larger_than_any_is_not_read(path: Path) -> None:
    path.write_bytes(os.urandom(4096) + b"\0\0\0\0\xff\xff\xff\xff\0\1YZ")
    assert least_size("xz", path, 0) is None
