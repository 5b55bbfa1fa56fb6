"""Image files by real qemu-img, and the one change that a test makes to them."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path

from imgtool.disk.probe import ImageFile, probe

CLUSTER = 65536


def qemu_img(*args: str | Path) -> str:
    """Run qemu-img; its output."""
    command = ["qemu-img", *map(str, args)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def qemu_io(path: Path, *commands: str, qemu_format: str = "qcow2") -> None:
    """Write into an image as a guest would."""
    given = [word for command in commands for word in ("-c", command)]
    subprocess.run(["qemu-io", "-f", qemu_format, *given, path], check=True, capture_output=True)


def qemu_virtual_size(path: Path, qemu_format: str) -> int:
    """The virtual size as `qemu-img info` says it."""
    return int(json.loads(qemu_img("info", "-U", "-f", qemu_format, "--output=json", path))["virtual-size"])


def disk(path: Path, size: int = 4 * 1024**2 + 512, seed: int = 1) -> Path:
    """A raw disk: random and repetitive clusters with holes between, of an odd size."""
    rng = random.Random(seed)
    with path.open("wb") as file:
        file.truncate(size)
        for start in range(0, size - CLUSTER, 2 * CLUSTER):
            file.seek(start)
            file.write(rng.randbytes(20000) + b"text " * 9000)
        file.seek(size - 512)
        file.write(rng.randbytes(512))
    return path


def create(path: Path, qemu_format: str, size: str | int, options: str = "") -> Path:
    """An empty image."""
    qemu_img("create", "-q", "-f", qemu_format, *(["-o", options] if options else []), path, str(size))
    return path


def convert(source: Path, path: Path, qemu_format: str, options: str = "", *flags: str) -> Path:
    """A raw disk as an image."""
    qemu_img(
        "convert", *flags, "-f", "raw", "-O", qemu_format, *(["-o", options] if options else []), source, path
    )
    return path


def overwrite(path: Path, offset: int, data: bytes) -> Path:
    """Change bytes; a negative offset counts from the end."""
    with path.open("r+b") as file:
        file.seek(offset, 0 if offset >= 0 else 2)
        file.write(data)
    return path


def shorten(path: Path, size: int) -> Path:
    """Cut a file short."""
    with path.open("r+b") as file:
        file.truncate(size)
    return path


def checks_of(file: ImageFile) -> list[str]:
    """The names of what is damaged."""
    return [damage.check for damage in file.damage]


def hazards_of(file: ImageFile) -> list[str]:
    """The names of what is dangerous."""
    return [hazard.check for hazard in file.hazards]


def damage_after(path: Path, offset: int, data: bytes) -> list[str]:
    """What is damaged once bytes of the file are changed."""
    return checks_of(probe(overwrite(path, offset, data)))
