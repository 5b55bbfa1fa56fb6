"""A file cut into parts, and a part on its way: read, digested, paced and counted as it goes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from imgtool.convert.crc64 import Crc64
from imgtool.errors import UsageError
from imgtool.text import Text

MIB = 1 << 20
MAX_PARTS = 10_000
MIN_PART, MAX_PART = MIB, 5 << 30  # COS; S3 takes 5 MiB at least
USUAL_PART = 8 * MIB
PIECE, LEAST_PIECE = MIB, 4096


@dataclass(frozen=True)
class Part:
    """number: from 1; offset and size in bytes."""

    number: int
    offset: int
    size: int


def part_size(file_size: int, asked: int | None = None, least: int = MIN_PART) -> int:
    """Bytes a part: what was asked for, else 8 MiB, or whatever keeps the file within 10,000 parts.

    Raises UsageError where what was asked for can't be.
    """
    needed = -(-file_size // MAX_PARTS)
    if asked is None:
        return max(USUAL_PART, -(-needed // MIB) * MIB)
    if not max(needed, least) <= asked <= MAX_PART:
        raise UsageError(
            Text(
                en=f"For this file a part must have {max(needed, least)} to {MAX_PART} bytes "
                f"({MAX_PARTS} parts at most). Leave --part-size out for a good one.",
                zh=f"对此文件，分块大小须为 {max(needed, least)} 到 {MAX_PART} 字节（最多 {MAX_PARTS} 块）。"
                "不指定 --part-size 会自动选择。",
            )
        )
    return asked


def parts_of(file_size: int, size: int) -> list[Part]:
    """All parts, the last one with what is left."""
    return [
        Part(number, offset, min(size, file_size - offset))
        for number, offset in enumerate(range(0, file_size, size), start=1)
    ]


class Stopped(Exception):
    """The upload is over for another reason: this part is not to go on."""


class Pace:
    """At most so many bytes a second over all threads; 0 for as many as will go.

    piece: the bytes to go at a time, fewer at a low rate, so that a connection never idles for long.
    """

    def __init__(
        self,
        rate: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate, self._clock, self._sleep = rate, clock, sleep
        self.piece = min(PIECE, max(LEAST_PIECE, rate // 4)) if rate else PIECE
        self._next = 0.0
        self._lock = threading.Lock()

    def wait_for(self, count: int) -> None:
        """Wait until `count` more bytes may go."""
        if not self._rate:
            return
        with self._lock:
            now = self._clock()
            at = max(self._next, now)
            self._next = at + count / self._rate
        self._sleep(at - now)


class PartBody:
    """A part as a file to read once, as HTTP clients read request bodies; nothing of it stays in memory.

    crc64: of what has been read. sent: told of bytes as they are read. Reading raises Stopped when it is
    over, OSError when the file can't be read.
    """

    def __init__(
        self,
        descriptor: int,
        part: Part,
        crc64: Crc64,
        *,
        pace: Pace,
        sent: Callable[[int], None],
        over: threading.Event,
    ) -> None:
        self.part = part
        self.crc64 = 0
        self._descriptor, self._function = descriptor, crc64
        self._pace, self._sent, self._over = pace, sent, over
        self._at = 0

    def __len__(self) -> int:
        return self.part.size

    def position(self) -> int:
        """Bytes read so far."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """The next piece: as large as is quick, whatever the client asks for."""
        if self._over.is_set():
            raise Stopped
        count = min(self._pace.piece, self.part.size - self._at)
        if not count or not size:
            return b""
        self._pace.wait_for(count)
        data = os.pread(self._descriptor, count, self.part.offset + self._at)
        if not data:
            raise OSError(None, "the file became shorter while it was read")
        self.crc64 = self._function(data, self.crc64)
        self._at += len(data)
        self._sent(len(data))
        return data

    def all(self) -> bytes:
        """The whole part, for a client that wants it in memory."""
        pieces = []
        while piece := self.read():
            pieces.append(piece)
        return b"".join(pieces)
