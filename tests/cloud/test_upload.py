"""Uploads against the sandbox: whole, resumed, faulty, refused."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgtool.cloud.address import address
from imgtool.cloud.credentials import Credentials
from imgtool.cloud.failures import CloudFailure, Refusal, Unreachable
from imgtool.cloud.journal import Journal, JournalFailed
from imgtool.cloud.parts import MIB, Pace, PartBody, part_size, parts_of
from imgtool.cloud.retry import Patience
from imgtool.cloud.sandbox.server import Sandbox
from imgtool.cloud.settings import Settings, settings
from imgtool.cloud.source import FileChanged
from imgtool.cloud.store import Store, store_for
from imgtool.cloud.upload import Request, Uploaded, abandon, require_own, upload
from imgtool.errors import CannotRead, UsageError

QUICK = Request(part_size=MIB, threads=3, patience=Patience(attempts=4, first=0.01))
SIZE = 5 * MIB + 321


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "image.qcow2"
    path.write_bytes(random.Random(11).randbytes(SIZE))
    return path


def store_of(
    sandbox: Sandbox, key: str = "folder/镜像.qcow2", scheme: str = "cos", secret: str = ""
) -> Store:
    env = sandbox.environment()
    keys = Credentials(sandbox.keys.secret_id, secret or sandbox.keys.secret_key)
    return store_for(address(f"{scheme}://{sandbox.bucket}/{key}"), settings({}, env), keys)


def sent(file: Path, store: Store, request: Request = QUICK) -> Uploaded:
    with Journal(file.with_suffix(".journal"), "upload") as journal:
        return upload(file, store, request, journal)


def content(sandbox: Sandbox, key: str = "folder/镜像.qcow2") -> bytes:
    item = sandbox.state.find_object(sandbox.bucket, key)
    assert item is not None
    return b"".join((sandbox.state.files / name).read_bytes() for name, _ in item.files)


class StopsAfter:
    """A store that fails for good after some parts, as a kill does: nothing is cleaned up."""

    def __init__(self, store: Store, parts: int) -> None:
        self._store, self._left = store, parts

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def send(self, upload_id: str, body: PartBody) -> str:
        if self._left <= 0:
            raise KeyboardInterrupt
        self._left -= 1
        return self._store.send(upload_id, body)


def cut_short(file: Path, store: Store, parts: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        sent(file, StopsAfter(store, parts), replace(QUICK, threads=1))  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["cos", "s3"])
def test_what_arrives_is_what_was_sent(
    sandbox: Sandbox, file: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    request = replace(QUICK, part_size=5 * MIB if scheme == "s3" else MIB)
    done = sent(file, store_of(sandbox, scheme=scheme), request)
    assert content(sandbox) == file.read_bytes()
    assert (done.parts, done.parts_kept, done.sent) == (2 if scheme == "s3" else 6, 0, SIZE)


@pytest.mark.parametrize("scheme", ["cos", "s3"])
def test_links_signed_within_one_second_differ(
    sandbox: Sandbox, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each can be fetched once: a second run's must not be the one that the first has used."""
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    store = store_of(sandbox, scheme=scheme)
    assert len({store.link(public=False) for _ in range(8)}) > 1


@pytest.mark.parametrize("parts", range(6))
def test_a_run_that_was_killed_is_gone_on_with(sandbox: Sandbox, file: Path, parts: int) -> None:
    store = store_of(sandbox)
    cut_short(file, store, parts)
    done = sent(file, store)
    assert (done.parts_kept, content(sandbox) == file.read_bytes()) == (parts, True)
    assert max(Counter(sandbox.received).values()) == 1


class DiesWithin(StopsAfter):
    """A store whose user is killed when so many bytes of the next part are out."""

    def __init__(self, store: Store, parts: int, bytes_: int) -> None:
        super().__init__(store, parts)
        self._bytes = bytes_

    def send(self, upload_id: str, body: PartBody) -> str:
        if self._left > 0:
            return super().send(upload_id, body)
        read, most = body.read, self._bytes

        def dying(size: int = -1) -> bytes:
            if body.position() >= most:
                raise KeyboardInterrupt
            return read(size)

        body.read = dying  # type: ignore[method-assign]
        return self._store.send(upload_id, body)


@pytest.mark.parametrize("bytes_", [0, 1, MIB * 3 // 4])
def test_a_run_that_was_killed_within_a_part_sends_that_part_again(
    sandbox: Sandbox, file: Path, bytes_: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgtool.cloud.parts.PIECE", MIB // 4)  # several a part
    store = store_of(sandbox)
    for kept in range(4):  # one part more each time
        with pytest.raises(KeyboardInterrupt):
            sent(file, DiesWithin(store, 1, bytes_), replace(QUICK, threads=1))  # type: ignore[arg-type]
        with Journal(file.with_suffix(".journal"), "upload") as journal:
            assert len([it for it in journal.records if it["event"] == "upload.part"]) == kept + 1
    assert sent(file, store).parts_kept == 4
    assert content(sandbox) == file.read_bytes()


def test_a_part_that_only_the_storage_knows_of_is_compared_and_kept(sandbox: Sandbox, file: Path) -> None:
    cut_short(file, store_of(sandbox), 3)
    journal = file.with_suffix(".journal")
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    assert sent(file, store_of(sandbox)).parts_kept == 3
    assert content(sandbox) == file.read_bytes()


def test_a_part_that_the_storage_holds_otherwise_is_sent_again(sandbox: Sandbox, file: Path) -> None:
    store = store_of(sandbox)
    cut_short(file, store, 2)
    with Journal(file.with_suffix(".journal"), "upload") as journal:
        begun = journal.last("upload.begun")
        assert begun is not None
    from tests.cloud.sdks import cos

    cos(sandbox).upload_part(sandbox.bucket, "folder/镜像.qcow2", b"x" * MIB, 1, begun["upload_id"])
    assert sent(file, store).parts_kept == 1
    assert content(sandbox) == file.read_bytes()


def test_a_file_that_changed_is_sent_anew(sandbox: Sandbox, file: Path) -> None:
    store = store_of(sandbox)
    cut_short(file, store, 3)
    file.write_bytes(random.Random(12).randbytes(SIZE))
    assert sent(file, store).parts_kept == 0
    assert content(sandbox) == file.read_bytes()
    assert sandbox.state.uploads(sandbox.bucket) == []


def test_a_file_that_changes_meanwhile_ends_the_upload(sandbox: Sandbox, file: Path) -> None:
    class Touches(StopsAfter):
        def send(self, upload_id: str, body: PartBody) -> str:
            os.utime(file, ns=(1, 1))
            return self._store.send(upload_id, body)

    with pytest.raises(FileChanged):
        sent(file, Touches(store_of(sandbox), 0))  # type: ignore[arg-type]
    assert sandbox.state.uploads(sandbox.bucket) == []
    assert sandbox.state.find_object(sandbox.bucket, "folder/镜像.qcow2") is None


def test_an_object_that_is_the_file_already_is_not_sent(sandbox: Sandbox, file: Path) -> None:
    sent(file, store_of(sandbox))
    file.with_suffix(".journal").unlink()
    again = sent(file, store_of(sandbox))
    assert (again.already_there, again.sent) == (True, 0)


@pytest.mark.parametrize("fault", ["drop", "drop-after", "503", "wrong-crc"])
@pytest.mark.parametrize("part", [1, 3, 6])
def test_a_fault_at_any_part_is_survived(sandbox: Sandbox, file: Path, fault: str, part: int) -> None:
    sandbox.faults.add(f"{fault}@{part}*2")
    sent(file, store_of(sandbox))
    assert content(sandbox) == file.read_bytes()


def test_connections_cut_at_every_part_are_survived(sandbox: Sandbox, file: Path) -> None:
    for part in range(1, 7):
        sandbox.faults.add(f"drop@{part}")
        sandbox.faults.add(f"drop-after@{part}")
    sent(file, store_of(sandbox))
    assert content(sandbox) == file.read_bytes()


def test_a_storage_that_stays_down_is_said_and_the_upload_goes_on_later(sandbox: Sandbox, file: Path) -> None:
    sandbox.faults.add("503@2*100")
    with pytest.raises(Refusal, match="ServiceUnavailable"):
        sent(file, store_of(sandbox))
    sandbox.faults.clear()
    assert sent(file, store_of(sandbox)).parts_kept >= 1
    assert content(sandbox) == file.read_bytes()


def test_an_object_with_another_digest_is_removed(sandbox: Sandbox, file: Path) -> None:
    store = store_of(sandbox)
    matches = store.matches
    store.matches = lambda found, crc64, etags: matches(found, crc64 ^ 1, etags)  # type: ignore[method-assign]
    with pytest.raises(CloudFailure, match="digest differs"):
        sent(file, store)
    assert sandbox.state.find_object(sandbox.bucket, "folder/镜像.qcow2") is None
    sent(file, store_of(sandbox))
    assert content(sandbox) == file.read_bytes()


@pytest.mark.parametrize("public", [False, True])
def test_who_may_read_an_object_is_what_the_last_run_asked_for(
    sandbox: Sandbox, file: Path, public: bool
) -> None:
    store = store_of(sandbox)
    with pytest.raises(KeyboardInterrupt):
        sent(file, StopsAfter(store, 2), replace(QUICK, threads=1, public=not public))  # type: ignore[arg-type]
    sent(file, store, replace(QUICK, public=public))
    item = sandbox.state.find_object(sandbox.bucket, "folder/镜像.qcow2")
    assert item is not None
    assert item.public is public
    assert content(sandbox) == file.read_bytes()


# -- S3, which says no CRC-64


@pytest.fixture
def s3(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    return store_of(sandbox, scheme="s3")


BY_S3 = replace(QUICK, part_size=5 * MIB)


def test_an_upload_to_s3_that_was_killed_is_gone_on_with(sandbox: Sandbox, file: Path, s3: Store) -> None:
    file.write_bytes(random.Random(13).randbytes(11 * MIB))
    with pytest.raises(KeyboardInterrupt):
        sent(file, StopsAfter(s3, 2), replace(BY_S3, threads=1))  # type: ignore[arg-type]
    done = sent(file, s3, BY_S3)
    assert (done.parts, done.parts_kept, done.sent) == (3, 2, MIB)
    assert content(sandbox) == file.read_bytes()
    assert max(Counter(sandbox.received).values()) == 1


class DiesOnceComplete(StopsAfter):
    """A store whose user is killed between the storage's making of the object and the note of it."""

    def send(self, upload_id: str, body: PartBody) -> str:
        return self._store.send(upload_id, body)

    def complete(self, upload_id: str, parts: list[tuple[int, str]]) -> str:
        self._store.complete(upload_id, parts)
        raise KeyboardInterrupt


@pytest.mark.parametrize("scheme", ["cos", "s3"])
def test_what_was_complete_before_a_kill_is_not_sent_again(
    sandbox: Sandbox, file: Path, s3: Store, scheme: str
) -> None:
    store = s3 if scheme == "s3" else store_of(sandbox)
    with pytest.raises(KeyboardInterrupt):
        sent(file, DiesOnceComplete(store, 0), BY_S3)  # type: ignore[arg-type]
    again = sent(file, store, replace(QUICK, part_size=None))
    assert (again.already_there, again.sent) == (True, 0)
    assert content(sandbox) == file.read_bytes()


@pytest.mark.parametrize("scheme", ["cos", "s3"])
def test_another_object_of_the_same_length_is_not_taken_for_the_file(
    sandbox: Sandbox, file: Path, s3: Store, scheme: str
) -> None:
    store = s3 if scheme == "s3" else store_of(sandbox)
    other = file.with_name("other")
    other.write_bytes(file.read_bytes()[:-1] + b"x")
    sent(other, store, BY_S3)
    assert not sent(file, store, BY_S3).already_there
    assert content(sandbox) == file.read_bytes()


def test_an_object_that_s3_took_whole_is_compared_too(sandbox: Sandbox, file: Path, s3: Store) -> None:
    from tests.cloud.sdks import s3 as client

    client(sandbox).put_object(Bucket=sandbox.bucket, Key="folder/镜像.qcow2", Body=file.read_bytes())
    assert sent(file, s3, BY_S3).already_there


def test_where_etags_are_no_digests_the_one_of_completing_must_be_the_object_s(
    sandbox: Sandbox, file: Path, s3: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "matches", lambda found, crc64, etags: None)
    sent(file, s3, BY_S3)
    assert content(sandbox) == file.read_bytes()
    complete = s3.complete
    monkeypatch.setattr(s3, "complete", lambda upload_id, parts: complete(upload_id, parts) + "?")
    file.write_bytes(random.Random(14).randbytes(SIZE))
    with pytest.raises(CloudFailure, match="Nothing was removed"):
        sent(file, s3, BY_S3)


class ComesSecond(StopsAfter):
    """A store in which another upload to the same key completes just after ours."""

    def __init__(self, store: Store, other: Path) -> None:
        super().__init__(store, 0)
        self._other = other

    def send(self, upload_id: str, body: PartBody) -> str:
        return self._store.send(upload_id, body)

    def complete(self, upload_id: str, parts: list[tuple[int, str]]) -> str:
        made = self._store.complete(upload_id, parts)
        sent(self._other, self._store)
        return made


def test_of_two_uploads_to_one_key_neither_removes_the_other_s_object(sandbox: Sandbox, file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(b"somebody's" * 1000)
    with pytest.raises(CloudFailure, match="Nothing was removed"):
        sent(file, ComesSecond(store_of(sandbox), other))  # type: ignore[arg-type]
    assert content(sandbox) == other.read_bytes()


class LosesItsUpload:
    """A store in which somebody throws the upload away just before it is completed."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def complete(self, upload_id: str, parts: list[tuple[int, str]]) -> str:
        self._store.abort(upload_id)
        return self._store.complete(upload_id, parts)


def test_an_object_of_that_name_from_before_is_not_removed(sandbox: Sandbox, file: Path) -> None:
    before = file.with_name("before")
    before.write_bytes(b"somebody's" * 1000)
    store = store_of(sandbox)
    sent(before, store)
    with pytest.raises(CloudFailure):
        sent(file, LosesItsUpload(store))  # type: ignore[arg-type]
    assert content(sandbox) == before.read_bytes()


def test_a_server_may_restart_in_the_middle(tmp_path: Path, file: Path) -> None:
    with Sandbox(tmp_path / "one").running() as first:
        cut_short(file, store_of(first), 2)
        port = first.port
    with pytest.raises(Unreachable):
        sent(file, store_of(first), replace(QUICK, patience=Patience(2, 0.01)))
    with Sandbox(tmp_path / "one", port).running() as second:
        assert sent(file, store_of(second)).parts_kept == 2
        assert content(second) == file.read_bytes()


def test_a_server_that_restarts_under_a_running_upload_is_waited_for(tmp_path: Path, file: Path) -> None:
    patient = replace(QUICK, threads=1, patience=Patience(attempts=30, first=0.05, longest=0.3))
    with ThreadPoolExecutor(1) as pool:
        with Sandbox(tmp_path / "one").running() as first:
            first.faults.add("slow=3M")
            port, store = first.port, store_of(first)
            running = pool.submit(sent, file, store, patient)
            while not first.received:
                time.sleep(0.01)
        with Sandbox(tmp_path / "one", port).running() as second:
            done = running.result(60)
            assert (done.parts, content(second) == file.read_bytes()) == (6, True)
            assert second.received  # it did go on there


def test_keys_that_expire_meanwhile_do_not_lose_what_was_sent(sandbox: Sandbox, file: Path) -> None:
    sandbox.faults.add("expired@4")
    with pytest.raises(Refusal, match="expired"):
        sent(file, store_of(sandbox), replace(QUICK, threads=1))
    assert sent(file, store_of(sandbox)).parts_kept == 3


def test_a_wrong_key_is_named_as_such(sandbox: Sandbox, file: Path) -> None:
    with pytest.raises(Refusal, match="SecretKey") as caught:
        sent(file, store_of(sandbox, secret="x" * 32))
    assert caught.value.code == "SignatureDoesNotMatch"
    assert "x" * 32 not in caught.value.statement().en


def test_an_unfinished_upload_can_be_thrown_away(sandbox: Sandbox, file: Path) -> None:
    store = store_of(sandbox)
    cut_short(file, store, 2)
    with Journal(file.with_suffix(".journal"), "upload") as journal:
        assert abandon(store, journal)
        assert not abandon(store, journal)
    assert sandbox.state.uploads(sandbox.bucket) == []


def test_an_empty_file_or_a_folder_is_no_image(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    for name in ("empty", "sandbox", "missing"):
        with (
            pytest.raises(CannotRead),
            Journal(tmp_path / "j", "upload") as journal,
        ):
            upload(tmp_path / name, store_of(sandbox), QUICK, journal)


# -- parts


@pytest.mark.parametrize("size", [1, 8 * MIB, 80_000 * MIB, 80_000 * MIB + 1, 500 << 30, 10_000 * (5 << 30)])
def test_no_file_needs_more_than_ten_thousand_parts(size: int) -> None:
    chosen = part_size(size)
    assert chosen % MIB == 0
    assert -(-size // chosen) <= 10_000
    assert 4 * min(chosen, 64 * MIB) <= 256 * MIB


def test_parts_cover_a_file_without_gap(file: Path) -> None:
    parts = parts_of(SIZE, MIB)
    assert [part.number for part in parts] == list(range(1, 7))
    assert all(one.offset + one.size == other.offset for one, other in itertools.pairwise(parts))
    assert parts[-1].offset + parts[-1].size == SIZE


@pytest.mark.parametrize("asked", [1000, 6 << 30])
def test_a_part_size_that_can_not_be_is_refused(asked: int) -> None:
    with pytest.raises(UsageError):
        part_size(SIZE, asked)


# -- the rate


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


@given(
    st.integers(1, 100 * MIB), st.lists(st.tuples(st.integers(1, 256 * 1024), st.floats(0, 3)), max_size=30)
)
def test_never_more_goes_than_the_rate_allows(rate: int, pieces: list[tuple[int, float]]) -> None:
    clock, gone, largest = Clock(), 0, 0
    pace = Pace(rate, clock, clock.sleep)
    for count, idle in pieces:
        clock.now += idle
        pace.wait_for(count)
        assert gone <= rate * (clock.now - 1000.0) * (1 + 1e-9) + largest + 1  # before this piece goes
        gone, largest = gone + count, max(largest, count)


@pytest.mark.parametrize("rate", [64 * 1024, 3 * MIB])
def test_an_upload_keeps_to_its_rate_on_all_its_threads(
    sandbox: Sandbox, file: Path, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("imgtool.cloud.transfer.Pace", lambda given: Pace(given, clock, clock.sleep))
    sent(file, store_of(sandbox), replace(QUICK, limit_rate=rate, threads=1))
    assert content(sandbox) == file.read_bytes()
    assert clock.now - 1000.0 >= (SIZE - Pace(rate).piece) / rate


@pytest.mark.parametrize(("given_", "rate"), [("8Mbps", 1_000_000), ("3M/s", 3 * MIB), (None, 0)])
def test_the_command_line_s_rate_is_that_of_the_upload(
    sandbox: Sandbox, file: Path, given_: str | None, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imgtool.cli.commands import imgtool
    from imgtool.cli.session import Session

    for name, value in {**sandbox.environment(), "XDG_STATE_HOME": str(file.parent)}.items():
        monkeypatch.setenv(name, value)
    clock, rates = Clock(), list[int]()
    monkeypatch.setattr(
        "imgtool.cloud.transfer.Pace",
        lambda asked: rates.append(asked) or Pace(asked, clock, clock.sleep),  # type: ignore[func-returns-value]
    )
    arguments = ["upload", str(file), f"cos://{sandbox.bucket}/folder/镜像.qcow2"]
    more = [] if given_ is None else ["--limit-rate", given_]
    assert imgtool.main([*arguments, *more], standalone_mode=False, obj=Session()) == 0
    assert rates == [rate]
    assert content(sandbox) == file.read_bytes()


def test_a_low_rate_sends_small_pieces_so_that_no_connection_idles() -> None:
    for rate, piece in ((0, MIB), (100 * MIB, MIB), (64 * 1024, 16 * 1024), (1, 4096)):
        assert Pace(rate).piece == piece


# -- the journal


def test_a_line_that_a_kill_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, "upload") as journal:
        journal.add("one")
        journal.add("two")
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with Journal(path, "upload") as journal:
            assert len(journal.records) == max(0, whole[:end].count(b"\n") - 1)


@pytest.mark.parametrize("content", [b"garbage", b"garbage\n", b'{"event": "x"}\n', b"\x00" * 100, b"[]\n"])
def test_garbage_is_no_journal(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "j"
    path.write_bytes(content)
    with pytest.raises(JournalFailed, match="not a journal"):
        Journal(path, "upload")
    assert path.read_bytes() == content


def test_a_journal_of_another_kind_is_not_believed(tmp_path: Path) -> None:
    with Journal(tmp_path / "j", "prepare") as journal:
        journal.add("one")
    with pytest.raises(JournalFailed, match="not a journal of this kind"):
        Journal(tmp_path / "j", "upload")


def test_another_file_s_journal_is_left_alone(sandbox: Sandbox, file: Path) -> None:
    cut_short(file, store_of(sandbox), 2)
    with Journal(file.with_suffix(".journal"), "upload") as journal:
        address_ = str(store_of(sandbox).address)
        require_own(journal, file, address_)
        for path, place in ((file.with_name("other"), address_), (file, "cos://images-1250000000/other")):
            with pytest.raises(JournalFailed, match="the journal of another upload"):
                require_own(journal, path, place)
    assert sent(file, store_of(sandbox)).parts_kept == 2


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        Journal(tmp_path / "j", "upload"),
        pytest.raises(JournalFailed, match="Another imgtool is at work"),
    ):
        Journal(tmp_path / "j", "upload")


def test_a_full_disk_is_said_and_leaves_whole_lines() -> None:
    with pytest.raises(JournalFailed, match="No space left"), Journal(Path("/dev/full"), "upload") as journal:
        journal.add("one")


def test_settings_that_are_not_there_stay_at_their_defaults() -> None:
    assert settings({}, {"IMGTOOL_CONFIG": "/nonexistent"}) == Settings()


def test_a_lock_that_a_dying_worker_still_holds_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with Journal(path, "upload"):
        worker = os.fork()  # shares the lock, as the processes that read images do
        if worker == 0:
            time.sleep(0.5)
            os._exit(0)
    with Journal(path, "upload") as journal:
        assert journal.records == []
    os.waitpid(worker, 0)
