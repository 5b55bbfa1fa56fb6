"""A disk's clusters, compressed side by side and handed back in order.

Raw deflate (RFC 1951) by ISA-L with a window of 4 KiB, which is what QEMU inflates with. Each cluster is
compressed by itself.

ISA-L alone does not give the same bytes every time: at the levels 1 and 2 the x86 code for a stream's first
byte (.write_first_byte in igzip_icf_body_h1_gr_bt.asm, 2.32) hashes a register that still holds the stream's
address. Measured: of 9526 clusters 1 to 10 come out otherwise in another process or thread, all valid. The
first bytes go in by themselves here, flushed: so few take another path, and the rest has a history. It costs
0.03 % of the size, and nothing then differs.
"""

from __future__ import annotations

import mmap
from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from imgtool.convert.workers import Run, Sizes, most_rooms, workers
from imgtool.errors import MachineLacks

if TYPE_CHECKING:
    from imgtool.convert.source import Extent, Source

WINDOW_BITS = 12
FIRST_BYTES = 8  # fewer than ISA-L's own loop takes up (MIN_INBUF_PADDING)
LEVELS = (1, 2, 3)  # ISA-L's level 0 gives a fifth more bytes for a tenth less time
PIECE = 1024 * 1024  # bytes read at a time
MOST_THREADS = 32  # twice a piece's memory for each and some waiting: under 100 MiB
SAMPLE, SAMPLE_EVERY = 64, 2048  # bytes of a cluster that are compressed first
SHRINKS_BY = 64  # a part in so many, or it is not compressed
MANY_DIFFERENT = 190  # of 512 bytes
WORTH_PROCESSES = 32 * 1024 * 1024  # bytes of a disk; a process takes some 5 ms to begin


class Stored(NamedTuple):
    """A cluster that is not all zeroes. data: the compressed bytes, or the cluster as it is."""

    cluster: int
    data: memoryview
    compressed: bool


@dataclass(frozen=True)
class Piece:
    """A run of clusters, done: those from `first` to the one before `until`.

    sizes: the bytes of each, compressed when fewer than a cluster's, 0 for all zeroes. clusters: as they were
    read; packed: those that were compressed, one behind the other. Both are somebody else's memory, and hold
    this piece until the next one is asked for.
    """

    first: int
    until: int
    sizes: Sizes[int]
    cluster_size: int
    clusters: memoryview
    packed: memoryview

    def stored(self) -> Iterator[Stored]:
        """The clusters that are not all zeroes, in order."""
        at = 0
        for number, size in enumerate(self.sizes):
            if size == self.cluster_size:
                start = number * size
                yield Stored(self.first + number, self.clusters[start : start + size], False)
            elif size:
                yield Stored(self.first + number, self.packed[at : at + size], True)
                at += size


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

    threads: or processes. Close the generator (contextlib.closing) to end them. Raises ReadFailed, and
    MachineLacks without ISA-L.
    """
    compress = _compressor(level)
    most = max(PIECE, cluster_size)
    memory = memoryview(mmap.mmap(-1, most_rooms(threads) * 2 * most))  # processes see it too

    def room(number: int) -> tuple[memoryview, memoryview]:
        start = number * 2 * most
        return memory[start : start + most], memory[start + most : start + 2 * most]

    def work(number: int, run: Run) -> Sizes[int]:
        return _piece(source, run, cluster_size, *room(number), compress)

    def piece(number: int, run: Run) -> Piece:
        return Piece(*run, crew.next(), cluster_size, *room(number))

    needed = None
    if source.descriptor is not None and source.size >= WORTH_PROCESSES:
        needed = [source.descriptor]
    crew = workers(work, threads, needed)
    try:
        under_way: deque[tuple[int, Run]] = deque()
        for count, run in enumerate(wanted):
            if len(under_way) == crew.rooms:
                yield piece(*under_way.popleft())  # its room is free once the next one is asked for
            under_way.append((count % crew.rooms, run))
            crew.begin(*under_way[-1])
        while under_way:
            yield piece(*under_way.popleft())
    finally:
        crew.end()


Compress = Callable[[bytes | memoryview], bytes]


def _piece(  # noqa: PLR0917 - what a worker is given
    source: Source,
    run: Run,
    cluster_size: int,
    clusters: memoryview,
    packed: memoryview,
    compress: Compress,
) -> Sizes[int]:
    """Read a run of clusters into the one memory and compress them, one by one, into the other."""
    first, until = run
    offset, length = first * cluster_size, (until - first) * cluster_size
    held = min(length, source.size - offset)
    source.read_into(clusters[:held], offset)
    clusters[held:length] = bytes(length - held)  # the disk ends within its last cluster
    zeroes = bytes(cluster_size)
    sizes = array("I", bytes(4 * (until - first)))
    at = 0
    for number in range(until - first):
        cluster = clusters[number * cluster_size : (number + 1) * cluster_size]
        if zeroes.startswith(cluster):
            continue
        sizes[number] = cluster_size
        if _may_shrink(cluster, compress):
            data = compress(cluster)
            size = len(data)
            if size < cluster_size:
                packed[at : at + size] = data
                at += size
                sizes[number] = size
    return sizes


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
