"""What people hand over by mistake, or what is made to do harm: a clear answer, no traceback, no hang."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.running import imgtool


def directory(path: Path) -> None:
    path.mkdir()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def symlink_loop(path: Path) -> None:
    path.symlink_to(path)


def dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


def nothing(path: Path) -> None:
    pass


def beyond_a_file(path: Path) -> None:
    path.parent.joinpath("file").touch()
    path.symlink_to(path.with_name("file") / "image.raw")


def empty(path: Path) -> None:
    path.touch()


def one_byte(path: Path) -> None:
    path.write_bytes(b"\x00")


def random_bytes(path: Path) -> None:
    path.write_bytes(random.Random(3).randbytes(100_000))


def text(path: Path) -> None:
    path.write_text("<html>404 not found</html>\n")


def only_magic(path: Path) -> None:
    path.write_bytes(b"QFI\xfb")


def hole(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


NOT_READABLE = [directory, fifo, symlink_loop, dangling_link, nothing, beyond_a_file]
NO_IMAGE = [empty, one_byte, random_bytes, text, only_magic, hole]


@pytest.mark.parametrize("make", NOT_READABLE, ids=lambda make: make.__name__)
def test_what_cannot_be_read_is_unknown(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "image.raw"
    make(path)
    done = imgtool("check", "--format", "json", path)
    assert done.returncode == 3, done.stdout
    assert done.stderr == ""
    (report,) = json.loads(done.stdout)["images"]
    reasons = [it["message"] for it in report["findings"] if it["status"] == "unknown"]
    assert str(path) in reasons[0]
    assert all("same reason as image.format" in reason for reason in reasons[1:])


@pytest.mark.parametrize("make", NO_IMAGE, ids=lambda make: make.__name__)
def test_what_is_no_image_fails(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "image.raw"
    make(path)
    done = imgtool("check", "--format", "json", path)
    assert done.returncode == 1, done.stdout
    assert done.stderr == ""
    (report,) = json.loads(done.stdout)["images"]
    assert sum(it["status"] == "fail" for it in report["findings"]) >= 1


@pytest.mark.parametrize("make", NOT_READABLE + NO_IMAGE, ids=lambda make: make.__name__)
def test_inspect_says_what_it_could_not_read(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "image.raw"
    make(path)
    done = imgtool("inspect", path)
    assert done.returncode in ((3,) if make in NOT_READABLE else (0, 3))
    assert "Traceback" not in done.stdout + done.stderr


FORMATS = {
    "raw": ("raw",),
    "qcow2": ("qcow2",),
    "qcow2 v2": ("qcow2", "-o", "compat=0.10"),
    "qcow2 compressed": ("qcow2", "-c"),
    "vmdk": ("vmdk",),
    "vmdk stream": ("vmdk", "-o", "subformat=streamOptimized"),
    "vhd": ("vpc",),
    "vhd fixed": ("vpc", "-o", "subformat=fixed,force_size=on"),
}


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_cut_short_never_passes(format_: str, share: float, tmp_path: Path) -> None:
    disk, image = tmp_path / "disk", tmp_path / "image"
    disk.write_bytes(random.Random(7).randbytes(8 << 20))
    subprocess.run(["sfdisk", "-q", disk], input=b"label: dos\n2048,,83,*\n", check=True)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", *FORMATS[format_], disk, image], check=True)
    os.truncate(image, int(image.stat().st_size * share))
    done = imgtool("check", "--format", "json", image)
    assert done.returncode == 1, done.stdout
    assert done.stderr == ""
    (report,) = json.loads(done.stdout)["images"]
    assert report["verdict"] == "fail"
    failed = {it["id"] for it in report["findings"] if it["status"] == "fail"}
    assert failed & {"image.integrity", "image.format", "disk.partitions.bounds", "disk.partition-table"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "image.raw"
    path.write_bytes(b"\x00" * 4096)
    path.chmod(0)
    done = imgtool("check", path)
    assert done.returncode == 3
    assert "may not read" in done.stdout
