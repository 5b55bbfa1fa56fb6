"""VHD (QEMU: vpc): fixed, dynamic and differencing.

Specification: Microsoft's "Virtual Hard Disk Image Format". The size of the disk is the footer's
current size: QEMU takes it from the geometry instead when it does not know the creator, and then sees a
smaller disk.
"""

from __future__ import annotations

from collections.abc import Iterator

from construct import Array, Bytes, Int8ub, Int16ub, Int32ub, Int64ub, Struct

from imgtool.disk.formats.image_file import (
    Damage,
    Hazard,
    ImageFile,
    beyond_the_end,
    escaped,
    header_invalid,
)
from imgtool.disk.formats.source import TAIL_SIZE, Source, parse
from imgtool.records import dataclass
from imgtool.text import Text

SECTOR = 512
FOOTER = Struct(
    "cookie" / Bytes(8),
    "features" / Int32ub,
    "version" / Int32ub,
    "data_offset" / Int64ub,
    "timestamp" / Int32ub,
    "creator" / Bytes(4),
    "creator_version" / Int32ub,
    "creator_system" / Bytes(4),
    "original_size" / Int64ub,
    "current_size" / Int64ub,
    "cylinders" / Int16ub,
    "heads" / Int8ub,
    "sectors_per_track" / Int8ub,
    "type" / Int32ub,
    "checksum" / Int32ub,
    "uuid" / Bytes(16),
    "saved_state" / Int8ub,
)
DYNAMIC_HEADER = Struct(
    "cookie" / Bytes(8),
    "data_offset" / Int64ub,
    "table_offset" / Int64ub,
    "version" / Int32ub,
    "entries" / Int32ub,
    "block_size" / Int32ub,
    "checksum" / Int32ub,
    "parent_uuid" / Bytes(16),
    "parent_timestamp" / Int32ub,
    "reserved" / Int32ub,
    "parent_name" / Bytes(512),
    "parent_locators" / Array(8, Bytes(24)),
)
FOOTER_CHECKSUM, HEADER_CHECKSUM = 64, 36
COOKIE, DYNAMIC_COOKIE = b"conectix", b"cxsparse"
FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
VARIANTS = {FIXED: "fixed", DYNAMIC: "dynamic", DIFFERENCING: "differencing"}
UNUSED = 0xFFFFFFFF
MAX_SIZE = 2040 * 1024**3
MAX_TABLE_BYTES = 64 * 1024**2
# QEMU takes the current size of these creators' images; of all others the geometry (block/vpc.c).
SIZE_BY_CURRENT_SIZE = (b"win ", b"qem2", b"d2v ", b"tap\0", b"CTXS")
LARGEST_GEOMETRY = 65535 * 16 * 255


@dataclass(frozen=True)
class Footer:
    """A footer or its copy at the start. Sizes in bytes; geometry_size: by cylinders, heads and sectors."""

    raw: bytes
    type: int
    data_offset: int
    current_size: int
    geometry_size: int
    creator: bytes
    saved_state: bool
    checksum_right: bool


def recognise(source: Source) -> ImageFile | None:
    """The file as VHD; None when no footer of one is there."""
    copy = read_footer(source.head[:SECTOR]) if source.head.startswith(COOKIE) else None
    if copy is not None and copy.type != FIXED:
        return _dynamic(source, copy)
    footer, trailing = _footer_at_end(source)
    if footer is None:
        return None
    if footer.type in {DYNAMIC, DIFFERENCING}:
        return _dynamic(source, None)
    return _fixed(source, footer, trailing)


def read_footer(data: bytes) -> Footer | None:
    """A footer of 512 bytes, or of 511 as old Virtual PC wrote it; None when it is none at all."""
    raw = parse(FOOTER, data)
    if raw is None or raw.cookie != COOKIE:
        return None
    return Footer(
        raw=data,
        type=int(raw.type),
        data_offset=int(raw.data_offset),
        current_size=int(raw.current_size),
        geometry_size=raw.cylinders * raw.heads * raw.sectors_per_track * SECTOR,
        creator=bytes(raw.creator),
        saved_state=bool(raw.saved_state),
        checksum_right=raw.checksum == checksum(data[:SECTOR], FOOTER_CHECKSUM),
    )


def checksum(data: bytes, at: int) -> int:
    """The one's complement of the sum of all bytes but the checksum's own four."""
    return ~(sum(data) - sum(data[at : at + 4])) & 0xFFFFFFFF


def _footer_at_end(source: Source) -> tuple[Footer | None, int]:
    """The footer and how many bytes follow it. One that is not at the very end must prove itself."""
    for length in (SECTOR, SECTOR - 1):
        footer = read_footer(source.tail[-length:]) if len(source.tail) >= length else None
        if footer is not None and (footer.checksum_right or footer.type in VARIANTS):
            return footer, 0
    tail = source.tail
    at = tail.rfind(COOKIE)
    tried = 0
    while at >= 0 and tried < TAIL_SIZE // SECTOR:
        footer = read_footer(tail[at : at + SECTOR])
        position = source.size - len(tail) + at
        if footer is not None and footer.checksum_right and len(footer.raw) == SECTOR:
            fixed = footer.type == FIXED and footer.current_size == position
            # At the start of the file stands the copy, not the footer.
            if fixed or (footer.type in {DYNAMIC, DIFFERENCING} and position > 0):
                return footer, len(tail) - at - SECTOR
        at = tail.rfind(COOKIE, 0, at)
        tried += 1
    return None, 0


def _fixed(source: Source, footer: Footer, trailing: int) -> ImageFile:
    damage = list(_footer_damage(footer))
    data_size = source.size - len(footer.raw) - trailing
    if trailing:
        damage.append(_trailing(trailing))
    if footer.type not in VARIANTS:
        damage.append(_unknown_type(footer.type))
    elif data_size < footer.current_size:
        needs = footer.current_size + SECTOR
        damage.append(
            beyond_the_end(Text(en="disk", zh="磁盘数据"), needs, source.size, max(needs, MAX_SIZE))
        )
    return source.described(
        "vhd",
        VARIANTS.get(footer.type),
        virtual_size=footer.current_size,
        features=tuple(_features(footer, trailing)),
        damage=tuple(damage),
    )


def _dynamic(source: Source, copy: Footer | None) -> ImageFile:
    """A VHD with a block allocation table, by the footer at its end and the copy of it at its start."""
    footer, trailing = _footer_at_end(source)
    damage: list[Damage] = []
    if copy is None:
        damage.append(
            header_invalid(
                Text(
                    en="the copy of the footer at the start of the file is missing",
                    zh="文件开头缺少尾部信息（footer）的副本",
                )
            )
        )
    elif not copy.checksum_right:
        damage.append(_wrong_checksum(Text(en="footer's copy at the start", zh="文件开头的 footer 副本")))
    known = copy if copy is not None and (copy.checksum_right or footer is None) else footer
    assert known is not None  # noqa: S101 - one of them brought us here
    if footer is not None and not footer.checksum_right:
        damage.append(_wrong_checksum(Text(en="footer", zh="文件尾（footer）")))
    if trailing:
        damage.append(_trailing(trailing))
    header_data = source.read(known.data_offset, 1024)
    header = parse(DYNAMIC_HEADER, header_data)
    hazards: tuple[Hazard, ...] = ()
    if known.type == DIFFERENCING:
        name = header.parent_name.decode("utf-16-be", "replace").split("\0")[0] if header else ""
        hazards = (Hazard("differencing", escaped(name) or "(no name)"),)
    elif known.type != DYNAMIC:
        damage.append(_unknown_type(known.type))
    if known.saved_state:
        damage += _footer_damage(known)
    truncated = list(_blocks(source, known, header, header_data))
    if not truncated and footer is None:
        truncated = [
            Damage(
                "truncated",
                Text(
                    en="The file is cut short: the footer is missing from its end.",
                    zh="文件不完整：末尾缺少文件尾（footer）。",
                ),
            )
        ]
    return source.described(
        "vhd",
        VARIANTS.get(known.type),
        virtual_size=known.current_size,
        features=tuple(_features(known, trailing)),
        hazards=hazards,
        damage=tuple(damage + truncated),
    )


def _blocks(source: Source, footer: Footer, header: object, header_data: bytes) -> Iterator[Damage]:
    """At most one damage to the dynamic header, the block allocation table, or the blocks that it names."""
    if header is None:
        yield beyond_the_end(
            Text(en="dynamic header", zh="动态磁盘头"), footer.data_offset + 1024, source.size, MAX_SIZE
        )
        return
    fields = DYNAMIC_HEADER.parse(header_data)
    if fields.cookie != DYNAMIC_COOKIE:
        yield header_invalid(Text(en="the dynamic header is not there", zh="未找到动态磁盘头"))
        return
    if fields.checksum != checksum(header_data, HEADER_CHECKSUM):
        yield _wrong_checksum(Text(en="dynamic header", zh="动态磁盘头"))
        return
    block_size, entries = int(fields.block_size), int(fields.entries)
    if block_size < SECTOR or block_size & (block_size - 1):
        yield header_invalid(
            Text(en=f"blocks of {block_size} bytes can't be", zh=f"块大小 {block_size} 字节不合法")
        )
        return
    if entries * block_size < footer.current_size or entries * 4 > MAX_TABLE_BYTES:
        yield header_invalid(
            Text(
                en=f"{entries} blocks of {block_size} bytes do not fit a disk of {footer.current_size} bytes",
                zh=f"{entries} 个 {block_size} 字节的块与磁盘大小 {footer.current_size} 字节不符",
            )
        )
        return
    end = int(fields.table_offset) + entries * 4
    if end > source.size:
        yield beyond_the_end(Text(en="block allocation table", zh="块分配表"), end, source.size, 2 * MAX_SIZE)
        return
    last = _last_block(source, int(fields.table_offset), entries)
    if last is None:
        return
    bitmap = -(-block_size // SECTOR // 8 // SECTOR) * SECTOR
    end = last * SECTOR + bitmap + block_size
    if end > source.size:
        largest = 2 * entries * block_size + 64 * 1024**2
        yield beyond_the_end(Text(en="last data block", zh="末尾的数据块"), end, source.size, largest)


def _last_block(source: Source, offset: int, entries: int) -> int | None:
    """The highest sector in the block allocation table; None when no block is allocated."""
    last = -1
    for table in source.words_but(b"\xff", offset, entries, "I", "big"):
        last = max(last, max((sector for sector in table if sector != UNUSED), default=-1))
    return last if last >= 0 else None


def _features(footer: Footer, trailing: int) -> Iterator[str]:
    yield f"creator={escaped(footer.creator)}"
    if trailing:
        yield f"trailing_bytes={trailing}"
    if len(footer.raw) < SECTOR:
        yield "footer_511"
    sectors = footer.geometry_size // SECTOR
    by_geometry = footer.creator not in SIZE_BY_CURRENT_SIZE and sectors != LARGEST_GEOMETRY
    if by_geometry and footer.geometry_size != footer.current_size:
        yield f"geometry_size={footer.geometry_size}"


def _footer_damage(footer: Footer) -> Iterator[Damage]:
    if not footer.checksum_right:
        yield _wrong_checksum(Text(en="footer", zh="文件尾（footer）"))
    if footer.saved_state:
        yield Damage(
            "saved_state",
            Text(
                en="The virtual machine was saved, not shut down, when its disk was copied: what it held in "
                "memory is missing.",
                zh="复制磁盘时虚拟机处于保存状态而非关机，其内存中的数据未写入磁盘。",
            ),
            serious=False,
        )


def _wrong_checksum(part: Text) -> Damage:
    return Damage(
        "header_checksum",
        Text(en=f"The checksum of the {part.en} is wrong.", zh=f"{part.zh}的校验和错误。"),
    )


def _unknown_type(number: int) -> Damage:
    return header_invalid(Text(en=f"disk type {number} is not known", zh=f"磁盘类型 {number} 未知"))


def _trailing(count: int) -> Damage:
    return Damage(
        "trailing_bytes",
        Text(
            en=f"{count} bytes follow the footer, which must be the end of the file.",
            zh=f"文件尾（footer）之后还有 {count} 字节，而它必须位于文件末尾。",
        ),
    )
