from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fixtures.windows.program import program
from imgtool.guest.windows.program_file import read_program_file
from tests.guest.memory_tree import MemoryTree


@pytest.mark.parametrize("machine", ["x86_64", "i386", "arm64"])
@pytest.mark.parametrize("signed", ["", "sha1", "sha256"])
def test_machine_and_signature_come_from_the_headers(machine: str, signed: str) -> None:
    tree = MemoryTree({"/x.sys": program(machine, native=True, signed=signed)})
    found = read_program_file(tree, "/x.sys")  # type: ignore[arg-type]
    assert found is not None
    assert found.machine == machine
    assert found.digests == ((signed,) if signed else ())


@pytest.mark.parametrize("data", [b"", b"MZ", b"MZ" + bytes(100), b"\x7fELF" + bytes(100)])
def test_other_files_are_no_programs(data: bytes) -> None:
    tree = MemoryTree({"/x.sys": data})
    assert read_program_file(tree, "/x.sys") is None  # type: ignore[arg-type]


def test_file_calls_the_made_ones_programs_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "x.exe"
    path.write_bytes(program("x86_64"))
    said = subprocess.run(["file", "-b", path], capture_output=True, text=True, check=True).stdout
    assert said.startswith("PE32+ executable")
