"""Names as Windows compares them, in the registry and on NTFS."""

from __future__ import annotations


def upper(name: str) -> str:
    """Folded character by character, each to one, as Windows' table of upper-case letters does: what has a
    letter of its own there, such as the dotless i, does not become an ASCII one."""
    if name.isascii():
        return name.upper()
    return "".join(each.upper() if each.isascii() else _folded(each) for each in name)


def _folded(letter: str) -> str:
    other = letter.upper()
    return letter if len(other) != 1 or other.isascii() else other
