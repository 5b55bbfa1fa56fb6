"""A request as its signature sees it, and who may sign."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MOST_DIGITS = 12  # of a number that a request gives


@dataclass(frozen=True)
class Seen:
    """path: as sent, percent-encoded; query: decoded, in order; headers: names in lower case."""

    method: str
    path: str
    raw_query: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]

    def parameter(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next((value for key, value in self.query if key == name), None)

    def number(self, name: str, default: int) -> int:
        """A query parameter that is a whole number. Raises Refused (InvalidArgument)."""
        value = self.parameter(name) or str(default)
        if not (value.isascii() and value.isdecimal() and len(value) <= MOST_DIGITS):
            raise Refused("InvalidArgument", f"{name} must be a whole number.")
        return int(value)


@dataclass(frozen=True)
class Keys:
    """The account's one pair of keys; token: of temporary keys, "" for lasting ones."""

    secret_id: str
    secret_key: str
    token: str = ""


class Refused(Exception):
    """A signature that does not hold. code, message: as the protocol words them."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message
