"""Work on items, each in a process of its own: what crashes or is killed takes only its item with it.

The readers of filesystems are C libraries and the images are strangers'; a crash is an answer about one
image.
"""

from __future__ import annotations

import fcntl
import math
import os
import pickle
import select
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from time import monotonic, sleep
from typing import Any, NoReturn, TypeVar

from imgtool.cli.ending import Ended, unwind_on_signals
from imgtool.records import dataclass
from imgtool.signals import ENDING_SIGNALS, signals_held

Item = TypeVar("Item")
Result = TypeVar("Result")
PATIENCE = 5.0
# What reads an image is bounded far below these; they are for what is not known of it, and of QEMU.
LONGEST = 120.0  # seconds for one image
LONGER = (
    900.0  # seconds that a worker may put its end off by: what starts the appliance does, and says how long
)
MEMORY = 384 * 1024**2  # bytes of data of a worker, and of each child that it starts


@dataclass(frozen=True)
class Crashed:
    """A worker ended without an answer. cause: the signal that killed it, or the error that it met."""

    cause: str


@dataclass
class _Worker:
    number: int
    pid: int
    pipe: int
    life: int
    content: bytearray
    deadline: float


def in_processes(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    jobs: int = 1,
    debug: bool = False,
    limit: float = LONGEST,
) -> Iterator[Result | Crashed]:
    """work(item) for each, `jobs` at a time, in the order of the items.

    Results are pickled. limit: seconds after which a worker without an answer is killed, by an alarm of its
    own that imgtool.appliance puts off, and LONGER after that by us; it and the programs that it starts have
    MEMORY bytes each. debug: a worker that fails shows its traceback. However this ends, no worker is left:
    they get SIGTERM, unwind, and SIGKILL 5 s later. When this process is killed outright, the kernel sends
    the SIGTERM: they watch a pipe that closes.
    """
    running: dict[int, _Worker] = {}
    done: dict[int, Result | Crashed] = {}
    started = given = 0
    try:
        while given < len(items):
            while started < len(items) and len(running) < jobs:
                with signals_held():
                    task = partial(_in_time, partial(work, items[started]), limit)
                    worker = _start(task, started, list(running.values()), debug)
                    worker.deadline = monotonic() + limit + LONGER
                    running[worker.pipe] = worker
                started += 1
            for pipe in _readable(list(running), _until(min(it.deadline for it in running.values()))):
                worker = running[pipe]
                if piece := os.read(pipe, 1 << 20):
                    worker.content += piece
                    continue
                done[worker.number] = _answer(worker, limit)
                del running[pipe]
                _close(worker)
            for worker in [it for it in running.values() if it.deadline <= monotonic()]:
                os.kill(worker.pid, signal.SIGKILL)
                os.waitpid(worker.pid, 0)
                done[worker.number] = Crashed(f"no answer within {limit:g} s")
                del running[worker.pipe]
                _close(worker)
            while given in done:
                yield done.pop(given)
                given += 1
    finally:
        _end_all(list(running.values()))


def _until(deadline: float) -> int | None:
    """Milliseconds to wait for it; None for ever."""
    return None if deadline == math.inf else max(0, math.ceil((deadline - monotonic()) * 1000))


def _readable(pipes: list[int], wait_ms: int | None = None) -> list[int]:
    poll = select.poll()
    for pipe in pipes:
        poll.register(pipe, select.POLLIN)
    return [pipe for pipe, _ in poll.poll(wait_ms)]


def _start(task: Callable[[], object], number: int, others: list[_Worker], debug: bool) -> _Worker:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    reading, writing = os.pipe()
    watched, life = os.pipe()
    pid = os.fork()
    if pid == 0:
        for pipe in (reading, life, *(pipe for other in others for pipe in (other.pipe, other.life))):
            os.close(pipe)
        _work_and_exit(task, watched, writing, debug)
    os.close(writing)
    os.close(watched)
    return _Worker(number, pid, reading, life, bytearray(), math.inf)


def _work_and_exit(task: Callable[[], object], watched: int, answer: int, debug: bool) -> NoReturn:
    code = 1
    try:
        unwind_on_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
        _end_with_parent(watched)
        _bound_memory()
        _write(answer, pickle.dumps(task()))
        code = 0
    except (Ended, BrokenPipeError):
        pass
    except BaseException as error:
        if debug:
            import traceback

            traceback.print_exc()
        with suppress(OSError):
            _write(answer, pickle.dumps(Crashed(f"{type(error).__name__}: {error}"[:500])))
            code = 0
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)  # no clean-up twice: what we were forked with belongs to our parent


def _bound_memory() -> None:
    """RLIMIT_DATA (getrlimit(2)); of the address space, libraries take hundreds of MiB that cost nothing."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _end_with_parent(watched: int) -> None:
    """Have the kernel send us SIGTERM when the other end of the pipe closes (fcntl(2), F_SETSIG)."""
    fcntl.fcntl(watched, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(watched, fcntl.F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(watched, fcntl.F_SETFL, os.O_RDONLY | os.O_ASYNC)
    if _readable([watched], wait_ms=0):  # it closed before we watched
        raise Ended(signal.SIGTERM)


def _write(pipe: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(pipe, view) :]


def _in_time(task: Callable[[], Result], limit: float) -> Result:
    """Have the kernel end this process when its time is over, whatever it is at then."""
    if limit < math.inf:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, limit)
    return task()


def _answer(worker: _Worker, limit: float) -> Any:
    _, status = os.waitpid(worker.pid, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        return Crashed(f"no answer within {limit:g} s")
    if status == 0:
        return pickle.loads(bytes(worker.content))  # noqa: S301 - from our own child
    if os.WIFSIGNALED(status):
        return Crashed(signal.Signals(os.WTERMSIG(status)).name)
    return Crashed(f"exit code {os.WEXITSTATUS(status)}")


def _end_all(workers: list[_Worker]) -> None:
    for worker in workers:
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGTERM)
    deadline = monotonic() + PATIENCE
    for worker in workers:
        while os.waitpid(worker.pid, os.WNOHANG)[0] == 0:
            if monotonic() > deadline:
                os.kill(worker.pid, signal.SIGKILL)
                os.waitpid(worker.pid, 0)
                break
            sleep(0.01)
        _close(worker)


def _close(worker: _Worker) -> None:
    os.close(worker.pipe)
    os.close(worker.life)
