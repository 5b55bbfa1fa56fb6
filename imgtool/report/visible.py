"""Text from an image made harmless to show: what a terminal would obey is spelled out instead."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# Control characters (C0, DEL, C1), line and paragraph separators, marks that change the direction of the text
# around them ("Trojan Source", CVE-2021-42574), lone surrogates, the byte order mark and tag characters.
UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    """One or more lines that a terminal only shows: a tab is a space, other controls are \\xNN or \\uNNNN."""
    return UNSAFE.sub(_spelled, text.replace("\r\n", "\n").replace("\t", " "))


def one_line(text: str) -> str:
    """The same, with line ends spelled out as well."""
    return visible(text).replace("\n", "\\n")


def _spelled(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cells(text: str) -> int:
    """How many columns of a terminal a text takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(_cells_of(character) for character in text)


def _cells_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


# No line begins with a closing mark, nor ends with an opening one.
_CLOSING = "，。、；：！？）》」』】〉”’…—,.;:!?)]}%"
_OPENING = "（《「『【〈“‘([{"
# A line may end between any two units: a run without wide characters and spaces, or one wide character.
_UNIT = re.compile(
    r"\s+|[^\s\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef"
    r"\U0001f000-\U0003ffff]+|."
)


def wrapped(text: str, width: int) -> list[str]:
    """A paragraph in lines of at most `width` columns. A word that is longer (a path, a UUID) stays whole."""
    lines: list[str] = []
    line, gap = "", ""
    for unit in _units(text):
        if unit.isspace():
            gap = " " if line else ""
        elif line and cells(line) + len(gap) + cells(unit) > width:
            lines.append(line)
            line, gap = unit, ""
        else:
            line, gap = line + gap + unit, ""
    return [*lines, line] if line or not lines else lines


def packed(parts: Iterable[str], width: int) -> list[str]:
    """Texts in lines of at most `width` columns, " · " between them; only longer ones are broken."""
    lines: list[str] = []
    for part in parts:
        if lines and cells(lines[-1]) + 3 + cells(part) <= width:
            lines[-1] += f" · {part}"
        else:
            lines += wrapped(part, width)
    return lines


def _units(text: str) -> list[str]:
    units: list[str] = []
    for unit in _UNIT.findall(text):
        before = units[-1] if units else " "
        if not before.isspace() and (unit[0] in _CLOSING or before[-1] in _OPENING):
            units[-1] += unit
        else:
            units.append(unit)
    return units
