"""Names as Windows compares them, in the registry and on NTFS."""

from __future__ import annotations


def upper(name: str) -> str:
    """Folded character by character, each to one, as Windows' table of upper-case letters does."""
    if name.isascii():
        return name.upper()
    return "".join(folded if len(folded := each.upper()) == 1 else each for each in name)
