"""Compressed qcow2: our own writer against `qemu-img convert -c`, in time and size."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.figure import Bar, Figure, ratio
from bench.process import peak_memory, wall_times

TITLE = "Writing compressed qcow2"
METHOD = """\
Our own writer (ISA-L, level 1, as many processes as CPUs, SHA-256 and CRC-64 of the output included) against
`qemu-img convert -c` and `qemu-img convert -c -W -m 16`, which compute neither. Each run is a whole program,
from the raw image to the finished file; they take turns, and one round goes ahead uncounted, so that the
image is in the page cache. None waits for the storage: no fsync, and each writes a new file, since ext4
writes out at its close one that was there and was emptied. Every output is looked at afterwards by `qemu-img
check`, and compared with the source by `qemu-img compare`.

- **Real image**: the golden image of `fixtures/` (Debian 12, 4 GiB virtual, sparse).
- **Mixed data**: 4 GiB in stretches of 1 to 32 MiB, by turns random bytes, zeroes that are written
  out, and text (words drawn at random); no holes.
- **Memory**: a sparse disk of 500 GiB with 3 MiB of data every 4 GiB and one sector every 500 MiB; the sum of
  the peak resident sets of all processes."""
RUNS = {"Debian": 5, "mixed": 3}
MIXED_SIZE = 4 << 30
MIB = 1 << 20
WRITER = """
import sys
from pathlib import Path
from imgtool.convert.qcow2_writer import write_compressed
from imgtool.convert.source import open_source
from imgtool.disk.probe import probe
with open_source(probe(Path(sys.argv[1]))) as source, open(sys.argv[2], "wb") as out:
    write_compressed(source, out)
"""


def measure() -> Iterator[Figure]:
    """The figures of the design's table for compressed conversion."""
    with tempfile.TemporaryDirectory(prefix="imgtool-bench-") as folder:
        place = Path(folder)
        real = place / "debian.raw"
        subprocess.run(["cp", "--sparse=always", _golden_image(), real], check=True)
        yield from _compared("Debian", real, place)
        real.unlink()
        yield from _compared("mixed", _mixed(place / "mixed.raw"), place)
        (place / "mixed.raw").unlink()
        peaks = [
            peak_memory(_ours(_spread(place / "spread.raw"), place / "spread.qcow2")) / MIB for _ in range(3)
        ]
        yield Figure("peak memory, 500 GiB sparse", "MiB", tuple(peaks), Bar("<=", 256))


def _compared(name: str, image: Path, place: Path) -> Iterator[Figure]:
    outputs = [place / f"{name}-{writer}.qcow2" for writer in ("ours", "qemu", "qemu-parallel")]
    qemu = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c"]
    commands = [
        _ours(image, outputs[0]),
        [*qemu, str(image), str(outputs[1])],
        [*qemu, "-W", "-m", "16", str(image), str(outputs[2])],
    ]
    ours, plain, parallel = wall_times(commands, runs=RUNS[name], outputs=outputs)
    for output in outputs:
        subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", output], check=True)
        subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", image, output], check=True)
    sizes = [output.stat().st_size for output in outputs]
    yield Figure(f"imgtool, {name}", "s", tuple(ours))
    yield Figure(f"qemu-img -c, {name}", "s", tuple(plain))
    yield Figure(f"qemu-img -c -W -m 16, {name}", "s", tuple(parallel))
    yield ratio(f"qemu-img -c / imgtool, {name}", plain, ours, Bar(">=", 6))
    yield ratio(f"qemu-img -c -W -m 16 / imgtool, {name}", parallel, ours, Bar(">=", 6))
    for writer, size in zip(("imgtool", "qemu-img -c", "qemu-img -c -W -m 16"), sizes, strict=True):
        yield Figure(f"size, {writer}, {name}", "MiB", (size / MIB,))
    yield ratio(f"size, imgtool / qemu-img, {name}", [sizes[0]], [sizes[1]], Bar("<=", 1.1))
    for output in outputs:
        output.unlink()


def _ours(image: Path, output: Path) -> list[str]:
    return [sys.executable, "-c", WRITER, str(image), str(output)]


def _mixed(path: Path) -> Path:
    """Random bytes, written zeroes and text by turns, the same every time."""
    chance = random.Random(2023)  # noqa: S311 - data, not secrets
    words = [chance.randbytes(chance.randrange(2, 7)).hex().encode() for _ in range(5000)]
    texts = [b" ".join(chance.choices(words, k=160_000))[:MIB] for _ in range(16)]
    made = (lambda: chance.choice(texts), lambda: chance.randbytes(MIB), lambda: bytes(MIB))
    with path.open("wb") as file:
        left, turn = MIXED_SIZE // MIB, 1  # text at the very start would be taken for a text file
        while left:
            length = min(chance.randrange(1, 33), left)
            for _ in range(length):
                file.write(made[turn % 3]())
            left -= length
            turn += 1
    return path


def _spread(path: Path) -> Path:
    chance = random.Random(500)  # noqa: S311
    with path.open("wb") as file:
        file.truncate(500 << 30)
        for at in range(0, 500 << 30, 500 * MIB):
            file.seek(at)
            file.write(bytes(8) + b"\x55" * 504)
        for at in range(0, 500 << 30, 4 << 30):
            file.seek(at + 33 * MIB)
            file.write(chance.randbytes(3 * MIB))
    return path


def _golden_image() -> Path:
    build = [sys.executable, "-m", "fixtures", "path", "debian12-bios"]
    return Path(subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
