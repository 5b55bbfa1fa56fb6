"""What goes wrong with a cloud: a clear message, exit code 5, and no secret anywhere."""

from __future__ import annotations

import resource
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from imgtool.cloud.sandbox.server import Sandbox
from imgtool.extras import install_command
from tests.cli.running import imgtool
from tests.cloud import tiny_linux
from tests.cloud.sdks import cos

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


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("upload", "nosuch", TARGET), 3, "nosuch does not exist"),
        (("prepare", "nosuch", "--name", "n"), 3, "nosuch does not exist"),
        (("prepare", "", "--name", "n"), 3, "directory"),
        (("import", "foo", "--name", "n"), 2, "http(s)://"),
        (("import", "cos://", "--name", "n"), 2, "cos://"),
        (("import", "http://a.cos.b.c/x", "--name", "n"), 2, "--os-type"),
        (("prepare", "IMAGE"), 2, "--name"),
        (("prepare", "IMAGE", "--plan"), 0, "Nothing was done"),
    ],
)
def test_what_is_wrong_with_the_command_is_said_without_sdk_and_keys(
    tmp_path: Path, env: Env, arguments: tuple[str, ...], code: int, said: str
) -> None:
    disk = tiny_linux.make(tmp_path / "web.raw")
    keyless = {name: value for name, value in env.items() if not name.startswith("TENCENTCLOUD")}
    done = _without_sdks(disk, keyless, arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr + done.stdout
    assert not (Path.cwd() / "nosuch.prepare").exists()


def test_an_expired_token_says_where_new_ones_go(sandbox: Sandbox, env: Env) -> None:
    expired = {**env, "TENCENTCLOUD_TOKEN": "expired-token"}
    done = imgtool("import", "http://a.cos.b.c/x", "--name", "n", "--os-type", "Debian", env=expired)
    refused((done.returncode, done.stderr), "TokenFailure", "TENCENTCLOUD_TOKEN", "RequestId")
    assert "expired-token" not in done.stderr


def test_a_clock_that_is_off_is_named(sandbox: Sandbox, file: Path, env: Env) -> None:
    sandbox.faults.add("clock=-360")
    refused(upload(file, env), "clock")
    done = imgtool("import", "http://a.cos.b.c/x", "--name", "n", "--os-type", "Debian", env=env)
    refused((done.returncode, done.stderr), "SignatureExpire", "five minutes", "timedatectl")


def test_a_bucket_that_is_missing_or_elsewhere_is_named(file: Path, env: Env) -> None:
    refused(upload(file, env, target="cos://other-1250000000/x"), "NoSuchBucket", "NAME-APPID")
    elsewhere = {**env, "IMGTOOL_COS_ENDPOINT": "cos.elsewhere.sandbox.localhost"}
    refused(upload(file, elsewhere), "NoSuchBucket", "region")


def test_a_region_that_the_api_does_not_serve_is_named(env: Env) -> None:
    done = imgtool(
        *("import", "http://a.cos.b.c/x", "--name", "n", "--os-type", "Debian", "--region", "elsewhere"),
        env=env,
    )
    refused((done.returncode, done.stderr), "UnsupportedRegion", "--region")


def test_a_name_that_does_not_resolve_is_named(file: Path, env: Env) -> None:
    nowhere = {name: value for name, value in env.items() if name != "IMGTOOL_COS_CONNECT"}
    nowhere["IMGTOOL_COS_ENDPOINT"] = "cos.nowhere.invalid"
    refused(upload(file, nowhere), "images-1250000000.cos.nowhere.invalid", "can't be resolved", "DNS")
    nowhere["IMGTOOL_CVM_ENDPOINT"] = "cvm.nowhere.invalid"
    done = imgtool("import", "http://a.cos.b.c/x", "--name", "n", "--os-type", "Debian", env=nowhere)
    refused((done.returncode, done.stderr), "cvm.nowhere.invalid", "can't be resolved")


def test_a_proxy_that_leads_nowhere_is_named(file: Path, env: Env) -> None:
    nowhere = "http://127.0.0.1:9"
    behind = {name: value for name, value in env.items() if name.lower() != "no_proxy"}
    behind |= {"IMGTOOL_RETRIES": "0", "HTTP_PROXY": nowhere, "http_proxy": nowhere}
    refused(upload(file, behind), "proxy", "HTTP_PROXY")
    done = imgtool("import", "http://a.cos.b.c/x", "--name", "n", "--os-type", "Debian", env=behind)
    refused((done.returncode, done.stderr), "proxy", "HTTP_PROXY")


class _Answers(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_error(404)

    do_GET = do_PUT = do_POST = do_HEAD  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def with_tls(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """A server whose certificate nobody vouches for: its port, and the certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    name = "images-1250000000.cos.private.example"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key),
            *(
                "-out",
                certificate,
                "-subj",
                f"/CN={name}",
                "-addext",
                f"subjectAltName=DNS:{name},IP:127.0.0.1",
            ),
        ],
        check=True,
        capture_output=True,
    )
    server = HTTPServer(("127.0.0.1", 0), _Answers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, certificate
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_certificate_that_is_not_trusted_is_never_overlooked(
    file: Path, env: Env, with_tls: tuple[int, Path]
) -> None:
    port, certificate = with_tls
    private = {
        **env,
        "IMGTOOL_SCHEME": "https",
        "IMGTOOL_COS_ENDPOINT": "cos.private.example",
        "IMGTOOL_COS_CONNECT": f"127.0.0.1:{port}",
        "IMGTOOL_CVM_ENDPOINT": f"127.0.0.1:{port}",
    }
    refused(upload(file, private), "is not trusted", "--ca-bundle")
    imports = ("import", "http://a.cos.b.c/x", "--name", "n", "--os-type", "Debian")
    done = imgtool(*imports, env=private)
    refused((done.returncode, done.stderr), "is not trusted", "--ca-bundle")
    refused(upload(file, private, "--ca-bundle", str(certificate)), "NoSuch")  # trusted, and answered


def test_a_full_disk_under_the_journal_is_said(sandbox: Sandbox, file: Path, env: Env) -> None:
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (300, 300))
    done = imgtool("upload", file, TARGET, "--part-size", "1M", env=env, preexec_fn=limit)
    refused((done.returncode, done.stderr), "The journal", "can't be written", "--journal")
    assert upload(file, env)[0] == 0


def test_a_folder_that_can_not_be_written_to_is_said(file: Path, env: Env) -> None:
    refused(upload(file, env, "--journal", "/proc/journal"), "The journal /proc/journal can't be written")


def test_an_object_that_goes_between_upload_and_import_is_said_and_sent_again(
    sandbox: Sandbox, tmp_path: Path, env: Env
) -> None:
    disk = tiny_linux.make(tmp_path / "web.raw")
    assert prepared(disk, env, "--until", "dry-run")[0] == 0
    journal = tmp_path / "web.raw.prepare" / "journal"
    before = journal.read_bytes()
    # The object goes just before the import fetches it: as if our look at it had been a moment earlier.
    put_object = sandbox.state.find_object(sandbox.bucket, "imgtool-one.qcow2")
    assert put_object is not None
    (sandbox.state.files / put_object.files[0][0]).rename(tmp_path / "gone")
    code, words = prepared(disk, env)
    refused((code, words), "InvalidUrl")
    assert journal.read_bytes().startswith(before)
    cos(sandbox).delete_object(sandbox.bucket, "imgtool-one.qcow2")
    code, words = prepared(disk, env)
    assert code == 0, words
    assert [image["ImageState"] for image in sandbox.state.images()] == ["NORMAL"]


def test_secrets_are_nowhere(sandbox: Sandbox, tmp_path: Path, env: Env) -> None:
    disk = tiny_linux.make(tmp_path / "web.raw")
    said = []

    def seen(*arguments: str | Path, given: Env | None = None) -> None:
        done = imgtool(*arguments, "--debug", env=given or env)
        said.append(done.stderr)
        if arguments[0] != "upload":  # whose link is signed, and names the key's ID
            said.append(done.stdout)
        else:
            assert sandbox.keys.secret_key not in done.stdout

    env = {**env, "IMGTOOL_RETRIES": "2"}
    token = {**env, "TENCENTCLOUD_TOKEN": "token-for-a-while"}
    wrong = {**env, "TENCENTCLOUD_SECRET_KEY": "k" * 31 + "9"}
    seen("prepare", disk, "--name", "one", "--until", "upload")
    sandbox.faults.add("503*50")
    seen("upload", disk, TARGET)
    sandbox.faults.clear()
    sandbox.faults.add("drop@1*50")
    seen("upload", disk, TARGET)
    sandbox.faults.clear()
    for given in (wrong, token):
        seen("upload", disk, TARGET, given=given)
        seen("prepare", disk, "--name", "two", "--work", tmp_path / "two", given=given)
        seen("import", TARGET, "--name", "three", "--os-type", "Debian", given=given)
        seen("doctor", "--cloud", given=given)
    seen("prepare", disk, "--name", "one", "-f", "json")
    seen("doctor", "--cloud")
    kept = [path.read_text(errors="replace") for path in tmp_path.rglob("*journal*") if path.is_file()]
    kept += [path.read_text() for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert len(kept) >= 2
    for secret in (sandbox.keys.secret_key, sandbox.keys.secret_id, "token-for-a-while", "k" * 31 + "9"):
        assert not any(secret in text for text in said + kept), secret
