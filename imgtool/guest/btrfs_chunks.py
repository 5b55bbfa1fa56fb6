"""btrfs below its trees: the superblock, the devices, and where on them a logical address lies.

Written afresh beside dissect.btrfs, whose mapping reads RAID 10 from the wrong device and can be sent round
in circles, and which does not look at checksums (docs/decisions.md).
https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise

from imgtool.disk.blocks import Blocks
from imgtool.disk.signatures import dashed
from imgtool.errors import CannotRead
from imgtool.guest.filesystem import GuestReadFailed, damaged, read_volume, unsupported
from imgtool.records import dataclass
from imgtool.text import Text

SUPERBLOCK = 64 << 10
SUPERBLOCK_SIZE = 4096
MAGIC = b"_BHRfS_M"
HEADER = 101
CHECKSUM = 32
LARGEST_NODE = 64 << 10
MOST_CHUNKS = 100_000
"""500 GiB take some 600."""
CHUNK_ITEM = 228
NAMES = {
    0x1000: "zoned",
    0x2000: "extent tree v2",
    0x4000: "raid stripe tree",
}
READABLE = 0xFFF | 0x10000
METADATA_UUID = 0x400
BLOCK_GROUP_TREE = 0x8  # of the compat_ro flags
DATA, SYSTEM, METADATA = 1, 2, 4
RAID0, RAID1, DUP, RAID10, RAID5, RAID6, RAID1C3, RAID1C4 = (8 << place for place in range(8))
COPIES = {RAID1: 2, DUP: 2, RAID10: 2, RAID1C3: 3, RAID1C4: 4}
PROFILES = 0x7F8


@dataclass(frozen=True)
class Superblock:
    """What is needed of it. Addresses are logical; sizes in bytes."""

    fsid: bytes
    metadata_fsid: bytes
    label: str
    root: int
    chunk_root: int
    log_root: int
    total_bytes: int
    bytes_used: int
    devices: int
    sector_size: int
    node_size: int
    checksum: int
    generation: int
    compat_ro: int
    device: int
    system_chunks: bytes


def read_superblock(blocks: Blocks) -> Superblock:
    """The first copy. Raises GuestReadFailed where it is damaged or asks for what is not read here."""
    data = read_volume(blocks, SUPERBLOCK, SUPERBLOCK_SIZE, "btrfs superblock")
    if data[64:72] != MAGIC:
        raise damaged("btrfs superblock", "it has no magic number")
    (root, chunk_root, log_root) = struct.unpack_from("<3Q", data, 80)
    total, used, _, devices = struct.unpack_from("<4Q", data, 112)
    sector, node = struct.unpack_from("<2I", data, 144)
    (array_size,) = struct.unpack_from("<I", data, 160)
    compat_ro, incompat = struct.unpack_from("<2Q", data, 180)
    (checksum,) = struct.unpack_from("<H", data, 196)
    if not _sum_is_right(checksum, data):
        raise damaged("btrfs superblock", "its checksum is wrong")
    unknown = incompat & ~READABLE
    if unknown:
        names = [name for bit, name in NAMES.items() if unknown & bit]
        raise unsupported("btrfs", ", ".join(names) or f"incompatible features {unknown:#x}")
    sizes = (sector, node)
    if any(size & size - 1 or not 4096 <= size <= LARGEST_NODE for size in sizes) or array_size > 2048:
        raise damaged("btrfs superblock", f"sectors of {sector} bytes, nodes of {node}")
    fsid = data[32:48]
    return Superblock(
        fsid=fsid,
        metadata_fsid=data[571:587] if incompat & METADATA_UUID else fsid,
        label=data[299:555].split(b"\0")[0].decode("utf-8", "replace"),
        root=root,
        chunk_root=chunk_root,
        log_root=log_root,
        total_bytes=total,
        bytes_used=used,
        devices=devices,
        sector_size=sector,
        node_size=node,
        checksum=checksum,
        generation=struct.unpack_from("<Q", data, 72)[0],
        compat_ro=compat_ro,
        device=struct.unpack_from("<Q", data, 201)[0],
        system_chunks=data[811 : 811 + array_size],
    )


def _sum_is_right(kind: int, data: bytes) -> bool:
    """Whether a superblock or a node has the checksum in its first bytes that its other bytes give.

    xxhash (kind 1) is in no library that imgtool needs: those are believed.
    """
    if kind == 0:
        from dissect.util.hash.crc32c import update

        right: int = update(0, data[CHECKSUM:])
        return int.from_bytes(data[:4], "little") == right
    if kind == 2:
        from hashlib import sha256

        return data[:CHECKSUM] == sha256(data[CHECKSUM:]).digest()
    if kind == 3:
        from hashlib import blake2b

        return data[:CHECKSUM] == blake2b(data[CHECKSUM:], digest_size=32).digest()
    return True


@dataclass(frozen=True)
class Chunk:
    """A range of logical addresses. stripes: (device, its uuid, offset there)."""

    start: int
    length: int
    stripe: int
    type: int
    sub_stripes: int
    stripes: tuple[tuple[int, str, int], ...]

    @property
    def profile(self) -> int:
        """RAID0, DUP …; 0 for single."""
        return self.type & PROFILES

    @property
    def share(self) -> int:
        """Bytes that it takes of each of its devices."""
        columns = len(self.stripes) // COPIES.get(self.profile, 1)
        columns -= {RAID5: 1, RAID6: 2}.get(self.profile, 0)
        return self.length // max(columns, 1)


def parse_chunk(start: int, data: bytes) -> Chunk:
    """A chunk item. Raises GuestReadFailed."""
    length, _, stripe, kind, _, _, _, count, sub = struct.unpack_from("<4Q3I2H", data)
    if len(data) < 48 + 32 * count or not count or not length:
        raise damaged("btrfs chunk", f"{start:#x}: {count} stripes, {length} bytes")
    stripes = []
    for at in range(48, 48 + 32 * count, 32):
        device, offset = struct.unpack_from("<2Q", data, at)
        stripes.append((device, dashed(data[at + 16 : at + 32]), offset))
    chunk = Chunk(start, length, stripe, kind, sub, tuple(stripes))
    copies = COPIES.get(chunk.profile, 1)
    if stripe < 4096 or stripe & stripe - 1 or count < copies or (count % copies and chunk.profile == RAID10):
        raise damaged("btrfs chunk", f"{start:#x}: stripes of {stripe} bytes, {count} of them")
    return chunk


class Missing(CannotRead):
    """A part of the filesystem lies on a device that is not here."""

    def __init__(self, device: int, uuid: str, devices: int, here: Sequence[int]) -> None:
        numbers = ", ".join(map(str, sorted(here)))
        super().__init__(
            Text(
                en=f"The btrfs has {devices} devices, of which this disk holds number {numbers}; device"
                f" {device} (uuid {uuid or 'unknown'}) is missing.",
                zh=f"该 btrfs 由 {devices} 个设备组成，此磁盘上有第 {numbers} 个；"
                f"缺少设备 {device}（uuid {uuid or '未知'}）。",
            )
        )
        self.device = device


class Chunks:
    """The logical bytes of a btrfs whose devices, by number, are `devices`."""

    def __init__(self, superblock: Superblock, devices: dict[int, Blocks]) -> None:
        self.superblock = superblock
        self.devices = devices
        self.chunks: list[Chunk] = []
        self._starts: list[int] = []

    def add_system_chunks(self) -> None:
        """Those that the superblock itself tells: where the chunk tree lies."""
        array, at = self.superblock.system_chunks, 0
        while at + 17 + 48 <= len(array):
            kind, start = struct.unpack_from("<BQ", array, at + 8)
            (count,) = struct.unpack_from("<H", array, at + 17 + 44)
            size = 48 + 32 * count
            if kind != CHUNK_ITEM:
                raise damaged("btrfs superblock", f"an item of type {kind} among the system chunks")
            self.add([parse_chunk(start, array[at + 17 : at + 17 + size])])
            at += 17 + size

    def add(self, chunks: list[Chunk]) -> None:
        """More chunks; those known already stay. Raises GuestReadFailed for overlaps."""
        known = {chunk.start for chunk in self.chunks}
        self.chunks += [chunk for chunk in chunks if chunk.start not in known]
        self.chunks.sort(key=lambda chunk: chunk.start)
        self._starts = [chunk.start for chunk in self.chunks]
        for one, other in pairwise(self.chunks):
            if one.start + one.length > other.start:
                raise damaged("btrfs chunk", f"{other.start:#x} lies within the one before it")

    def read(self, address: int, length: int, mirror: int = 0) -> bytes:
        """Bytes at a logical address, from the first copy that is here behind the first `mirror` ones.

        Raises Missing where no copy's device is here, GuestReadFailed.
        """
        parts = []
        for device, uuid, offset, size in self._places(address, length, mirror):
            blocks = self.devices.get(device)
            if blocks is None:
                raise Missing(device, uuid, self.superblock.devices, list(self.devices))
            parts.append(read_volume(blocks, offset, size, "btrfs data"))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def copies(self, address: int) -> int:
        """How many copies there are of an address."""
        chunk = self._chunk(address)
        return COPIES.get(chunk.profile, 1)

    def _chunk(self, address: int) -> Chunk:
        at = bisect_right(self._starts, address) - 1
        if at < 0 or address >= self.chunks[at].start + self.chunks[at].length:
            raise damaged("btrfs address", f"{address:#x} is in no chunk")
        return self.chunks[at]

    def _places(self, address: int, length: int, mirror: int) -> Iterator[tuple[int, str, int, int]]:
        """(device, uuid, offset, length) one after the other (Linux fs/btrfs/volumes.c, btrfs_map_block)."""
        while length > 0:
            chunk = self._chunk(address)
            inside = address - chunk.start
            number, within = divmod(inside, chunk.stripe)
            count, copies = len(chunk.stripes), COPIES.get(chunk.profile, 1)
            size = min(length, chunk.length - inside)
            if chunk.profile in (RAID0, RAID10, RAID5, RAID6):
                size = min(size, chunk.stripe - within)
                parity = {RAID5: 1, RAID6: 2}.get(chunk.profile, 0)
                columns = count // copies - parity
                if columns < 1:
                    raise damaged("btrfs chunk", f"{chunk.start:#x} has {count} stripes")
                row, column = divmod(number, columns)
                first = (row + column) % count if parity else column * copies
                offset = row * chunk.stripe + within
            else:
                first, offset = 0, inside
            turn = [chunk.stripes[first + (mirror + copy) % copies] for copy in range(copies)]
            device, uuid, start = next((it for it in turn if it[0] in self.devices), turn[0])
            yield device, uuid, start + offset, size
            address += size
            length -= size

    def node(self, address: int) -> bytes:
        """A node of a tree: the first copy whose checksum, address and owner are right."""
        failure: GuestReadFailed | None = None
        for mirror in range(self.copies(address)):
            try:
                data = self.read(address, self.superblock.node_size, mirror)
            except GuestReadFailed as error:
                failure = failure or error
                continue
            if (
                _sum_is_right(self.superblock.checksum, data)
                and data[32:48] == self.superblock.metadata_fsid
                and int.from_bytes(data[48:56], "little") == address
            ):
                return data
        raise failure or damaged("btrfs node", f"{address:#x}: its checksum or its header is wrong")
