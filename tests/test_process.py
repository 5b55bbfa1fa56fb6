"""Children: their output, their failures, and that none of them outlives us."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imgtool.errors import MachineLacks
from imgtool.process import CommandFailed, end, run, spawn_bound


def gone(pid: int, within: float = 10.0) -> bool:
    """Whether a process ends (or is a zombie) within some seconds."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.01)
    return False


def test_run_returns_what_the_program_wrote() -> None:
    result = run(["sh", "-c", "cat; echo aside >&2"], timeout=10, input=b"in")
    assert (result.stdout, result.stderr) == (b"in", b"aside\n")


def test_a_failing_program_raises_with_its_code_and_what_it_said() -> None:
    with pytest.raises(CommandFailed) as failed:
        run(["sh", "-c", "echo no such thing >&2; exit 7"], timeout=10)
    assert (failed.value.code, failed.value.stderr) == (7, "no such thing\n")
    assert "no such thing" in failed.value.statement().en
    assert failed.value.exit_code == 3


def test_a_program_that_takes_too_long_is_killed_and_reported() -> None:
    with pytest.raises(CommandFailed) as failed:
        run(["sh", "-c", "echo $$ >&2; exec sleep 600"], timeout=0.5)
    assert failed.value.code is None
    assert gone(int(failed.value.stderr))


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.get_exec_path", lambda: [str(tmp_path)])
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(MachineLacks) as lacks:
        run(["qemu-img", "--version"], timeout=10)
    assert lacks.value.package == "qemu-utils"


def test_programs_in_the_systems_folders_are_found_without_them_on_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert run(["sgdisk", "--version"], timeout=10).stdout.startswith(b"GPT fdisk")


def test_arguments_are_never_read_by_a_shell() -> None:
    strange = ["$(echo no)", "`echo no`", "a b", "", "*", "-n", "'"]
    said = run(["printf", "%s\\n", *strange], timeout=10).stdout.decode()
    assert said == "".join(f"{word}\n" for word in strange)


PARENT = """
import os, sys, time
from imgtool.process import spawn_bound
child = spawn_bound(["sleep", "600"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_child_ends_when_its_parent_is_killed(sign: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as us:
        assert us.stdout is not None
        child = int(us.stdout.readline())
        # the exec chain is over once the program has the name that was asked for
        until = time.monotonic() + 10
        while Path(f"/proc/{child}/comm").read_text() != "sleep\n" and time.monotonic() < until:
            time.sleep(0.01)
        assert Path(f"/proc/{child}/comm").read_text() == "sleep\n"
        us.send_signal(sign)
        us.wait()
    assert gone(child)


KILLED_WHILE_SPAWNING = """
import os, signal, threading, time, sys
from imgtool.process import spawn_bound
threading.Timer({delay}, os.kill, (os.getpid(), signal.SIGKILL)).start()
while True:
    child = spawn_bound(["sleep", "{mark}"])
    print(child.pid, flush=True)
"""


@pytest.mark.parametrize("delay", [0.02, 0.0213, 0.025, 0.031])
def test_no_child_is_left_when_the_parent_is_killed_in_the_middle_of_starting_one(delay: float) -> None:
    mark = f"{600 + os.getpid() % 1000}.{int(delay * 10000)}"
    script = KILLED_WHILE_SPAWNING.format(delay=delay, mark=mark)
    subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL, check=False)
    time.sleep(0.3)

    def left() -> list[str]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark.encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                    found.append(folder.name)
            except OSError:
                continue
        return found

    assert left() == []


def test_a_listening_socket_reaches_the_child_by_socket_activation(tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / "socket"))
    listening.listen(1)
    script = 'test "$LISTEN_FDS" = 1 && test "$LISTEN_PID" = "$$" && test -S /dev/fd/3 && echo activated'
    with listening:
        child = spawn_bound(["sh", "-c", script], stdout=subprocess.PIPE, listening=listening)
    assert child.communicate()[0] == b"activated\n"


def test_end_kills_a_child_that_does_not_listen_to_sigterm() -> None:
    child = spawn_bound(
        ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    end(child, patience=0.2)
    assert child.returncode == -signal.SIGKILL
    child.stdout.close()
