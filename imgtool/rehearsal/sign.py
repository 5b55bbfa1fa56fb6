"""One known failure of a boot: how it is recognised and what it means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from imgtool.text import Text

Weight = Literal["end", "hint", "fault"]
Where = Literal["firmware", "text", "screen"]


@dataclass(frozen=True)
class Sign:
    """A known failure.

    rules: those of the catalogue that explain it; the one that the static check finds broken too is named,
    else the first. weight: "end", the boot is over; "hint", it may be, and is when one of `rules` is broken
    by the static check; "fault", something failed and the boot goes on. asks: what is typed at a shell that
    stands open, to tell the rules apart. where: "firmware", its log; "text", console and screen; "screen",
    that alone.
    """

    name: str
    pattern: re.Pattern[str]
    rules: tuple[str, ...]
    weight: Weight
    message: Text
    remedy: Text
    where: Where = "text"
    asks: str = ""


def sign(  # noqa: PLR0917 - a row of the table
    name: str,
    pattern: str,
    rules: tuple[str, ...],
    weight: Weight,
    message: Text,
    remedy: Text,
    where: Where = "text",
    asks: str = "",
) -> Sign:
    return Sign(name, re.compile(pattern), rules, weight, message, remedy, where, asks)
