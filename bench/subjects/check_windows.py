"""`imgtool check` of a Windows disk with hundreds of services: time and memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.figure import Bar, Figure
from bench.process import peak_memory, wall_times

TITLE = "`imgtool check` of a Windows with more than 500 services"
METHOD = """\
A disk laid out as Server 2012 R2 lays it out (`fixtures/windows`: MBR, system-reserved partition, NTFS,
registry hives, DriverDatabase), with more than 500 services and drivers in its current control set, as a raw
file and as qcow2. Each run is a whole process, `imgtool check IMAGE`, timed from before the start to the end,
with the image in the page cache; every run must end with exit code 0. Memory as above."""
RUNS = 11
MEMORY_RUNS = 3
IMAGE = "windows-2012r2/hundreds-of-services"


def measure() -> Iterator[Figure]:
    """The figures, with the bar of one second."""
    imgtool = str(Path(sys.executable).with_name("imgtool"))
    commands = [[imgtool, "check", str(_image(kind))] for kind in ("raw", "qcow2")]
    for kind, times in zip(("raw", "qcow2"), wall_times(commands, runs=RUNS), strict=True):
        yield Figure(f"check of Windows, {kind}", "s", tuple(times), Bar("<=", 1.0))
    peaks = tuple(peak_memory(commands[0]) / 2**20 for _ in range(MEMORY_RUNS))
    yield Figure("peak memory, raw", "MiB", peaks, Bar("<=", 200))


def _image(kind: str) -> Path:
    build = [sys.executable, "-m", "fixtures", "path", IMAGE, "--format", kind]
    return Path(subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
