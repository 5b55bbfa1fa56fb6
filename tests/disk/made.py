"""Test disks, made with the real tools on sparse files."""

from __future__ import annotations

import subprocess
from pathlib import Path

MIB = 1024 * 1024


def tool(*args: str | Path, given: str | bytes = b"") -> bytes:
    """Run a tool; its output. What it says on failure becomes the test's."""
    data = given.encode() if isinstance(given, str) else given
    done = subprocess.run([str(arg) for arg in args], input=data, capture_output=True, check=False)
    assert done.returncode == 0, f"{args}: {done.stderr.decode()} {done.stdout.decode()}"
    return done.stdout


def sparse(path: Path, size: int) -> Path:
    """An empty sparse file of `size` bytes."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def write(path: Path, offset: int, data: bytes) -> None:
    """Overwrite bytes of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def mbr(path: Path, script: str, size: int = 64 * MIB) -> Path:
    """A disk with an MBR by sfdisk; the script's lines are partitions."""
    tool(
        "sfdisk",
        "--quiet",
        "--no-reread",
        sparse(path, size),
        given="label: dos\nlabel-id: 0xabcd1234\n" + script,
    )
    return path


def gpt(path: Path, script: str, size: int = 64 * MIB) -> Path:
    """A disk with a GPT by sfdisk."""
    tool("sfdisk", "--quiet", "--no-reread", sparse(path, size), given="label: gpt\n" + script)
    return path
