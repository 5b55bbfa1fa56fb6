"""Decompressed streams of gzip, xz, bzip2 and zstd: bounded in what they give and in memory.

Every one of them notices a file that was cut short.
"""

from __future__ import annotations

import io
import lzma
import zlib
from typing import BinaryIO, Protocol, cast

from imgtool.disk.commands import byte_count
from imgtool.errors import CannotRead
from imgtool.text import Text

XZ_MEMORY = 256 * 1024**2
ZSTD_WINDOW = 128 * 1024**2  # zstd --long=27, the most that zstd itself unpacks unasked
STEP = 1024  # compressed bytes a step: zstd's densest block gives 128 KiB for 4 bytes, so 32 MiB at most
STEP_BOUNDED = 64 * 1024
PIECE = 1024 * 1024


class Damaged(Exception):
    """The archive breaks its format's rules; `why` says how."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Bomb(CannotRead):
    """More comes out of an archive than any image that could be used."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            Text(
                en=f"More than {byte_count(limit)} come out of the archive, more than the largest disk "
                "that the "
                "profile accepts. It was not unpacked further.",
                zh=f"压缩包解压后超过 {byte_count(limit)}，超出配置所允许的最大磁盘。已停止解压。",
            )
        )


class _Decompressor(Protocol):
    """bz2 and lzma's interface: at most max_length bytes a call."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Zlib:
    """zlib, behind that interface."""

    def __init__(self) -> None:
        self._object = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    @property
    def needs_input(self) -> bool:
        return not self._object.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._object.decompress(self._object.unconsumed_tail + data, max_length)


class _Zstd:
    """zstd, behind that interface; max_length can't be had, so it is fed little at a time."""

    needs_input = True

    def __init__(self) -> None:
        import zstandard

        self._object = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW).decompressobj()

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._object.decompress(data) if data else b""


class _Stream(io.RawIOBase):
    """Concatenated compressed streams as one; zeros behind the last are padding (gzip(1), xz(1))."""

    def __init__(self, kind: str, file: BinaryIO, limit: int) -> None:
        self._kind, self._file, self._left = kind, file, limit
        self._limit = limit
        self._step = STEP if kind == "zstd" else STEP_BOUNDED
        self._waiting = b""
        self._current: _Decompressor | None = None
        self._streams = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer)).cast("B")
        while not self._ready and self._more():
            pass
        part = self._ready[: len(view)]
        view[: len(part)] = part
        self._ready = self._ready[len(part) :]
        return len(part)

    _ready: memoryview | bytes = b""

    def _more(self) -> bool:
        """Decompress a step further; False at the end of the file."""
        if self._current is None:
            self._waiting = self._waiting or self._file.read(self._step)
            if self._streams and self._kind != "zstd":
                self._skip_padding()
            if not self._waiting:
                return False
            self._current = self._new()
            self._streams += 1
        needs = bool(getattr(self._current, "needs_input", True))
        if needs and not self._waiting:
            self._waiting = self._file.read(self._step)
            if not self._waiting:
                raise Damaged("it is cut short")
        data, self._waiting = (self._waiting, b"") if needs else (b"", self._waiting)
        produced = self._decompress(self._current, data)
        if self._current.eof:
            self._waiting = bytes(self._current.unused_data) + self._waiting
            self._current = None
        self._left -= len(produced)
        if self._left < 0:
            raise Bomb(self._limit)
        self._ready = memoryview(produced)
        return True

    def _skip_padding(self) -> None:
        while self._waiting and not self._waiting.strip(b"\0"):
            self._waiting = self._file.read(self._step)
        self._waiting = self._waiting.lstrip(b"\0")

    def _new(self) -> _Decompressor:
        if self._kind == "gzip":
            return _Zlib()
        if self._kind == "xz":
            return lzma.LZMADecompressor(memlimit=XZ_MEMORY)
        if self._kind == "bzip2":
            import bz2

            return bz2.BZ2Decompressor()
        return _Zstd()

    def _decompress(self, current: _Decompressor, data: bytes) -> bytes:
        try:
            return current.decompress(data, PIECE)
        except (zlib.error, lzma.LZMAError, OSError, EOFError, ValueError) as error:
            raise Damaged(str(error)) from error
        except Exception as error:  # zstandard's own error derives from Exception only
            if type(error).__module__.startswith("zstandard"):
                raise Damaged(str(error)) from error
            raise


def unpacked_stream(kind: str, file: BinaryIO, limit: int) -> BinaryIO:
    """What a gzip, xz, bzip2 or zstd file holds. Reading raises Damaged, and Bomb past `limit` bytes."""
    return cast(BinaryIO, io.BufferedReader(_Stream(kind, file, limit), PIECE))
