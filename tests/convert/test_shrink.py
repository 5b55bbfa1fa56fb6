"""--shrink drops what the guest's file systems no longer use, on a copy, through real libguestfs."""

from __future__ import annotations

import hashlib
import random
import subprocess
from pathlib import Path

import pytest

from imgtool.convert.engine import Request, convert
from imgtool.profiles import load_profile
from tests.disk.formats.images import qemu_img

GARBAGE = 24 * 1024**2


def debugfs(disk: Path, *commands: str) -> bytes:
    script = "\n".join(commands).encode()
    command = ["debugfs", "-w", "-f", "-", disk]
    return subprocess.run(command, input=script, check=True, capture_output=True).stdout


def with_deleted_file(folder: Path) -> tuple[Path, bytes]:
    """An ext4 that keeps one file and has deleted another, whose blocks still hold its data; the kept one."""
    disk, kept, deleted = folder / "disk.raw", folder / "kept", folder / "deleted"
    kept.write_bytes(random.Random(1).randbytes(2 * 1024**2))
    deleted.write_bytes(random.Random(2).randbytes(GARBAGE))
    with disk.open("wb") as file:
        file.truncate(128 * 1024**2)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", disk], check=True)
    debugfs(disk, f"write {kept} kept", f"write {deleted} deleted")
    debugfs(disk, "rm deleted")
    deleted.unlink()
    return disk, kept.read_bytes()


@pytest.mark.slow
def test_deleted_data_is_dropped_and_kept_files_stay(tmp_path: Path) -> None:
    target = "out.qcow2"
    source, kept = with_deleted_file(tmp_path)
    before = hashlib.sha256(source.read_bytes()).hexdigest()
    plain = convert(source, tmp_path / f"plain-{target}", Request(), load_profile("tce"))
    done = convert(source, tmp_path / target, Request(shrink=True), load_profile("tce"))
    assert plain.allocated > GARBAGE
    assert done.allocated < plain.allocated - GARBAGE * 0.9
    assert done.notes == ()
    assert done.virtual_size == source.stat().st_size
    assert hashlib.sha256(source.read_bytes()).hexdigest() == before
    raw = tmp_path / "check.raw"
    qemu_img("convert", "-f", done.format, "-O", "raw", tmp_path / target, raw)
    subprocess.run(["e2fsck", "-fn", raw], check=True, capture_output=True)
    debugfs(raw, f"dump kept {tmp_path}/dumped")
    assert (tmp_path / "dumped").read_bytes() == kept
    assert not [name for name in tmp_path.iterdir() if name.name.startswith(".imgtool")]


@pytest.mark.slow
def test_a_disk_without_file_systems_is_converted_with_a_note(tmp_path: Path) -> None:
    source = tmp_path / "disk.raw"
    source.write_bytes(random.Random(1).randbytes(1024**2))
    done = convert(source, tmp_path / "out.qcow2", Request(shrink=True, compress=True), load_profile("tce"))
    assert [note.en for note in done.notes] == ["No file system was shrunk."]
