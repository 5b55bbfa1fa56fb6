"""Processes or threads that work on pieces of a disk, each piece in a room of memory that all of them see.

Processes are quicker: between their calls into C, two threads wait for one another a third of the time. But
only a process of one thread can be copied safely, and not every source can be read by several processes.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from array import array
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import NoReturn, Protocol

from imgtool.signals import ENDING_SIGNALS, signals_held

Run = tuple[int, int]  # first cluster, and the one after the last
Sizes = array  # of "I", one a cluster of the run: its bytes, compressed or not; 0 when it is all zeroes
Work = Callable[[int, Run], "Sizes[int]"]  # given the room's number

MOST_PROCESSES = 4  # more would wait for the one that writes and hashes; some 30 MiB each
ROOMS = 16  # of processes; half as many take a tenth more time
WAITING = 2  # rooms beside those that threads are at work in
ORDER = struct.Struct("=IQQ")
LAST_STANDARD = 2  # descriptor of standard error
ANSWER = 4096  # bytes; a run has 256 clusters at most


class Workers(Protocol):
    """rooms: how many pieces may be under way."""

    rooms: int

    def begin(self, room: int, run: Run) -> None:
        """Have a run worked on in a room that is free."""

    def next(self) -> Sizes[int]:
        """Of the run that was begun first: waits for it, or raises what the work raised."""

    def end(self) -> None:
        """Nobody waits for what is under way. All of them have ended afterwards."""


def most_rooms(count: int) -> int:
    """The rooms that so many workers may use."""
    return max(count + WAITING, ROOMS)


def workers(work: Work, count: int, processes_with: Collection[int] | None) -> Workers:
    """So many of them, or fewer. processes_with: the descriptors of the files that processes would need, None
    where only threads can do the work."""
    if processes_with is not None and count > 1 and threading.active_count() == 1:
        with suppress(OSError):  # as many processes as the system lets this user have
            return Processes(work, min(count, MOST_PROCESSES), processes_with)
    return Threads(work, count)


class Threads:
    """The work in threads of this process. Raises what the work does."""

    def __init__(self, work: Work, count: int) -> None:
        self.rooms = count + WAITING
        self._work = work
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="compress")
        self._under_way: deque[Future[Sizes[int]]] = deque()

    def begin(self, room: int, run: Run) -> None:
        self._under_way.append(self._pool.submit(self._work, room, run))

    def next(self) -> Sizes[int]:
        return self._under_way.popleft().result()

    def end(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


class Processes:
    """The work in copies of this process, by turns. They end with it, however it ends.

    What one of them could not do is done here: that tells why it can't be done, or does it when the other one
    was killed.
    """

    def __init__(self, work: Work, count: int, needed: Collection[int]) -> None:
        """needed: descriptors that the work reads from; no other stays open in the processes."""
        self.rooms = ROOMS
        self._work = work
        self._copies: list[_Copy] = []
        self._begun = 0
        self._under_way: deque[tuple[_Copy, int, Run]] = deque()
        try:
            for _ in range(count):
                self._copies.append(_Copy(work, needed))
        except OSError:
            self.end()
            raise

    def begin(self, room: int, run: Run) -> None:
        asked = self._copies[self._begun % len(self._copies)]
        self._begun += 1
        self._under_way.append((asked, room, run))
        asked.ask(ORDER.pack(room, *run))

    def next(self) -> Sizes[int]:
        asked, room, run = self._under_way.popleft()
        said = asked.answer(ORDER.pack(room, *run))
        return array("I", said) if said else self._work(room, run)

    def end(self) -> None:
        for copy in self._copies:
            copy.end()


class _Copy:
    """A copy of this process that works on runs, one after the other. Raises OSError where there can be none.

    Each answer begins with the order that it answers. Once the copy or the connection fails, the copy is
    ended and nothing that it said counts: of one that was killed Linux tells ECONNRESET first, and only then
    gives the answers that were waiting, which would be taken for those of later orders. And one that still
    worked would write into rooms that others have by then.
    """

    def __init__(self, work: Work, needed: Collection[int]) -> None:
        self._process: int | None = None
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, signals_held() as before:
            try:
                self._process = os.fork()
                if self._process == 0:
                    _serve(work, theirs, {*needed, theirs.fileno()}, before)
            except OSError:
                self._channel.close()
                raise

    def ask(self, order: bytes) -> None:
        """Never waits: so few orders and answers as there are rooms have place in the sockets."""
        if self._process is not None:
            try:
                self._channel.send(order)
            except OSError:
                self.end()

    def answer(self, order: bytes) -> bytes:
        """To the order that was asked first of those without an answer; nothing if it could not be done."""
        if self._process is None:
            return b""
        try:
            said = self._channel.recv(ANSWER)
        except OSError:
            said = b""
        if not said.startswith(order):
            self.end()
            return b""
        return said[len(order) :]

    def end(self) -> None:
        """At once. It is gone afterwards."""
        if self._process is not None:
            with suppress(ProcessLookupError, ChildProcessError):  # where SIGCHLD is ignored it is gone
                os.kill(self._process, signal.SIGKILL)
                os.waitpid(self._process, 0)
            self._process = None
            self._channel.close()


def _serve(work: Work, asked: socket.socket, kept: set[int], mask: set[int | signal.Signals]) -> NoReturn:
    """Work until the one who asks is gone.

    kept: the descriptors that stay open. Another's socket would hide that it is gone, and a lock of its own
    would outlive it. mask: the signals to block from here on.
    """
    try:
        for number in ENDING_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as of nohup
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is sent to all: the one who asks decides
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            if descriptor > LAST_STANDARD and descriptor not in kept:
                with suppress(OSError):  # the listing's own
                    os.close(descriptor)
        while order := asked.recv(ORDER.size):
            room, first, until = ORDER.unpack(order)
            try:
                said = work(room, (first, until)).tobytes()
            except Exception:
                said = b""
            asked.send(order + said)
    except BaseException:  # noqa: S110 - no answer is an answer
        pass
    finally:
        os._exit(0)
