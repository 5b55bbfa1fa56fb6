"""qcow2, versions 2 and 3: the header, what it asks for, and its snapshots.

Specification: QEMU's docs/interop/qcow2.txt. Version 1 is another format with the same magic; it is named.
"""

from __future__ import annotations

from collections.abc import Iterator

from construct import Bytes, Int8ub, Int16ub, Int32ub, Int64ub, Struct

from imgtool.disk.formats.image_file import (
    Damage,
    Hazard,
    ImageFile,
    Snapshot,
    beyond_the_end,
    escaped,
    header_invalid,
)
from imgtool.disk.formats.source import Source, parse
from imgtool.records import dataclass, field
from imgtool.text import Text

HEADER = Struct(
    "magic" / Bytes(4),
    "version" / Int32ub,
    "backing_file_offset" / Int64ub,
    "backing_file_size" / Int32ub,
    "cluster_bits" / Int32ub,
    "size" / Int64ub,
    "crypt_method" / Int32ub,
    "l1_size" / Int32ub,
    "l1_table_offset" / Int64ub,
    "refcount_table_offset" / Int64ub,
    "refcount_table_clusters" / Int32ub,
    "nb_snapshots" / Int32ub,
    "snapshots_offset" / Int64ub,
)
HEADER_V3 = Struct(
    "incompatible_features" / Int64ub,
    "compatible_features" / Int64ub,
    "autoclear_features" / Int64ub,
    "refcount_order" / Int32ub,
    "header_length" / Int32ub,
)
COMPRESSION_TYPE_OFFSET = 104
EXTENSION = Struct("type" / Int32ub, "length" / Int32ub)
BITMAPS = Struct("count" / Int32ub, "reserved" / Int32ub, "size" / Int64ub, "offset" / Int64ub)
ENCRYPTION_HEADER = Struct("offset" / Int64ub, "length" / Int64ub)
SNAPSHOT = Struct(
    "l1_table_offset" / Int64ub,
    "l1_size" / Int32ub,
    "id_size" / Int16ub,
    "name_size" / Int16ub,
    "created" / Int32ub,
    "created_nanoseconds" / Int32ub,
    "vm_clock" / Int64ub,
    "vm_state_size" / Int32ub,
    "extra_size" / Int32ub,
)
HEADER_V1 = Struct(
    "magic" / Bytes(4),
    "version" / Int32ub,
    "backing_file_offset" / Int64ub,
    "backing_file_size" / Int32ub,
    "mtime" / Int32ub,
    "size" / Int64ub,
    "cluster_bits" / Int8ub,
    "l2_bits" / Int8ub,
    "padding" / Int16ub,
    "crypt_method" / Int32ub,
    "l1_table_offset" / Int64ub,
)

DIRTY, CORRUPT, EXTERNAL_DATA, COMPRESSION_TYPE, EXTENDED_L2 = (1 << bit for bit in range(5))
KNOWN_FEATURES = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2
LAZY_REFCOUNTS = 1

BACKING_FORMAT = 0xE2792ACA
FEATURE_NAMES = 0x6803F857
BITMAP_DIRECTORY = 0x23852875
ENCRYPTION = 0x0537BE77
DATA_FILE_NAME = 0x44415441

# QEMU's own limits (block/qcow2.h): it refuses to open what exceeds them.
MAX_CLUSTER = 2 * 1024**2
MAX_BACKING_NAME = 1023
MAX_BACKING_FORMAT = 15
MAX_L1_BYTES = 32 * 1024**2
MAX_REFCOUNT_TABLE_BYTES = 8 * 1024**2
MAX_SNAPSHOTS = 65536
MAX_SNAPSHOT_EXTRA = 1024
MAX_SNAPSHOT_TABLE_BYTES = 16 * 1024**2
SNAPSHOTS_NAMED = 1000


@dataclass(frozen=True)
class SnapshotTable:
    """The snapshots, where their L1 tables are (offset, entries), and where their own table ends."""

    snapshots: tuple[Snapshot, ...] = ()
    l1_tables: tuple[tuple[int, int], ...] = ()
    end: int = 0
    damage: tuple[Damage, ...] = ()


@dataclass(frozen=True)
class Header:
    """A header of version 2 or 3, its extensions read. Offsets and sizes in bytes."""

    version: int
    size: int
    cluster_bits: int
    crypt_method: int
    l1_offset: int
    l1_size: int
    refcount_table_offset: int
    refcount_table_clusters: int
    refcount_bits: int
    header_length: int
    backing_offset: int
    backing_size: int
    nb_snapshots: int
    snapshots_offset: int
    incompatible: int = 0
    compatible: int = 0
    compression: str = "deflate"
    extensions_fit: bool = True
    data_file: bytes = b""
    bitmaps: tuple[int, int] = (0, 0)
    encryption: tuple[int, int] = (0, 0)
    feature_names: dict[int, str] = field(default_factory=dict)

    @property
    def cluster_size(self) -> int:
        return 1 << self.cluster_bits

    @property
    def l2_entry_size(self) -> int:
        return 16 if self.incompatible & EXTENDED_L2 else 8

    @property
    def largest_whole_file(self) -> int:
        """More bytes than an undamaged file takes: every snapshot full, twice over for tables and waste."""
        return 2 * self.size * (1 + min(self.nb_snapshots, 1000)) + 64 * 1024**2

    @property
    def l1_entries_needed(self) -> int:
        """How many L1 entries the virtual size takes."""
        bytes_per_table = self.cluster_size // self.l2_entry_size * self.cluster_size
        return -(-self.size // bytes_per_table)


def recognise(source: Source) -> ImageFile | None:
    """The file as qcow2 (or version 1's `qcow`); None when the magic is not there."""
    if not source.head.startswith(b"QFI\xfb"):
        return None
    if source.head[4:8] == b"\0\0\0\1":
        return _version_1(source)
    header, damage = read_header(source)
    if header is None:
        return source.described("qcow2", damage=tuple(damage))
    hazards = tuple(_hazards(source, header))
    table = read_snapshots(source, header)
    features = list(_features(header))
    damage += [*_flagged(header), *table.damage]
    if not any(found.check == "header_invalid" for found in damage):
        from imgtool.disk.formats import qcow2_tables

        tables = qcow2_tables.check(source, header, table)
        damage += tables.damage
        if tables.compressed:
            features.append("compressed")
    return source.described(
        "qcow2",
        f"v{header.version}",
        virtual_size=header.size // 512 * 512,
        features=tuple(features),
        snapshots=table.snapshots,
        hazards=hazards,
        damage=tuple(damage),
    )


def read_header(source: Source) -> tuple[Header | None, list[Damage]]:
    """The header and what is wrong with it; no header where nothing in it can be relied on."""
    raw = parse(HEADER, source.head)
    version = int(raw.version) if raw else 0
    newer = parse(HEADER_V3, source.head[HEADER.sizeof() :]) if version == 3 else None
    if raw is None or (version == 3 and newer is None):
        return None, [
            Damage(
                "truncated",
                Text(
                    en=f"The file is cut short: {source.size} bytes are less than a qcow2 header.",
                    zh=f"文件不完整：仅有 {source.size} 字节，不足一个 qcow2 文件头。",
                ),
            )
        ]
    if version not in {2, 3}:
        return None, [header_invalid(Text(en=f"version {version} is not known", zh=f"版本号 {version} 未知"))]
    if not 9 <= raw.cluster_bits <= 21:
        return None, [
            header_invalid(
                Text(
                    en=f"clusters of 2^{raw.cluster_bits} bytes can't be",
                    zh=f"簇大小 2^{raw.cluster_bits} 字节不合法",
                )
            )
        ]
    length = int(newer.header_length) if newer else HEADER.sizeof()
    incompatible = int(newer.incompatible_features) if newer else 0
    extensions, fit = _extensions(source, length, int(raw.backing_file_offset) or 1 << raw.cluster_bits)
    bitmaps = parse(BITMAPS, extensions.get(BITMAP_DIRECTORY, b""))
    encryption = parse(ENCRYPTION_HEADER, extensions.get(ENCRYPTION, b""))
    header = Header(
        version=version,
        size=int(raw.size),
        cluster_bits=int(raw.cluster_bits),
        crypt_method=int(raw.crypt_method),
        l1_offset=int(raw.l1_table_offset),
        l1_size=int(raw.l1_size),
        refcount_table_offset=int(raw.refcount_table_offset),
        refcount_table_clusters=int(raw.refcount_table_clusters),
        refcount_bits=1 << min(int(newer.refcount_order), 7) if newer else 16,
        header_length=length,
        backing_offset=int(raw.backing_file_offset),
        backing_size=int(raw.backing_file_size),
        nb_snapshots=int(raw.nb_snapshots),
        snapshots_offset=int(raw.snapshots_offset),
        incompatible=incompatible,
        compatible=int(newer.compatible_features) if newer else 0,
        compression=_compression(source, length, incompatible),
        extensions_fit=fit and len(extensions.get(BACKING_FORMAT, b"")) <= MAX_BACKING_FORMAT,
        data_file=extensions.get(DATA_FILE_NAME, b""),
        bitmaps=(int(bitmaps.offset), int(bitmaps.size)) if bitmaps else (0, 0),
        encryption=(int(encryption.offset), int(encryption.length)) if encryption else (0, 0),
        feature_names=_feature_names(extensions.get(FEATURE_NAMES, b"")),
    )
    return header, list(_inconsistent(header))


def _compression(source: Source, header_length: int, incompatible: int) -> str:
    """By the byte behind the header's first 104; the feature bit is to be set for all but deflate."""
    code = 0
    if header_length > COMPRESSION_TYPE_OFFSET:
        code = int.from_bytes(source.head[COMPRESSION_TYPE_OFFSET : COMPRESSION_TYPE_OFFSET + 1], "big")
    announced = bool(incompatible & COMPRESSION_TYPE)
    if code > 1 or announced != bool(code):
        return f"type {code:02x}"
    return "zstd" if code else "deflate"


def _extensions(source: Source, offset: int, end: int) -> tuple[dict[int, bytes], bool]:
    """Header extensions by type, and whether each ends before `end`, without which QEMU opens no image.

    They lie in the first cluster, between the header and the backing file's name.
    """
    area = source.head if end <= len(source.head) else source.read(0, min(end, MAX_CLUSTER))
    found: dict[int, bytes] = {}
    while offset < end and (extension := parse(EXTENSION, area[offset : offset + 8])) is not None:
        offset += 8
        if extension.length > end - offset:
            return found, False
        if not extension.type:
            break
        found[int(extension.type)] = area[offset : offset + extension.length]
        offset += -(-extension.length // 8) * 8
    return found, True


def _feature_names(table: bytes) -> dict[int, str]:
    """The image's own names for its incompatible features, by bit."""
    entries = (table[start : start + 48] for start in range(0, min(len(table), 48 * 192), 48))
    return {
        entry[1]: escaped(entry[2:].rstrip(b"\0"), 46)
        for entry in entries
        if len(entry) == 48 and entry[0] == 0
    }


def _inconsistent(header: Header) -> Iterator[Damage]:
    """Fields that contradict each other or QEMU's limits: QEMU refuses to open the file."""

    def invalid(en: str, zh: str) -> Damage:
        return header_invalid(Text(en=en, zh=zh))

    if header.version == 3 and not 104 <= header.header_length <= header.cluster_size:
        yield invalid(
            f"a header of {header.header_length} bytes can't be", f"文件头长度 {header.header_length} 不合法"
        )
    if header.refcount_bits > 64:
        yield invalid("the width of the reference counts can't be", "引用计数位宽不合法")
    if header.l1_size * 8 > MAX_L1_BYTES:
        yield invalid(
            f"an L1 table of {header.l1_size} entries can't be", f"L1 表有 {header.l1_size} 项，不合法"
        )
    elif header.l1_size < header.l1_entries_needed:
        yield invalid(
            f"its L1 table of {header.l1_size} entries does not cover {header.size} bytes",
            f"L1 表仅有 {header.l1_size} 项，不能覆盖 {header.size} 字节",
        )
    if header.refcount_table_clusters * header.cluster_size > MAX_REFCOUNT_TABLE_BYTES:
        yield invalid("its refcount table is too large", "引用计数表过大")
    for en, zh, offset in (
        ("L1 table", "L1 表", header.l1_offset),
        ("refcount table", "引用计数表", header.refcount_table_offset),
        ("snapshot table", "快照表", header.snapshots_offset),
    ):
        if offset % header.cluster_size:
            yield invalid(
                f"its {en} at byte {offset} is not at the start of a cluster",
                f"{zh}（第 {offset} 字节）未按簇对齐",
            )
    if header.l1_size and not header.l1_offset:
        yield invalid("its L1 table is said to be at byte 0", "L1 表指向第 0 字节")
    if not (header.refcount_table_offset and header.refcount_table_clusters):
        yield invalid("it has no refcount table", "没有引用计数表")
    if header.nb_snapshots > MAX_SNAPSHOTS:
        yield invalid(f"{header.nb_snapshots} snapshots can't be", f"快照数 {header.nb_snapshots} 不合法")
    if header.crypt_method > 2:
        yield invalid(
            f"encryption method {header.crypt_method} is not known", f"加密方式 {header.crypt_method} 未知"
        )
    if header.backing_offset > header.cluster_size:
        yield invalid(
            f"a backing file name at byte {header.backing_offset} can't be",
            f"后备文件名位于第 {header.backing_offset} 字节，不合法",
        )
    elif not header.extensions_fit:
        yield invalid("its extensions are longer than their place", "文件头扩展超出其范围")
    if header.backing_offset and header.backing_size > MAX_BACKING_NAME:
        yield invalid(
            f"a backing file name of {header.backing_size} bytes can't be",
            f"后备文件名长度 {header.backing_size} 不合法",
        )
    if header.compression not in {"deflate", "zstd"}:
        yield invalid(f"compression {header.compression} is not known", f"压缩方式 {header.compression} 未知")


def _flagged(header: Header) -> Iterator[Damage]:
    """What the header itself says is wrong with the image, or that no reader knows."""
    if header.incompatible & CORRUPT:
        yield Damage(
            "corrupt_bit",
            Text(
                en="QEMU found the image's own tables inconsistent and marked it corrupt.",
                zh="QEMU 曾发现该镜像的元数据不一致，并将其标记为损坏（corrupt）。",
            ),
        )
    if header.incompatible & DIRTY:
        yield Damage(
            "dirty_bit",
            Text(
                en="The image was not closed properly (dirty bit): its reference counts may be wrong.",
                zh="镜像未正常关闭（dirty 标志）：其引用计数可能有误。",
            ),
        )
    unknown = header.incompatible & ~KNOWN_FEATURES
    if unknown:
        bits = [bit for bit in range(64) if unknown >> bit & 1]
        names = ", ".join(header.feature_names.get(bit) or f"bit {bit}" for bit in bits)
        yield Damage(
            "unknown_feature",
            Text(
                en=f"The image needs features that no QEMU knows: {names}.",
                zh=f"镜像依赖 QEMU 不支持的特性：{names}。",
            ),
        )


def _hazards(source: Source, header: Header) -> Iterator[Hazard]:
    if header.backing_offset and header.backing_size:
        name = source.read(header.backing_offset, min(header.backing_size, MAX_BACKING_NAME))
        yield Hazard("backing_file", escaped(name))
    if header.incompatible & EXTERNAL_DATA:
        yield Hazard("data_file", escaped(header.data_file[:MAX_BACKING_NAME]) or "(no name)")
    if header.crypt_method:
        method = {1: "AES", 2: "LUKS"}.get(header.crypt_method, f"method {header.crypt_method}")
        yield Hazard("encrypted", method)


def _features(header: Header) -> Iterator[str]:
    if header.version == 2:
        yield "compat=0.10"
    if header.compression == "zstd":
        yield "zstd"
    if header.incompatible & EXTENDED_L2:
        yield "extended_l2"
    if header.compatible & LAZY_REFCOUNTS:
        yield "lazy_refcounts"
    if header.bitmaps[0]:
        yield "bitmaps"
    if header.refcount_bits != 16:
        yield f"refcount_bits={header.refcount_bits}"
    if header.cluster_bits != 16:
        yield f"cluster_size={header.cluster_size}"


def read_snapshots(source: Source, header: Header) -> SnapshotTable:
    """The snapshot table; a bounded read of entries that say themselves how long they are."""
    snapshots: list[Snapshot] = []
    l1_tables: list[tuple[int, int]] = []
    offset = header.snapshots_offset
    limit = offset + MAX_SNAPSHOT_TABLE_BYTES
    window, window_start = b"", offset
    for number in range(min(header.nb_snapshots, MAX_SNAPSHOTS)):
        # One entry takes at most 40 + 1 KiB + 2 * 64 KiB; the window saves a read for each.
        in_window = window_start + len(window) - offset
        if in_window < 256 * 1024 and window_start + len(window) < source.size:
            window, window_start = source.read(offset, 1024 * 1024), offset
        entry = window[offset - window_start : offset - window_start + 40]
        raw = parse(SNAPSHOT, entry)
        if raw is None:
            part = Text(en="snapshot table", zh="快照表")
            broken_off = beyond_the_end(part, offset + 40, source.size, header.largest_whole_file)
            return SnapshotTable(tuple(snapshots), tuple(l1_tables), 0, (broken_off,))
        # Every snapshot has an ID: an entry without one is no entry.
        if not raw.id_size or raw.extra_size > MAX_SNAPSHOT_EXTRA or offset > limit:
            damage = Damage(
                "snapshot_table",
                Text(
                    en=f"The snapshot table ends at entry {number} of {header.nb_snapshots}.",
                    zh=f"快照表共 {header.nb_snapshots} 项，到第 {number} 项即中断。",
                ),
            )
            return SnapshotTable(tuple(snapshots), tuple(l1_tables), offset, (damage,))
        start = offset - window_start + 40
        extra = window[start : start + raw.extra_size]
        id_start = start + raw.extra_size
        name_start = id_start + raw.id_size
        large_state = int.from_bytes(extra[:8], "big") if len(extra) >= 8 else 0
        if number < SNAPSHOTS_NAMED:
            snapshots.append(
                Snapshot(
                    id=escaped(window[id_start : id_start + min(raw.id_size, 200)]),
                    name=escaped(window[name_start : name_start + min(raw.name_size, 800)]),
                    created=int(raw.created),
                    disk_size=int.from_bytes(extra[8:16], "big") if len(extra) >= 16 else None,
                    state_size=large_state or int(raw.vm_state_size),
                )
            )
        l1_tables.append((int(raw.l1_table_offset), int(raw.l1_size)))
        length = 40 + raw.extra_size + raw.id_size + raw.name_size
        offset += -(-length // 8) * 8
    return SnapshotTable(tuple(snapshots), tuple(l1_tables), offset)


def _version_1(source: Source) -> ImageFile:
    raw = parse(HEADER_V1, source.head)
    if raw is None:
        return source.described("qcow")
    hazards = []
    if raw.backing_file_offset and raw.backing_file_size:
        name = source.read(raw.backing_file_offset, min(raw.backing_file_size, MAX_BACKING_NAME))
        hazards.append(Hazard("backing_file", escaped(name)))
    if raw.crypt_method:
        hazards.append(Hazard("encrypted", "AES"))
    return source.described("qcow", virtual_size=int(raw.size), hazards=tuple(hazards))
