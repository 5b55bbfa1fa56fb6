"""What goes wrong while an image is repaired: the input stays as it is, and no half-mended output is left."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from imgtool.appliance import ApplianceFailed
from imgtool.convert.engine import Request
from imgtool.convert.output import PREFIX
from imgtool.convert.progress import Silent
from imgtool.image import Image
from imgtool.profiles import load_profile
from imgtool.repair.apply import MENDING, apply
from imgtool.repair.editor import EditFailed
from imgtool.repair.plan import Plan, make_plan
from imgtool.rules import discover
from imgtool.text import Text
from tests.cli.running import environment, imgtool, start
from tests.disk.made import MIB
from tests.guest.made_disks import Part, disk_file, system

FSTAB = "/dev/sda1 / ext4 defaults 0 1\n/dev/vdb1 /data ext4 defaults 0 0\n"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def faulty(folder: Path, *options: str) -> Path:
    """A small Debian on ext4 whose fstab names disks."""
    folder.mkdir(exist_ok=True)
    return disk_file(folder, Part(system(FSTAB), options=options))


def planned(path: Path) -> Plan:
    with Image(path, load_profile("tce")) as image:
        return make_plan(image, discover())


def never(file: object) -> Plan:
    raise AssertionError("the plan was made again")


def left_running(folder: Path) -> list[str]:
    """The command lines of processes that name a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line and str(os.getpid()) != process.parent.name:
            found.append(line)
    return found


def test_a_full_filesystem_is_seen_before_anything_is_started(tmp_path: Path) -> None:
    path = faulty(tmp_path / "in", "-O", "^metadata_csum")
    with path.open("r+b") as file:  # the superblock says that no block is free
        file.seek(MIB + 1024 + 0x0C)
        file.write(bytes(4))
    run = imgtool("fix", "--plan", "--only", "linux.fstab.data-disk", path)
    assert "is full" in run.stdout
    assert "--- a/etc/fstab" not in run.stdout


def test_a_link_out_of_the_guest_is_followed_inside_it(tmp_path: Path) -> None:
    """/etc -> ../../host is /host of the guest, as it is for the guest itself."""
    files = {name.replace("etc/", "host/", 1): text for name, text in system(FSTAB).items()}
    path = disk_file(tmp_path, Part({**files, "etc": "-> ../../../../../../host"}))
    steps = [step for step in planned(path).steps if step.mends.startswith("linux.fstab")]
    assert {step.target for step in steps} == {"/host/fstab"}


@pytest.mark.parametrize("to", ["/proc/self/mounts", "../../../../../../etc/passwd-of-the-host", "fstab"])
def test_an_fstab_that_leads_to_no_file_of_the_guest_is_not_made_or_changed(tmp_path: Path, to: str) -> None:
    files = {**system(FSTAB), "etc/fstab": f"-> {to}"}
    path = disk_file(tmp_path, Part(files))
    assert not [step for step in planned(path).steps if step.mends.startswith("linux.fstab")]


@pytest.mark.slow
@pytest.mark.xdist_group("fix")
def test_a_filesystem_that_can_not_be_written_to_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    path = faulty(tmp_path / "in")
    subprocess.run(["tune2fs", "-O", "read-only", f"{path}?offset={MIB}"], check=True, capture_output=True)
    before = digest(path)
    out = tmp_path / "out"
    out.mkdir()
    run = imgtool_patiently("fix", path, "-o", out / "out.qcow2")
    assert run.returncode == 3, run.stderr
    assert "partition 1" in run.stderr
    assert run.stderr.count("\n") == 1
    assert (list(out.iterdir()), digest(path)) == ([], before)


@pytest.mark.slow
@pytest.mark.xdist_group("fix")
def test_an_appliance_that_dies_halfway_leaves_nothing(tmp_path: Path) -> None:
    path = faulty(tmp_path / "in")
    plan, before = planned(path), digest(path)
    out = tmp_path / "out"
    out.mkdir()

    class Killing(Silent):
        def begin(self, title: Text, total: int | None, unit: str = "B") -> None:
            if title is MENDING:
                for process in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                    os.kill(int(process), signal.SIGKILL)

    with pytest.raises((EditFailed, ApplianceFailed)):
        apply(
            path,
            out / "out.qcow2",
            plan,
            request=Request(),
            profile=load_profile("tce"),
            replan=never,
            progress=Killing(),
        )
    assert (list(out.iterdir()), digest(path)) == ([], before)


@pytest.mark.slow
@pytest.mark.xdist_group("fix")
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_any_moment_leaves_the_input_and_no_half_mended_output(
    tmp_path: Path, sign: signal.Signals
) -> None:
    path = faulty(tmp_path / "in")
    before = digest(path)
    rng = random.Random(str(sign))
    out = tmp_path / "out"
    out.mkdir()
    for _ in range(2):
        run = start("fix", path, "-o", out / "out.qcow2", env=environment())
        time.sleep(rng.uniform(0.3, 8))
        if sign is signal.SIGINT:
            os.killpg(run.pid, sign)
        else:
            os.kill(run.pid, sign)
        _, said = run.communicate(timeout=120)
        assert "Traceback" not in said
        assert run.returncode in {-sign if sign is signal.SIGKILL else 128 + sign, 1}  # 1: it was complete
        assert digest(path) == before
        if (out / "out.qcow2").exists():
            subprocess.run(["qemu-img", "check", out / "out.qcow2"], check=True, capture_output=True)
            (out / "out.qcow2").unlink()
        until = time.monotonic() + 20
        while left_running(out) and time.monotonic() < until:
            time.sleep(0.1)
        assert left_running(out) == []
        left = {it.name for it in out.iterdir()}
        assert all(name.startswith(PREFIX) for name in left) if sign is signal.SIGKILL else left == set()


@pytest.mark.slow
@pytest.mark.xdist_group("fix")
def test_in_place_the_image_is_replaced_when_the_new_one_is_complete_in_its_own_format(
    tmp_path: Path,
) -> None:
    raw = faulty(tmp_path / "in")
    path = tmp_path / "disk.vhd"
    subprocess.run(
        ["qemu-img", "convert", "-O", "vpc", "-o", "subformat=fixed,force_size=on", raw, path], check=True
    )
    done = imgtool_patiently("fix", "--in-place", "--only", "linux.fstab", path)
    assert done.returncode == 1, done.stderr  # much is missing from so small a system
    assert "linux.fstab.data-disk → mended" in done.stdout
    after = tmp_path / "after.raw"
    subprocess.run(["qemu-img", "convert", "-f", "vpc", "-O", "raw", path, after], check=True)
    said = subprocess.run(
        ["debugfs", "-R", "cat /etc/fstab", f"{after}?offset={MIB}"], check=True, capture_output=True
    ).stdout
    assert said.splitlines()[1].startswith(b"# imgtool: not on this image, commented out: /dev/vdb1")
    assert sorted(it.name for it in tmp_path.iterdir()) == ["after.raw", "disk.vhd", "in"]


def imgtool_patiently(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it to its end, which takes an appliance's time."""
    run = start(*arguments, env=environment())
    stdout, stderr = run.communicate(timeout=400)
    return subprocess.CompletedProcess(list(map(str, arguments)), run.returncode, stdout, stderr)
