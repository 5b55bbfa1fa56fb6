"""How far a long piece of work is, shown as a bar on a terminal and not at all elsewhere."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from imgtool.text import Language, Text

if TYPE_CHECKING:
    from collections.abc import Callable


NARROWEST, COLUMNS = 2, 80


class Progress(Protocol):
    """Told of stages, one after the other, and of how many bytes (or other units) of each are done."""

    def begin(self, title: Text, total: int | None, unit: str = "B") -> None:
        """A stage begins, of `total` bytes or `unit` (None: not known); the one before it is over."""

    def at(self, done: int) -> None:
        """So many bytes of the stage are done."""

    def end(self) -> None:
        """The work is over, however it ended."""


class Silent:
    """Shows nothing."""

    def begin(self, title: Text, total: int | None, unit: str = "B") -> None:
        pass

    def at(self, done: int) -> None:
        pass

    def end(self) -> None:
        pass


class Bar:
    """A tqdm bar on standard error, with rate and remaining time."""

    def __init__(self, language: Language, make: Callable[..., Any] | None = None) -> None:
        """make: stands in for tqdm.tqdm."""
        self._language: Language = language
        self._make = make
        self._bar: Any = None

    def begin(self, title: Text, total: int | None, unit: str = "B") -> None:
        self.end()
        told = _columns() >= NARROWEST
        self._bar = (self._make or _tqdm())(
            total=total,
            desc=title.say(self._language),
            unit=unit,
            unit_scale=unit == "B",
            unit_divisor=1024,
            # Of what only takes time, the time is all there is to show: a rate would be "1.2 s/s".
            bar_format="{desc}  {elapsed}" if unit == "s" and total is None else None,
            leave=False,
            # in a terminal that says it has no columns, tqdm shortens wide characters for ever
            dynamic_ncols=told,
            ncols=None if told else COLUMNS,
            miniters=1,  # each step looks at the clock, so nobody needs to watch over slow ones
            file=sys.stderr,
        )

    def at(self, done: int) -> None:
        if self._bar is not None and done > self._bar.n:
            self._bar.update(done - self._bar.n)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()


def _columns() -> int:
    """Of the terminal, as it says."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return 0


def _tqdm() -> Callable[..., Any]:
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # its thread would keep the compressing from being done in processes
    make: Callable[..., Any] = tqdm
    return make


def shown_on_terminal(language: Language) -> Progress:
    """A bar when a person sees standard error, else nothing."""
    if sys.stderr is not None and sys.stderr.isatty():
        return Bar(language)
    return Silent()
