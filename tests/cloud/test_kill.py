"""`prepare` killed at fifty random moments: it completes, sends no verified part twice, imports once."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from imgtool.cloud.sandbox.server import Sandbox
from tests.cli.running import imgtool, start
from tests.cloud import tiny_linux
from tests.cloud.people import environment_for, object_of, sha256

pytestmark = pytest.mark.slow
KILLS = 50
SIZE = 7 << 20


def journal(work: Path) -> list[dict[str, object]]:
    """The records that are whole; the last may have been cut short."""
    path = work / "journal"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines[1:]]


def test_fifty_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    chance = random.Random(50)
    source = tiny_linux.make(tmp_path / "source.raw", filler=chance.randbytes(SIZE))
    with Sandbox(tmp_path / "sandbox", quota=1000).running() as sandbox:
        env = environment_for(sandbox, tmp_path)
        kills = number = 0
        noted: set[tuple[str, int]] = set()
        while kills < KILLS:
            number += 1
            name, work = f"web-{number}", tmp_path / f"work-{number}"
            disk = tmp_path / f"web-{number}.raw"
            shutil.copyfile(source, disk)
            place = ("--name", name, "--work", work, "--keep-object")
            arguments = ("prepare", disk, *place, "--part-size", "1M")
            while kills < KILLS:
                with (tmp_path / "said").open("w") as said:
                    child = start(*arguments, env=env, stdout=subprocess.DEVNULL, stderr=said)
                # So many records later, and a moment: at any speed of the machine every step gets its share.
                _until(child, work, len(journal(work)) + chance.randrange(5))
                if _ended(child, chance.uniform(0.0, 0.4)):
                    assert child.returncode == 0, (tmp_path / "said").read_text()
                    break
                child.kill()
                child.wait()
                kills += 1
                noted |= _noted(journal(work))
            else:
                done = imgtool(*arguments, env=env)
                assert done.returncode == 0, done.stderr
            noted |= _noted(journal(work))
            _require_whole(sandbox, name, work)
            disk.unlink()
        sent = Counter(sandbox.received)
        assert {part: sent[part] for part in noted if sent[part] != 1} == {}
        names = [image["ImageName"] for image in sandbox.state.images()]
        assert sorted(names) == sorted(f"web-{n}" for n in range(1, number + 1))
        # A kill between the answer and the journal may leave an upload that nobody knows: an empty one.
        assert [it for it in sandbox.state.uploads(sandbox.bucket) if sandbox.state.parts(it.id)] == []


def _until(child: subprocess.Popen[str], work: Path, records: int) -> None:
    """Wait until the journal has so many records, or the run has ended."""
    while len(journal(work)) < records and not _ended(child, 0.01):
        pass


def _ended(child: subprocess.Popen[str], seconds: float) -> bool:
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _noted(records: list[dict[str, object]]) -> set[tuple[str, int]]:
    """The parts that a journal says are verified, with their uploads."""
    found: set[tuple[str, int]] = set()
    upload = ""
    for record in records:
        if record["event"] == "upload.begun":
            upload = str(record["upload_id"])
        elif record["event"] == "upload.part":
            found.add((upload, int(str(record["number"]))))
    return found


def _require_whole(sandbox: Sandbox, name: str, work: Path) -> None:
    """One image of that name, NORMAL, made of the very bytes that were converted."""
    images = [image for image in sandbox.state.images() if image["ImageName"] == name]
    assert [image["ImageState"] for image in images] == ["NORMAL"]
    records = journal(work)
    made = [record["result"] for record in records if record["event"] == "convert.finished"]
    content = object_of(sandbox, f"imgtool-{name}.qcow2")
    assert content is not None
    assert sha256(content) == made[-1]["sha256"]  # type: ignore[index]
    assert sum(record["event"] == "import.begun" for record in records) == 1


def test_a_run_ended_by_a_signal_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    disk = tiny_linux.make(tmp_path / "web.raw", filler=random.Random(3).randbytes(SIZE))
    with Sandbox(tmp_path / "sandbox").running() as sandbox:
        env = environment_for(sandbox, tmp_path)
        sandbox.faults.add("slow=64k")  # a part takes far longer than we wait, on any machine
        report = tmp_path / "run.json"
        place = ("--name", "one", "--report", report)
        for number in (signal.SIGINT, signal.SIGTERM):
            child = start("prepare", disk, *place, "--part-size", "1M", env=env)
            assert child.stderr is not None
            said = ""
            while "Upload" not in said:
                line = child.stderr.readline()
                assert line, said  # it ended before
                said += line
            time.sleep(1)
            child.send_signal(number)
            child.communicate(timeout=20)
            assert child.returncode == 128 + number
            told = json.loads(report.read_text())
            assert [each["name"] for each in told["steps"]][-1] == "account"
            assert (told["stopped"]["step"], told["stopped"]["exit_code"]) == ("upload", 128 + number)
        sandbox.faults.clear()
        assert imgtool("prepare", disk, *place, env=env).returncode == 0
        assert json.loads(report.read_text())["stopped"] is None
        assert [image["ImageState"] for image in sandbox.state.images()] == ["NORMAL"]
