"""--engine: who reads the filesystems, what the report says of it, and what happens where it can't be had."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import IMGTOOL, environment, imgtool
from tests.cli.test_btrfs import btrfs_disk, without_dissect
from tests.disk.made import MIB, mbr, sparse, tool, write

__all__ = ["btrfs_disk"]  # a fixture

in_appliance = pytest.mark.xdist_group("appliance")
LONG = 600
JUDGE_AND_LIST = """
import sys
from pathlib import Path
from imgtool.judging import Request, judge
from imgtool.profiles import load_profile
from imgtool.rules import discover
judge(Path(sys.argv[1]), Request(load_profile("tce"), discover()))
print([it for it in ("guestfs", "imgtool.appliance", "imgtool.guest.libguestfs") if it in sys.modules])
"""


def report(
    *arguments: str | Path, env: dict[str, str] | None = None, **given: Any
) -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [*IMGTOOL, *map(str, arguments)],
        stdout=subprocess.PIPE,
        env=env or environment(),
        timeout=LONG,
        check=False,
        **given,
    )
    (image,) = json.loads(done.stdout)["images"]
    return done.returncode, image


@pytest.mark.slow
@in_appliance
def test_libguestfs_judges_a_qcow2_as_imgtool_does_says_so_and_tells_a_terminal_that_it_starts(
    image: Any,
) -> None:
    path = image("debian12-lvm-xfs", "qcow2")
    outer, inner = pty.openpty()
    words = ("check", "--format", "json", path)
    code, there = report(*words[:1], "--engine", "libguestfs", *words[1:], stderr=inner)
    os.close(inner)
    told = os.read(outer, 4096).decode()
    os.close(outer)
    assert told.startswith("imgtool: Starting libguestfs's appliance")
    assert told.count("\n") == 1
    plain_code, here = report(*words)
    assert (code, plain_code) == (0, 0)
    assert (there.pop("engine"), here.pop("engine")) == ("libguestfs", "native")
    for each in (there, here):  # the file's blocks may still be on their way to the disk
        del each["facts"]["actual_size"]
        each["findings"] = [it for it in each["findings"] if not it["id"].startswith("image.")]
    assert (there["facts"], there["findings"]) == (here["facts"], here["findings"])


@pytest.mark.slow
@in_appliance
def test_without_its_extra_btrfs_is_read_by_libguestfs_by_itself(btrfs_disk: Path, tmp_path: Path) -> None:
    code, image = report("check", "--format", "json", btrfs_disk, env=without_dissect(tmp_path))
    findings = {it["id"]: it for it in image["findings"]}
    assert image["engine"] == "libguestfs"
    assert code == 1  # it has no kernel worth the name
    assert findings["disk.root"]["evidence"] == ["partition 1: btrfs, a Linux system"]
    assert findings["disk.filesystem.space"]["status"] == "pass"


@pytest.mark.slow
@in_appliance
def test_what_neither_can_read_is_unknown_and_says_what_was_tried(tmp_path: Path) -> None:
    tool("mkfs.f2fs", "-q", "-f", volume := sparse(tmp_path / "f2fs", 64 * MIB))
    disk = mbr(tmp_path / "disk.img", "2048,64M,83,*\n", size=66 * MIB)
    write(disk, MIB, volume.read_bytes())
    code, image = report("check", "--format", "json", "--select", "disk.root", disk)
    (finding,) = (it for it in image["findings"] if it["id"] == "disk.root")
    assert (code, finding["status"]) == (3, "unknown")
    assert "libguestfs" in finding["message"]
    assert "f2fs" in finding["message"]


def test_libguestfs_that_is_asked_for_and_not_there_is_exit_code_4_with_its_package(
    btrfs_disk: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bin"
    bare.mkdir()
    for name in ("qemu-img", "setpriv", "sh"):
        (bare / name).symlink_to(shutil.which(name) or name)
    env = environment(PATH=str(bare))
    done = imgtool("check", "--engine", "libguestfs", btrfs_disk, env=env)
    assert done.returncode == 4
    assert "apt-get install supermin" in done.stdout
    assert done.stderr == ""


def test_an_image_that_needs_no_libguestfs_never_imports_it(btrfs_disk: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", JUDGE_AND_LIST, btrfs_disk], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
