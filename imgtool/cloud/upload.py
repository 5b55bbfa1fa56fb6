"""Uploading one file: in parts, in parallel, resumable, verified.

The journal remembers the upload's id, and each part once the storage has it and its digest fits. A later run
believes neither it nor the storage alone: it asks for the list of parts, takes those that both have,
compares those that only the storage has with the file (MD5), and sends the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgtool.cloud import bandwidth
from imgtool.cloud.crc64 import combined
from imgtool.cloud.failures import CloudFailure, Refusal, Unreachable
from imgtool.cloud.journal import Journal, JournalFailed, Record
from imgtool.cloud.parts import MIB, Part, part_size, parts_of
from imgtool.cloud.resuming import crc_of_same, what_is_there
from imgtool.cloud.retry import Patience, retried
from imgtool.cloud.source import FileChanged, Source
from imgtool.cloud.store import Store, Stored
from imgtool.cloud.transfer import Transfer
from imgtool.convert.crc64 import Crc64, crc64_function
from imgtool.convert.output import shown
from imgtool.convert.progress import Progress, Silent
from imgtool.errors import MachineLacks
from imgtool.text import Text

THREADS = 4
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


def upload(
    path: Path, store: Store, request: Request, journal: Journal, progress: Progress | None = None
) -> Uploaded:
    """Upload a file to the store's address.

    Raises CannotRead (the file), Refusal, Unreachable, CloudFailure, JournalFailed, MachineLacks. What can
    be gone on with stays in the journal; a final failure throws the multipart upload away.
    """
    crc64 = crc64_function()
    if crc64 is None:
        raise MachineLacks("liblzma", "liblzma5")
    try:
        with Source(path) as source:
            return _Run(source, store, request, journal, progress or Silent(), crc64).go()
    finally:
        if progress is not None:
            progress.end()


def require_own(journal: Journal, path: Path, address: str) -> None:
    """Raise JournalFailed where a journal tells of another file's upload, or of one to another address."""
    begun = journal.last("upload.begun")
    if begun is None or journal.last("upload.done") is not None:
        return
    name = begun.get("file", path.name)
    if name != path.name or begun["address"] != address:
        raise JournalFailed(
            Text(
                en=f"{shown(journal.path)} is the journal of another upload: {name} to {begun['address']}. "
                "Give another one with --journal FILE, or --restart to forget that one.",
                zh=f"{shown(journal.path)} 是另一个上传任务的进度文件：{name} 上传到 {begun['address']}。"
                "请用 --journal 指定其他文件，或用 --restart 放弃该任务的进度。",
            )
        )


def abandon(store: Store, journal: Journal) -> bool:
    """Throw away the upload that a journal tells of; whether there was one. Raises Refusal, Unreachable."""
    begun = journal.last("upload.begun")
    if begun is None or begun["address"] != str(store.address):
        return False
    _abort(store, begun["upload_id"])
    journal.forget("upload")
    return True


@dataclass
class _Run:
    source: Source
    store: Store
    request: Request
    journal: Journal
    progress: Progress
    crc64: Crc64

    def __post_init__(self) -> None:
        self.began = time.monotonic()
        self.patience = self.request.patience
        self.kept: dict[int, Record] = {}
        self.transfer = Transfer(
            self.source,
            self.store,
            self.crc64,
            patience=self.patience,
            limit_rate=self.request.limit_rate,
            arrived=self._note,
        )

    def go(self) -> Uploaded:
        size = part_size(self.source.size, self.request.part_size, self.store.least_part)
        upload_id = self._resumed()
        if upload_id is None:
            there = self._already_there(size)
            if there is not None:
                if self.request.public:
                    retried(self.store.publish, self.patience)
                return self._result(there, 0, already_there=True)
            upload_id = self._begun(size)
        parts = parts_of(self.source.size, self._size_of_parts(size))
        kept = set(self.kept)
        try:
            left = [part for part in parts if part.number not in kept]
            self.transfer.send(left, upload_id, self.request.threads, self.progress)
            self.source.require_unchanged()
            whole = combined((self.kept[part.number]["crc"], part.size) for part in parts)
            self._complete(upload_id, parts, whole)
        except FileChanged:
            self._throw_away(upload_id)
            raise
        except Refusal as refusal:
            if not refusal.temporary and refusal.code not in _MENDABLE:
                self._throw_away(upload_id)
            raise
        # soon: a run that does not find it compares the object with the file
        done = {"address": str(self.store.address), "size": self.source.size, "crc64": whole}
        self.journal.add("upload.done", soon=True, **done)
        if self.transfer.sent >= 8 * MIB:
            bandwidth.remember(self.store.host, self.transfer.sent / max(0.001, self._so_long()))
        return self._result(whole, len(kept), parts=len(parts))

    # -- what an earlier run did

    def _ours(self) -> Record | None:
        """The record of an upload of this very file to this address."""
        begun = self.journal.last("upload.begun")
        if begun is None or begun["address"] != str(self.store.address):
            return None
        return begun if begun["identity"] == self.source.identity else None

    def _resumed(self) -> str | None:
        """The id of the upload to go on with; what it has is in self.kept. None to begin one."""
        begun = self.journal.last("upload.begun")
        if begun is None:
            return None
        # who may read an object is said when its upload begins
        fits = begun.get("public") is self.request.public
        if self._ours() is None or not fits or self.request.part_size not in (None, begun["part_size"]):
            if begun["address"] == str(self.store.address):
                _abort(self.store, begun["upload_id"])
            return None
        self.progress.begin(COMPARING, None)
        parts = parts_of(self.source.size, int(begun["part_size"]))
        noted = [record for record in self.journal.since("upload.begun") if record["event"] == "upload.part"]
        found = what_is_there(
            self.store,
            begun["upload_id"],
            parts,
            noted,
            descriptor=self.source.descriptor,
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

    def _already_there(self, size: int) -> int | None:
        """The CRC-64 of the object where it is this very file, sent by whomever."""
        found = retried(self.store.stored, self.patience)
        if found is None or found.size != self.source.size:
            return None
        self.progress.begin(COMPARING, self.source.size)
        parts = parts_of(self.source.size, self._size_of_parts(size))
        return crc_of_same(found, self.source.descriptor, parts, self.crc64, self.progress.at)

    def _begun(self, size: int) -> str:
        upload_id = retried(lambda: self.store.begin(self.request.public), self.patience)
        self.journal.add(
            "upload.begun",
            file=self.source.path.name,
            address=str(self.store.address),
            identity=self.source.identity,
            part_size=size,
            public=self.request.public,
            upload_id=upload_id,
        )
        return upload_id

    def _size_of_parts(self, otherwise: int) -> int:
        begun = self._ours()
        return otherwise if begun is None else int(begun["part_size"])

    def _note(self, part: Part, etag: str, crc: int) -> None:
        record: dict[str, Any] = {"number": part.number, "etag": etag, "crc": crc}
        self.kept[part.number] = record
        self.journal.add("upload.part", soon=True, **record)

    # -- ending

    def _complete(self, upload_id: str, parts: list[Part], whole: int) -> None:
        etags = [(part.number, str(self.kept[part.number]["etag"])) for part in parts]
        made = ""
        try:
            made = retried(lambda: self.store.complete(upload_id, etags), self.patience)
        except Refusal as refusal:
            if refusal.code != "NoSuchUpload":  # an answer that was lost: it may be complete all the same
                raise
        found = retried(self.store.stored, self.patience)
        if found is not None and self._is_whole(found, whole, [etag for _, etag in etags], made):
            return
        self.journal.forget("upload")
        if found is None or not made or found.etag != made:
            raise CloudFailure(_LOST)  # what lies there, if anything, is somebody's
        _try(self.store.delete)
        raise CloudFailure(
            Text(
                en=f"{self.store.address} is not the file that was sent (its length or its digest "
                "differs); the object was removed. Run the same command again.",
                zh=f"{self.store.address} "
                "与所发送的文件不一致（长度或校验和不同），对象已删除。请再次运行同一命令。",
            )
        )

    def _is_whole(self, found: Stored, whole: int, etags: list[str], made: str) -> bool:
        """made: the ETag that completing gave, "" where its answer was lost."""
        if found.size != self.source.size:
            return False
        fits = self.store.matches(found, whole, etags)
        return made == found.etag if fits is None else fits

    def _throw_away(self, upload_id: str) -> None:
        _abort(self.store, upload_id)
        self.journal.forget("upload")

    def _so_long(self) -> float:
        return time.monotonic() - self.began

    def _result(self, crc: int, kept: int, *, parts: int = 0, already_there: bool = False) -> Uploaded:
        return Uploaded(
            address=str(self.store.address),
            size=self.source.size,
            crc64=crc,
            parts=parts,
            parts_kept=kept,
            sent=self.transfer.sent,
            duration_s=self._so_long(),
            already_there=already_there,
        )


def _abort(store: Store, upload_id: str) -> None:
    """Throw a multipart upload away; where that fails, the storage's own rules will."""
    _try(lambda: store.abort(upload_id))


def _try(call: Callable[[], None]) -> None:
    with suppress(Refusal, Unreachable):
        call()
