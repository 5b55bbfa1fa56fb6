"""FAT12, FAT16 and FAT32 with long names: EFI system partitions, mostly.

Written after Microsoft's "FAT: General Overview of On-Disk Format" 1.03. A reader of our own, because
libfsfat looks names up by their case.
"""

from __future__ import annotations

import calendar
import struct

from imgtool.disk.blocks import Blocks
from imgtool.guest.filesystem import LARGEST_DIRECTORY, MOST_NAMES, Stat, damaged, read_volume, unsupported
from imgtool.records import dataclass

ENTRY = 32
DIRECTORY, VOLUME_LABEL, LONG_NAME = 0x10, 0x08, 0x0F
FIXED_ROOT = 0
"""The node of the top directory. Other nodes are the bytes at which their directory entries lie."""
LEAST_FAT16, LEAST_FAT32 = 4085, 65525
MOST_CLUSTERS = 1 << 18
"""Clusters of a file that are followed: 128 MiB at least, 16 GiB with the largest clusters."""
KEPT_CHAINS = 16
BODY_LOWER, EXTENSION_LOWER = 0x08, 0x10


@dataclass(frozen=True)
class _Node:
    """A directory entry. cluster: its first, 0 for an empty file or the fixed root of FAT12 and FAT16."""

    directory: bool
    cluster: int
    size: int
    mtime: float


class Fat:
    """A FAT filesystem. Raises GuestReadFailed from everything that reads."""

    type = "vfat"
    case_sensitive = False
    root = FIXED_ROOT

    def __init__(self, blocks: Blocks, uuid: str = "", label: str = "") -> None:
        """Reads the boot sector only."""
        self._blocks = blocks
        self.uuid = uuid
        self.label = label
        raw = read_volume(blocks, 0, 512, "boot sector")
        sector, per_cluster, reserved, copies, root_entries, sectors16 = struct.unpack_from(
            "<HBHBHH", raw, 11
        )
        (fat16,) = struct.unpack_from("<H", raw, 22)
        sectors32, fat32, _, version, root_cluster = struct.unpack_from("<IIHHI", raw, 32)
        fat_sectors = fat16 or fat32
        sectors = sectors16 or sectors32
        if sector not in (512, 1024, 2048, 4096) or per_cluster == 0 or per_cluster & (per_cluster - 1):
            raise damaged("boot sector", "its sizes are none that FAT can have")
        root_bytes = (root_entries * ENTRY + sector - 1) // sector * sector
        self._fat = reserved * sector
        self._root_start = self._fat + copies * fat_sectors * sector
        self._root_length = root_entries * ENTRY
        self._data = self._root_start + root_bytes
        self._cluster = per_cluster * sector
        clusters = (sectors * sector - self._data) // self._cluster
        if reserved == 0 or copies == 0 or fat_sectors == 0 or clusters <= 0:
            raise damaged("boot sector", "its sizes contradict each other")
        self.bits = 12 if clusters < LEAST_FAT16 else 16 if clusters < LEAST_FAT32 else 32
        if fat16 == 0:
            self.bits = 32
        if self.bits == 32 and version != 0:
            raise unsupported("FAT32", f"format version {version:#x}")
        self._clusters = min(clusters, fat_sectors * sector * 8 // self.bits - 2)
        self._end = {12: 0xFF8, 16: 0xFFF8, 32: 0x0FFFFFF8}[self.bits]
        top = root_cluster if self.bits == 32 else 0
        self._nodes: dict[int, _Node] = {FIXED_ROOT: _Node(True, top, 0, 0.0)}
        self._directories: dict[int, dict[str, tuple[str, int]]] = {}
        self._chains: dict[int, dict[int, None]] = {}

    def lookup(self, directory: int, name: str) -> int | None:
        """The node of a name, whatever its case."""
        found = self._directory(directory).get(name.upper())
        return found[1] if found else None

    def names(self, directory: int) -> list[str]:
        """The long names, or the short ones where there are none."""
        return [name for name, _ in self._directory(directory).values()]

    def stat(self, node: int) -> Stat:
        """FAT has no owners and no modes: root's, and what Linux gives by default."""
        found = self._node(node)
        return Stat("directory" if found.directory else "file", 0o755, 0, 0, found.size, found.mtime)

    def readlink(self, node: int) -> str:
        """FAT has no symbolic links."""
        raise damaged("symbolic link", "FAT has none")

    def read(self, node: int, offset: int, length: int) -> bytes:
        """Bytes of a file."""
        found = self._node(node)
        length = max(0, min(length, found.size - offset))
        if not length:
            return b""
        chain = self._chain(found.cluster, (offset + length + self._cluster - 1) // self._cluster)
        parts: list[bytes] = []
        at, end = offset, offset + length
        while at < end:
            index = at // self._cluster
            stop = index + 1
            while stop < len(chain) and stop * self._cluster < end and chain[stop] == chain[stop - 1] + 1:
                stop += 1
            until = min(end, stop * self._cluster)
            start = self._data + (chain[index] - 2) * self._cluster + at % self._cluster
            parts.append(read_volume(self._blocks, start, until - at, "file"))
            at = until
        return b"".join(parts)

    def _node(self, node: int) -> _Node:
        if node not in self._nodes:
            raise damaged("directory entry", f"none was read at byte {node}")
        return self._nodes[node]

    def _next(self, cluster: int) -> int:
        """The entry of a cluster in the first FAT."""
        if self.bits == 12:
            at = cluster + cluster // 2
            (value,) = struct.unpack("<H", self._table(at, 2))
            return int(value >> 4 if cluster & 1 else value & 0xFFF)
        width = self.bits // 8
        return int.from_bytes(self._table(cluster * width, width), "little") & 0x0FFFFFFF

    def _table(self, at: int, length: int) -> bytes:
        return read_volume(self._blocks, self._fat + at, length, "file allocation table")

    def _chain(self, first: int, count: int | None) -> list[int]:
        """The first `count` clusters of a file, or all of a directory. Followed only as far as is asked."""
        most = LARGEST_DIRECTORY // self._cluster if count is None else MOST_CLUSTERS
        if count is not None and count > most:
            raise unsupported("FAT", f"files of more than {most} clusters")
        if first not in self._chains and len(self._chains) >= KEPT_CHAINS:
            self._chains.clear()
        chain = self._chains.setdefault(first, {})
        cluster = self._next(next(reversed(chain))) if chain else first
        while count is None or len(chain) < count:
            if cluster >= self._end and count is None and chain:
                break
            if not 2 <= cluster < self._clusters + 2 or cluster in chain:
                raise damaged("cluster chain", f"cluster {cluster} is outside the volume, free or met twice")
            if len(chain) >= most:
                raise damaged("directory", f"it is larger than {LARGEST_DIRECTORY} bytes")
            chain[cluster] = None
            if count is None or len(chain) < count:
                cluster = self._next(cluster)
        return list(chain)

    def _directory(self, node: int) -> dict[str, tuple[str, int]]:
        """Upper-case name to (name, node)."""
        kept = self._directories.get(node)
        if kept is not None:
            return kept
        this = self._node(node)
        if not this.directory:
            raise damaged("directory", "it is a file")
        if node == FIXED_ROOT and self.bits != 32:
            areas = [(self._root_start, self._root_length)]
        else:
            chain = self._chain(this.cluster, None)
            areas = [(self._data + (cluster - 2) * self._cluster, self._cluster) for cluster in chain]
        found: dict[str, tuple[str, int]] = {}
        long: list[bytes] = []
        for start, length in areas:
            raw = read_volume(self._blocks, start, length, "directory")
            for at in range(0, length, ENTRY):
                entry = raw[at : at + ENTRY]
                if entry[0] == 0:
                    self._directories[node] = found
                    return found
                if entry[0] == 0xE5:
                    long = []
                elif entry[11] & 0x3F == LONG_NAME:
                    long = [*long[-20:], entry]
                else:
                    if not entry[11] & VOLUME_LABEL and entry[:2] not in (b". ", b".."):
                        name = _long_name(long, entry) or _short_name(entry)
                        found[name.upper()] = (name, self._add(start + at, entry))
                    long = []
            if len(found) > MOST_NAMES:
                raise damaged("directory", f"it holds more than {MOST_NAMES} names")
        self._directories[node] = found
        return found

    def _add(self, at: int, entry: bytes) -> int:
        high, time, date, low, size = struct.unpack_from("<HHHHI", entry, 20)
        cluster = low | (high << 16 if self.bits == 32 else 0)
        self._nodes[at] = _Node(bool(entry[11] & DIRECTORY), cluster, size, _time(date, time))
        return at


def _short_name(entry: bytes) -> str:
    """The 8.3 name, in the case that Windows NT's flags give it."""
    body = entry[:8].replace(b"\x05", b"\xe5", 1) if entry[0] == 0x05 else entry[:8]
    stem, extension = body.decode("cp437").rstrip(), entry[8:11].decode("cp437").rstrip()
    stem = stem.lower() if entry[12] & BODY_LOWER else stem
    extension = extension.lower() if entry[12] & EXTENSION_LOWER else extension
    return f"{stem}.{extension}" if extension else stem


def _long_name(parts: list[bytes], entry: bytes) -> str:
    """The name kept in the entries before a short one; "" where they do not belong to it."""
    total = 0
    for byte in entry[:11]:
        total = ((total & 1) << 7 | total >> 1) + byte & 0xFF
    if not parts or not parts[0][0] & 0x40:
        return ""
    orders = [part[0] & 0x3F for part in parts]
    if orders != list(range(len(parts), 0, -1)) or any(part[13] != total for part in parts):
        return ""
    raw = b"".join(part[1:11] + part[14:26] + part[28:32] for part in reversed(parts))
    return raw.decode("utf-16-le", "replace").split("\0")[0].rstrip("\uffff")


def _time(date: int, time: int) -> float:
    """FAT's local time, taken as UTC; 0 where the date is none."""
    year, month, day = 1980 + (date >> 9), date >> 5 & 15, date & 31
    if not 1 <= month <= 12 or day == 0:
        return 0.0
    return float(calendar.timegm((year, month, day, time >> 11, time >> 5 & 63, (time & 31) * 2)))
