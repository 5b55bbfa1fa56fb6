"""What the sandbox holds: rows in SQLite, contents in files; whatever is in neither's sight is swept away.

A content is written to a file of its own first and becomes visible with its row, so that a kill at any moment
leaves either the old state or the new one.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TABLES = """
CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY, created REAL NOT NULL);
CREATE TABLE IF NOT EXISTS objects (
    bucket TEXT NOT NULL, key TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL, crc64 INTEGER NOT
    NULL,
    type TEXT NOT NULL, public INTEGER NOT NULL, modified REAL NOT NULL, files TEXT NOT NULL, checksums TEXT
    NOT NULL,
    PRIMARY KEY (bucket, key));
CREATE TABLE IF NOT EXISTS uploads (
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, type TEXT NOT NULL, public INTEGER NOT NULL,
    created REAL NOT NULL, checksum TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS parts (
    upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL, crc64 INTEGER
    NOT NULL,
    checksums TEXT NOT NULL, file TEXT NOT NULL, modified REAL NOT NULL,
    PRIMARY KEY (upload, number));
CREATE TABLE IF NOT EXISTS images (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS snapshots (task TEXT PRIMARY KEY, record TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS used_links (signature TEXT PRIMARY KEY, by TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, text TEXT
NOT NULL);
"""


@dataclass(frozen=True)
class StoredObject:
    """One object. files: its content, in order, each with its length; checksums: x-amz-checksum-* by name."""

    bucket: str
    key: str
    size: int
    etag: str
    crc64: int
    type: str
    public: bool
    modified: float
    files: tuple[tuple[str, int], ...]
    checksums: Mapping[str, str]


@dataclass(frozen=True)
class Upload:
    """A multipart upload under way. checksum: the algorithm and kind that S3's client asked for, or ""."""

    id: str
    bucket: str
    key: str
    type: str
    public: bool
    created: float
    checksum: str


@dataclass(frozen=True)
class Part:
    """One part that arrived whole."""

    number: int
    size: int
    etag: str
    crc64: int
    checksums: Mapping[str, str]
    file: str
    modified: float


class State:
    """One folder. Not for several processes at once; within one, for one thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self.files.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(folder / "state.sqlite3", check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_TABLES)
        self._sweep()

    def close(self) -> None:
        self._db.close()

    # -- contents

    def new_file(self) -> Path:
        """Where to write a content that has no row yet."""
        return self.files / secrets.token_hex(12)

    def _sweep(self) -> None:
        known = {row["file"] for row in self._rows("SELECT file FROM parts")}
        for row in self._rows("SELECT files FROM objects"):
            known |= {name for name, _ in json.loads(row["files"])}
        for entry in os.scandir(self.files):
            if entry.name not in known:
                os.unlink(entry)

    def _drop(self, names: Sequence[str]) -> None:
        for name in names:
            with suppress(FileNotFoundError):
                (self.files / name).unlink()

    # -- buckets and objects

    def add_bucket(self, name: str) -> None:
        self._db.execute("INSERT OR IGNORE INTO buckets VALUES (?, ?)", (name, time.time()))

    def has_bucket(self, name: str) -> bool:
        return self._one("SELECT 1 FROM buckets WHERE name = ?", name) is not None

    def buckets(self) -> list[str]:
        return [row["name"] for row in self._rows("SELECT name FROM buckets ORDER BY name")]

    def find_object(self, bucket: str, key: str) -> StoredObject | None:
        row = self._one("SELECT * FROM objects WHERE bucket = ? AND key = ?", bucket, key)
        return _object(row) if row else None

    def list_objects(self, bucket: str, prefix: str = "") -> list[StoredObject]:
        rows = self._rows("SELECT * FROM objects WHERE bucket = ? ORDER BY key", bucket)
        return [_object(row) for row in rows if row["key"].startswith(prefix)]

    def put_object(self, item: StoredObject) -> None:
        """Let an object be there, in place of the one before it."""
        with self._at_once():
            before = self.find_object(item.bucket, item.key)
            self._insert(item)
        self._drop([name for name, _ in before.files] if before else [])

    def _insert(self, item: StoredObject) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(item.bucket, item.key, item.size, item.etag, _signed(item.crc64), item.type, item.public),
                *(item.modified, json.dumps(item.files), json.dumps(dict(item.checksums))),
            ),
        )

    def set_public(self, bucket: str, key: str, public: bool) -> None:
        self._db.execute("UPDATE objects SET public = ? WHERE bucket = ? AND key = ?", (public, bucket, key))

    def delete_object(self, bucket: str, key: str) -> None:
        before = self.find_object(bucket, key)
        self._db.execute("DELETE FROM objects WHERE bucket = ? AND key = ?", (bucket, key))
        self._drop([name for name, _ in before.files] if before else [])

    # -- multipart uploads

    def begin_upload(self, bucket: str, key: str, type_: str, public: bool, checksum: str) -> Upload:
        upload = Upload(secrets.token_hex(20), bucket, key, type_, public, time.time(), checksum)
        self._db.execute(
            "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?)",
            (upload.id, bucket, key, type_, public, upload.created, checksum),
        )
        return upload

    def upload(self, id_: str, bucket: str, key: str) -> Upload | None:
        row = self._one("SELECT * FROM uploads WHERE id = ? AND bucket = ? AND key = ?", id_, bucket, key)
        return _upload(row) if row else None

    def uploads(self, bucket: str, prefix: str = "") -> list[Upload]:
        rows = self._rows("SELECT * FROM uploads WHERE bucket = ? ORDER BY key, created", bucket)
        return [_upload(row) for row in rows if row["key"].startswith(prefix)]

    def put_part(self, upload: str, part: Part) -> None:
        """Let a part be there, in place of the one before it."""
        with self._at_once():
            before = self._one("SELECT file FROM parts WHERE upload = ? AND number = ?", upload, part.number)
            self._db.execute(
                "INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(upload, part.number, part.size, part.etag, _signed(part.crc64)),
                    *(json.dumps(dict(part.checksums)), part.file, part.modified),
                ),
            )
        self._drop([before["file"]] if before else [])

    def parts(self, upload: str) -> list[Part]:
        rows = self._rows("SELECT * FROM parts WHERE upload = ? ORDER BY number", upload)
        return [
            Part(
                *(row["number"], row["size"], row["etag"], _unsigned(row["crc64"])),
                *(json.loads(row["checksums"]), row["file"], row["modified"]),
            )
            for row in rows
        ]

    def complete(self, upload: str, item: StoredObject) -> None:
        """Make an object of some parts of an upload; the parts that are not in it go, and so does the
        upload.
        """
        with self._at_once():
            before = self.find_object(item.bucket, item.key)
            used = {name for name, _ in item.files}
            left = [part.file for part in self.parts(upload) if part.file not in used]
            self._insert(item)
            self._forget_upload(upload)
        self._drop([*left, *([name for name, _ in before.files] if before else [])])

    def abort(self, upload: str) -> None:
        with self._at_once():
            left = [part.file for part in self.parts(upload)]
            self._forget_upload(upload)
        self._drop(left)

    def _forget_upload(self, upload: str) -> None:
        self._db.execute("DELETE FROM parts WHERE upload = ?", (upload,))
        self._db.execute("DELETE FROM uploads WHERE id = ?", (upload,))

    # -- the CVM side

    def images(self) -> list[dict[str, Any]]:
        return [json.loads(row["record"]) for row in self._rows("SELECT record FROM images ORDER BY rowid")]

    def put_image(self, record: Mapping[str, Any]) -> None:
        self._db.execute(
            "INSERT INTO images VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name, "
            "record = excluded.record",
            (record["ImageId"], record["ImageName"], json.dumps(dict(record))),
        )

    def delete_image(self, id_: str) -> None:
        self._db.execute("DELETE FROM images WHERE id = ?", (id_,))

    def snapshots(self) -> list[dict[str, Any]]:
        return [
            json.loads(row["record"]) for row in self._rows("SELECT record FROM snapshots ORDER BY rowid")
        ]

    def put_snapshot(self, record: Mapping[str, Any]) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO snapshots VALUES (?, ?)", (record["TaskId"], json.dumps(dict(record)))
        )

    def use_link(self, signature: str, by: str) -> bool:
        """Whether a signed link may be fetched: the first time, and again only by who fetched it first.

        by: who fetches; "" for somebody unknown.
        """
        new = self._db.execute("INSERT OR IGNORE INTO used_links VALUES (?, ?)", (signature, by)).rowcount
        if new:
            return True
        row = self._one("SELECT by FROM used_links WHERE signature = ?", signature)
        return row is not None and bool(by) and row["by"] == by

    def tell(self, text: str) -> None:
        """Put a message into the account's letter box (ref 01: the outcome of an import comes as one)."""
        self._db.execute("INSERT INTO messages (at, text) VALUES (?, ?)", (time.time(), text))

    def messages(self) -> list[str]:
        return [row["text"] for row in self._rows("SELECT text FROM messages ORDER BY number")]

    # -- SQLite

    def _rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        with closing(self._db.execute(query, values)) as cursor:
            return cursor.fetchall()

    def _one(self, query: str, *values: object) -> sqlite3.Row | None:
        rows = self._rows(query, *values)
        return rows[0] if rows else None

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _object(row: sqlite3.Row) -> StoredObject:
    return StoredObject(
        *(row["bucket"], row["key"], row["size"], row["etag"], _unsigned(row["crc64"]), row["type"]),
        *(bool(row["public"]), row["modified"]),
        files=tuple((name, size) for name, size in json.loads(row["files"])),
        checksums=json.loads(row["checksums"]),
    )


def _upload(row: sqlite3.Row) -> Upload:
    return Upload(
        *(row["id"], row["bucket"], row["key"], row["type"], bool(row["public"]), row["created"]),
        checksum=row["checksum"],
    )


def _signed(number: int) -> int:
    """SQLite's integers are signed."""
    return number - (1 << 64) if number >> 63 else number


def _unsigned(number: int) -> int:
    return number & ((1 << 64) - 1)
