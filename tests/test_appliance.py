"""The appliance: real libguestfs, on drives that are read or written, with an end in every case."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imgtool import appliance as room
from imgtool.appliance import ApplianceFailed, Drive, GuestfsError, appliance, drive_of, mounting_failed
from imgtool.disk.probe import probe
from imgtool.errors import MachineLacks, UnsafeImage
from tests.disk.formats.images import qemu_img

MIB = 1 << 20


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def ext4(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(32 * MIB)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", path], check=True)
    return path


def running_qemu() -> set[int]:
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if words and b"qemu-system" in words[0] and any(b"imgtool-appliance-" in word for word in words):
            found.add(int(entry.parent.name))
    return found


@pytest.mark.slow
@pytest.mark.xdist_group("appliance")
def test_a_drive_to_read_stays_as_it_was_and_one_to_write_keeps_what_is_written(tmp_path: Path) -> None:
    source = ext4(tmp_path / "source.raw")
    read, written = tmp_path / "a:b,c.qcow2", tmp_path / "written.qcow2"
    for target in (read, written):
        qemu_img("convert", "-f", "raw", "-O", "qcow2", source, target)
    before = digest(read)
    with appliance([drive_of(probe(read)), Drive(written, "qcow2", writable=True)]) as guest:
        for device in ("/dev/sda", "/dev/sdb"):
            guest.mount(device, "/")
            guest.write("/hello", b"from the appliance")
            guest.umount_all()
    assert digest(read) == before
    raw = tmp_path / "back.raw"
    qemu_img("convert", "-f", "qcow2", "-O", "raw", written, raw)
    said = subprocess.run(["debugfs", "-R", "cat /hello", raw], check=True, capture_output=True).stdout
    assert said == b"from the appliance"


@pytest.mark.slow
@pytest.mark.xdist_group("appliance")
def test_a_start_that_takes_too_long_is_ended_and_says_so(tmp_path: Path) -> None:
    disk = ext4(tmp_path / "disk.raw")
    others = room._children()  # what other tests of this process keep
    with (
        pytest.raises(ApplianceFailed, match=r"did not do its work within 0.5 s"),
        appliance([Drive(disk, "raw")], launch_limit=0.5),
    ):
        pytest.fail("it started in no time")
    assert room._children() <= others


def test_the_folder_of_a_process_that_was_killed_is_removed_and_that_of_a_living_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "gettempdir", lambda: str(tmp_path))
    dead = subprocess.Popen(["true"])
    dead.wait()
    for pid in (dead.pid, os.getpid()):
        (tmp_path / f"imgtool-appliance-{pid}-x").mkdir()
        (tmp_path / f"imgtool-appliance-{pid}-x/overlay").touch()
    room._remove_abandoned()
    assert [it.name for it in tmp_path.iterdir()] == [f"imgtool-appliance-{os.getpid()}-x"]


CHILD = """
import sys
from pathlib import Path
from imgtool.appliance import Drive, appliance
from imgtool.cli.ending import Ended, unwind_on_signals
unwind_on_signals()
try:
    with appliance([Drive(Path(sys.argv[1]), "raw")]):
        pass
except Ended as ended:
    sys.exit(128 + ended.number)
"""


@pytest.mark.slow
@pytest.mark.xdist_group("appliance")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_appliance_ends_with_the_process_that_started_it(tmp_path: Path, number: int) -> None:
    disk = ext4(tmp_path / "disk.raw")
    before = running_qemu()
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", CHILD, disk], env=environment) as child:
        while child.poll() is None and not running_qemu() - before:
            time.sleep(0.05)
        time.sleep(0.5)
        child.send_signal(number)
        code = child.wait(60)
    assert code == (-9 if number == signal.SIGKILL else 128 + number)
    for _ in range(100):
        if not running_qemu() - before:
            break
        time.sleep(0.1)
    assert not running_qemu() - before
    if number != signal.SIGKILL:
        assert not list(tmp_path.glob("imgtool-appliance-*"))


def test_an_image_that_would_reach_beyond_its_file_is_not_given_to_the_appliance(tmp_path: Path) -> None:
    base, image = ext4(tmp_path / "base.raw"), tmp_path / "image.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", image)
    with pytest.raises(UnsafeImage, match="backing_file"):
        drive_of(probe(image))


@pytest.mark.parametrize(
    ("hides", "package"), [("guestfs", "python3-guestfs"), ("kernel", "linux-image-cloud-amd64")]
)
def test_what_the_machine_lacks_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hides: str, package: str
) -> None:
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == hides else object())
    monkeypatch.setattr("imgtool.virtualization.readable_kernels", list)
    monkeypatch.setattr("imgtool.process.program_path", lambda name: name)
    monkeypatch.setattr(room, "SYSTEM_GUESTFS", tmp_path / "guestfs.py")
    monkeypatch.delenv("LIBGUESTFS_PATH", raising=False)
    assert not room.available()
    with pytest.raises(MachineLacks) as lacks, appliance([Drive(tmp_path, "raw")]):
        pass
    assert lacks.value.package == package
    assert lacks.value.exit_code == 4


def test_a_python_that_does_not_see_the_installed_guestfs_is_told_from_a_missing_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    (tmp_path / "guestfs.py").touch()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(room, "SYSTEM_GUESTFS", tmp_path / "guestfs.py")
    with pytest.raises(MachineLacks, match="--system-site-packages"):
        room.require()


def test_xfs_that_the_appliance_does_not_know_names_its_package() -> None:
    why = mounting_failed("xfs", GuestfsError("mount: /sysroot: unknown filesystem type 'xfs'."))
    assert isinstance(why, MachineLacks)
    assert why.package == "libguestfs-xfs"
