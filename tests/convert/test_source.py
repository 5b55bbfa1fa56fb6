"""What a conversion reads: ranges that cover the disk, the bytes of every format, and files that change."""

from __future__ import annotations

import errno
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from bench.process import descendants
from imgtool.convert import source as source_module
from imgtool.convert.source import Extent, Source, open_source
from imgtool.disk.blocks import ReadFailed
from imgtool.disk.probe import probe
from imgtool.errors import CannotRead, UnsafeImage
from tests.convert.made_disks import MIB, Stretch, disk, stretches
from tests.disk.made import sparse, tool, write

FORMATS = {
    "raw": ["-O", "raw"],
    "qcow2": ["-O", "qcow2"],
    "qcow2 compressed": ["-O", "qcow2", "-c"],
    "vhd dynamic": ["-O", "vpc", "-o", "force_size=on"],
    "vhd fixed": ["-O", "vpc", "-o", "subformat=fixed,force_size=on"],
    "vmdk": ["-O", "vmdk"],
    "vmdk stream": ["-O", "vmdk", "-o", "subformat=streamOptimized"],
    "vhdx": ["-O", "vhdx"],
    "vdi": ["-O", "vdi"],
    "qed": ["-O", "qed"],
}
NO_BLOCK_STATUS = ("vhdx",)  # QEMU's driver tells nothing
SPREAD = [
    Stretch(0, 100_000, "text"),
    Stretch(3 * MIB, 200_000, "random"),
    Stretch(8 * MIB - 512, 512, "text"),
]


def command_line(process: int) -> bytes:
    return Path(f"/proc/{process}/cmdline").read_bytes()


def covered(source: Source) -> list[Extent]:
    """The extents, after looking that they cover the disk in order, merged."""
    found = list(source.extents())
    at = 0
    for before, extent in zip([None, *found], found, strict=False):
        assert extent.offset == at
        assert extent.length > 0
        assert before is None or before.kind != extent.kind
        at += extent.length
    assert at == source.size
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_disk_and_its_holes(name: str, tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk.raw", 8 * MIB, SPREAD)
    image = tmp_path / "image"
    tool("qemu-img", "convert", "-f", "raw", *FORMATS[name], raw, image)
    data = raw.read_bytes()
    with open_source(probe(image)) as source:
        assert source.size == 8 * MIB
        found = covered(source)
        for extent in found:
            part = data[extent.offset : extent.offset + extent.length]
            assert source.read(extent.offset, extent.length) == part
            assert extent.kind == "data" or not any(part)
        zeroes = sum(extent.length for extent in found if extent.kind == "zero")
        assert zeroes >= 2 * MIB or name in NO_BLOCK_STATUS  # a VHD's blocks have 2 MiB
        assert not source.changed()


@given(stretches(3 * MIB))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_told_as_zero_reads_as_zero(tmp_path: Path, made: tuple[int, list[Stretch]]) -> None:
    raw = disk(tmp_path / "disk.raw", *made)
    image = tmp_path / "image"
    tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image)
    data = raw.read_bytes()
    for path in (raw, image):
        with open_source(probe(path)) as source:
            for extent in covered(source):
                part = data[extent.offset : extent.offset + extent.length]
                assert source.read(extent.offset, extent.length) == part
                assert extent.kind == "data" or not any(part)


@pytest.mark.parametrize("name", ["raw", "qcow2"])
def test_several_threads_read_at_once(name: str, tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk.raw", 8 * MIB, SPREAD)
    image = tmp_path / "image"
    tool("qemu-img", "convert", "-f", "raw", *FORMATS[name], raw, image)
    data = raw.read_bytes()
    with open_source(probe(image)) as source, ThreadPoolExecutor(8) as pool:
        places = range(0, 8 * MIB, 100_000)
        parts = list(pool.map(lambda at: source.read(at, min(50_000, source.size - at)), places))
    assert parts == [data[at : at + 50_000] for at in places]


def test_a_disk_that_does_not_answer_is_given_up_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(tmp_path / "disk.raw", MIB, SPREAD[:1])
    tool("qemu-img", "convert", "-f", "raw", "-O", "vmdk", tmp_path / "disk.raw", tmp_path / "disk.vmdk")
    monkeypatch.setattr(source_module, "TIME_LIMIT", 0.5)
    with open_source(probe(tmp_path / "disk.vmdk")) as source:
        (server,) = [it for it in descendants(os.getpid()) if b"qemu-nbd" in command_line(it)]
        os.kill(server, signal.SIGSTOP)
        with pytest.raises(ReadFailed, match="timed out"):
            source.read(0, 512)
        os.kill(server, signal.SIGCONT)


def test_a_file_system_that_tells_no_holes_has_data_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(descriptor: int, offset: int, whence: int) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    raw = disk(tmp_path / "disk.raw", MIB, SPREAD[:1])
    with open_source(probe(raw)) as source:
        monkeypatch.setattr(source_module.os, "lseek", refused)
        assert list(source.extents()) == [Extent(0, MIB, "data")]


def test_an_empty_500_gib_disk_has_no_data(tmp_path: Path) -> None:
    image = tmp_path / "image"
    tool("qemu-img", "create", "-q", "-f", "qcow2", image, "500G")
    for path in (image, sparse(tmp_path / "disk.raw", 500 << 30)):
        with open_source(probe(path)) as source:
            assert list(source.extents()) == [Extent(0, 500 << 30, "zero")]


def test_a_cut_last_sector_ends_in_zeroes(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"\x11" * 700)
    with open_source(probe(raw)) as source:
        assert source.size == 1024
        assert source.read(0, 1024) == b"\x11" * 700 + bytes(324)
        assert source.read(699, 3) == b"\x11\0\0"
        with pytest.raises(ReadFailed):
            source.read(1000, 25)
        covered(source)


@pytest.mark.parametrize("change", ["write", "grow", "replace", "remove"])
@pytest.mark.parametrize("name", ["raw", "qcow2"])
def test_a_change_to_the_file_is_seen(change: str, name: str, tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk.raw", 2 * MIB, SPREAD[:1])
    image = tmp_path / "image"
    tool("qemu-img", "convert", "-f", "raw", *FORMATS[name], raw, image)
    os.utime(image, ns=(1, 1))
    with open_source(probe(image)) as source:
        assert not source.changed()
        if change == "write":
            write(image, 1000, b"x")
        elif change == "grow":
            os.truncate(image, image.stat().st_size + 1)
            os.utime(image, ns=(1, 1))
        elif change == "replace":
            (tmp_path / "other").write_bytes(image.read_bytes())
            os.utime(tmp_path / "other", ns=(1, 1))
            os.replace(tmp_path / "other", image)
        else:
            image.unlink()
        assert source.changed()


def test_an_image_with_a_backing_file_is_not_opened(tmp_path: Path) -> None:
    sparse(tmp_path / "base", MIB)
    image = tmp_path / "image"
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-b", tmp_path / "base", "-F", "raw", image)
    with pytest.raises(UnsafeImage), open_source(probe(image)):
        pass


def test_what_is_no_disk_is_not_opened(tmp_path: Path) -> None:
    packed = tmp_path / "disk.gz"
    packed.write_bytes(tool("gzip", "-c", sparse(tmp_path / "disk", MIB)))
    with pytest.raises(CannotRead), open_source(probe(packed)):
        pass
