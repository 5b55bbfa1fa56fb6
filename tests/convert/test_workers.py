"""Processes and threads that compress: in order, the same whoever does it, and gone when nobody asks."""

from __future__ import annotations

import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imgtool.convert.workers import Processes, Run, Sizes, Threads, Workers
from tests.convert.made_disks import MIB, Stretch, disk, found_clean, found_same

ROOT = Path(__file__).parents[2]


def squares(room: int, run: Run) -> Sizes[int]:
    return array("I", [room, run[0] ** 2, run[1]])


@contextmanager
def ended(workers: Workers) -> Iterator[Workers]:
    try:
        yield workers
    finally:
        workers.end()


def of_kind(kind: int, work: Callable[[int, Run], Sizes[int]]) -> Workers:
    return Processes(work, kind, ()) if kind else Threads(work, 2)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("kind", [0, 1, 3], ids=["threads", "a process", "processes"])
def test_results_come_in_the_order_in_which_the_runs_were_begun(kind: int) -> None:
    with ended(of_kind(kind, squares)) as workers:
        for number in range(workers.rooms):
            workers.begin(number, (number, 7))
        assert [list(workers.next()) for _ in range(workers.rooms)] == [
            [number, number**2, 7] for number in range(workers.rooms)
        ]


@pytest.mark.parametrize("kind", [0, 1, 3], ids=["threads", "a process", "processes"])
def test_what_the_work_raises_reaches_the_one_who_asks(kind: int) -> None:
    def fail(room: int, run: Run) -> Sizes[int]:
        raise OSError(5, "unreadable", run)

    with ended(of_kind(kind, fail)) as workers:
        workers.begin(0, (1, 2))
        with pytest.raises(OSError, match="unreadable"):
            workers.next()


def test_processes_write_into_the_memory_of_the_one_who_asks() -> None:
    memory = mmap.mmap(-1, 4096)

    def write(room: int, run: Run) -> Sizes[int]:
        memory[run[0]] = 7
        return array("I", [os.getpid()])

    with ended(Processes(write, 2, ())) as workers:
        workers.begin(0, (1, 2))
        workers.begin(1, (2, 3))
        others = {workers.next()[0], workers.next()[0]}
    assert len(others - {os.getpid()}) == 2
    assert memory[:4] == b"\0\7\7\0"


def test_the_work_of_a_killed_process_is_done_all_the_same() -> None:
    def who(room: int, run: Run) -> Sizes[int]:
        return array("I", [os.getpid(), run[0]])

    with ended(Processes(who, 2, ())) as workers:
        workers.begin(0, (0, 1))
        killed = workers.next()[0]
        os.kill(killed, signal.SIGKILL)
        for number in range(1, 9):
            workers.begin(number, (number, number + 1))
        done = [list(workers.next()) for _ in range(8)]
    assert [number for _, number in done] == list(range(1, 9))
    assert {process for process, _ in done[1::2]} == {os.getpid()}


def test_no_answer_of_a_killed_process_is_taken_for_that_to_another_run() -> None:
    """Linux tells first that the other end is gone, and gives the answers that it left only then."""
    ours, answered = os.getpid(), mmap.mmap(-1, 4)

    def number(room: int, run: Run) -> Sizes[int]:
        if run[0] == 3 and os.getpid() != ours:
            answered[:4] = os.getpid().to_bytes(4, "little")
            time.sleep(60)
        return array("I", [run[0]])

    with ended(Processes(number, 1, ())) as workers:
        for begun in range(8):
            workers.begin(begun, (begun, begun + 1))
        while not (process := int.from_bytes(answered[:4], "little")):
            time.sleep(0.001)
        os.kill(process, signal.SIGKILL)
        while alive(process):
            time.sleep(0.001)
        assert [workers.next()[0] for _ in range(8)] == list(range(8))


def test_a_process_that_can_not_be_asked_any_more_writes_no_longer_into_the_rooms() -> None:
    """Its work is done here, and the room goes to another run."""
    ours, memory = os.getpid(), mmap.mmap(-1, 4096)

    def late(room: int, run: Run) -> Sizes[int]:
        if os.getpid() != ours:
            time.sleep(0.2)
        memory[room] = run[0]
        return array("I", [run[0]])

    with ended(Processes(late, 1, ())) as workers:
        assert isinstance(workers, Processes)
        workers.begin(0, (7, 8))
        channel = workers._copies[0]._channel
        channel.shutdown(socket.SHUT_RD)
        assert workers.next()[0] == 7
        memory[0] = 9
        time.sleep(0.3)
    assert memory[0] == 9


def test_a_signal_just_after_the_fork_unwinds_the_one_who_asks_alone() -> None:
    """And not its copy, which would remove what is temporary beside it."""
    script = """
import os, signal, time
from array import array
from imgtool.convert.workers import Processes
class Ended(BaseException): pass
def end(number, frame): raise Ended
signal.signal(signal.SIGTERM, end)
real = os.fork
def fork():
    process = real()
    if process == 0:
        os.kill(os.getpid(), signal.SIGTERM)  # the copy alone is told to end
        time.sleep(0.01)
    return process
os.fork = fork
try:
    workers = Processes(lambda room, run: array("I", [os.getpid()]), 2, ())
except Ended:
    print("unwound", os.getpid(), flush=True)
    os._exit(0)
workers.begin(0, (0, 1))
assert list(workers.next()) == [os.getpid()]
workers.end()
print("done")
"""
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, check=True, stdout=subprocess.PIPE, cwd=ROOT).stdout == b"done\n"


def test_processes_are_gone_after_the_end() -> None:
    def who(room: int, run: Run) -> Sizes[int]:
        time.sleep(0.2 * room)
        return array("I", [os.getpid()])

    workers = Processes(who, 2, ())
    workers.begin(0, (0, 1))
    workers.begin(1, (0, 1))
    first = workers.next()[0]
    workers.begin(2, (0, 1))
    workers.end()
    with pytest.raises(ChildProcessError):
        os.waitpid(first, os.WNOHANG)


def test_a_process_keeps_nothing_open_but_what_its_work_needs(tmp_path: Path) -> None:
    def held(room: int, run: Run) -> Sizes[int]:
        return array("I", sorted(int(name) for name in os.listdir("/proc/self/fd")))

    with (
        (tmp_path / "a").open("w") as needed,
        (tmp_path / "b").open("w") as other,
        ended(Processes(held, 2, [needed.fileno()])) as workers,
    ):
        workers.begin(0, (0, 1))
        workers.begin(1, (0, 1))
        for _ in range(2):
            found = list(workers.next())
            assert needed.fileno() in found
            assert other.fileno() not in found
            assert len([number for number in found if number > 2]) == 3  # its socket, the listing's own


# Three standard streams and one socket: the pair has no room.
NO_ROOM_FOR_SOCKETS = """
import resource
from array import array
from imgtool.convert.workers import workers
work = lambda room, run: array("I", [run[0] + run[1]])
first = workers(work, 2, ())
assert type(first).__name__ == "Processes"
first.end()
resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))
crew = workers(work, 2, ())
crew.begin(0, (2, 3))
print(type(crew).__name__, *crew.next())
crew.end()
"""


def test_where_the_system_gives_no_processes_threads_do_it() -> None:
    command = [sys.executable, "-c", NO_ROOM_FOR_SOCKETS]
    assert subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout == b"Threads 5\n"


# A process of its own, so that nothing keeps the writer from working in processes.
CONVERT = """
import os, sys
from pathlib import Path
from bench.process import descendants
from tests.convert.made_disks import convert
seen = set()
def look(done):
    seen.update(descendants(os.getpid()))
    if len(sys.argv) > 4:
        print(*seen, flush=True)
        sys.stdin.read()
convert(Path(sys.argv[1]), Path(sys.argv[2]), threads=int(sys.argv[3]), progress=look)
print(len(seen))
"""


def large(path: Path) -> Path:
    content = [
        Stretch(0, 9 * MIB + 77, "text"),
        Stretch(20 * MIB - 5, 12 * MIB, "random"),
        Stretch(40 * MIB, 3 * MIB, "zero"),
        Stretch(50 * MIB, MIB, "text"),
    ]
    return disk(path, 64 * MIB, content)


def test_a_disk_gives_the_same_bytes_in_processes_and_in_threads(tmp_path: Path) -> None:
    raw = large(tmp_path / "disk.raw")
    processes = [
        int(
            subprocess.run(
                [sys.executable, "-c", CONVERT, str(raw), str(tmp_path / f"out-{count}"), str(count)],
                cwd=ROOT,
                check=True,
                stdout=subprocess.PIPE,
            ).stdout
        )
        for count in (1, 2, 3)
    ]
    assert processes == [0, 2, 3]
    found_clean(tmp_path / "out-3")
    found_same(raw, tmp_path / "out-3")
    first = (tmp_path / "out-1").read_bytes()
    assert first == (tmp_path / "out-2").read_bytes() == (tmp_path / "out-3").read_bytes()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_the_one_that_writes(number: signal.Signals, tmp_path: Path) -> None:
    raw = large(tmp_path / "disk.raw")
    command = [sys.executable, "-c", CONVERT, str(raw), str(tmp_path / "out"), "2", "wait"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        assert child.stdout is not None
        processes = [int(word) for word in child.stdout.readline().split()]
        assert len(processes) == 2
        child.send_signal(number)
        child.wait(30)
    until = time.monotonic() + 30
    while any(map(alive, processes)) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(map(alive, processes))
