"""Whatever a file holds: no error but ours, no memory at its word, no end that does not come."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.disk.formats import vhd
from imgtool.disk.probe import ImageFile, probe
from imgtool.errors import ImgtoolError
from tests.disk.formats.images import checks_of, convert, create, disk, overwrite, qemu_img
from tests.disk.formats.test_vmdk import header as vmdk_header
from tests.disk.formats.test_vmdk import one_extent, sparse, stream

MEMORY = 96 * 1024**2
MAGICS = [
    *(
        b"QFI\xfb\0\0\0\1",
        b"QFI\xfb\0\0\0\2",
        b"QFI\xfb\0\0\0\3",
        b"KDMV",
        b"COWD",
        b"\xbe\xba\xfe\xca\0\0\0\0",
    ),
    *(
        b"conectix",
        b"vhdxfile",
        b"QED\0",
        b"LUKS\xba\xbe\0\2",
        b"\x1f\x8b\x08\0",
        b"BZh91AY&SY",
        b"\xfd7zXZ\0\0",
    ),
    *(b"\x28\xb5\x2f\xfd", b"PK\3\4", b"# Disk DescriptorFile\n", b"version=1\nCID=", b"<html", b"{", b""),
]
HURTS = [bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff" * 8, b"\0\0\0\1", b"\1\0\0\0"]


def judged(path: Path) -> ImageFile | None:
    """The probe's answer, or None for an error of ours; anything else fails the test."""
    try:
        return probe(path)
    except ImgtoolError:
        return None


@settings(max_examples=300)
@given(magic=st.sampled_from(MAGICS), rest=st.binary(max_size=3000), end=st.sampled_from([b"", b"conectix"]))
def test_any_bytes_are_judged(
    tmp_path_factory: pytest.TempPathFactory, magic: bytes, rest: bytes, end: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(magic + rest + end.ljust(512 if end else 0, b"\xff"))
    file = judged(path)
    assert file is not None
    assert file.file_size == path.stat().st_size


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Real images of every kind that have tables."""
    folder = tmp_path_factory.mktemp("originals")
    source = disk(folder / "disk.raw", size=1024**2)
    snapshots = convert(source, folder / "snapshots.qcow2", "qcow2")
    qemu_img("snapshot", "-c", "one", snapshots)
    made = [
        snapshots,
        convert(source, folder / "c.qcow2", "qcow2", "", "-c"),
        convert(source, folder / "small.qcow2", "qcow2", "cluster_size=512,extended_l2=off", "-c"),
        convert(source, folder / "l2.qcow2", "qcow2", "extended_l2=on"),
        convert(source, folder / "a.vmdk", "vmdk"),
        convert(source, folder / "s.vmdk", "vmdk", "subformat=streamOptimized"),
        stream(folder / "footer.vmdk"),
        sparse(folder / "no-capacity.vmdk", one_extent(), capacity=0),
        create(folder / "flat.vmdk", "vmdk", "1M", "subformat=monolithicFlat"),
        convert(source, folder / "d.vhd", "vpc"),
        convert(source, folder / "f.vhd", "vpc", "subformat=fixed"),
        create(folder / "a.vhdx", "vhdx", "1M"),
        create(folder / "a.vdi", "vdi", "1M"),
        create(folder / "a.qed", "qed", "1M"),
        create(folder / "a.qcow", "qcow", "1M"),
    ]
    return [path.read_bytes() for path in made]


@settings(max_examples=400)
@given(data=st.data())
def test_a_changed_image_is_judged(
    tmp_path_factory: pytest.TempPathFactory, originals: list[bytes], data: st.DataObject
) -> None:
    """Fields and table entries overwritten with numbers that hurt; the file cut at times."""
    image = bytearray(data.draw(st.sampled_from(originals)))
    for _ in range(data.draw(st.integers(1, 4))):
        where = data.draw(st.integers(0, 160) | st.integers(0, 2000) | st.integers(0, len(image) - 8))
        hurts = st.sampled_from(
            [b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\xff" * 8, b"\0\0\0\1", b"\1\0\0\0"]
        )
        value = data.draw(hurts | st.binary(min_size=1, max_size=8))
        image[where : where + len(value)] = value
    if data.draw(st.booleans()):
        del image[data.draw(st.integers(0, len(image))) :]
    path = tmp_path_factory.getbasetemp() / "changed.vmdk"
    path.write_bytes(image)
    file = judged(path)
    assert file is not None
    assert all(hazard.detail.isprintable() and len(hazard.detail) < 400 for hazard in file.hazards)
    assert file.qemu_format is None or not file.hazards


def qcow2_with_the_largest_tables(path: Path) -> Path:
    """L1 and refcount tables as large as QEMU takes, full of pointers, in a file of a terabyte."""
    create(path, "qcow2", "64M")
    with path.open("r+b") as file:
        file.truncate(1 << 40)
        file.seek(36)
        file.write(struct.pack(">IQQI", 4 * 1024**2, 1 << 30, 2 << 30, 128))
        file.seek(1 << 30)
        for start in range(0, 4 * 1024**2, 65536):
            file.write(
                struct.pack(">65536Q", *(1 << 63 | (number << 16) for number in range(start, start + 65536)))
            )
        file.seek(2 << 30)
        for _ in range(16):
            file.write(struct.pack(">Q", 3 << 30) * 65536)
    return path


def qcow2_with_very_many_snapshots(path: Path) -> Path:
    create(path, "qcow2", "64M")
    entry = struct.pack(">QIHHIIQII", 0x30000, 1, 1, 200, 0, 0, 0, 0, 0) + b"1" + b"n" * 200
    with path.open("r+b") as file:
        file.seek(60)
        file.write(struct.pack(">IQ", 65536, 0x100000))
        file.seek(0x100000)
        file.write(entry.ljust(248, b"\0") * 65536)
    return path


def qcow2_whose_snapshots_have_the_largest_tables(path: Path) -> Path:
    """Twenty snapshots, each with an L1 table of 32 MiB, and counts that point past the end of the file."""
    create(path, "qcow2", "64M", "cluster_size=512")
    with path.open("r+b") as file:
        file.truncate(1 << 30)
        file.seek(36)
        file.write(struct.pack(">IQQI", 4 * 1024**2, 1 << 28, 2 << 28, 16384))
        file.write(struct.pack(">IQ", 20, 3 << 28))
        file.seek(1 << 28)
        for start in range(0, 4 * 1024**2, 65536):
            tables = ((1 << 27) + (number % 131072 << 9) for number in range(start, start + 65536))
            file.write(struct.pack(">65536Q", *tables))
        file.seek(2 << 28)
        file.write(struct.pack(">Q", 1 << 26) * 1024**2)
        file.seek(3 << 28)
        file.write(
            (struct.pack(">QIHHIIQII", 1 << 28, 1 << 22, 1, 1, 0, 0, 0, 0, 0) + b"ab").ljust(48, b"\0") * 20
        )
        file.seek(1 << 26)
        file.write(b"\xff" * 512)
    return path


def vmdk_with_the_largest_tables(path: Path) -> Path:
    """A directory of a 2 TiB disk whose grain tables lie apart, all of them full."""
    with path.open("wb") as file:
        file.truncate(1 << 40)
        file.write(vmdk_header(capacity=1 << 32, directory_offset=2048, overhead=128))
        file.seek(512)
        file.write(one_extent().encode())
        file.seek(2048 * 512)
        file.write(struct.pack("<16384I", *(1000000 + 8 * number for number in range(16384))))
    return path


def vmdk_descriptor_of_a_megabyte(path: Path) -> Path:
    path.write_text("# Disk DescriptorFile\nversion=1\n" + 'RW 1 FLAT "a-flat.vmdk" 0\n' * 45000)
    return path


def vhd_with_the_largest_table(path: Path) -> Path:
    create(path, "vpc", "2040G")
    with path.open("r+b") as file:
        start = file.read(1536)
        dynamic = bytearray(start[512:])
        dynamic[28:36] = struct.pack(">II", 16 * 1024**2, 1 << 20)
        dynamic[36:40] = struct.pack(">I", vhd.checksum(bytes(dynamic), vhd.HEADER_CHECKSUM))
        file.seek(512)
        file.write(dynamic)
        for _ in range(16):
            file.write(struct.pack(">I", 77) * 1024**2)
        file.truncate(1 << 40)
        file.seek((1 << 40) - 512)
        file.write(start[:512])
    return path


@pytest.mark.parametrize(
    "build",
    [
        qcow2_with_the_largest_tables,
        qcow2_whose_snapshots_have_the_largest_tables,
        qcow2_with_very_many_snapshots,
        vmdk_with_the_largest_tables,
        vmdk_descriptor_of_a_megabyte,
        vhd_with_the_largest_table,
    ],
)
def test_the_largest_tables_cost_bounded_memory(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    """The peak of a whole process, of which Python itself is some 20 MiB."""
    path = build(tmp_path / "a.vmdk")
    program = (
        "import sys; from pathlib import Path; from imgtool.disk.probe import probe; "
        "probe(Path(sys.argv[1])); "
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, path], check=True, capture_output=True, text=True, timeout=120
    )
    assert int(done.stdout) * 1024 < MEMORY


def test_very_many_grain_tables_are_read_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a million tables of one entry each, none beside the next."""
    path, entries = tmp_path / "a.vmdk", 1 << 19
    places = struct.pack(f"<{entries}I", *(8192 + 2 * (number % 2048) for number in range(entries)))
    size = {"capacity": entries * 8, "grain_size": 8, "entries_per_table": 1}
    path.write_bytes(vmdk_header(**size, descriptor_offset=0, directory_offset=1, overhead=1) + places)
    os.truncate(path, 64 * 1024**2)
    reads = 0
    pread = os.pread

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        nonlocal reads
        reads += 1
        return pread(descriptor, length, offset)

    monkeypatch.setattr("os.pread", counted)
    assert checks_of(probe(path)) == []
    assert reads < 50_000


def test_very_many_snapshots_are_named_up_to_a_bound(tmp_path: Path) -> None:
    assert len(probe(qcow2_with_very_many_snapshots(tmp_path / "image.qcow2")).snapshots) == 1000


def test_refcount_tables_that_all_name_one_empty_block_are_read_a_few_times(tmp_path: Path) -> None:
    """8 MiB of pointers to one block of zeros: reading it for each of them would never end."""
    path = create(tmp_path / "image.qcow2", "qcow2", "64M", "cluster_size=2M")
    with path.open("r+b") as file:
        file.truncate(1 << 30)
        file.seek(48)
        file.write(struct.pack(">QI", 64 << 20, 4))
        file.seek(64 << 20)
        file.write(struct.pack(">Q", 128 << 20) * 1024**2)
    assert checks_of(probe(path)) == []


def test_a_file_that_shrinks_while_it_is_read_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    path = convert(disk(tmp_path / "disk.raw"), tmp_path / "image.qcow2", "qcow2")
    monkeypatch.setattr(os, "pread", lambda descriptor, length, offset: b"")
    assert probe(path).format == "raw"


def test_a_disk_that_fails_is_our_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    def fails(descriptor: int, length: int, offset: int) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    path = overwrite(create(tmp_path / "image.qcow2", "qcow2", "1G"), 0, b"Q")
    monkeypatch.setattr(os, "pread", fails)
    with pytest.raises(ImgtoolError, match="Input/output error"):
        probe(path)
