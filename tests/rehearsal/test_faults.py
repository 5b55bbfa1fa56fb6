"""Guests that misbehave, a machine that lacks something, and ends of every kind.

Each takes seconds, since the guests are boot sectors of a few instructions.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from fixtures import formats
from fixtures.pytest_plugin import ImageByName
from imgtool.rehearsal import boot_watch
from imgtool.rehearsal.setting import NoRoom
from tests.cli.running import IMGTOOL, environment, imgtool, start
from tests.rehearsal.rehearsing import rehearse

pytestmark = pytest.mark.slow


def left_in(folder: Path) -> list[str]:
    return sorted(it.name for it in folder.iterdir())


def emulators_of(pid: int) -> list[int]:
    """QEMU processes among the descendants of a process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if "qemu-system" in os.readlink(entry / "exe") and int(fields[1]) == pid:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def until(condition: Any, seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.05)
    return value


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def rehearsed(disk: Path, place: Path, *more: str) -> dict[str, Any]:
    """The report of `imgtool rehearse` on a disk that fails, told that nothing stays behind in `place`."""
    place.mkdir(exist_ok=True)
    said = imgtool(
        "rehearse", "--format", "json", "--timeout", "8", disk, *more, env=environment(TMPDIR=str(place))
    )
    assert said.returncode == 1, said.stderr
    assert left_in(place) == []
    report: dict[str, Any] = json.loads(said.stdout)["images"][0]
    return report


def failures(report: dict[str, Any]) -> list[str]:
    return [it["id"] for it in report["findings"] if it["status"] == "fail"]


@pytest.mark.parametrize(
    ("name", "rule", "words"),
    [
        ("never", "disk.partition-table", "Nothing more comes"),
        ("reboots", "rehearsal.loader", "restarts over and over"),
        ("powers-off", "rehearsal.loader", "powered itself off"),
        ("leaves", "rehearsal.login", "powered itself off"),
        ("floods", "rehearsal.loader", "had still not come this far"),
        ("menu", "linux.bootloader", "waits for a person"),
        ("password", "linux.bootloader", "user name and password"),
        ("passphrase", "disk.encrypted", "nobody can give it"),
        ("screen-only", "linux.kernel", "nothing to mount as its root"),
    ],
)
def test_a_guest_that_does_not_boot_is_told_by_its_kind(
    image: ImageByName, tmp_path: Path, name: str, rule: str, words: str
) -> None:
    report = rehearsed(image(f"boot/{name}"), tmp_path / "place")
    assert failures(report) == [rule]
    (finding,) = [it for it in report["findings"] if it["status"] == "fail"]
    assert words in finding["message"]
    assert finding["remedy"]


def test_a_disk_without_boot_code_gets_the_firmwares_own_word(tmp_path: Path) -> None:
    disk = tmp_path / "empty.raw"
    with disk.open("wb") as file:
        file.truncate(64 << 20)
    report = rehearsed(disk, tmp_path / "place")
    assert "The BIOS found nothing to start on the disk." in json.dumps(report)


def test_a_uefi_machine_tells_that_there_is_no_loader(image: ImageByName, tmp_path: Path) -> None:
    report = rehearsed(image("boot/never"), tmp_path / "place", "--boot-mode", "uefi", "--timeout", "60")
    assert failures(report) == ["disk.boot-mode"]


def test_console_screenshot_and_report_go_where_they_are_asked(image: ImageByName, tmp_path: Path) -> None:
    log, shot, page = tmp_path / "boot.log", tmp_path / "boot.png", tmp_path / "boot.html"
    more = ("--console", str(log), "--screenshot", str(shot), "--report", str(page))
    rehearsed(image("boot/password"), tmp_path / "place", *more)
    assert b"Enter username:" in log.read_bytes()
    assert shot.read_bytes().startswith(b"\x89PNG")
    assert "data:image/png;base64," in page.read_text()


def test_the_image_is_not_written_to(image: ImageByName, tmp_path: Path) -> None:
    disk = image("boot/menu", private=True)
    before, stamp = disk.read_bytes(), disk.stat().st_mtime_ns
    rehearsed(disk, tmp_path / "place")
    assert (disk.read_bytes(), disk.stat().st_mtime_ns) == (before, stamp)


@pytest.mark.parametrize("form", [name for name in formats.NAMES if name != "raw"])
def test_a_disk_is_booted_in_every_format(image: ImageByName, tmp_path: Path, form: str) -> None:
    assert failures(rehearsed(image("boot/password", form), tmp_path / "place")) == ["linux.bootloader"]


def test_no_character_of_a_path_means_anything(image: ImageByName, tmp_path: Path) -> None:
    place = tmp_path / "pl,ace = \"x\" 'y'"
    place.mkdir()
    disk = place.parent / os.fsdecode(b"disk,if=none \xff{}.raw")
    shutil.copyfile(image("boot/password"), disk)
    assert failures(rehearsed(disk, place)) == ["linux.bootloader"]


def test_two_at_once_do_not_see_each_other(image: ImageByName, tmp_path: Path) -> None:
    disk, place = image("boot/menu"), tmp_path / "place"
    place.mkdir()
    words = ("rehearse", "--format", "json", "--timeout", "8", disk)
    both = [start(*words, env=environment(TMPDIR=str(place))) for _ in range(2)]
    reports = [json.loads(each.communicate(timeout=60)[0])["images"][0] for each in both]
    assert [failures(report) for report in reports] == [["linux.bootloader"]] * 2
    assert left_in(place) == []


def test_check_rehearses_too(image: ImageByName) -> None:
    said = imgtool("check", "--rehearse", "--format", "json", image("boot/password"))
    report = json.loads(said.stdout)["images"][0]
    ids = {it["id"] for it in report["findings"] if it["status"] == "fail"}
    assert ids == {"disk.partition-table", "linux.bootloader"}
    assert said.returncode == 1


def test_no_port_is_opened(image: ImageByName, tmp_path: Path) -> None:
    process = start(
        "rehearse", "--timeout", "60", image("boot/powers-off"), env=environment(TMPDIR=str(tmp_path))
    )
    ports: set[str] = set()
    while process.poll() is None:
        for pid in emulators_of(process.pid):
            ports |= _listening(pid)
        time.sleep(0.01)
    process.communicate()
    assert ports == set()


def _listening(pid: int) -> set[str]:
    """The TCP ports on which a process listens: sockets of its own that are in state 0A."""
    try:
        inodes = {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
        tables = [Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    except OSError:
        return set()
    rows = [row.split() for table in tables for row in table]
    return {row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind_however_it_is_ended(
    image: ImageByName, tmp_path: Path, number: signal.Signals
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    env = environment(TMPDIR=str(place))
    process = start("rehearse", "--timeout", "60", image("boot/floods"), env=env)
    (emulator,) = until(lambda: emulators_of(process.pid))
    until(lambda: left_in(place))
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    until(lambda: not alive(emulator), 20)
    assert "Traceback" not in errors
    if number is signal.SIGKILL:  # what was killed outright is swept up by the next
        rehearsed(image("boot/password"), place)
    else:
        assert process.returncode == 128 + number
    assert left_in(place) == []


def test_an_emulator_that_dies_is_no_verdict_on_the_image(image: ImageByName, tmp_path: Path) -> None:
    env = environment(TMPDIR=str(tmp_path))
    process = start("rehearse", "--timeout", "60", image("boot/floods"), env=env)
    (emulator,) = until(lambda: emulators_of(process.pid))
    until(lambda: left_in(tmp_path))
    os.kill(emulator, signal.SIGKILL)
    said, errors = process.communicate(timeout=30)
    assert process.returncode == 3
    assert errors.strip() == "imgtool: QEMU could not run the image: it ended (killed by signal 9)"
    assert "Traceback" not in errors
    assert said == ""
    assert left_in(tmp_path) == []


def test_without_the_emulator_its_package_is_named(image: ImageByName, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("setpriv", "sh", "qemu-img", "qemu-nbd"):
        where = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        (tools / name).symlink_to(where)
    said = imgtool("rehearse", image("boot/menu"), env=environment(PATH=str(tools)))
    assert said.returncode == 4
    assert "apt-get install qemu-system-x86" in said.stderr


def test_a_folder_for_temporary_files_that_can_not_be_used_is_named(image: ImageByName) -> None:
    said = imgtool("rehearse", image("boot/menu"), env=environment(TMPDIR="/nonexistent"))
    assert said.returncode == 4
    assert "TMPDIR" in said.stderr


def in_a_small_folder(folder: Path, room: str, script: str, *arguments: str | Path) -> Any:
    """Run imgtool where the temporary folder, $1, is a filesystem of its own with so little room."""
    folder.mkdir()
    mount = f'mount -t tmpfs -o size={room} tmpfs "$1" && {{ {script}; }}'
    command = ["unshare", "--map-root-user", "--mount", "--user", "sh", "-c", mount, "sh"]
    said = subprocess.run(
        [*map(str, (*command, folder, *IMGTOOL, "rehearse", *arguments))],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=environment(TMPDIR=str(folder)),
    )
    if "unshare" in said.stderr or "mount:" in said.stderr:
        pytest.skip(f"no user namespaces here: {said.stderr}")
    return said


@pytest.mark.parametrize(("room", "image_name"), [("100k", "boot/menu"), ("2m", "boot/writes")])
def test_storage_that_is_full_is_told_with_what_to_do(
    image: ImageByName, tmp_path: Path, room: str, image_name: str
) -> None:
    script = 'folder=$1; shift; "$@"; code=$?; ls -A "$folder"; exit $code'
    said = in_a_small_folder(tmp_path / "place", room, script, "--timeout", "30", image(image_name))
    assert said.returncode == 4, said.stderr
    assert "TMPDIR" in said.stderr
    assert said.stdout == "", "nothing is left in the folder"


def test_a_guest_that_writes_without_end_is_stopped(
    image: ImageByName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot_watch, "LARGEST_OVERLAY", 4 << 20)
    with pytest.raises(NoRoom, match="wrote more than"):
        rehearse(image("boot/writes"), timeout=60)


def test_what_is_no_disk_image_is_not_booted(image: ImageByName) -> None:
    said = imgtool("rehearse", image("file/qcow2-backing-file"))
    assert said.returncode == 3
    assert "not opened" in said.stderr
