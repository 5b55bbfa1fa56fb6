"""What goes wrong with a cloud: a clear message, exit code 5, and no secret anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from imgtool.extras import install_command
from tests.cli.running import imgtool
from tests.cloud import tiny_linux

Env = dict[str, str]
TARGET = "cos://images-1250000000/object"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "image.qcow2"
    path.write_bytes(b"QFI\xfb" + bytes(3 << 20))
    return path


def upload(file: Path, env: Env, *more: str, target: str = TARGET) -> tuple[int, str]:
    done = imgtool("upload", file, target, *more, env=env)
    return done.returncode, done.stderr


def refused(done: tuple[int, str], *said: str) -> None:
    code, words = done
    assert code == 5, words
    assert "Traceback" not in words
    for each in said:
        assert each in words


def prepared(file: Path, env: Env, *more: str) -> tuple[int, str]:
    done = imgtool("prepare", file, "--name", "one", "--no-fix", *more, env=env)
    return done.returncode, done.stderr


def test_a_wrong_key_is_named(file: Path, env: Env) -> None:
    refused(upload(file, {**env, "TENCENTCLOUD_SECRET_KEY": "x" * 32}), "SignatureDoesNotMatch", "SecretKey")
    refused(upload(file, {**env, "TENCENTCLOUD_SECRET_ID": "AKIDx"}), "InvalidAccessKeyId", "SecretId")
    refused(upload(file, {**env, "TENCENTCLOUD_SECRET_KEY": "with space"}), "Copy it again")


def test_no_key_at_all_is_said_with_the_ways_to_give_one(file: Path, env: Env) -> None:
    without = {name: value for name, value in env.items() if not name.startswith("TENCENTCLOUD")}
    refused(upload(file, without), "TENCENTCLOUD_SECRET_ID", "~/.tencentcloud/credentials")


def test_the_sdk_s_credential_file_is_read(file: Path, env: Env, tmp_path: Path) -> None:
    folder = tmp_path / ".tencentcloud"
    folder.mkdir()
    keys = f"secret_id = {env['TENCENTCLOUD_SECRET_ID']}\nsecret_key = {env['TENCENTCLOUD_SECRET_KEY']}\n"
    (folder / "credentials").write_text(f"[default]\n{keys}")
    without = {name: value for name, value in env.items() if not name.startswith("TENCENTCLOUD")}
    assert upload(file, without)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (("upload", "IMAGE", TARGET), "cloud"),
        (("upload", "IMAGE", "s3://bucket/key"), "s3"),
        (("import", "http://a.cos.b.c/x", "--name", "n", "--os-type", "Debian"), "cloud"),
        (("prepare", "IMAGE", "--name", "n"), "cloud"),
        (("sandbox",), "sandbox"),
    ],
)
def test_an_extra_that_is_not_installed_is_named(
    tmp_path: Path, env: Env, arguments: tuple[str, ...], extra: str
) -> None:
    done = _without_sdks(tiny_linux.make(tmp_path / "web.raw"), env, arguments)
    assert done.returncode == 4, done.stderr
    assert install_command(extra) in done.stderr


def _without_sdks(disk: Path, env: Env, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    without = "".join(
        f"sys.modules[{name!r}] = None;" for name in ("tencentcloud", "qcloud_cos", "boto3", "aiohttp")
    )
    given = [str(disk) if each == "IMAGE" else each for each in arguments]
    code = f"import sys; {without} sys.argv = ['imgtool', *{given!r}]; from imgtool.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=False
    )
