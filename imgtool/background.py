"""Work beside the rest: in a process, or in a thread where C code lets other threads run.

A process is quicker, because nothing is waited for: in 38 ms in which a thread could have unpacked an
initramfs, it waited for its turns 30. But only a process of one thread can be copied safely.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import select
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from imgtool.signals import ENDING_SIGNALS, signals_held

Value = TypeVar("Value")
Result_co = TypeVar("Result_co", covariant=True)

# Python's own 5 ms are what a thread waits for its turn each time that it comes back from C code; one that
# unpacks does so sixty times in as many milliseconds.
SWITCH = 0.0002
LENGTH = 8  # bytes before an answer, which say how long it is: one that is killed may give half of it


class Work(Protocol[Result_co]):
    """What is at work."""

    def result(self) -> Result_co:
        """What the function returned, or raises what it raised; waits for it."""

    def end(self) -> None:
        """Nobody waits for it any more."""


def begin(work: Callable[[], Value], name: str, *, in_process: bool) -> Work[Value]:
    """Put a function to work: in a process of its own where that may be, else in a thread.

    in_process: it needs nothing that two processes can't share, such as a connection.
    """
    if in_process and threading.active_count() == 1:
        return Forked(work)
    return Background(work, name)


class Forked(Generic[Value]):
    """A function at work in a copy of this process, which ends with it. What it returns is pickled."""

    def __init__(self, work: Callable[[], Value]) -> None:
        self._work = work
        self._answer, answer = os.pipe()
        watched, self._life = os.pipe()
        with signals_held() as before:
            self._process = os.fork()
            if self._process == 0:
                os.close(self._life)
                _answer_and_exit(work, watched, answer, before)
        os.close(answer)
        os.close(watched)

    def result(self) -> Value:
        """What the function returned, or raises what it raised. Without a whole answer it is called here."""
        with open(self._answer, "rb", closefd=False) as answer:
            data = answer.read()
        self.end()
        content = memoryview(data)[LENGTH:]
        whole = len(data) > LENGTH and int.from_bytes(data[:LENGTH], "little") == len(content)
        value, error = pickle.loads(content) if whole else (self._work(), None)  # noqa: S301 - our own child's
        if error is not None:
            raise error
        return value

    def end(self) -> None:
        """Let it end at once."""
        if self._process:
            with suppress(ProcessLookupError, ChildProcessError):  # where SIGCHLD is ignored it is gone
                os.kill(self._process, signal.SIGKILL)
                os.waitpid(self._process, 0)
            os.close(self._answer)
            os.close(self._life)
            self._process = 0


def _answer_and_exit(
    work: Callable[[], Any], watched: int, answer: int, mask: set[int | signal.Signals]
) -> NoReturn:
    """mask: the signals to block from here on."""
    try:
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        # The kernel sends SIGTERM when our parent, and with it the pipe's other end, is gone (fcntl(2)).
        fcntl.fcntl(watched, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(watched, fcntl.F_SETSIG, signal.SIGTERM)
        fcntl.fcntl(watched, fcntl.F_SETFL, os.O_RDONLY | os.O_ASYNC)
        if select.select([watched], [], [], 0)[0]:
            os._exit(0)  # it was gone before
        said: tuple[Any, BaseException | None]
        try:
            said = work(), None
        except Exception as error:
            said = None, error
        content = pickle.dumps(said)
        pickle.loads(content)  # noqa: S301 - an exception may be one that can't be made again
        data = memoryview(len(content).to_bytes(LENGTH, "little") + content)
        while data:
            data = data[os.write(answer, data) :]
    except BaseException:  # noqa: S110 - no answer is an answer
        pass
    finally:
        os._exit(0)


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

    def end(self) -> None:
        """Does nothing: a thread can only be asked to end, by what it works with."""
