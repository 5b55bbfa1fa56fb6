"""Uploading one file: in parts, in parallel, resumable, verified.

The journal remembers the upload's id, and each part once the storage has it and its digest fits. A later run
believes neither it nor the storage alone: it asks for the list of parts, takes those that both have,
compares those
that only the storage has with the file (MD5), and sends the rest.
"""

from __future__ import annotations

import os
import queue
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgtool.cloud import bandwidth
from imgtool.cloud.crc64 import combined
from imgtool.cloud.failures import CloudFailure, Refusal, Unreachable
from imgtool.cloud.journal import Journal, Record
from imgtool.cloud.parts import MIB, Pace, Part, PartBody, Stopped, part_size, parts_of
from imgtool.cloud.resuming import digests_of, what_is_there
from imgtool.cloud.retry import Patience, may_retry, retried
from imgtool.cloud.store import PartDamaged, Store, Stored
from imgtool.convert.digests import Crc64, crc64_function
from imgtool.convert.output import shown
from imgtool.convert.progress import Progress, Silent
from imgtool.errors import CannotRead, ImgtoolError, MachineLacks
from imgtool.text import Text

THREADS = 4
LARGEST = 10_000 * (5 << 30)
UPLOADING = Text("Uploading", "上传")
COMPARING = Text("Comparing", "比对")
_LOST = Text(
    en="The storage no longer knows the upload, and the object is not the file that was sent: somebody threw "
    "the upload away, or another one came between. Nothing was removed. Run the same command again.",
    zh="存储端已没有该上传任务，且对象与所发送的文件不一致：上传可能已被他人取消，或有另一上传介入。"
    "未删除任何内容。请再次运行同一命令。",
)
# Refusals after which the same upload can go on, once the person has put something right.
_MENDABLE = frozenset(
    {
        *("AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "RequestTimeTooSkewed"),
        *("SignatureDoesNotMatch", "RequestTimeout", "SlowDown", "ServiceUnavailable", "InternalError"),
    }
)


@dataclass(frozen=True)
class Request:
    """How to upload. part_size: bytes, None for a good one. limit_rate: bytes a second, 0 for none."""

    part_size: int | None = None
    threads: int = THREADS
    limit_rate: int = 0
    public: bool = False
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True)
class Uploaded:
    """What is there now. sent: bytes sent by this run; parts_kept: parts that an earlier run had sent."""

    address: str
    size: int
    crc64: int
    parts: int
    parts_kept: int
    sent: int
    duration_s: float
    already_there: bool = False


class FileChanged(CloudFailure):
    """The file was written to while it was uploaded."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            Text(
                en=f"{shown(path)} changed while it was uploaded; the upload was thrown away. Run the "
                "command again "
                "when nothing writes to the file.",
                zh=f"{shown(path)} 在上传过程中发生变化，本次上传已作废。请在文件不再变化后重新运行。",
            )
        )


def upload(
    path: Path, store: Store, request: Request, journal: Journal, progress: Progress | None = None
) -> Uploaded:
    """Upload a file to the store's address.

    Raises CannotRead (the file), Refusal, Unreachable, CloudFailure, JournalFailed, MachineLacks. What can
    be gone
    on with stays in the journal; a final failure throws the multipart upload away.
    """
    began = time.monotonic()
    crc64 = crc64_function()
    if crc64 is None:
        raise MachineLacks("liblzma", "liblzma5")
    descriptor, identity = _opened(path)
    try:
        run = _Run(path, descriptor, identity, store, request, journal, progress or Silent(), crc64)
        return run.go(began)
    finally:
        os.close(descriptor)
        if progress is not None:
            progress.end()


def abandon(store: Store, journal: Journal) -> bool:
    """Throw away the upload that a journal tells of; whether there was one. Raises Refusal, Unreachable."""
    begun = journal.last("upload.begun")
    if begun is None or begun["address"] != str(store.address):
        return False
    _abort(store, begun["upload_id"])
    journal.forget("upload")
    return True


def identity_of(status: os.stat_result) -> list[int]:
    """What tells a file's content from another's without reading it: device, inode, size, time of change
    in ns.
    """
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns]


def require_file(path: Path) -> None:
    """Raise CannotRead unless a file can be uploaded: known before anybody is asked for keys."""
    os.close(_opened(path)[0])


def _opened(path: Path) -> tuple[int, list[int]]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise CannotRead(Text(f"{shown(path)} does not exist.", f"{shown(path)} 不存在。")) from error
    except OSError as error:
        raise CannotRead(
            Text(
                en=f"{shown(path)} can't be read: {error.strerror}.",
                zh=f"无法读取 {shown(path)}：{error.strerror}。",
            )
        ) from error
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= LARGEST:
        os.close(descriptor)
        raise CannotRead(
            Text(
                en=f"{shown(path)} is empty, too large for an object, or no regular file.",
                zh=f"{shown(path)} 为空、超过对象大小上限，或不是普通文件。",
            )
        )
    return descriptor, identity_of(status)


@dataclass
class _Run:
    path: Path
    descriptor: int
    identity: list[int]
    store: Store
    request: Request
    journal: Journal
    progress: Progress
    crc64: Crc64

    def __post_init__(self) -> None:
        self.size = self.identity[2]
        self.patience = self.request.patience
        self.over = threading.Event()
        self.pace = Pace(self.request.limit_rate)
        self.lock = threading.Lock()
        self.done = self.sent = 0
        self.kept: dict[int, Record] = {}

    def go(self, began: float) -> Uploaded:
        size = part_size(self.size, self.request.part_size, self.store.least_part)
        upload_id = self._resumed()
        if upload_id is None:
            there = self._already_there()
            if there is not None:
                if self.request.public:
                    retried(self.store.publish, self.patience)
                return self._result(there, 0, began, already_there=True)
            upload_id = self._begun(size)
        parts = parts_of(self.size, self._size_of_parts())
        kept = dict(self.kept)
        try:
            self._send([part for part in parts if part.number not in kept], upload_id)
            self._require_unchanged()
            whole = combined((self.kept[part.number]["crc"], part.size) for part in parts)
            self._complete(upload_id, parts, whole)
        except FileChanged:
            self._throw_away(upload_id)
            raise
        except Refusal as refusal:
            if not refusal.temporary and refusal.code not in _MENDABLE:
                self._throw_away(upload_id)
            raise
        self.journal.add("upload.done", address=str(self.store.address), size=self.size, crc64=whole)
        if self.sent >= 8 * MIB:
            bandwidth.remember(self.store.host, self.sent / max(0.001, time.monotonic() - began))
        return self._result(whole, len(kept), began, parts=len(parts))

    def _resumed(self) -> str | None:
        """The id of the upload to go on with; what it has is in self.kept. None to begin one."""
        begun = self.journal.last("upload.begun")
        if begun is None:
            return None
        same = begun["address"] == str(self.store.address)
        asked = self.request.part_size
        # who may read an object is said when its upload begins
        fits = begun["identity"] == self.identity and begun.get("public") is self.request.public
        if not same or not fits or asked not in (None, begun["part_size"]):
            if same:
                _abort(self.store, begun["upload_id"])
            return None
        self.progress.begin(COMPARING, None)
        parts = parts_of(self.size, int(begun["part_size"]))
        noted = [record for record in self.journal.since("upload.begun") if record["event"] == "upload.part"]
        found = what_is_there(
            self.store,
            begun["upload_id"],
            parts,
            noted,
            descriptor=self.descriptor,
            patience=self.patience,
        )
        if found is None:
            return None
        for part, etag, crc, is_new in found:
            if is_new:
                self._note(part, etag, crc)
            else:
                self.kept[part.number] = {"number": part.number, "etag": etag, "crc": crc}
        return str(begun["upload_id"])

    def _already_there(self) -> int | None:
        """The CRC-64 of the object where it is this very file."""
        found = retried(self.store.stored, self.patience)
        if found is None or found.size != self.size or found.crc64 is None:
            return None
        self.progress.begin(COMPARING, self.size)
        crc = digests_of(self.descriptor, 0, self.size, self.crc64, self.progress.at)[1]
        return crc if crc == found.crc64 else None

    def _begun(self, size: int) -> str:
        upload_id = retried(lambda: self.store.begin(self.request.public), self.patience)
        self.journal.add(
            "upload.begun",
            address=str(self.store.address),
            identity=self.identity,
            part_size=size,
            public=self.request.public,
            upload_id=upload_id,
        )
        return upload_id

    def _size_of_parts(self) -> int:
        begun = self.journal.last("upload.begun")
        assert begun is not None  # noqa: S101 - written by _begun or read by _resumed
        return int(begun["part_size"])

    # -- sending

    def _send(self, parts: list[Part], upload_id: str) -> None:
        """Send parts in threads; the first failure ends them all and is raised."""
        self.done = self.size - sum(part.size for part in parts)
        self.progress.begin(UPLOADING, self.size)
        self.progress.at(self.done)
        waiting: queue.SimpleQueue[Part] = queue.SimpleQueue()
        for part in parts:
            waiting.put(part)
        failures: list[BaseException] = []

        def work() -> None:
            try:
                while not self.over.is_set():
                    part = waiting.get_nowait()
                    self._send_part(part, upload_id)
            except (queue.Empty, Stopped):
                pass
            except BaseException as error:
                failures.append(error)
                self.over.set()

        # daemons: when a signal ends us, none is waited for that waits for the network
        threads = [
            threading.Thread(target=work, name=f"upload-{number}", daemon=True)
            for number in range(min(self.request.threads, len(parts)))
        ]
        try:
            for thread in threads:
                thread.start()
            next_look = time.monotonic() + 1.0
            while any(thread.is_alive() for thread in threads):
                for thread in threads:
                    thread.join(0.1)
                self.progress.at(self.done)
                if time.monotonic() >= next_look:
                    self._require_unchanged()
                    next_look = time.monotonic() + 1.0
        finally:
            self.over.set()
        if failures:
            raise failures[0]

    def _send_part(self, part: Part, upload_id: str) -> None:
        for attempt in range(1, self.patience.attempts + 1):
            body = PartBody(
                self.descriptor, part, self.crc64, pace=self.pace, sent=self._count, over=self.over
            )
            try:
                etag = self.store.send(upload_id, body)
            except Exception as error:
                self._count(-body.position())
                if isinstance(error, OSError) and not isinstance(error, ConnectionError):
                    self._require_unchanged()
                if attempt == self.patience.attempts or not may_retry(error):
                    raise _final(error, part) from error
                self.patience.wait(attempt, self.over)
                continue
            self._note(part, etag, body.crc64)
            return

    def _count(self, count: int) -> None:
        with self.lock:
            self.done += count
            self.sent += count

    def _note(self, part: Part, etag: str, crc: int) -> None:
        record: dict[str, Any] = {"number": part.number, "etag": etag, "crc": crc}
        self.kept[part.number] = record
        self.journal.add("upload.part", **record)

    def _require_unchanged(self) -> None:
        try:
            same = identity_of(os.stat(self.path)) == self.identity == identity_of(os.fstat(self.descriptor))
        except OSError:
            same = False
        if not same:
            raise FileChanged(self.path)

    # -- ending

    def _complete(self, upload_id: str, parts: list[Part], whole: int) -> None:
        etags = [(part.number, str(self.kept[part.number]["etag"])) for part in parts]
        is_ours = True
        try:
            retried(lambda: self.store.complete(upload_id, etags), self.patience)
        except Refusal as refusal:
            if refusal.code != "NoSuchUpload":  # an answer that was lost: it may be complete all the same
                raise
            is_ours = False
        found = retried(self.store.stored, self.patience)
        if found is None or not self._is_whole(found, whole, [etag for _, etag in etags]):
            self.journal.forget("upload")
            if not is_ours:  # what lies there may be somebody's, from before
                raise CloudFailure(_LOST)
            if found is not None:
                _try(self.store.delete)
            raise CloudFailure(
                Text(
                    en=f"{self.store.address} is not the file that was sent (its length or its digest "
                    "differs); the "
                    "object was removed. Run the same command again.",
                    zh=f"{self.store.address} "
                    "与所发送的文件不一致（长度或校验和不同），对象已删除。请再次运行同一命令。",
                )
            )

    def _is_whole(self, found: Stored, whole: int, etags: list[str]) -> bool:
        return found.size == self.size and self.store.matches(found, whole, etags)

    def _throw_away(self, upload_id: str) -> None:
        _abort(self.store, upload_id)
        self.journal.forget("upload")

    def _result(
        self, crc: int, kept: int, began: float, *, parts: int = 0, already_there: bool = False
    ) -> Uploaded:
        return Uploaded(
            address=str(self.store.address),
            size=self.size,
            crc64=crc,
            parts=parts,
            parts_kept=kept,
            sent=self.sent,
            duration_s=time.monotonic() - began,
            already_there=already_there,
        )


def _final(error: Exception, part: Part) -> Exception:
    """What to say of a part that did not go through."""
    if isinstance(error, PartDamaged):
        return CloudFailure(
            Text(
                en=f"Part {part.number} arrives damaged, again and again: something between here and the "
                "storage changes "
                "it (a proxy?), or this machine's memory fails.",
                zh=f"第 {part.number} "
                "块多次到达后校验和均不一致：传输途中（如代理）有改动，或本机内存有故障。",
            )
        )
    if isinstance(error, (ImgtoolError, Stopped)):
        return error
    return CloudFailure(
        Text(en=f"Part {part.number} can't be sent: {error}.", zh=f"第 {part.number} 块无法发送：{error}。")
    )


def _abort(store: Store, upload_id: str) -> None:
    """Throw a multipart upload away; where that fails, the storage's own rules will."""
    _try(lambda: store.abort(upload_id))


def _try(call: Callable[[], None]) -> None:
    with suppress(Refusal, Unreachable):
        call()
