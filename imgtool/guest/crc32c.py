"""CRC-32C (Castagnoli), with which ext4 and XFS seal their metadata."""

from __future__ import annotations

from functools import cache


@cache
def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


def crc32c(data: bytes, state: int = 0xFFFFFFFF) -> int:
    """The running CRC after `data`, not inverted at the end: ext4 keeps it so, XFS inverts it."""
    table = _table()
    for byte in data:
        state = (state >> 8) ^ table[(state ^ byte) & 0xFF]
    return state
