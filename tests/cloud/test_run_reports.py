"""The report of a run: written however it ends, and replaced by that of the run that goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imgtool.cloud.sandbox.server import Sandbox
from imgtool.steps.report import is_report
from tests.cli.running import imgtool
from tests.cloud import tiny_linux

Env = dict[str, str]


def test_a_run_that_is_refused_half_way_is_reported_and_the_next_one_takes_its_place(
    sandbox: Sandbox, tmp_path: Path, env: Env
) -> None:
    disk = tiny_linux.make(tmp_path / "web.raw")
    kept, told = tmp_path / "run.json", tmp_path / "run.md"
    arguments = ("prepare", disk, "--name", "web-01", "--report", kept, "--report", told, "--lang", "zh")
    done = imgtool(*arguments, "--bucket", "other-1250000000", "-f", "json", env=env)
    assert done.returncode == 5, done.stderr
    report = json.loads(kept.read_text())
    assert json.loads(done.stdout) == report
    assert [step["name"] for step in report["steps"]] == ["check", "fix", "convert", "recheck"]
    stopped = report["stopped"]
    assert (stopped["step"], stopped["exit_code"], stopped["code"]) == ("account", 5, "NoSuchBucket")
    assert "NAME-APPID" in stopped["message"]["en"]
    assert "未完成" in told.read_text()
    assert "NoSuchBucket" in told.read_text()
    done = imgtool(*arguments, env=env)
    assert done.returncode == 0, done.stderr
    report = json.loads(kept.read_text())
    assert (report["stopped"], report["image_id"]) == (None, done.stdout.strip())
    assert "未完成" not in told.read_text()


def test_an_image_that_does_not_pass_is_named_with_its_findings(tmp_path: Path, env: Env) -> None:
    bad = tiny_linux.make(tmp_path / "bad.raw", without=("/boot/vmlinuz",))
    told = tmp_path / "run.md"
    arguments = ("prepare", bad, "--name", "n", "-f", "json", "--report", told)
    for more, step in ((("--no-fix",), "check"), ((), "fix"), ((), "fix")):
        done = imgtool(*arguments, *more, env=env)
        assert done.returncode == 1, done.stderr
        stopped = json.loads(done.stdout)["stopped"]
        assert (stopped["step"], stopped["exit_code"]) == (step, 1)
        assert "linux.kernel" in stopped["findings"]
        assert "- `linux.kernel`" in told.read_text()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("run.json", '{"schema_version": 1, "tool": {"name": "imgtool"}, "images": []}', "--force"),
        ("run.md", "# my notes\n", "--force"),
        ("run.txt", None, ".json or .md"),
        ("nowhere/run.md", None, "No such file"),
    ],
)
def test_what_is_no_report_of_a_run_stays(
    tmp_path: Path, env: Env, name: str, content: str | None, said: str
) -> None:
    disk = tiny_linux.make(tmp_path / "web.raw")
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    done = imgtool("prepare", disk, "--name", "n", "--until", "check", "--report", file, env=env)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert content is None or file.read_text() == content


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b'{"tool": "imgtool"}', b'{"tool": {"name": "x"}}'])
def test_any_other_file_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    assert not is_report(path)
    assert not is_report(tmp_path)
