"""The directories of NTFS: records of the file table, and the names that a directory's index holds.

libfsntfs reads the files, but a name whose record is damaged, or not in use, or belongs to another file by
now, it leaves out or takes as it comes; and a driver that can't be read is not one that is not installed. So
names are looked up here, and where an index or a record contradicts itself that is said. Layout: the
Linux-NTFS project's documentation of $MFT, $INDEX_ROOT, $INDEX_ALLOCATION and $ATTRIBUTE_LIST.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from codecs import utf_16_le_decode
from collections.abc import Iterator
from typing import NamedTuple

from imgtool.disk.blocks import Blocks
from imgtool.guest.filesystem import LARGEST_DIRECTORY, MOST_NAMES, damaged, read_volume
from imgtool.guest.windows_names import upper
from imgtool.records import dataclass

NUMBER = 0xFFFFFFFFFFFF
"""The part of a file reference that is the record's number; the rest is its sequence number."""
ATTRIBUTE_LIST, DATA, INDEX_ROOT, INDEX_ALLOCATION = 0x20, 0x80, 0x90, 0xA0
SECTOR = 512
OF_DOS = 2
"""The name space of short names only."""
DEEPEST = 32
"""Levels of an index."""
MOST_LOOKED_AT = 3_000_000
"""Names, and rows of lists of attributes, that are looked at on one volume, each counted again each time."""
LARGEST_LIST = 1 << 20
MOST_RECORDS = 1000
"""In which the attributes of one file may lie."""
KEPT_RUNS = 10_000
"""Of the indexes that are kept, each counted as one at least."""
_IN_USE = 1
_BELOW, _LAST = 1, 2
_NAMES = "$I30".encode("utf-16-le")
_ENTRY = struct.Struct("<QHHI")
_NAME_AT = 66

Run = tuple[int, int, int]
"""First cluster within the attribute, its cluster on the volume (-1 for a hole), and how many."""


class Named(NamedTuple):  # quick to make: a directory has thousands
    """A name in a directory. reference: record and sequence number; short: it is an 8.3 name only."""

    name: str
    reference: int
    short: bool


@dataclass(frozen=True)
class _Attribute:
    """value: of a resident one; runs, size (bytes): of another."""

    type: int
    name: bytes
    value: bytes | None
    runs: tuple[Run, ...] = ()
    size: int = 0


@dataclass(frozen=True)
class _Index:
    """Of a directory. what: for messages; root: its topmost node; runs, size: of the others."""

    what: str
    number: int
    root: bytes
    runs: tuple[Run, ...]
    size: int


class FileTable:
    """The $MFT of a volume. Everything raises GuestReadFailed."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        boot = read_volume(blocks, 0, SECTOR, "NTFS boot sector")
        sector = int.from_bytes(boot[11:13], "little")
        per_cluster = boot[13] if boot[13] <= 128 else 1 << (256 - boot[13])
        self._cluster = sector * per_cluster
        self._record = self._size_of(boot[64])
        self._block = self._size_of(boot[68])
        sizes = (sector, self._cluster, self._record, self._block)
        if any(not 256 <= size <= 1 << 21 or size & size - 1 for size in sizes):
            raise damaged("NTFS boot sector", f"it says sizes of {sizes}")
        self._first = int.from_bytes(boot[48:56], "little") * self._cluster
        self._left = MOST_LOOKED_AT
        self._indexes: dict[int, _Index] = {}
        self._runs: tuple[Run, ...] = ()
        self._runs = self._own_runs()

    def _size_of(self, byte: int) -> int:
        """Clusters, or where that is negative a power of two."""
        return byte * self._cluster if byte < 128 else 1 << min(256 - byte, 40)

    def _own_runs(self) -> tuple[Run, ...]:
        first = _attributes(self._fixed(self._at(self._first), b"FILE", "MFT record 0"), "MFT record 0")
        self._runs = tuple(run for it in first if it.type == DATA and not it.name for run in it.runs)
        whole = [it for it in self._all(0, DATA) if it.type == DATA and not it.name]
        return tuple(run for it in whole for run in it.runs)

    def _at(self, place: int) -> bytes:
        return read_volume(self._blocks, place, self._record, "MFT record")

    def record(self, number: int, sequence: int | None = None) -> bytes:
        """A record in use, checked and whole. sequence: the number that a name knows it by; 0 for any."""
        what = f"MFT record {number}"
        data = self._fixed(self._mapped(self._runs, number * self._record, self._record, what), b"FILE", what)
        (own,) = struct.unpack_from("<H", data, 16)
        (flags,) = struct.unpack_from("<H", data, 22)
        if not flags & _IN_USE:
            raise damaged(what, "a directory names it, and it is not in use")
        if sequence and own != sequence:
            raise damaged(what, "it belongs to another file than the one that a directory names")
        return data

    def directory(self, number: int) -> Iterator[Named]:
        """Every name of a directory, short ones too, by its index from the root down."""
        index = self._index(number)
        waiting: list[int | None] = [None]
        seen: set[int | None] = set()
        count = 0
        while waiting:
            at = waiting.pop()
            if at in seen:
                raise damaged(index.what, "its index leads round in a circle")
            seen.add(at)
            for named, below in self._entries(index, at):
                count += 1
                if count > 2 * MOST_NAMES:
                    raise damaged(index.what, f"it holds more than {MOST_NAMES} names")
                if below is not None:
                    waiting.append(below)
                if named is not None:
                    yield named

    def find(self, number: int, wanted: str) -> Named | None:
        """One name of a directory, by the order of its index, as Windows finds it. wanted: ASCII, upper case.

        An index is in the order of its upper-case names, in which no other letter becomes an ASCII one.
        """
        index = self._index(number)
        at: int | None = None
        for _ in range(DEEPEST):
            for named, below in self._entries(index, at):
                if named is None:
                    at = below
                    break
                name = upper(named.name)
                if name == wanted:
                    return named
                if name > wanted:
                    at = below
                    break
            if at is None:
                return None
        raise damaged(index.what, "its index leads round in a circle")

    def _index(self, number: int) -> _Index:
        """Of a directory. The last ones that were read are kept."""
        kept = self._indexes.get(number)
        if kept is None:
            kept = self._read_index(number)
            if sum(1 + len(it.runs) for it in self._indexes.values()) + len(kept.runs) > KEPT_RUNS:
                self._indexes.clear()
            self._indexes[number] = kept
        return kept

    def _read_index(self, number: int) -> _Index:
        what = f"directory (MFT record {number})"
        attributes = [it for it in self._all(number, INDEX_ROOT, INDEX_ALLOCATION) if it.name == _NAMES]
        root = next((it.value for it in attributes if it.type == INDEX_ROOT), None)
        if root is None or len(root) < 32:
            raise damaged(what, "it has no index")
        runs = tuple(run for it in attributes if it.type == INDEX_ALLOCATION for run in it.runs)
        size = max((it.size for it in attributes if it.type == INDEX_ALLOCATION), default=0)
        (block,) = struct.unpack_from("<I", root, 8)
        if block != self._block or size > LARGEST_DIRECTORY:
            raise damaged(what, f"its index has {size} bytes in blocks of {block}")
        return _Index(what, number, root[16:], runs, size)

    def _entries(self, index: _Index, at: int | None) -> Iterator[tuple[Named | None, int | None]]:
        """The entries of a node (None: the root): the name, None in the last one, and the node before it."""
        node = index.root
        if at is not None:
            place = at * (self._cluster if self._block >= self._cluster else SECTOR)
            if place + self._block > index.size:
                raise damaged(index.what, "its index leads out of itself")
            node = self._fixed(self._mapped(index.runs, place, self._block, index.what), b"INDX", index.what)[
                24:
            ]
        for entry in _in_node(node, index.what, index.number):
            self._spend(index.what)
            yield entry

    def _all(self, number: int, *types: int) -> list[_Attribute]:
        """A file's attributes of these types, those in other records included, the parts of each in their
        order."""
        what = f"MFT record {number}"
        own = _attributes(self.record(number), what)
        listed = next((it for it in own if it.type == ATTRIBUTE_LIST), None)
        if listed is None:
            return own
        data = listed.value
        if data is None:
            if listed.size > LARGEST_LIST:
                raise damaged(what, f"its list of attributes has {listed.size} bytes")
            data = self._mapped(listed.runs, 0, listed.size, what)
        found: list[_Attribute] = []
        records = {number: _by_place(own)}
        seen: set[tuple[int, int, int]] = set()
        at = 0
        while at + 26 <= len(data):
            self._spend(what)
            type_, length, _, _, first, reference = struct.unpack_from("<IHBBQQ", data, at)
            if length < 26:
                break
            at += length
            other = reference & NUMBER
            if type_ not in types or (type_, first, other) in seen:
                continue
            seen.add((type_, first, other))
            if other not in records:
                if len(records) > MOST_RECORDS:
                    raise damaged(what, f"its attributes lie in more than {MOST_RECORDS} records")
                records[other] = _by_place(
                    _attributes(self.record(other, reference >> 48), f"MFT record {other}")
                )
            found += records[other].get((type_, first), ())
        return found

    def _spend(self, what: str) -> None:
        self._left -= 1
        if self._left < 0:
            raise damaged(what, f"more than {MOST_LOOKED_AT} names were looked at on this volume")

    def _mapped(self, runs: tuple[Run, ...], at: int, length: int, what: str) -> bytes:
        """Bytes of an attribute by its runs."""
        parts = []
        while length:
            cluster, within = divmod(at, self._cluster)
            first, place, count = _run_of(runs, cluster)
            if not first <= cluster < first + count:
                raise damaged(what, f"byte {at} of it lies nowhere")
            part = min(length, (first + count - cluster) * self._cluster - within)
            if place < 0:
                parts.append(bytes(part))
            else:
                start = (place + cluster - first) * self._cluster + within
                parts.append(read_volume(self._blocks, start, part, what))
            at, length = at + part, length - part
        return b"".join(parts)

    def _fixed(self, data: bytes, mark: bytes, what: str) -> bytes:
        """A record with the last word of each of its sectors put back; a torn one is damage."""
        at, count = struct.unpack_from("<HH", data, 4)
        if data[:4] != mark or count < 2 or at + 2 * count > len(data) or (count - 1) * SECTOR > len(data):
            raise damaged(what, "its header is wrong")
        fixed = bytearray(data)
        for number in range(1, count):
            end = number * SECTOR
            if data[end - 2 : end] != data[at : at + 2]:
                raise damaged(what, "it was not written to its end")
            fixed[end - 2 : end] = data[at + 2 * number : at + 2 * number + 2]
        return bytes(fixed)


def _by_place(attributes: list[_Attribute]) -> dict[tuple[int, int], list[_Attribute]]:
    """By type and first cluster, which is how a list of attributes names them."""
    found: dict[tuple[int, int], list[_Attribute]] = {}
    for it in attributes:
        found.setdefault((it.type, it.runs[0][0] if it.runs else 0), []).append(it)
    return found


def _run_of(runs: tuple[Run, ...], cluster: int) -> Run:
    """The last run that does not begin behind a cluster."""
    number = bisect_right(runs, cluster, key=lambda run: run[0])
    return runs[number - 1] if number else (0, -1, 0)


def _attributes(record: bytes, what: str) -> list[_Attribute]:
    (at,) = struct.unpack_from("<H", record, 20)
    found: list[_Attribute] = []
    while at + 8 <= len(record):
        type_, length = struct.unpack_from("<II", record, at)
        if type_ == 0xFFFFFFFF:
            return found
        if length < 24 or at + length > len(record):
            break
        raw = record[at : at + length]
        names, name_at = raw[9], int.from_bytes(raw[10:12], "little")
        name = raw[name_at : name_at + 2 * names]
        if raw[8] == 0:
            size, value_at = struct.unpack_from("<IH", raw, 16)
            if value_at + size > length:
                break
            found.append(_Attribute(type_, name, raw[value_at : value_at + size]))
        else:
            if length < 64:
                break
            (first,) = struct.unpack_from("<Q", raw, 16)
            (runs_at,) = struct.unpack_from("<H", raw, 32)
            (size,) = struct.unpack_from("<Q", raw, 48)
            found.append(_Attribute(type_, name, None, tuple(_runs(raw[runs_at:], first, what)), size))
        at += length
    raise damaged(what, "its attributes run out of it")


def _runs(data: bytes, first: int, what: str) -> Iterator[Run]:
    """Mapping pairs: the lengths of a count and of an offset to the run before, then both."""
    at, place = 0, 0
    while at < len(data) and data[at]:
        counts, offsets = data[at] & 15, data[at] >> 4
        if not 1 <= counts <= 8 or offsets > 8 or at + 1 + counts + offsets > len(data):
            raise damaged(what, "its list of clusters is wrong")
        count = int.from_bytes(data[at + 1 : at + 1 + counts], "little")
        place += int.from_bytes(data[at + 1 + counts : at + 1 + counts + offsets], "little", signed=True)
        if not 0 < count < 1 << 48 or not 0 <= place < 1 << 48:
            raise damaged(what, "its list of clusters is wrong")
        yield first, place if offsets else -1, count
        first += count
        at += 1 + counts + offsets


def _in_node(node: bytes, what: str, directory: int) -> Iterator[tuple[Named | None, int | None]]:
    """As FileTable._entries, from the bytes of a node from its header on."""
    at, used = struct.unpack_from("<II", node)
    used = min(used, len(node))
    while at + _ENTRY.size <= used:
        reference, length, content, flags = _ENTRY.unpack_from(node, at)
        below = None
        if length < _ENTRY.size or at + length > used or content > length - _ENTRY.size:
            break
        if flags & _BELOW:
            if length < _ENTRY.size + 8:
                break
            below = int.from_bytes(node[at + length - 8 : at + length], "little")
        if flags & _LAST:
            yield None, below
            return
        key = node[at + _ENTRY.size : at + _ENTRY.size + content]
        if len(key) < _NAME_AT or len(key) < _NAME_AT + 2 * key[64]:
            break
        if int.from_bytes(key[:8], "little") & NUMBER != directory:
            raise damaged(what, "its index holds a name of another directory")
        name, _ = utf_16_le_decode(key[_NAME_AT : _NAME_AT + 2 * key[64]], "replace")
        yield Named(name, reference, key[65] == OF_DOS), below
        at += length
    raise damaged(what, "a node of its index has no end")
