"""What the benchmarks' measuring counts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.process import Unexpected, descendants, peak_memory, wall_times

MIB = 2**20
HOLD = "import time; held = bytearray({size}); held[::4096] = b'x' * len(held[::4096]); time.sleep(0.3)"


def holding(mebibytes: int) -> str:
    return HOLD.format(size=mebibytes * MIB)


def test_peak_memory_counts_a_process_and_its_child() -> None:
    child = f"import subprocess, sys; c = subprocess.Popen([sys.executable, '-c', {holding(60)!r}])"
    both = peak_memory([sys.executable, "-c", f"{child}; {holding(40)}; c.wait()"])
    alone = peak_memory([sys.executable, "-c", holding(40)])
    assert 40 * MIB < alone < 80 * MIB
    assert 100 * MIB < both < 200 * MIB


def test_peak_memory_counts_a_descendant_whose_parent_ended() -> None:
    orphan = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {holding(60)!r}])"
    middle = (
        f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {orphan!r}]); time.sleep(0.4)"
    )
    assert peak_memory([sys.executable, "-c", middle]) > 60 * MIB


def test_a_process_that_ended_meanwhile_has_no_descendants() -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    assert descendants(gone.pid) == []


def test_measuring_memory_leaves_no_process_behind() -> None:
    before = descendants(os.getpid())
    orphan = "import subprocess; subprocess.Popen(['sleep', '600'])"
    peak_memory([sys.executable, "-c", f"import sys, subprocess, time; {orphan}; time.sleep(0.1)"])
    subprocess.run(["sh", "-c", "sleep 0 &"], check=True)  # and orphans are init's again
    time.sleep(0.1)
    assert descendants(os.getpid()) == before


def test_peak_memory_is_not_that_of_the_measuring_process() -> None:
    ballast = bytearray(b"x" * (150 * MIB))
    assert peak_memory(["sleep", "0.05"]) < 50 * MIB
    assert ballast


def test_a_command_that_fails_measures_nothing() -> None:
    with pytest.raises(Unexpected, match="exit code 1, not 0"):
        wall_times([["false"]], runs=1)


def test_every_command_is_timed_as_often_as_asked() -> None:
    times = wall_times([["true"], ["sleep", "0.01"]], runs=3, warm_up=2)
    assert [len(own) for own in times] == [3, 3]


def test_what_a_command_makes_is_not_there_when_it_starts_and_is_at_the_end(tmp_path: Path) -> None:
    outputs = [tmp_path / "a", tmp_path / "b"]
    commands = [["sh", "-c", 'set -C; echo > "$0"', str(output)] for output in outputs]  # -C: only a new one
    wall_times(commands, runs=2, outputs=outputs)
    assert all(output.exists() for output in outputs)
