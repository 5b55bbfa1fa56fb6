"""However a run ends, no child process and no temporary file is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import empty, plug_in, qcow2, start

SLOW = """
    @rule("acme.slow", Text.same("slow"), severity=Severity.ERROR, source="field")
    def slow(image):
        "Opens the disk, says so, and takes for ever."
        assert image.disk.blocks.read(0, 512)
        Path(os.environ["STARTED"]).joinpath(str(os.getpid())).touch()
        time.sleep(600)
        yield kept(Text("done", "done"))
"""


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


def processes_with(word: str) -> list[str]:
    """The command lines of processes that name a word."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = folder.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            state = folder.joinpath("stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if word in line and state != "Z":
            found.append(line)
    return found


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_signal_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, code: int, jobs: str) -> None:
    images = [empty("vmdk", tmp_path / name) for name in ("one.vmdk", "two.vmdk")]
    temporary, started = tmp_path / "tmp", tmp_path / "started"
    temporary.mkdir()
    started.mkdir()
    env = {**plug_in(tmp_path / "site", SLOW), "TMPDIR": str(temporary), "STARTED": str(started)}
    report = tmp_path / "report.json"
    run = start("check", "--select", "acme.slow", "-j", jobs, "-f", "json", "-o", report, *images, env=env)
    wait_until(lambda: len(list(started.iterdir())) == int(jobs))
    assert any("qemu-nbd" in line for line in processes_with(str(tmp_path)))
    os.kill(run.pid, number)
    said = run.communicate(timeout=60)
    assert run.returncode == code
    assert said == ("", "")
    wait_until(lambda: not processes_with(str(tmp_path)))
    assert list(temporary.iterdir()) == []
    assert not report.exists()
    assert not list(tmp_path.glob(".*.part"))


def test_ctrl_c_goes_to_everyone_in_the_terminal_and_is_quiet(tmp_path: Path) -> None:
    started = tmp_path / "started"
    started.mkdir()
    env = {**plug_in(tmp_path / "site", SLOW), "STARTED": str(started)}
    run = start("check", "--select", "acme.slow", qcow2(tmp_path / "one.qcow2"), env=env)
    wait_until(lambda: len(list(started.iterdir())) == 1)
    os.killpg(run.pid, signal.SIGINT)
    assert run.communicate(timeout=60) == ("", "")
    assert run.returncode == 130
    wait_until(lambda: not processes_with(str(tmp_path)))


INTERRUPTED_WHILE_LOADING = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, *of_a_package):
        if name == "imgtool.cli.ending":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
sys.meta_path.insert(0, Interrupting())
from imgtool.cli import main
main()
"""


def test_ctrl_c_while_the_program_is_still_loading_shows_no_traceback() -> None:
    command = [sys.executable, "-c", INTERRUPTED_WHILE_LOADING]
    run = subprocess.run(command, capture_output=True, check=False)
    assert (run.returncode, run.stderr) == (-signal.SIGINT, b"")
