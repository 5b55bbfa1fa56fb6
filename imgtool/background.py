"""Work in a thread beside the rest: for what takes long in C code that lets other threads run."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")

# Python's own 5 ms are what a thread waits for its turn each time that it comes back from C code; one that
# unpacks does so sixty times in as many milliseconds.
SWITCH = 0.0002


class Background(Generic[Value]):
    """A function at work from now on; what it shares with others must bear that."""

    def __init__(self, work: Callable[[], Value], name: str) -> None:
        self._work = work
        self._value: Value | None = None
        self._error: BaseException | None = None
        sys.setswitchinterval(min(SWITCH, sys.getswitchinterval()))
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:  # it belongs to the thread that asks
            self._error = error

    def result(self) -> Value:
        """What the function returned, or raises what it raised; waits for it."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]
