"""A profile's TOML file with the line of each key, which tomllib does not tell; and errors that name them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from imgtool.errors import UsageError
from imgtool.records import dataclass
from imgtool.text import Text

KeyPath = tuple[str, ...]

MAX_FILE = 1 << 20

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE = re.compile(rf"^\s*\[\[?\s*({_DOTTED})\s*\]\]?\s*(?:#.*)?$")
_ASSIGNMENT = re.compile(rf"^\s*({_DOTTED})\s*=")


@dataclass(frozen=True)
class ProfileFile:
    """One file: its values, the line of each key path and table (from 1), and its lines."""

    path: Path
    values: dict[str, Any]
    lines: dict[KeyPath, int]
    text: tuple[str, ...]

    def line(self, path: KeyPath, value: object = None) -> int | None:
        """The line of a key, of `value` in its array, or of the nearest table around a key not written."""
        while path:
            start = self.lines.get(path)
            if start is not None:
                return self._line_of_element(start, value) if isinstance(value, str) else start
            path, value = path[:-1], None
        return None

    def _line_of_element(self, start: int, value: str) -> int:
        end = min((line for line in self.lines.values() if line > start), default=len(self.text) + 1)
        quoted = (f'"{value}"', f"'{value}'")
        for number in range(start, end):
            if any(word in self.text[number - 1] for word in quoted):
                return number
        return start


def read_profile_file(path: Path) -> ProfileFile:
    """Read and parse one file. Raises UsageError naming the file, and the line of a syntax error."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            raise mistake(
                path, None, Text(en="it is no profile: larger than 1 MiB", zh="超过 1 MiB，不是配置")
            )
        text = content.decode("utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise mistake(path, None, Text.same(reason)) from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise mistake(path, line, Text(en="this is not UTF-8 text", zh="不是 UTF-8 文本")) from error
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = int(found.group(1)) if found else text.count("\n") + 1
        reason = re.sub(r"\s*\(at .*\)$", "", str(error))
        raise mistake(path, line, Text(en=f"not TOML: {reason}", zh=f"不符合 TOML 语法：{reason}")) from error
    rows = tuple(text.splitlines())
    return ProfileFile(path, values, _key_lines(rows), rows)


def _key_lines(rows: Iterable[str]) -> dict[KeyPath, int]:
    table: KeyPath = ()
    lines: dict[KeyPath, int] = {}
    for number, row in enumerate(rows, start=1):
        if found := _TABLE.match(row):
            table = _split(found.group(1))
            for depth in range(1, len(table) + 1):
                lines.setdefault(table[:depth], number)
        elif found := _ASSIGNMENT.match(row):
            lines.setdefault(table + _split(found.group(1)), number)
    return lines


def _split(dotted: str) -> KeyPath:
    return tuple(part.strip("\"'") for part in re.findall(_KEY, dotted))


def mistake(path: Path, line: int | None, what: Text) -> UsageError:
    """A UsageError that says what is wrong at which line of which profile file."""
    place = f"{path}:{line}" if line else str(path)
    ends = ("", "") if what.en.endswith("?") else (".", "。")
    return UsageError(
        Text(en=f"Profile {place}: {what.en}{ends[0]}", zh=f"配置文件 {place}：{what.zh}{ends[1]}")
    )


def nearest(word: str, known: Iterable[str]) -> Text:
    """A clause that offers the known word nearest to a wrong one, or lists them all."""
    from difflib import get_close_matches

    known = sorted(known)
    close = get_close_matches(word, known, n=1)
    if close:
        return Text(en=f"; did you mean {close[0]!r}?", zh=f"；是否应为 {close[0]!r}？")
    listed = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    return Text(en=f"; known are: {listed}", zh=f"；可用的有：{listed}") if known else Text.same("")
