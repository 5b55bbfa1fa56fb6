"""raw → X → raw gives back every byte, for every X, from one sector to 500 GiB."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.convert.engine import Request, convert
from imgtool.disk.probe import probe
from imgtool.profiles import load_profile

TCE = load_profile("tce")
SECTOR = 512
CLUSTER = 65536
TARGETS = {
    "qcow2": Request(to="qcow2"),
    "qcow2-0.10": Request(to="qcow2", options={"compat": "0.10"}),
    "qcow2-compressed": Request(to="qcow2", compress=True),
    "qcow2-compressed-0.10": Request(to="qcow2", compress=True, options={"compat": "0.10"}),
    "qcow2-compressed-by-qemu": Request(to="qcow2", compress=True, writer="qemu-img"),
    "raw": Request(to="raw"),
    "vhd-dynamic": Request(to="vhd"),
    "vhd-fixed": Request(to="vhd", options={"subformat": "fixed"}),
    "vmdk-sparse": Request(to="vmdk"),
    "vmdk-stream": Request(to="vmdk", compress=True),
}
CHECKED = {"qcow2": "qcow2", "vmdk": "vmdk"}


def there_and_back(raw: Path, request: Request) -> Path:
    """Convert and convert back; by an independent tool, the middle is sound."""
    middle, back = raw.with_name("middle"), raw.with_name("back.raw")
    made = convert(raw, middle, request, TCE)
    assert made.verified
    file = probe(middle)
    assert (file.damage, file.hazards) == ((), ())
    if (qemu_format := CHECKED.get(str(request.to))) is not None:
        subprocess.run(["qemu-img", "check", "-q", "-f", qemu_format, middle], check=True)
    convert(middle, back, Request(), TCE)
    return back


@pytest.fixture(params=TARGETS.values(), ids=TARGETS.keys())
def target(request: pytest.FixtureRequest) -> Request:
    found: Request = request.param
    return found


@pytest.mark.parametrize("sectors", [1, 2, 127, 128, 129, 4095, 4096, 4097])
def test_small_disks_of_every_awkward_size(tmp_path: Path, target: Request, sectors: int) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(random.Random(sectors).randbytes(sectors * SECTOR))
    assert there_and_back(raw, target).read_bytes() == raw.read_bytes()


@pytest.mark.parametrize("sectors", [1, 4097])
def test_a_disk_of_nothing_but_zeros(tmp_path: Path, target: Request, sectors: int) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(bytes(sectors * SECTOR))
    assert there_and_back(raw, target).read_bytes() == raw.read_bytes()


PIECES = st.one_of(
    st.integers(0, 2**32).map(lambda seed: random.Random(seed).randbytes(CLUSTER)),
    st.binary(min_size=1, max_size=64),
    st.just(b"\0" * 100 + b"text " * 2000),
    st.just(b"\0"),
    st.just(b"\xff" * 4096),
)


@given(
    sectors=st.integers(1, 6 * 1024**2 // SECTOR),
    pieces=st.lists(st.tuples(st.floats(0, 1), PIECES), max_size=12),
    holes=st.booleans(),
)
@settings(max_examples=6)
def test_whatever_is_on_the_disk(
    target: Request,
    tmp_path_factory: pytest.TempPathFactory,
    sectors: int,
    pieces: list[tuple[float, bytes]],
    holes: bool,
) -> None:
    raw = tmp_path_factory.mktemp("disk") / "disk.raw"
    size = sectors * SECTOR
    with raw.open("wb") as file:
        file.truncate(size)
        if not holes:
            file.write(bytes(size))
        for where, piece in pieces:
            start = int(where * (size - 1))
            file.seek(start)
            file.write(piece[: size - start])
    assert there_and_back(raw, target).read_bytes() == raw.read_bytes()


def test_hundreds_of_gib_with_data_at_both_ends_and_between(tmp_path: Path, target: Request) -> None:
    """A streamed VMDK is smaller: QEMU goes through as many tables for it as for the sparse one."""
    raw = tmp_path / "disk.raw"
    size = (125 if target is TARGETS["vmdk-stream"] else 500) * 1024**3
    places = {0: b"first" * 100, 123 * 1024**3 + 511: b"middle" * 50_000, size - 512: b"last" * 128}
    with raw.open("wb") as file:
        file.truncate(size)
        for offset, data in places.items():
            file.seek(offset)
            file.write(data)
    back = there_and_back(raw, target)
    assert back.stat().st_size == size
    assert back.stat().st_blocks * 512 < 8 * 1024**2
    subprocess.run(["qemu-img", "compare", "-q", "-f", "raw", "-F", "raw", raw, back], check=True)


@pytest.mark.parametrize("name", ["qcow2", "qcow2-compressed", "vhd-dynamic", "vmdk-sparse"])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    """VHD and VMDK carry a time, a UUID or a random identity: what differs is in their headers only."""
    raw = tmp_path / "disk.raw"
    raw.write_bytes(random.Random(1).randbytes(300_032) + bytes(700_416) + b"end " * 128)
    outputs = []
    for number in range(2):
        convert(raw, tmp_path / str(number), TARGETS[name], TCE)
        outputs.append((tmp_path / str(number)).read_bytes())
    one, other = outputs
    assert len(one) == len(other)
    differing = [at for at in range(len(one)) if one[at] != other[at]]
    if name.startswith("qcow2"):
        assert differing == []
    else:  # a header or a descriptor at either end; a shorter random number shifts a descriptor's whole text
        header = 64 << 10
        assert [at for at in differing if header <= at < len(one) - header] == []
