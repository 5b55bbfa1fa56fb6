"""Keys from a prompt, and temporary keys with their token: used, and shown to nobody."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from imgtool.cloud.sandbox.server import Sandbox
from tests.cli.running import IMGTOOL, imgtool
from tests.cloud import tiny_linux
from tests.cloud.people import environment_for

Env = dict[str, str]
TARGET = "cos://images-1250000000/object"


class Terminal:
    """A process with a terminal for its streams."""

    def __init__(self, *arguments: str | Path, env: Env) -> None:
        self._ours, theirs = pty.openpty()
        self.child = subprocess.Popen(
            [*IMGTOOL, *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=env,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def until(self, word: str) -> None:
        while word not in self.seen:
            assert self._more(), self.seen

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def end(self) -> int:
        while self._more():
            pass
        os.close(self._ours)
        return self.child.wait(60)

    def _more(self) -> bool:
        readable, _, _ = select.select([self._ours], [], [], 60)
        assert readable, f"nothing more came: {self.seen}"
        try:
            data = os.read(self._ours, 4096)
        except OSError:  # the other side is closed
            return False
        self.seen += data.decode("utf-8", "replace")
        return bool(data)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "image.qcow2"
    path.write_bytes(b"QFI\xfb" + bytes(1 << 20))
    return path


def keyless(env: Env) -> Env:
    return {name: value for name, value in env.items() if not name.startswith("TENCENTCLOUD")}


def test_keys_that_are_typed_are_used_and_not_shown(sandbox: Sandbox, file: Path, env: Env) -> None:
    terminal = Terminal("upload", file, TARGET, "--format", "json", env=keyless(env))
    terminal.until("SecretId: ")
    terminal.type(sandbox.keys.secret_id + "\n")
    terminal.until("SecretKey: ")
    terminal.type(sandbox.keys.secret_key + "\n")
    assert terminal.end() == 0, terminal.seen
    assert sandbox.keys.secret_key not in terminal.seen
    # the ID stands in the signed link, as the protocol has it, and nowhere else
    assert sandbox.keys.secret_id not in terminal.seen.partition('"link"')[0]
    assert sandbox.state.find_object(sandbox.bucket, "object") is not None


@pytest.mark.parametrize("key", ["\x04", "\n"])
def test_a_prompt_that_is_not_answered_is_no_key(file: Path, env: Env, key: str) -> None:
    terminal = Terminal("upload", file, TARGET, env=keyless(env))
    terminal.until("SecretId: ")
    terminal.type(key)
    assert terminal.end() == 5
    assert "TENCENTCLOUD_SECRET_ID" in terminal.seen
    assert "Traceback" not in terminal.seen


def test_a_prompt_can_be_left_by_ctrl_c(file: Path, env: Env) -> None:
    terminal = Terminal("upload", file, TARGET, env=keyless(env))
    terminal.until("SecretId: ")
    terminal.child.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert "Traceback" not in terminal.seen


def test_temporary_keys_go_the_whole_way_with_their_token(tmp_path: Path) -> None:
    disk = tiny_linux.make(tmp_path / "web.raw")
    sandbox = Sandbox(tmp_path / "sandbox")
    sandbox.keys = replace(sandbox.keys, token="token-for-an-hour")
    with sandbox.running():
        env = {**environment_for(sandbox, tmp_path), "TENCENTCLOUD_TOKEN": "token-for-an-hour"}
        done = imgtool("prepare", disk, "--name", "one", env=env)
        assert done.returncode == 0, done.stderr
        assert [image["ImageState"] for image in sandbox.state.images()] == ["NORMAL"]
        kept = [path for path in tmp_path.rglob("*journal*") if path.is_file()]
        assert kept
        assert not any("token-for-an-hour" in path.read_text(errors="replace") for path in kept)
        del env["TENCENTCLOUD_TOKEN"]
        done = imgtool("doctor", "--cloud", env=env)
        assert (done.returncode, "bucket" in done.stdout) == (5, True)
