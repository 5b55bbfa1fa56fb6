"""VMDK: sparse files (monolithicSparse, streamOptimized, pieces of a split disk) and ESX's delta extents.

Specification: VMware's "Virtual Disk Format 5.0"; for seSparse, QEMU's block/vmdk.c. Text descriptors, alone
or embedded, are read in vmdk_descriptor. What a descriptor names is a danger (a name can be any file of the
host), so names are taken apart there before anything opens them.
"""

from __future__ import annotations

from collections.abc import Iterator

from construct import Bytes, Int8ul, Int16ul, Int32ul, Int64ul, Struct

from imgtool.disk.formats import vmdk_descriptor
from imgtool.disk.formats.image_file import Damage, Hazard, ImageFile, beyond_the_end, header_invalid
from imgtool.disk.formats.source import Source, parse
from imgtool.disk.formats.vmdk_descriptor import SECTOR, Descriptor
from imgtool.records import dataclass
from imgtool.text import Text

HEADER = Struct(
    "magic" / Bytes(4),
    "version" / Int32ul,
    "flags" / Int32ul,
    "capacity" / Int64ul,
    "grain_size" / Int64ul,
    "descriptor_offset" / Int64ul,
    "descriptor_size" / Int64ul,
    "entries_per_table" / Int32ul,
    "redundant_directory_offset" / Int64ul,
    "directory_offset" / Int64ul,
    "overhead" / Int64ul,
    "unclean_shutdown" / Int8ul,
    "newlines" / Bytes(4),
    "compression" / Int16ul,
)
MARKER = Struct("value" / Int64ul, "size" / Int32ul, "type" / Int32ul)
COWD_HEADER = Struct("magic" / Bytes(4), "version" / Int32ul, "flags" / Int32ul, "sectors" / Int32ul)
SESPARSE_HEADER = Struct("magic" / Int64ul, "version" / Int64ul, "capacity" / Int64ul)
SESPARSE_MAGIC = b"\xbe\xba\xfe\xca\0\0\0\0"
SESPARSE_VERSION = 0x0000000200000001

NEWLINE_TEST, REDUNDANT_DIRECTORY, ZERO_GRAINS, COMPRESSED, MARKERS = 1, 2, 4, 1 << 16, 1 << 17
NEWLINES = b"\n \r\n"
DIRECTORY_AT_END = 0xFFFFFFFFFFFFFFFF
FOOTER_MARKER, END_OF_STREAM = 3, 0
FOOTER_SIZE = 3 * SECTOR
# QEMU refuses what exceeds these (block/vmdk.c).
MAX_GRAIN_SECTORS = 0x200000
MAX_ENTRIES_PER_TABLE = 512
MAX_DIRECTORY_BYTES = 32 * 1024**2
# The grain tables of a 1 TiB disk; of a larger one, those that come first in its directory are read. A small
# table counts like a large one: it is the reads that take time.
MAX_TABLE_BYTES = 64 * 1024**2
LARGEST_TABLE = 4 * MAX_ENTRIES_PER_TABLE


@dataclass(frozen=True)
class Header:
    """A hosted sparse extent's header. Offsets and sizes in bytes."""

    version: int
    flags: int
    capacity: int
    grain_size: int
    descriptor_offset: int
    descriptor_size: int
    entries_per_table: int
    redundant_directory: int | None
    directory: int | None
    overhead: int
    unclean: bool
    newlines: bytes
    compressed: bool

    @property
    def tables(self) -> int:
        """How many grain tables the capacity takes."""
        return -(-self.capacity // max(self.grain_size * self.entries_per_table, 1))


def recognise(source: Source) -> ImageFile | None:
    """The file as VMDK; None when neither a sparse header nor a descriptor is there."""
    head = source.head
    if head.startswith(b"KDMV"):
        return _sparse(source)
    if head.startswith(b"COWD"):
        return _cowd(source)
    if head.startswith(SESPARSE_MAGIC):
        return _sesparse(source)
    if vmdk_descriptor.is_descriptor(head):
        return vmdk_descriptor.describe(source)
    return None


def read_header(data: bytes) -> Header | None:
    """A sparse header at the start of `data`; None when it is too short or another thing."""
    raw = parse(HEADER, data)
    if raw is None or raw.magic != b"KDMV":
        return None
    at_end = raw.directory_offset == DIRECTORY_AT_END
    redundant = raw.flags & REDUNDANT_DIRECTORY
    return Header(
        version=int(raw.version),
        flags=int(raw.flags),
        capacity=int(raw.capacity) * SECTOR,
        grain_size=int(raw.grain_size) * SECTOR,
        descriptor_offset=int(raw.descriptor_offset) * SECTOR % (1 << 64),  # as QEMU's 64 bits have it
        descriptor_size=int(raw.descriptor_size) * SECTOR,
        entries_per_table=int(raw.entries_per_table),
        redundant_directory=int(raw.redundant_directory_offset) * SECTOR if redundant else None,
        directory=None if at_end else int(raw.directory_offset) * SECTOR,
        overhead=int(raw.overhead) * SECTOR,
        unclean=bool(raw.unclean_shutdown),
        newlines=bytes(raw.newlines),
        compressed=bool(raw.flags & COMPRESSED) or raw.compression == 1,
    )


def _sparse(source: Source) -> ImageFile:
    header = read_header(source.head)
    if header is None:
        en = f"The file is cut short: {source.size} bytes are less than a VMDK header."
        zh = f"文件不完整：仅有 {source.size} 字节，不足一个 VMDK 文件头。"
        return source.described("vmdk", damage=(Damage("truncated", Text(en=en, zh=zh)),))
    descriptor = _embedded(source, header)
    if header.capacity == 0 and descriptor is not None:
        # QEMU then takes the embedded descriptor for the disk, extents and all.
        return vmdk_descriptor.describe(source, descriptor)
    damage: list[Damage] = []
    features = [f"version={header.version}"]
    if header.compressed:
        features.append("compressed")
    if header.flags & MARKERS:
        features.append("markers")
    if descriptor is None:
        features.append("no_descriptor")
    effective: Header | None = header
    if header.directory is None:
        effective, lost = _footer(source)
        damage += lost
    damage += _flagged(header)
    if effective is not None and not any(found.check == "header_invalid" for found in damage):
        damage += list(_inconsistent(effective)) or list(_tables(source, effective))
    hazards: tuple[Hazard, ...] = ()
    if descriptor is not None:
        hazards = tuple(vmdk_descriptor.embedded_hazards(descriptor))
        damage += _capacity_differs(header, descriptor)
    return source.described(
        "vmdk",
        _variant(header, descriptor),
        virtual_size=(effective or header).capacity,
        features=tuple(features),
        hazards=hazards,
        damage=tuple(damage),
    )


def _embedded(source: Source, header: Header) -> Descriptor | None:
    if not header.descriptor_offset:
        return None
    # The size that the header gives would hide a part that QEMU still reads: it goes by its own limit.
    text = source.read(header.descriptor_offset, vmdk_descriptor.MAX_SIZE)
    if header.capacity:  # then it is only asked for a parent, in 20 sectors; behind it lies data
        text = text[: max(header.descriptor_size or len(text), 20 * SECTOR)]
    return vmdk_descriptor.read(text) if text.strip(b"\0") else None


def _variant(header: Header, descriptor: Descriptor | None) -> str:
    if descriptor is not None and descriptor.create_type:
        return descriptor.create_type
    if header.compressed and header.flags & MARKERS:
        return "streamOptimized"
    return "monolithicSparse" if descriptor is not None else "sparse extent"


def _footer(source: Source) -> tuple[Header | None, list[Damage]]:
    """The header at the end of a stream, which has the place of the grain directory."""
    data = source.read(source.size - FOOTER_SIZE, FOOTER_SIZE)
    before, footer = parse(MARKER, data), read_header(data[SECTOR:])
    after = parse(MARKER, data[2 * SECTOR :])
    whole = (
        before is not None
        and footer is not None
        and after is not None
        and (before.size, before.type) == (0, FOOTER_MARKER)
        and (after.value, after.size, after.type) == (0, 0, END_OF_STREAM)
        and footer.directory is not None
    )
    if whole:
        return footer, []
    return None, [
        Damage(
            "truncated",
            Text(
                en="The file is cut short: the footer and end-of-stream marker of a streamOptimized VMDK are "
                "missing from its end.",
                zh="文件不完整：末尾缺少 streamOptimized VMDK 的尾部（footer）和流结束标记。",
            ),
        )
    ]


def _flagged(header: Header) -> Iterator[Damage]:
    if header.unclean:
        yield Damage(
            "unclean_shutdown",
            Text(
                en="The disk was not closed properly: it was copied while a virtual machine used it, or that "
                "machine crashed.",
                zh="磁盘未正常关闭：复制时虚拟机仍在使用，或虚拟机曾异常退出。",
            ),
            serious=False,
        )
    if header.flags & NEWLINE_TEST and header.newlines != NEWLINES:
        yield header_invalid(
            Text(
                en="its line-end test bytes were changed, as a transfer in text mode (FTP ASCII) does",
                zh="换行检测字节已被改变，通常由文本模式（FTP ASCII）传输造成",
            )
        )


def _inconsistent(header: Header) -> Iterator[Damage]:
    if not 1 <= header.version <= 3:
        yield header_invalid(
            Text(en=f"version {header.version} is not known", zh=f"版本号 {header.version} 未知")
        )
    if not 0 < header.grain_size <= MAX_GRAIN_SECTORS * SECTOR:
        yield header_invalid(
            Text(
                en=f"grains of {header.grain_size} bytes can't be",
                zh=f"grain 大小 {header.grain_size} 字节不合法",
            )
        )
    elif not 0 < header.entries_per_table <= MAX_ENTRIES_PER_TABLE:
        yield header_invalid(
            Text(
                en=f"grain tables of {header.entries_per_table} entries can't be",
                zh=f"grain 表有 {header.entries_per_table} 项，不合法",
            )
        )
    elif header.tables * 4 > MAX_DIRECTORY_BYTES:
        yield header_invalid(
            Text(
                en=f"a capacity of {header.capacity} bytes can't be",
                zh=f"容量 {header.capacity} 字节不合法",
            )
        )


def largest_whole_file(header: Header) -> int:
    """More bytes than an undamaged extent takes, every grain stored."""
    return 2 * header.capacity + 64 * 1024**2


def _tables(source: Source, header: Header) -> Iterator[Damage]:
    """At most one damage: the first part that the file does not hold."""
    largest = largest_whole_file(header)
    needed = [(Text(en="metadata", zh="元数据"), header.overhead)]
    directories = [offset for offset in (header.directory, header.redundant_directory) if offset is not None]
    needed += [
        (Text(en="grain directory", zh="grain 目录"), offset + header.tables * 4) for offset in directories
    ]
    for part, end in needed:
        if end > source.size:
            yield beyond_the_end(part, end, source.size, largest)
            return
    if header.directory is None:
        return
    last_grain = 0
    budget = MAX_TABLE_BYTES
    table_size = header.entries_per_table * 4
    for offset, length in _runs(source, header, table_size):
        if offset + length > source.size:
            yield beyond_the_end(Text(en="grain table", zh="grain 表"), offset + length, source.size, largest)
            return
        budget -= max(length, LARGEST_TABLE)
        if budget < 0:
            break
        for table in source.words_but(b"\0", offset, length // 4, "I", "little"):
            highest = max(table)
            last_grain = max(last_grain, highest)
    start = last_grain * SECTOR
    end = start + _stored_size(source, header, start)
    if last_grain > 1 and end > source.size:
        yield beyond_the_end(Text(en="last data grain", zh="末尾的数据 grain"), end, source.size, largest)


def _runs(source: Source, header: Header, table_size: int) -> Iterator[tuple[int, int]]:
    """The grain tables as (offset, length), neighbours joined: most writers put them one after the other."""
    start = end = 0
    for chunk in source.words(header.directory or 0, header.tables, "I", "little"):
        for sector in chunk:
            offset = sector * SECTOR
            if not sector:
                continue
            if offset == end:
                end += table_size
                continue
            if end:
                yield start, end - start
            start, end = offset, offset + table_size
    if end:
        yield start, end - start


def _stored_size(source: Source, header: Header, offset: int) -> int:
    """How many bytes the grain at `offset` surely takes: QEMU may leave the last plain one partly empty."""
    if header.compressed and header.flags & MARKERS:
        marker = parse(MARKER, source.read(offset, 16))
        return 12 + min(int(marker.size), 2 * header.grain_size) if marker else 16
    return 1


def _capacity_differs(header: Header, descriptor: Descriptor) -> list[Damage]:
    """A descriptor that promises more than the extent holds: something is missing."""
    if len(descriptor.extents) != 1 or descriptor.capacity <= header.capacity:
        return []
    return [
        Damage(
            "capacity_differs",
            Text(
                en=f"The descriptor promises {descriptor.capacity} bytes, the header {header.capacity}.",
                zh=f"描述文件声明容量 {descriptor.capacity} 字节，而文件头为 {header.capacity} 字节。",
            ),
        )
    ]


def _cowd(source: Source) -> ImageFile | None:
    """ESX's sparse extent of version 3: it holds what changed since a snapshot (vmfsSparse)."""
    header = parse(COWD_HEADER, source.head)
    if header is None or header.version != 1:
        return None
    hazard = Hazard("differencing", "vmfsSparse")
    return source.described(
        "vmdk", "vmfsSparse", virtual_size=int(header.sectors) * SECTOR, hazards=(hazard,)
    )


def _sesparse(source: Source) -> ImageFile | None:
    """ESX's sparse extent of VMFS 6: it holds what changed since a snapshot (seSparse)."""
    header = parse(SESPARSE_HEADER, source.head)
    if header is None or header.version != SESPARSE_VERSION:
        return None
    hazard = Hazard("differencing", "seSparse")
    return source.described("vmdk", "seSparse", virtual_size=int(header.capacity) * SECTOR, hazards=(hazard,))
