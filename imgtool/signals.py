"""The signals that end this program, and how they are kept waiting."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_held() -> Iterator[set[int | signal.Signals]]:
    """Signals wait: one that comes between fork and what follows it would unwind the wrong process.

    Gives the mask of before, which the copy restores once it has handlers of its own.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
