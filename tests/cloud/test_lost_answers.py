"""An import whose answer is lost is found again by its mark: never asked twice, never said to have failed."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from imgtool.cloud import asking
from imgtool.cloud.credentials import Credentials
from imgtool.cloud.cvm import Cvm
from imgtool.cloud.failures import NotTheApi, Refusal
from imgtool.cloud.importing import wait_until_normal
from imgtool.cloud.retry import Patience
from imgtool.cloud.sandbox.server import Sandbox
from imgtool.cloud.settings import Settings, settings
from tests.cli.running import imgtool
from tests.cloud import tiny_linux
from tests.cloud.sdks import cos

Env = dict[str, str]
NAME = "web-01"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "FIRST_WAIT", 0.01)


def cvm_of(sandbox: Sandbox) -> Cvm:
    keys = Credentials(sandbox.keys.secret_id, sandbox.keys.secret_key)
    return Cvm(settings({}, sandbox.environment()), keys, Patience(attempts=4, first=0.01))


def parameters(sandbox: Sandbox, **changes: Any) -> dict[str, Any]:
    url = f"http://{sandbox.bucket}.{sandbox.endpoint}/missing"
    system = {"Architecture": "x86_64", "OsType": "Debian", "OsVersion": "12"}
    return {**system, "ImageUrl": url, "ImageName": NAME, **changes}


def names(sandbox: Sandbox) -> list[str]:
    return [image["ImageName"] for image in sandbox.state.images()]


@pytest.mark.parametrize("fault", ["api-drop", "api-cut", "api-error"])
def test_what_was_heard_is_found_and_not_asked_again(sandbox: Sandbox, fault: str) -> None:
    sandbox.faults.add(f"{fault}@ImportImage")
    id_ = asking.ask_for_image(cvm_of(sandbox), parameters(sandbox), asking.new_mark())
    assert [image["ImageId"] for image in sandbox.state.images()] == [id_]


@pytest.mark.parametrize("fault", ["api-drop", "api-cut", "api-error"])
def test_an_image_that_is_not_listed_yet_is_waited_for_when_the_name_is_taken(
    sandbox: Sandbox, fault: str
) -> None:
    sandbox.faults.add(f"{fault}@ImportImage")
    sandbox.faults.add("unlisted*4")
    id_ = asking.ask_for_image(cvm_of(sandbox), parameters(sandbox), asking.new_mark())
    assert [image["ImageId"] for image in sandbox.state.images()] == [id_]


def test_a_name_that_stays_taken_without_an_image_is_not_called_a_failure(sandbox: Sandbox) -> None:
    sandbox.faults.add("api-drop@ImportImage")
    sandbox.faults.add("unlisted*99")
    with pytest.raises(asking.AnswerLost, match="Most likely it is being imported") as lost:
        asking.ask_for_image(cvm_of(sandbox), parameters(sandbox), asking.new_mark())
    assert lost.value.exit_code == 5
    assert names(sandbox) == [NAME]


def test_a_name_that_somebody_else_took_is_theirs(sandbox: Sandbox) -> None:
    cvm = cvm_of(sandbox)
    asking.ask_for_image(cvm, parameters(sandbox, ImageDescription="theirs"), asking.new_mark())
    for unsure in (False, True):
        with pytest.raises(Refusal) as refused:
            asking.ask_for_image(cvm, parameters(sandbox), asking.new_mark(), unsure)
        assert refused.value.code == asking.DUPLICATE
    assert names(sandbox) == [NAME]


def test_a_rate_limit_is_no_lost_answer(sandbox: Sandbox) -> None:
    sandbox.faults.add("rate@ImportImage*2")
    asking.ask_for_image(cvm_of(sandbox), parameters(sandbox), asking.new_mark())
    assert names(sandbox) == [NAME]


def test_what_could_not_be_sent_was_not_heard() -> None:
    nowhere = Settings(region="r", cvm_endpoint="127.0.0.1:9", scheme="http")
    cvm = Cvm(nowhere, Credentials("AKIDx", "x"), Patience(attempts=1))
    with pytest.raises(Exception, match="can't be reached") as failed:
        cvm.import_snapshot({"SnapshotName": "data"})
    assert not asking.may_have_been_heard(failed.value)


def test_a_new_image_may_take_a_moment_to_be_listed(sandbox: Sandbox) -> None:
    cvm = cvm_of(sandbox)
    id_ = cvm.import_image(parameters(sandbox))
    sandbox.faults.add("unlisted*2")
    with pytest.raises(Exception, match="InvalidUrl"):  # it was listed in the end, and judged
        wait_until_normal(cvm, id_)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tiny_linux.make(tmp_path / "web.raw")


def test_prepare_goes_on_with_an_import_that_was_heard(sandbox: Sandbox, disk: Path, env: Env) -> None:
    sandbox.faults.add("api-drop@ImportImage")
    sandbox.faults.add("unlisted*2")  # one for the account's look, one for the look after the lost answer
    done = imgtool("prepare", disk, "--name", NAME, env=env)
    assert done.returncode == 0, done.stderr
    assert [image["ImageState"] for image in sandbox.state.images()] == ["NORMAL"]


def put(sandbox: Sandbox, disk: Path) -> None:
    cos(sandbox).put_object(sandbox.bucket, disk.read_bytes(), "object")


def imported(sandbox: Sandbox, env: Env, *more: str) -> subprocess.CompletedProcess[str]:
    system = ("--os-type", "Debian", "--os-version", "12", "--format", "json")
    return imgtool("import", f"cos://{sandbox.bucket}/object", "--name", NAME, *system, *more, env=env)


def test_import_finds_its_own_image_again_in_another_run(sandbox: Sandbox, disk: Path, env: Env) -> None:
    put(sandbox, disk)
    sandbox.faults.add("api-drop@ImportImage")
    first = imported(sandbox, env, "--no-wait")
    assert first.returncode == 0, first.stderr
    second = imported(sandbox, env)
    assert second.returncode == 0, second.stderr
    assert "an earlier run of this command" in second.stderr
    assert json.loads(second.stdout)["image_id"] == json.loads(first.stdout)["image_id"]
    assert names(sandbox) == [NAME]
    put(sandbox, disk.with_name("web.raw"))
    other = imported(sandbox, env, "--description", "another one")
    assert (other.returncode, f"The name {NAME} is taken" in other.stderr) == (5, True)


def test_a_snapshot_whose_answer_was_lost_is_never_asked_for_twice(
    sandbox: Sandbox, disk: Path, env: Env
) -> None:
    arguments = ("prepare", disk, "--name", "data", "--target", "data-disk")
    sandbox.faults.add("api-drop@ImportSnapshot")
    for _ in range(2):
        done = imgtool(*arguments, env=env)
        assert done.returncode == 5, done.stderr
        assert "it may be under way" in done.stderr
        assert "failed" not in done.stderr
    (snapshot,) = sandbox.state.snapshots()
    mark = snapshot["SnapshotDescription"].strip("[]")
    assert f"data ({mark})" in done.stderr
    assert imgtool(*arguments, "--restart", env=env).returncode == 0


def test_a_snapshot_that_was_refused_is_asked_for_again(sandbox: Sandbox, disk: Path, env: Env) -> None:
    arguments = ("prepare", disk, "--name", "data", "--target", "data-disk")
    assert imgtool(*arguments, "--until", "dry-run", env=env).returncode == 0
    sandbox.faults.add("rate@ImportSnapshot*9")
    assert imgtool(*arguments, env={**env, "IMGTOOL_RETRIES": "0"}).returncode == 5
    sandbox.faults.clear()
    done = imgtool(*arguments, env=env)
    assert (done.returncode, len(sandbox.state.snapshots())) == (0, 1), done.stderr


# -- deployments that answer in their own way


class _Says(BaseHTTPRequestHandler):
    body, kind = b"", "application/json"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(200)
        self.send_header("Content-Type", self.kind)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(self.body)

    do_PUT = do_GET = do_HEAD = do_POST  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def answers(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a server that always answers the same (body, type)."""
    body, kind = request.param
    handler = type("Handler", (_Says,), {"body": body, "kind": kind})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


REFUSED = (
    b'{"Response": {"Error": {"Code": "ImageQuotaLimitExceeded", "Message": "no"}, "RequestId": "id-1"}}'
)


@pytest.mark.parametrize("answers", [(REFUSED, "application/json; charset=utf-8")], indirect=True)
def test_a_refusal_is_one_whatever_its_content_type(answers: str) -> None:
    cvm = Cvm(Settings(region="r", cvm_endpoint=answers, scheme="http"), Credentials("AKIDx", "x"))
    with pytest.raises(Refusal, match="ImageQuotaLimitExceeded") as refused:
        cvm.import_image({})
    assert refused.value.request_id == "id-1"


@pytest.mark.parametrize(
    "answers",
    [
        (b"<html>please log in</html>", "text/html"),
        (b'{"Response": {"RequestId": "id-1"}}', "application/json"),
        (b'{"Response": []}', "application/json"),
        (b"[]", "application/json"),
        (b"", "application/json"),
    ],
    indirect=True,
)
def test_an_answer_that_names_no_image_is_not_taken_for_one(answers: str) -> None:
    cvm = Cvm(Settings(region="r", cvm_endpoint=answers, scheme="http"), Credentials("AKIDx", "x"))
    with pytest.raises(NotTheApi, match="--cvm-endpoint"):
        cvm.import_image({})


@pytest.mark.parametrize(
    "answers", [(b"<html><p>log in</html>", "text/html"), (b"<html/>", "text/html"), (b"", "")], indirect=True
)
def test_a_login_page_is_not_taken_for_the_storage(tmp_path: Path, env: Env, answers: str) -> None:
    file = tmp_path / "image.qcow2"
    file.write_bytes(b"QFI\xfb" + bytes(1 << 20))
    done = imgtool("upload", file, "cos://images-1250000000/x", env={**env, "IMGTOOL_COS_CONNECT": answers})
    assert done.returncode == 5, done.stderr
    assert "internal error" not in done.stderr
    assert "--cos-endpoint" in done.stderr
