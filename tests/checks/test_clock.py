from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from imgtool.checks.clock import hardware_clock

from tests.checks.linux_guest import image, levels, only, remedy

LOCAL = "0.0 0 0.0\n0\nLOCAL\n"


@pytest.mark.parametrize("text", ["0.0 0 0.0\n0\nUTC\n", "0.0 0 0.0\r\n0\r\nUTC\r\n", "0.0 0 0.0\n0", ""])
def test_utc_and_silence_are_right(text: str) -> None:
    assert levels(hardware_clock, image({"/etc/adjtime": text})) == ["kept"]
    assert levels(hardware_clock, image()) == ["kept"]


def test_local_time_is_told_with_its_line_and_mended(tmp_path: Path) -> None:
    outcome = only(hardware_clock, image({"/etc/adjtime": LOCAL}))
    assert levels(hardware_clock, image({"/etc/adjtime": LOCAL})) == ["info"]
    assert outcome.evidence == ("/etc/adjtime:3: LOCAL",)
    file = tmp_path / "adjtime"
    file.write_text(LOCAL)
    command = remedy(outcome).splitlines()[-1].replace("/etc/adjtime", str(file))
    subprocess.run(["sh", "-ec", command], check=True)
    assert file.read_text() == LOCAL.replace("LOCAL", "UTC")


@pytest.mark.parametrize(
    ("path", "text", "level"),
    [
        ("/etc/sysconfig/clock", 'ZONE="Asia/Shanghai"\nUTC=false\n', "info"),
        ("/etc/sysconfig/clock", "UTC=true\n", "kept"),
        ("/etc/sysconfig/clock", 'HWCLOCK="--localtime"\n', "info"),
        ("/etc/sysconfig/clock", 'HWCLOCK="-u"\n', "kept"),
        ("/etc/default/rcS", "TMPTIME=0\nUTC=no\n", "info"),
        ("/etc/default/rcS", "# UTC=no\n", "kept"),
    ],
)
def test_older_distributions_say_it_elsewhere(path: str, text: str, level: str) -> None:
    assert levels(hardware_clock, image({path: text})) == [level]
    assert levels(hardware_clock, image({path: text, "/etc/adjtime": "0\n0\nUTC\n"})) == ["kept"]


def test_a_file_of_empty_lines_is_read_in_no_time() -> None:
    """The search was quadratic in the empty lines of a file: half a minute for 64 KiB."""
    code = (
        "from imgtool.guest.clock import read_clock; from tests.guest.owned_tree import OwnedTree;"
        "read_clock(OwnedTree({'/etc/sysconfig/clock': '\\n' * 65_000, '/etc/default/rcS': '\\n' * 65_000}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=10)
