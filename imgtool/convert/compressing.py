"""A disk's clusters, compressed by several threads and handed back in order.

Raw deflate (RFC 1951) by ISA-L with a window of 4 KiB, which is what QEMU inflates with. Each cluster is
compressed by itself, in calls that let the other threads run.

ISA-L alone does not give the same bytes every time: at the levels 1 and 2 the x86 code for a stream's first
byte (.write_first_byte in igzip_icf_body_h1_gr_bt.asm, 2.32) hashes a register that still holds the stream's
address. Measured: of 9526 clusters 1 to 10 come out otherwise in another process or thread, all valid. The
first bytes go in by themselves here, flushed: so few take another path, and the rest has a history. It costs
0.03 % of the size, and nothing then differs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, local
from typing import TYPE_CHECKING

from imgtool.errors import MachineLacks

if TYPE_CHECKING:
    from imgtool.convert.source import Extent, Source

WINDOW_BITS = 12
FIRST_BYTES = 8  # fewer than ISA-L's own loop takes up (MIN_INBUF_PADDING)
LEVELS = (1, 2, 3)  # ISA-L's level 0 gives a fifth more bytes for a tenth less time
PIECE = 1024 * 1024  # bytes read at a time by one thread
MOST_THREADS = 32  # a piece read and one compressed for each and some waiting: under 100 MiB
SAMPLE, SAMPLE_EVERY = 64, 2048  # bytes of a cluster that are compressed first
SHRINKS_BY = 64  # a part in so many, or it is not compressed
MANY_DIFFERENT = 190  # of 512 bytes
WAITING = 2  # pieces that may wait beside those at work

Run = tuple[int, int]  # first cluster, and the one after the last


@dataclass(frozen=True)
class Stored:
    """A cluster that is not all zeroes. data: the compressed bytes, or the cluster as it is."""

    cluster: int
    data: bytes
    compressed: bool


@dataclass(frozen=True)
class Piece:
    """A run of clusters, done. until: the first cluster behind it."""

    stored: tuple[Stored, ...]
    until: int


def runs(extents: Iterable[Extent], cluster_size: int) -> Iterator[Run]:
    """The clusters that data touches, each once, in order, in runs of at most PIECE bytes."""
    most = max(PIECE // cluster_size, 1)
    first = until = 0
    for extent in extents:
        if extent.kind == "zero" or not extent.length:
            continue
        start = max(extent.offset // cluster_size, until)
        end = -(-(extent.offset + extent.length) // cluster_size)
        if start > until:
            if until > first:
                yield first, until
            first = start
        until = max(until, end)
        while until - first >= most:
            yield first, first + most
            first += most
    if until > first:
        yield first, until


def compressed_pieces(
    source: Source, wanted: Iterable[Run], *, cluster_size: int, level: int, threads: int
) -> Generator[Piece, None, None]:
    """Read and compress runs of clusters; the results in the order of the runs.

    Close the generator (contextlib.closing) to end the threads: none begins another cluster. Raises
    ReadFailed, MachineLacks without ISA-L.
    """
    compress = _compressor(level)
    stop = Event()
    own = local()  # a buffer for each thread: fresh memory for every piece costs as much as reading it
    pool = ThreadPoolExecutor(threads, thread_name_prefix="compress")
    under_way: deque[Future[Piece]] = deque()

    def piece(run: Run) -> Piece:
        length = (run[1] - run[0]) * cluster_size
        if len(getattr(own, "buffer", b"")) < length:
            own.buffer = bytearray(length)
        return _piece(source, run, cluster_size, own.buffer, compress, stop)

    try:
        for run in wanted:
            under_way.append(pool.submit(piece, run))
            if len(under_way) >= threads + WAITING:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


Compress = Callable[[bytes | memoryview], bytes]


def _piece(  # noqa: PLR0917 - what a thread is given
    source: Source, run: Run, cluster_size: int, buffer: bytearray, compress: Compress, stop: Event
) -> Piece:
    """Read a run of clusters into the buffer and compress them one by one."""
    first, until = run
    offset, length = first * cluster_size, (until - first) * cluster_size
    view = memoryview(buffer)
    held = 0 if stop.is_set() else min(length, source.size - offset)
    source.read_into(view[:held], offset)
    view[held:length] = bytes(length - held)  # the disk ends within its last cluster
    zeroes = bytes(cluster_size)
    stored: list[Stored] = []
    for start in range(0, length, cluster_size):
        if buffer.startswith(zeroes, start):
            continue
        if stop.is_set():
            break
        cluster = view[start : start + cluster_size]
        packed = compress(cluster) if _may_shrink(cluster, compress) else b""
        shrunk = 0 < len(packed) < cluster_size
        stored.append(Stored(first + start // cluster_size, packed if shrunk else bytes(cluster), shrunk))
    return Piece(tuple(stored), until)


def _may_shrink(cluster: memoryview, compress: Compress) -> bool:
    """Whether it is worth compressing: what is encrypted or compressed already takes a third of it then.

    Of 512 bytes of such data some 221 are different; of text and programs far fewer, and these are not
    looked at further. Else a sample decides, taken so that 4 KiB of zeroes or text show wherever they are.
    Measured on a Debian root: 0.1 % more size.
    """
    middle = len(cluster) // 2
    if len(set(bytes(cluster[middle : middle + 512]))) < MANY_DIFFERENT or len(cluster) <= SAMPLE_EVERY:
        return True
    sample = b"".join([cluster[at : at + SAMPLE] for at in range(0, len(cluster), SAMPLE_EVERY)])
    return len(compress(sample)) < len(sample) - len(sample) // SHRINKS_BY


def _compressor(level: int) -> Compress:
    try:
        from isal import isal_zlib
    except ImportError as error:
        raise MachineLacks("ISA-L for Python (pip install isal)", "python3-isal") from error

    def compress(cluster: bytes | memoryview) -> bytes:
        stream = isal_zlib.compressobj(level, isal_zlib.DEFLATED, -WINDOW_BITS)
        head = stream.compress(cluster[:FIRST_BYTES]) + stream.flush(isal_zlib.Z_SYNC_FLUSH)
        return b"".join((head, stream.compress(cluster[FIRST_BYTES:]), stream.flush()))

    return compress
