"""GRUB's `test` and `[`: grub-core/commands/test.c."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from imgtool.guest.version_order import version_key

_NUMBERS: dict[str, Callable[[int, int], bool]] = {
    "-eq": lambda a, b: a == b,
    "-ne": lambda a, b: a != b,
    "-lt": lambda a, b: a < b,
    "-le": lambda a, b: a <= b,
    "-gt": lambda a, b: a > b,
    "-ge": lambda a, b: a >= b,
}
_WORDS: dict[str, Callable[[str, str], bool]] = {
    "=": lambda a, b: a == b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: version_key(a) < version_key(b),
    ">": lambda a, b: version_key(a) > version_key(b),
}


def evaluate(words: list[str], there: Callable[[str, str], bool]) -> bool:
    """Whether the expression holds. there(option, path) answers -e, -f, -d and -s."""
    for operator, together in (("-o", any), ("-a", all)):
        at = [index for index, word in enumerate(words) if word == operator and index > 0]
        if at:
            edges = [-1, *at, len(words)]
            terms = [words[a + 1 : b] for a, b in pairwise(edges)]
            return together(evaluate(term, there) for term in terms)
    if words[:1] == ["!"]:
        # Iterative: a line may have as many of them as it likes.
        negations = next((index for index, word in enumerate(words) if word != "!"), len(words))
        return evaluate(words[negations:], there) != bool(negations % 2)
    words = [word for word in words if word not in ("(", ")")]
    match words:
        case [left, operator, right] if operator in _WORDS:
            return _WORDS[operator](left, right)
        case [left, operator, right] if operator in _NUMBERS:
            return _NUMBERS[operator](_number(left), _number(right))
        case ["-n", word]:
            return bool(word)
        case ["-z", word]:
            return not word
        case [("-e" | "-f" | "-d" | "-s") as option, path]:
            return there(option, path)
        case ["-z"] | [""] | []:
            return words == ["-z"]
        case ["-n"]:
            return False
        case _:
            return bool(words[0])


def _number(word: str) -> int:
    sign, digits = (-1, word[1:]) if word[:1] == "-" else (1, word)
    return sign * int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else 0
