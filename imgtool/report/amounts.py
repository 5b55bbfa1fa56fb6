"""Amounts as people say them."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: int) -> str:
    """Bytes as people say them: 4 GiB, 539.5 MiB."""
    power = min((max(count, 1).bit_length() - 1) // 10, len(_UNITS) - 1)
    return f"{count / 1024**power:.1f}".removesuffix(".0") + f" {_UNITS[power]}"
