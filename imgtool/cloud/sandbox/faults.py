"""Faults on request: what goes wrong in a cloud now and then, for tests and for training.

A fault is written KIND[@PART][=VALUE][*TIMES], for the API KIND[@ACTION][*TIMES]:

    drop@3          cut the connection in the middle of part 3, once
    drop-after@3    take part 3, and cut the connection instead of answering
    503*4           answer 503 to the next four requests to the storage
    503@2           answer 503 to part 2
    slow=1M         let bodies come in at 1 MiB/s
    wrong-crc@2     answer part 2 with another CRC-64 than its own; without @: the whole object
    expired         refuse the next request to the storage as expired
    rate*3          answer the next three API calls with RequestLimitExceeded
    api-drop        do what the next API call asks, and cut the connection instead of answering
    api-cut         do it, and cut the connection in the middle of the answer
    api-error       do it, and answer InternalError
    unlisted*3      leave the newest image out of the next three answers of DescribeImages
    no-boot-mode    be a deployment whose ImportImage knows no BootMode
    api-drop@ImportImage    wait for that action (so do api-cut, api-error and rate)
    clock=+360      have a clock that is six minutes fast
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass

from imgtool.errors import UsageError
from imgtool.text import Text

KINDS = (
    *("drop", "drop-after", "503", "slow", "wrong-crc", "expired"),
    *("rate", "api-drop", "api-cut", "api-error", "unlisted", "no-boot-mode", "clock"),
)
_LASTING = ("slow", "clock", "no-boot-mode")
_OF_CALLS = ("rate", "api-drop", "api-cut", "api-error")
_WRITTEN = re.compile(r"([a-z0-9-]+?)(?:@(\d+|[A-Za-z]+))?(?:=([+-]?\d+[kKmM]?))?(?:\*(\d+))?")
_UNITS = {"k": 1 << 10, "m": 1 << 20}


@dataclass
class Fault:
    """part: the part number or the action that it is for, None for any request; left: how often it is still
    to happen.
    """

    kind: str
    part: int | str | None = None
    value: int = 0
    left: float = 1


def parsed(text: str) -> Fault:
    """A fault from the command line. Raises UsageError."""
    found = _WRITTEN.fullmatch(text)
    named = found is not None and found[2] is not None and found[2].isalpha()
    if found is None or found[1] not in KINDS or (named and found[1] not in _OF_CALLS):
        raise UsageError(
            Text(
                en=f"No fault is written {text!r}. There are: {', '.join(KINDS)}; "
                "KIND[@PART][=VALUE][*TIMES].",
                zh=f"没有写作 {text!r} 的故障。可用：{'、'.join(KINDS)}；格式为 类型[@分块][=值][*次数]。",
            )
        )
    kind, part, value, times = found.groups()
    number = 0
    if value:
        unit = _UNITS.get(value[-1].lower(), 1)
        number = int(value[:-1] if unit > 1 else value) * unit
    left = float("inf") if kind in _LASTING else int(times or 1)
    return Fault(kind, int(part) if part and part.isdecimal() else part, number, left)


class Faults:
    """The faults still to come. For several threads."""

    def __init__(self, faults: list[Fault] | None = None) -> None:
        self._faults = list(faults or ())
        self._lock = threading.Lock()

    def add(self, text: str) -> None:
        """Let one more come."""
        with self._lock:
            self._faults.append(parsed(text))

    def clear(self) -> None:
        """Let none come any more."""
        with self._lock:
            self._faults.clear()

    def strikes(self, kind: str, part: int | str | None = None) -> bool:
        """Whether this is the moment for a fault; if so, it is counted."""
        with self._lock:
            for fault in self._faults:
                if fault.kind != kind or fault.left <= 0 or fault.part not in (None, part):
                    continue
                if kind == "wrong-crc" and fault.part != part:
                    continue  # a part's, or the whole object's
                fault.left -= 1
                return True
        return False

    def value(self, kind: str) -> int:
        """What a lasting fault says; 0 without one."""
        with self._lock:
            return next((fault.value for fault in self._faults if fault.kind == kind), 0)
