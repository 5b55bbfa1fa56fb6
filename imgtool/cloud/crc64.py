"""CRC-64/ECMA of a whole from those of its parts, so that parts may be read in any order and in parallel.

The arithmetic is that of zlib's crc32_combine: appending zeros to a message is a linear map of its checksum
over GF(2), and squaring that map doubles the number of zeros (https://github.com/madler/zlib, crc32.c).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

POLYNOMIAL = 0xC96C5795D7870F42  # ECMA-182, reflected
_BITS = 64
_Matrix = tuple[int, ...]


def combined(parts: Iterable[tuple[int, int]]) -> int:
    """The CRC-64 of parts one after the other, each given as (CRC-64, length in bytes)."""
    total = 0
    for crc, length in parts:
        total = _after_zeros(total, length) ^ crc
    return total


def _after_zeros(crc: int, length: int) -> int:
    """The checksum register after `length` more bytes of zeros."""
    power = 0
    while length:
        if length & 1:
            crc = _times(_zeros(power), crc)
        length >>= 1
        power += 1
    return crc


@cache
def _zeros(power: int) -> _Matrix:
    """The map for 2^power zero bytes."""
    if power:
        half = _zeros(power - 1)
        return tuple(_times(half, column) for column in half)
    one_bit: _Matrix = (POLYNOMIAL, *(1 << bit for bit in range(_BITS - 1)))
    for _ in range(3):  # one bit, two, four, eight
        one_bit = tuple(_times(one_bit, column) for column in one_bit)
    return one_bit


def _times(matrix: _Matrix, vector: int) -> int:
    total = 0
    for column in matrix:
        if not vector:
            break
        if vector & 1:
            total ^= column
        vector >>= 1
    return total
