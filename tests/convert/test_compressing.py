"""Which clusters are compressed: whatever shrinks noticeably, and nothing that does not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.convert.compressing import _compressor, _may_shrink

CLUSTER = 65536
compress = _compressor(1)


def noise(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


def worth_it(cluster: bytes) -> bool:
    return _may_shrink(memoryview(cluster), compress)


@pytest.mark.parametrize("seed", range(20))
def test_random_data_is_not_compressed(seed: int) -> None:
    assert not worth_it(noise(CLUSTER, seed))


@settings(max_examples=60, deadline=None)
@given(start=st.integers(0, CLUSTER - 4096), seed=st.integers(0, 1000))
def test_4_kib_of_zeroes_among_random_data_are_seen_wherever_they_are(start: int, seed: int) -> None:
    data = noise(CLUSTER, seed)
    assert worth_it(data[:start] + bytes(4096) + data[start + 4096 :])


@pytest.mark.parametrize("values", [2, 64, 128, 160])
def test_data_of_few_values_is_compressed(values: int) -> None:
    chance = random.Random(values)
    assert worth_it(bytes(chance.choices(range(values), k=CLUSTER)))


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0.1, 1), seed=st.integers(0, 1000))
def test_random_data_with_text_in_it_is_compressed(share: float, seed: int) -> None:
    chance = random.Random(seed)
    lines = [b"the quick brown fox jumps over the lazy dog, and so on\n" * 20, *[noise(1100, seed)] * 4]
    data = b""
    while len(data) < CLUSTER:
        data += lines[0] if chance.random() < share else chance.randbytes(1100)
    assert worth_it(data[:CLUSTER]) or len(compress(memoryview(data[:CLUSTER]))) > CLUSTER * 0.95


@pytest.mark.parametrize("size", [512, 2048, 4096])
def test_small_clusters_are_judged_too(size: int) -> None:
    assert worth_it(bytes(range(64)) * (size // 64))
