"""The order of versions as rpm, dpkg and the boot loaders agree on it for kernels: numbers as numbers."""

from __future__ import annotations

import re

_PARTS = re.compile(r"[0-9]+|[a-zA-Z]+|~")


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts 5.9 before 5.10, 6.1~rc1 before 6.1, and letters before numbers (rpmvercmp)."""
    key: list[tuple[int, int, str]] = []
    for part in _PARTS.findall(version):
        if part == "~":
            key.append((0, 0, ""))
        elif part[0].isdigit():
            digits = part.lstrip("0")
            # numbers by length, then digit by digit: an image may name one of any length
            key.append((3, len(digits), digits))
        else:
            key.append((2, 0, part))
    return (*key, (1, 0, ""))
