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
        self._processes: list[tuple[int, socket.socket]] = []
        self._begun = 0
        self._under_way: deque[tuple[socket.socket, int, Run]] = deque()
        try:
            for _ in range(count):
                self._add(needed)
        except OSError:
            self.end()
            raise

    def _add(self, needed: Collection[int]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                process = os.fork()
            except OSError:
                ours.close()
                raise
            if process == 0:
                _serve(self._work, theirs, {*needed, theirs.fileno()})
        self._processes.append((process, ours))

    def begin(self, room: int, run: Run) -> None:
        _, asked = self._processes[self._begun % len(self._processes)]
        self._begun += 1
        self._under_way.append((asked, room, run))
        with suppress(OSError):  # it was killed
            asked.send(ORDER.pack(room, *run))

    def next(self) -> Sizes[int]:
        asked, room, run = self._under_way.popleft()
        said = b""
        with suppress(OSError):
            said = asked.recv(ANSWER)
        return array("I", said) if said else self._work(room, run)

    def end(self) -> None:
        for process, asked in self._processes:
            asked.close()
            with suppress(ProcessLookupError, ChildProcessError):  # where SIGCHLD is ignored it is gone
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
        self._processes = []


def _serve(work: Work, asked: socket.socket, kept: set[int]) -> NoReturn:
    """Work until the one who asks is gone.

    kept: the descriptors that stay open. Another's socket would hide that it is gone, and a lock of its own
    would outlive it.
    """
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is sent to all: the one who asks decides
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
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
            asked.send(said)
    except BaseException:  # noqa: S110 - no answer is an answer
        pass
    finally:
        os._exit(0)
