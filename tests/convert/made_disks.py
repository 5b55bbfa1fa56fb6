"""Raw disks of text, random and zero stretches, and what the tests of the writer do with them."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st

from imgtool.convert.qcow2_writer import Written, write_compressed
from imgtool.convert.source import open_source
from imgtool.disk.probe import probe
from tests.disk.made import sparse, tool, write

MIB = 1024 * 1024
SECTOR = 512


@dataclass(frozen=True)
class Stretch:
    """Bytes from `offset` on. kind: "text", "random", "zero" (written out) or "constant"."""

    offset: int
    length: int
    kind: str


def stretches(largest: int) -> st.SearchStrategy[tuple[int, list[Stretch]]]:
    """(disk size in bytes, what is on it), sizes from one sector up."""
    kinds = st.sampled_from(("text", "random", "zero", "constant"))

    def on_disk(size: int) -> st.SearchStrategy[tuple[int, list[Stretch]]]:
        one = st.builds(Stretch, st.integers(0, size - 1), st.integers(1, 400_000), kinds)
        return st.tuples(st.just(size), st.lists(one, max_size=8))

    return st.integers(1, largest // SECTOR).map(lambda sectors: sectors * SECTOR).flatmap(on_disk)


def disk(path: Path, size: int, content: list[Stretch]) -> Path:
    """A sparse raw file with that content, the same bytes for the same arguments."""
    sparse(path, size)
    for number, stretch in enumerate(content):
        length = min(stretch.length, size - stretch.offset)
        write(path, stretch.offset, _bytes(stretch.kind, length, number))
    return path


def _bytes(kind: str, length: int, seed: int) -> bytes:
    if kind == "random":
        return random.Random(seed).randbytes(length)
    if kind == "text":
        words = b" ".join(b"\0line %d of file %d\n" % (number * number, seed) for number in range(200))
        return (words * (length // len(words) + 1))[:length]
    return bytes([0 if kind == "zero" else seed % 255 + 1]) * length


def convert(image: Path, out: Path, **options: object) -> Written:
    """The image written compressed to `out`."""
    with open_source(probe(image)) as source, out.open("wb") as file:
        return write_compressed(source, file, **options)  # type: ignore[arg-type]


def found_clean(qcow2: Path) -> None:
    """qemu-img check names no error and no leak."""
    tool("qemu-img", "check", "-q", "-f", "qcow2", qcow2)


def found_same(raw: Path, qcow2: Path) -> None:
    """qemu-img compare finds the disks identical."""
    tool("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", raw, qcow2)
