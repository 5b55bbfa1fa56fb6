"""Trying again what may be tried again: with growing waits, and jitter so that many clients don't come at
once.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from imgtool.cloud.failures import Refusal, Unreachable
from imgtool.cloud.store import PartDamaged

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Patience:
    """How often to try, and the waits: a random share of first × 2^n seconds, at most `longest`."""

    attempts: int = 6
    first: float = 0.5
    longest: float = 20.0

    def wait(self, failed: int, over: threading.Event | None = None) -> None:
        """Wait after so many failures in a row, or until it is `over`."""
        span = min(self.longest, self.first * 2 ** (failed - 1))
        seconds = span * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
        if over is None:
            time.sleep(seconds)
        else:
            over.wait(seconds)


def may_retry(error: Exception) -> bool:
    """Whether the same request may succeed a little later."""
    if isinstance(error, (Refusal, Unreachable)):
        return error.temporary
    return isinstance(error, PartDamaged)


def retried(call: Callable[[], Answer], patience: Patience, over: threading.Event | None = None) -> Answer:
    """What a call gives, tried as often as patience lasts. Raises what the last attempt raised."""
    for attempt in range(1, patience.attempts + 1):
        try:
            return call()
        except Exception as error:
            if attempt == patience.attempts or not may_retry(error) or (over is not None and over.is_set()):
                raise
        patience.wait(attempt, over)
    raise AssertionError("a loop that ran at least once")  # pragma: no cover
