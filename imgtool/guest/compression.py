"""The compressions that Linux unpacks an initramfs and a kernel from, decoded piece by piece.

One compressed stream is taken from a `Source` exactly to its end, so that what follows it can be read next.
Every piece is at most `LARGEST_PIECE` bytes, whatever the input claims.
Formats: RFC 1952 (gzip), RFC 8878 (Zstandard), the .xz and .lzma file formats, bzip2, and the legacy frame of
LZ4, which is the only LZ4 that the kernel knows (lib/decompress_unlz4.c).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Protocol, cast

from imgtool.errors import CannotRead
from imgtool.text import Text

INPUT_PIECE = 256 << 10
OUTPUT_PIECE = 1 << 20
LARGEST_PIECE = 8 << 20  # a block of legacy LZ4
LARGEST_WINDOW = 128 << 20  # bytes of history; what the kernel allows (ZSTD_WINDOWSIZE_MAX)
LZ4_MAGIC = b"\x02\x21\x4c\x18"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_BLOCK = 128 << 10  # RFC 8878, 3.1.1.2.4: no block gives more
LZ4_BLOCK = 8 << 20

_MAGICS = (
    (b"\x1f\x8b", "gzip"),
    (b"\x1f\x9e", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (ZSTD_MAGIC, "zstd"),
    (LZ4_MAGIC, "lz4"),
    (b"\x5d\x00\x00", "lzma"),
    (b"BZh", "bzip2"),
    (b"\x89LZO", "lzo"),
)
LONGEST_MAGIC = 6


class DamagedStream(CannotRead):
    """A compressed stream that ends too early or does not follow its format."""


class TooLong(CannotRead):
    """A stream that gives more bytes, or takes more time, than any honest one."""


def identify(head: bytes) -> str | None:
    """The compression that the first bytes announce, as lib/decompress.c of Linux tells it; None for none.

    head: at least LONGEST_MAGIC bytes, fewer at the end of a file.
    """
    return next((name for magic, name in _MAGICS if head.startswith(magic)), None)


class Budget:
    """How many bytes may still come out of decoders, and how much of the processor's time they may take.

    seconds: of the thread that spends; waiting for its turn on a busy machine costs nothing. It may be spent
    in turns, each begun with `begin`.
    """

    def __init__(self, size: int, seconds: float) -> None:
        self.size = size
        self.seconds = seconds
        self._since: float | None = None
        self._cancelled = False

    def begin(self) -> None:
        """What this thread did before now was for something else."""
        self._since = time.thread_time()

    def cancel(self) -> None:
        """Let nothing more be spent; from any thread."""
        self._cancelled = True

    def spend(self, size: int) -> None:
        """Count bytes, and the time since the last ones. Raises TooLong."""
        now = time.thread_time()
        self.seconds -= 0.0 if self._since is None else now - self._since
        self._since = now
        self.size -= size
        if self.size < 0:
            raise TooLong(
                Text(
                    en="It unpacks to more data than any real one has; reading stopped.",
                    zh="解压后的数据量超出任何正常情况，已停止读取。",
                )
            )
        if self.seconds < 0 or self._cancelled:
            raise TooLong(
                Text(en="Unpacking it takes too long; reading stopped.", zh="解压耗时过长，已停止读取。")
            )


class Readable(Protocol):
    """What bytes can be read from, in order: b"" at the end."""

    def read(self, length: int, /) -> bytes: ...


class Source:
    """A stream that can be looked ahead in. `offset` counts the bytes taken."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._ahead = b""
        self._at = 0  # how much of `_ahead` is taken
        self.offset = 0

    def peek(self, length: int) -> bytes:
        """The next bytes, fewer only at the end."""
        while len(self._ahead) - self._at < length:
            more = self._stream.read(INPUT_PIECE)
            if not more:
                break
            self._ahead = self._ahead[self._at :] + more
            self._at = 0
        return self._ahead[self._at : self._at + length]

    def take(self, length: int) -> bytes:
        """The next bytes, and go on behind them; fewer only at the end."""
        data = self.peek(length)
        self._at += len(data)
        self.offset += len(data)
        return data

    def step(self, length: int) -> None:
        """Go on behind that many bytes, which were looked at."""
        self._at += length
        self.offset += length

    def piece(self) -> bytes:
        """What can be had without copying much: at most INPUT_PIECE bytes, b"" at the end."""
        return self.take(len(self._ahead) - self._at or INPUT_PIECE)

    def give_back(self, data: bytes) -> None:
        """The last bytes taken were too many."""
        if data:
            self._ahead = data + self._ahead[self._at :]
            self._at = 0
            self.offset -= len(data)

    def skip_zeros(self, budget: Budget) -> None:
        """Go to the next byte that is not zero. Raises TooLong: a file may be all holes."""
        while piece := self.piece():
            budget.spend(len(piece))
            rest = piece.lstrip(b"\0")
            if rest:
                self.give_back(rest)
                return


def decompress(name: str, source: Source, budget: Budget) -> Iterator[bytes]:
    """The decoded pieces of the one stream that begins here; afterwards `source` stands behind it.

    Raises DamagedStream, TooLong, and CannotRead for a compression that there is no decoder for (lzo).
    """
    if name not in _DECODERS:
        raise CannotRead(
            Text(
                en=f"It is compressed with {name}, which this version can't decode.",
                zh=f"它使用 {name} 压缩，此版本无法解压。",
            )
        )
    for piece in _DECODERS[name](source):
        budget.spend(len(piece))
        yield piece


class _Incremental(Protocol):
    """What bz2 and lzma decompressors share."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _incremental(
    source: Source, decoder: _Incremental, what: str, failures: tuple[type[Exception], ...]
) -> Iterator[bytes]:
    while not decoder.eof:
        data = source.piece() if decoder.needs_input else b""
        if decoder.needs_input and not data:
            raise _truncated(what)
        try:
            yield decoder.decompress(data, OUTPUT_PIECE)
        except failures as error:
            raise _wrong(what, str(error)) from error
    source.give_back(decoder.unused_data)


def _bzip2(source: Source) -> Iterator[bytes]:
    import bz2

    yield from _incremental(source, bz2.BZ2Decompressor(), "bzip2", (OSError, ValueError))


def _xz(source: Source) -> Iterator[bytes]:
    import lzma

    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=LARGEST_WINDOW + (16 << 20))
    yield from _incremental(source, decoder, "xz", (lzma.LZMAError,))


def _lzma(source: Source) -> Iterator[bytes]:
    import lzma

    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=LARGEST_WINDOW + (16 << 20))
    yield from _incremental(source, decoder, "lzma", (lzma.LZMAError,))


def _gzip(source: Source) -> Iterator[bytes]:
    import zlib

    decoder, failures = _inflater(zlib.error)
    data = b""
    while not decoder.eof:
        data = data or source.piece()
        if not data:
            raise _truncated("gzip")
        try:
            yield decoder.decompress(data, OUTPUT_PIECE)
        except failures as error:
            raise _wrong("gzip", str(error)) from error
        data = decoder.unconsumed_tail
    source.give_back(decoder.unused_data)


def _inflater(failure: type[Exception]) -> tuple[Any, tuple[Any, ...]]:
    """ISA-L's inflate where it is installed, which takes half the time of zlib's; else zlib's."""
    try:
        from isal import isal_zlib
    except ImportError:
        import zlib

        return zlib.decompressobj(31), (failure,)
    return isal_zlib.decompressobj(31), (failure, isal_zlib.error)


def _zstd(source: Source) -> Iterator[bytes]:
    """One frame. zstandard is given its blocks and nothing behind them: `source` ends where it does."""
    import zstandard

    head = source.take(_zstd_header_length(source.peek(6)))
    try:
        window = zstandard.get_frame_parameters(head).window_size
        if window > LARGEST_WINDOW:
            raise _wrong("zstd", f"a window of {window} bytes, more than the kernel allows")
        frame = _ZstdFrame(source, head)
        decoder = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
        with decoder.stream_reader(cast(BinaryIO, frame)) as reader:
            while piece := reader.read(OUTPUT_PIECE):
                yield piece
    except zstandard.ZstdError as error:
        raise _wrong("zstd", str(error)) from error
    if not frame.whole:
        raise _truncated("zstd")


class _ZstdFrame:
    """The bytes of one frame, by read(): its header, its blocks a few at a time, its checksum."""

    def __init__(self, source: Source, head: bytes) -> None:
        self._source = source
        self._head = head
        self._checksum = bool(head[4] & 4)
        self.whole = False

    def read(self, size: int) -> bytes:
        """Whole blocks, whatever `size` says; b"" at the end. Raises DamagedStream."""
        if self._head:
            head, self._head = self._head, b""
            return head
        if self.whole:
            return b""
        data = self._source.peek(INPUT_PIECE)  # more than any one block
        at = 0
        while not self.whole:
            header = int.from_bytes(data[at : at + 3], "little")
            last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
            if length > ZSTD_BLOCK or kind == 3:
                raise _wrong("zstd", "a block that can't be")
            end = at + 3 + (1 if kind == 1 else length)  # kind 1: one byte, repeated
            end += 4 if last and self._checksum else 0
            if end > len(data):
                if at:
                    break
                raise _truncated("zstd")
            self.whole, at = last, end
        self._source.step(at)
        return data[:at]


def _zstd_header_length(head: bytes) -> int:
    """Bytes of the frame header with its magic (RFC 8878, 3.1.1.1)."""
    if len(head) < 6:
        raise _truncated("zstd")
    descriptor = head[4]
    single = descriptor >> 5 & 1
    content = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    return 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3] + content


def _lz4(source: Source) -> Iterator[bytes]:
    """Legacy blocks: u32 length, then the block. Where the kernel stops, this stops: at the end of the file
    or at a length of zero. Anything else behind the last block is taken for a length, there as here."""
    import lz4.block

    source.take(4)
    while head := source.peek(4):
        (length,) = struct.unpack("<I", head.ljust(4, b"\0"))
        if head == LZ4_MAGIC:
            source.take(4)
            continue
        if length == 0:
            return
        if length > LZ4_BLOCK + LZ4_BLOCK // 255 + 16:
            raise _wrong("lz4", f"a block of {length} bytes at offset {source.offset}")
        source.take(4)
        block = source.take(length)
        if len(block) < length:
            raise _truncated("lz4")
        try:
            yield lz4.block.decompress(block, uncompressed_size=LZ4_BLOCK)
        except lz4.block.LZ4BlockError as error:
            raise _wrong("lz4", str(error)) from error


_DECODERS: dict[str, Callable[[Source], Iterator[bytes]]] = {
    "gzip": _gzip,
    "xz": _xz,
    "lzma": _lzma,
    "bzip2": _bzip2,
    "zstd": _zstd,
    "lz4": _lz4,
}


def _truncated(name: str) -> DamagedStream:
    return DamagedStream(
        Text(en=f"The {name} stream ends before its end mark.", zh=f"{name} 数据流在结束标记之前中断。")
    )


def _wrong(name: str, why: str) -> DamagedStream:
    return DamagedStream(Text(en=f"The {name} stream is damaged: {why}.", zh=f"{name} 数据流已损坏：{why}。"))
