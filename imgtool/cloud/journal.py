"""What a long run has done so far, kept in a file beside the image so that the same command goes on from
there.

One JSON object a line, each on storage before the work goes on (the parts of an upload within seconds: the
storage knows of them too); the first line says whose file it is. A line that a kill cut short is dropped;
anything else that does not read is damage, and is said: going on from half of the truth might import twice.
One process has it at a time. Keys, tokens and signed links never stand in it.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from imgtool.cloud.failures import CloudFailure
from imgtool.convert.output import shown
from imgtool.text import Text

VERSION = 1
PATIENCE = 3.0  # seconds
SOON = 5.0  # seconds
LARGEST = 64 << 20  # bytes; 10,000 parts take 1.5 MB
Record = dict[str, Any]


class JournalFailed(CloudFailure):
    """The journal can't be used: in use, damaged, somebody else's, or not to be written."""


class Journal:
    """An open journal. A context manager; safe for several threads.

    kind: what it is a journal of ("upload", "prepare").
    """

    def __init__(self, path: Path, kind: str, option: str = "--journal FILE") -> None:
        """option: how to put it elsewhere. Raises JournalFailed."""
        self.path, self.kind, self._option = path, kind, option
        self._lock = threading.Lock()
        self._synced = time.monotonic()
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._failed(error) from error
        try:
            self._claim()
            self.records = self._read()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            os.close(self._descriptor)
            self._descriptor = -1

    def add(self, event: str, *, soon: bool = False, **fields: Any) -> None:
        """Write one record down; when this returns it survives a kill and a power cut. Raises
        JournalFailed.

        soon: a power cut within SOON seconds may lose it, which saves waiting for the disk at each.
        """
        with self._lock:
            if self._descriptor < 0:  # a thread that came too late
                return
            if not self.records and os.fstat(self._descriptor).st_size == 0:
                self._write({"imgtool_journal": VERSION, "kind": self.kind}, soon=True)
            record = {"event": event, **fields}
            self._write(record, soon)
            self.records.append(record)

    def last(self, event: str) -> Record | None:
        """The latest record of an event that was not forgotten."""
        for record in reversed(self.records):
            if record["event"] == event:
                return record
            if record["event"] == "forget" and _covers(record["prefix"], event):
                return None
        return None

    def since(self, event: str) -> Iterator[Record]:
        """The records after the latest one of an event."""
        start = max((n for n, record in enumerate(self.records) if record["event"] == event), default=-1)
        yield from self.records[start + 1 :]

    def forget(self, prefix: str) -> None:
        """Let the records of `prefix`.* ("": of everything) count no more; they stay. Raises
        JournalFailed.
        """
        self.add("forget", prefix=prefix)

    def remove(self) -> None:
        """Take the file away: all is done."""
        with suppress(OSError):
            os.unlink(self.path)

    def _claim(self) -> None:
        try:
            if not self._locked():
                raise JournalFailed(
                    Text(
                        en=f"Another imgtool is at work on this image (it holds {shown(self.path)}). Wait "
                        "until "
                        "it is done, or end it.",
                        zh="另一个 imgtool 正在处理此镜像（占用 "
                        f"{shown(self.path)}）。请等待其完成，或先结束它。",
                    )
                )
        except OSError as error:
            raise self._failed(error) from error
        try:
            replaced = not os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except FileNotFoundError:
            replaced = True
        if replaced:  # the run before ours finished and removed it between our open and our lock
            raise JournalFailed(
                Text(
                    en="Another imgtool has just finished with this image. Run the command again.",
                    zh="另一个 imgtool 刚刚处理完此镜像。请再次运行该命令。",
                )
            )

    def _locked(self) -> bool:
        """Whether the lock is ours. A worker of a run that was killed holds it until it notices, a moment
        later.
        """
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if time.monotonic() >= until:
                    return False
            time.sleep(0.05)

    def _read(self) -> list[Record]:
        size = os.fstat(self._descriptor).st_size
        if size > LARGEST:
            raise self._damaged()
        content = os.pread(self._descriptor, size, 0)
        whole = content[: content.rfind(b"\n") + 1]
        if content and not whole and not content.startswith(b'{"imgtool_journal"'[: len(content)]):
            raise self._damaged()
        if len(whole) < len(content):
            os.ftruncate(self._descriptor, len(whole))
        records: list[Record] = []
        for number, line in enumerate(whole.splitlines()):
            try:
                record = json.loads(line)
            except ValueError:
                raise self._damaged() from None
            if not isinstance(record, dict):
                raise self._damaged()
            if number == 0:
                if record != {"imgtool_journal": VERSION, "kind": self.kind}:
                    raise self._damaged()
            elif isinstance(record.get("event"), str):
                records.append(record)
            else:
                raise self._damaged()
        return records

    def _write(self, record: Record, soon: bool = False) -> None:
        line = json.dumps(record, ensure_ascii=True).encode() + b"\n"
        end = os.lseek(self._descriptor, 0, os.SEEK_END)
        try:
            written = os.write(self._descriptor, line)
            if written < len(line):
                os.write(self._descriptor, line[written:])
            if not soon or time.monotonic() - self._synced > SOON:
                os.fdatasync(self._descriptor)
                self._synced = time.monotonic()
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._descriptor, end)
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> JournalFailed:
        why = error.strerror or str(error)
        return JournalFailed(
            Text(
                en=f"The journal {shown(self.path)} can't be written: {why}. Make room, or put it "
                "elsewhere with "
                f"{self._option}; nothing that was done is lost.",
                zh=f"无法写入进度文件 {shown(self.path)}：{why}。请腾出空间，或用 --journal 文件 "
                "指定其他位置；"
                "已完成的进度不会丢失。",
            )
        )

    def _damaged(self) -> JournalFailed:
        return JournalFailed(
            Text(
                en=f"{shown(self.path)} is not a journal of this kind, or is damaged, so it does not say "
                "what has been "
                "done. Look in the console for what is there already, then remove the file (or use "
                "--restart).",
                zh=f"{shown(self.path)} "
                "不是此类进度文件，或已损坏，无法得知已完成的步骤。请先在控制台确认已有内容，"
                "再删除该文件（或使用 --restart）。",
            )
        )


def _covers(prefix: str, event: str) -> bool:
    return not prefix or event.startswith(prefix + ".")


def discard(path: Path) -> None:
    """Take a journal away, whatever it holds (--restart). Raises JournalFailed."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise JournalFailed(
            Text(
                en=f"{shown(path)} can't be removed: {error.strerror}.",
                zh=f"无法删除 {shown(path)}：{error.strerror}。",
            )
        ) from error
