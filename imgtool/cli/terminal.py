"""What the terminal can do and what the person wants of it."""

from __future__ import annotations

import os
import shutil

PIPE_WIDTH = 100


def colour_wanted(is_terminal: bool, no_color: bool) -> bool:
    """Colours on a terminal that has them, unless --no-color or NO_COLOR (no-color.org) say no."""
    if no_color or os.environ.get("NO_COLOR"):
        return False
    return is_terminal and os.environ.get("TERM", "dumb") != "dumb"


def columns(is_terminal: bool) -> int:
    """How wide prose may be set: the terminal's width; in a pipe COLUMNS, else 100."""
    if is_terminal:
        return shutil.get_terminal_size((80, 24)).columns
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdecimal() and 0 < int(given) < 10_000 else PIPE_WIDTH
