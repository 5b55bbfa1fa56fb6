"""Measuring a command as a whole process: wall time, and peak memory with its child processes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
SAMPLE_EVERY = 0.001  # seconds; a process's own high-water mark only grows, so the last sample is what counts


class Unexpected(Exception):
    """A measured command ended otherwise than expected: what it measured means nothing."""


def wall_times(
    commands: Sequence[Sequence[str]],
    *,
    runs: int,
    warm_up: int = 1,
    expected: int = 0,
    env: Mapping[str, str] | None = None,
    outputs: Sequence[Path] | None = None,
) -> list[list[float]]:
    """Seconds from before the start to the end of each run, per command.

    The commands take turns, so that what else the machine does falls on all of them alike. The first
    `warm_up` rounds fill the page cache and are not counted. outputs: the file that each makes, removed
    before it runs: what was emptied and filled again is written to the storage by ext4 when it is closed.
    Raises Unexpected for another exit code than `expected`.
    """
    times: list[list[float]] = [[] for _ in commands]
    made: Sequence[Path | None] = outputs or [None] * len(commands)
    for round_ in range(warm_up + runs):
        for command, own, output in zip(commands, times, made, strict=True):
            if output is not None:
                output.unlink(missing_ok=True)
            with tempfile.TemporaryFile() as errors:
                start = time.perf_counter()
                child = subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=errors, env=_environment(env)
                )
                code = child.wait()
                took = time.perf_counter() - start
                errors.seek(0)
                _expect(command, code, expected, errors.read())
            if round_ >= warm_up:
                own.append(took)
    return times


def peak_memory(command: Sequence[str], *, expected: int = 0, env: Mapping[str, str] | None = None) -> int:
    """An upper bound of the bytes of memory that a command and all its descendants held at one time.

    The sum of every process's own peak resident set (VmHWM of /proc/PID/status, proc_pid_status(5)): pages
    that processes share count in each of them, and the peaks need not coincide. Not ru_maxrss: on Linux it
    also holds the peak of the process that forked, ours. What lives under a millisecond may be missed.
    """
    peaks: dict[int, int] = {}
    with tempfile.TemporaryFile() as errors, _orphans_come_to_us():
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=_environment(env))
        while child.poll() is None:
            for process in descendants(os.getpid()):
                peaks[process] = max(peaks.get(process, 0), _high_water_mark(process))
            time.sleep(SAMPLE_EVERY)
        errors.seek(0)
        _expect(command, child.returncode, expected, errors.read())
    return sum(peaks.values())


@contextlib.contextmanager
def _orphans_come_to_us() -> Iterator[None]:
    """Descendants whose parent ends become our children instead of init's; what is left of them is ended."""
    before = set(_children(os.getpid()))
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        while orphans := set(_children(os.getpid())) - before:
            for orphan in orphans:
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(orphan, signal.SIGKILL)
                    os.waitpid(orphan, 0)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def descendants(process: int) -> list[int]:
    """The ids of a process's children, their children and so on."""
    found: list[int] = []
    waiting = [process]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def _children(process: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):  # it ended meanwhile
        for thread in os.listdir(f"/proc/{process}/task"):
            with contextlib.suppress(OSError):
                found += map(int, Path(f"/proc/{process}/task/{thread}/children").read_text().split())
    return found


def _high_water_mark(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0  # a zombie


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """Ours, without what would make Python compile every module anew on every run."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return inherited | {"LC_ALL": "C.UTF-8"} | dict(env or {})


def _expect(command: Sequence[str], code: int, expected: int, errors: bytes) -> None:
    if code != expected:
        said = errors.decode(errors="replace").strip()
        raise Unexpected(f"{' '.join(command)}: exit code {code}, not {expected}. {said}")
