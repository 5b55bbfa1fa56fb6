"""Work in processes: results in order, crashes told apart, nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from imgtool.cli.workers import MEMORY, Crashed, in_processes


def children() -> list[str]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()


def double(number: int) -> int:
    time.sleep(0.02 * (3 - number % 3))
    return 2 * number


@pytest.mark.parametrize("jobs", [1, 2, 7])
def test_results_come_in_the_order_of_the_items(jobs: int) -> None:
    assert list(in_processes(double, range(9), jobs)) == [2 * number for number in range(9)]
    assert children() == []


def test_a_result_may_be_larger_than_a_pipe_holds() -> None:
    sizes = [len(result) for result in in_processes(bytes, [5_000_000] * 3, 2) if isinstance(result, bytes)]
    assert sizes == [5_000_000] * 3


def stumble(number: int) -> int:
    if number == 1:
        raise ValueError("one")
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 3:
        os._exit(7)
    return number


def test_a_worker_that_stumbles_is_told_from_the_others() -> None:
    assert list(in_processes(stumble, range(5), 2)) == [
        0,
        Crashed("ValueError: one"),
        Crashed("SIGKILL"),
        Crashed("exit code 7"),
        4,
    ]


def test_a_worker_without_an_answer_is_killed_at_its_limit() -> None:
    found = list(in_processes(lambda number: time.sleep(600 if number == 1 else 0), range(3), 2, limit=0.5))
    assert found == [None, Crashed("no answer within 0.5 s"), None]
    assert children() == []


def test_a_worker_and_its_children_have_bounded_memory() -> None:
    def hoard(how: str) -> int:
        if how == "itself":
            return len(bytearray(MEMORY + 1))
        program = f"bytearray({MEMORY} + 1)"
        return subprocess.call([sys.executable, "-c", program], stderr=subprocess.DEVNULL)

    assert list(in_processes(hoard, ["itself", "child"])) == [Crashed("MemoryError: "), 1]


def test_leaving_early_ends_the_workers() -> None:
    results = in_processes(lambda number: time.sleep(600 if number else 0), range(3), 3)
    assert next(results) is None
    assert len(children()) == 2
    results.close()  # type: ignore[attr-defined]
    assert children() == []


def test_no_file_stays_open() -> None:
    before = os.listdir("/proc/self/fd")
    list(in_processes(stumble, range(5), 2))
    assert len(os.listdir("/proc/self/fd")) == len(before)
