"""Reading a stream one step ahead, in a thread: the disk is read while what came before is unpacked."""

from __future__ import annotations

import threading
from queue import Full, Queue
from types import TracebackType
from typing import BinaryIO

PIECES = 4
"""How many pieces may wait to be taken."""
PATIENCE = 0.05


class ReadAhead:
    """The stream's bytes in order, by read(). Nobody else may use the stream, or what it reads from, until
    this is closed. What the stream raises, read() raises in its place."""

    def __init__(self, stream: BinaryIO, piece: int) -> None:
        self._stream = stream
        self._piece = piece
        self._read: Queue[bytes | BaseException] = Queue(PIECES)
        self._closed = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)

    def __enter__(self) -> ReadAhead:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()

    def read(self, length: int) -> bytes:
        """The next piece, whatever `length` says; b"" at the end."""
        if self._ended:
            return b""
        piece = self._read.get()
        if isinstance(piece, BaseException):
            self._ended = True
            raise piece
        self._ended = not piece
        return piece

    def _run(self) -> None:
        piece: bytes | BaseException = b" "
        while piece and not isinstance(piece, BaseException) and not self._closed.is_set():
            try:
                piece = self._stream.read(self._piece)
            except BaseException as error:  # it belongs to the thread that asked
                piece = error
            self._put(piece)

    def _put(self, piece: bytes | BaseException) -> None:
        while not self._closed.is_set():
            try:
                self._read.put(piece, timeout=PATIENCE)
            except Full:
                continue
            return
