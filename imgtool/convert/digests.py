"""SHA-256 and CRC-64 of a whole file, side by side."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from types import TracebackType

from imgtool.background import Background
from imgtool.convert.crc64 import crc64_function

CHUNK = 1024 * 1024


class FileDigests:
    """The digests of a file that is open for reading, made bit by bit as its bytes become final.

    A context manager: leaving it ends its threads.
    """

    def __init__(self, descriptor: int) -> None:
        self._file = descriptor
        self._sha256 = hashlib.sha256()
        self._crc64 = crc64_function()
        self._total = 0
        self._at = 0
        self._buffers = (bytearray(CHUNK), bytearray(CHUNK))  # one is read into while the other is hashed
        self._stop = Event()
        self._ahead: Background[None] | None = None

    def begin(self, until: int) -> None:
        """Take in the bytes up to `until` in the background. To be called once, before `finish`."""
        self._ahead = Background(lambda: self._take(until), "digests")

    def finish(self, size: int) -> tuple[str, int | None]:
        """(SHA-256 in hex, CRC-64 or None) of the first `size` bytes. Raises OSError."""
        if self._ahead is not None:
            self._ahead.result()
        self._take(size)
        return self._sha256.hexdigest(), None if self._crc64 is None else self._total

    def _take(self, until: int) -> None:
        """One thread reads ahead and does the CRC-64 while this one does the SHA-256."""
        with ThreadPoolExecutor(1, thread_name_prefix="crc64") as ahead:
            number = 0
            coming = ahead.submit(self._read, self._at, until, number)
            while self._at < until and not self._stop.is_set():
                data = coming.result()
                if not data:
                    raise OSError(None, "the file became shorter while it was read")
                self._at += len(data)
                number += 1
                coming = ahead.submit(self._read, self._at, until, number)
                self._sha256.update(data)

    def _read(self, offset: int, until: int, number: int) -> memoryview:
        data = memoryview(self._buffers[number % 2])[: min(CHUNK, until - offset)]
        data = data[: os.preadv(self._file, [data], offset) if data else 0]
        if self._crc64 is not None and data:
            self._total = self._crc64(data, self._total)
        return data

    def __enter__(self) -> FileDigests:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._ahead is not None:
            with suppress(OSError):
                self._ahead.result()
