"""Where the sandbox puts an object never depends on its key: keys are strangers' words."""

from __future__ import annotations

import http.client
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qcloud_cos.cos_exception import CosServiceError

from imgtool.cloud.sandbox.requests import place_of
from imgtool.cloud.sandbox.server import Sandbox
from imgtool.cloud.sandbox.signatures.seen import Seen
from imgtool.cloud.sandbox.state import State, StoredObject
from tests.cloud.sdks import cos, s3

HOSTILE = [
    "../../escaped",
    "..",
    "a/../../../escaped",
    "../state.sqlite3",
    "../keys.json",
    "/etc/escaped",
    "//etc/escaped",
    "a\\..\\..\\escaped",
    "%2e%2e/escaped",
    "con\n trol",
    "k" * 850,
    "镜像",
    ".",
    " ",
]


def outside(sandbox: Sandbox) -> set[str]:
    """All files under the sandbox's parent, but for those that hold contents and SQLite's own."""
    folder = sandbox.folder.parent
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(("sandbox/files/", "sandbox/state.sqlite3"))}


@pytest.mark.parametrize("key", HOSTILE)
def test_a_hostile_key_is_a_name_like_any_other(sandbox: Sandbox, key: str) -> None:
    before = outside(sandbox)
    client = s3(sandbox)
    client.put_object(Bucket=sandbox.bucket, Key=key, Body=b"content")
    assert client.get_object(Bucket=sandbox.bucket, Key=key)["Body"].read() == b"content"
    upload = client.create_multipart_upload(Bucket=sandbox.bucket, Key=key)["UploadId"]
    client.abort_multipart_upload(Bucket=sandbox.bucket, Key=key, UploadId=upload)
    (held,) = sandbox.state.list_objects(sandbox.bucket)
    assert all((sandbox.state.files / name).parent == sandbox.state.files for name, _ in held.files)
    client.delete_object(Bucket=sandbox.bucket, Key=key)
    assert outside(sandbox) == before
    assert list((sandbox.folder / "files").iterdir()) == []


def test_a_key_that_is_too_long_or_holds_nul_is_refused(sandbox: Sandbox) -> None:
    for key, code in (
        ("k" * 851, "KeyTooLongError"),
        ("镜" * 284, "KeyTooLongError"),
        ("a\0b", "InvalidURI"),
    ):
        with pytest.raises(CosServiceError) as caught:
            cos(sandbox).put_object(sandbox.bucket, b"x", key)
        assert caught.value.get_error_code() == code
    assert sandbox.state.list_objects(sandbox.bucket) == []


def test_keys_are_compared_as_they_are_written(sandbox: Sandbox) -> None:
    composed, decomposed = "caf\u00e9", unicodedata.normalize("NFD", "caf\u00e9")
    client = cos(sandbox)
    client.put_object(sandbox.bucket, b"one", composed)
    client.put_object(sandbox.bucket, b"two", decomposed)
    for key, body in ((composed, b"one"), (decomposed, b"two")):
        assert client.get_object(sandbox.bucket, key)["Body"].read() == body


@pytest.mark.parametrize(
    "target",
    ["/../../etc/passwd", "/images-1250000000/..%2f..%2fetc/passwd", "/%00", "/%ff%fe", "*", "//", "/?"],
)
def test_an_unsigned_request_for_any_path_is_refused(sandbox: Sandbox, target: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", sandbox.port, timeout=10)
    for method in ("GET", "PUT", "DELETE"):
        connection.putrequest(method, target, skip_host=False)
        connection.endheaders()
        answer = connection.getresponse()
        answer.read()
        assert 400 <= answer.status < 500
        connection.close()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_what_a_path_names_is_its_bucket_and_the_rest(path: str) -> None:
    from urllib.parse import quote

    seen = Seen("GET", "/" + quote(f"bucket/{path}", safe="/"), "", (), {"host": "127.0.0.1:80"})
    place = place_of(seen)
    assert (place.bucket, place.key) == ("bucket", path)


@given(st.text(max_size=60))
def test_the_state_finds_any_key_again(tmp_path_factory: pytest.TempPathFactory, key: str) -> None:
    key = key.encode("utf-8", "replace").decode()
    state = State(tmp_path_factory.mktemp("state"))
    try:
        path = state.new_file()
        path.write_bytes(b"x")
        item = StoredObject("b", key, 1, "e", 0, "t", False, 0.0, ((path.name, 1),), {})
        state.put_object(item)
        assert state.find_object("b", key) == item
        assert path.parent == state.files
        state.delete_object("b", key)
        assert not path.exists()
    finally:
        state.close()
