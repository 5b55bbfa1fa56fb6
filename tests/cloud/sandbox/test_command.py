"""`imgtool sandbox` as a process."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from imgtool.cloud.sandbox.faults import Faults, parsed
from imgtool.cloud.sandbox.server import Sandbox
from imgtool.errors import UsageError
from tests.cli.running import environment, imgtool, start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_ends_when_asked(tmp_path: Path, number: int) -> None:
    folder = tmp_path / "my sandbox"
    child = start("sandbox", "--dir", folder, "--fault", "503", env=environment())
    assert child.stdout is not None
    line = child.stdout.readline()
    assert "http://127.0.0.1:" in line
    assert line.endswith(f" source '{folder}/env.sh'\n")  # to be copied as it is
    seen = imgtool("doctor", "--cloud", env=_sourced(folder / "env.sh"))
    assert seen.returncode == 5  # the fault
    assert imgtool("doctor", "--cloud", env=_sourced(folder / "env.sh")).returncode == 0
    child.send_signal(number)
    out, errors = child.communicate(timeout=10)
    assert (child.returncode, out, errors) == (128 + number, "", "")


def _sourced(path: Path) -> dict[str, str]:
    shown = subprocess.run(
        ["bash", "-c", 'source "$0" && env -0', str(path)], capture_output=True, text=True, check=True
    )
    pairs = (line.partition("=") for line in shown.stdout.split("\0") if line)
    return environment(**{name: value for name, _, value in pairs})


def test_one_sandbox_a_folder(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "s").running():
        done = imgtool("sandbox", "--dir", tmp_path / "s")
    assert (done.returncode, "Another sandbox works in" in done.stderr) == (2, True)


def test_a_folder_that_can_not_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "spoiled").mkdir()
    (tmp_path / "spoiled" / "state.sqlite3").write_bytes(b"no database" * 1000)
    for name in ("file", "spoiled", "n" * 300):
        done = imgtool("sandbox", "--dir", tmp_path / name)
        assert done.returncode == 2, done.stderr
        assert "can't be the sandbox's folder" in done.stderr


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "one").running() as one:
        done = imgtool("sandbox", "--dir", tmp_path / "two", "--port", str(one.port))
    assert (done.returncode, "can't be listened on" in done.stderr) == (2, True)


def test_a_fault_is_written_as_kind_part_value_and_times() -> None:
    fault = parsed("drop@3*2")
    assert (fault.kind, fault.part, fault.left) == ("drop", 3, 2)
    assert (parsed("slow=1M").value, parsed("clock=-360").value) == (1 << 20, -360)
    for wrong in ("", "fire", "drop@", "drop@x", "drop*"):
        with pytest.raises(UsageError, match="No fault is written"):
            parsed(wrong)


def test_a_fault_strikes_as_often_as_asked() -> None:
    faults = Faults([parsed("503@2*2")])
    assert [faults.strikes("503", part) for part in (1, 2, 2, 2)] == [False, True, True, False]
    assert not faults.strikes("503")
