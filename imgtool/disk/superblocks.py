"""The superblocks of filesystems and swap: identity and state, nothing deeper."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

from imgtool.disk.blocks import Blocks
from imgtool.disk.signatures import KIB, Signature, dashed, far, number, words

EXT = KIB  # where its superblock lies
EXT_HAS_JOURNAL = 0x4
EXT_JOURNAL_DEVICE = 0x8
EXT_RECOVER = 0x4
EXT3_INCOMPAT = 0x2 | EXT_RECOVER | 0x10
EXT3_RO_COMPAT = 0x1 | 0x2 | 0x4
EXT_INCOMPAT_NAMES = {
    0x1: "compression",
    0x2: "filetype",
    0x4: "needs_recovery",
    0x8: "journal_dev",
    0x10: "meta_bg",
    0x40: "extent",
    0x80: "64bit",
    0x100: "mmp",
    0x200: "flex_bg",
    0x400: "ea_inode",
    0x1000: "dirdata",
    0x2000: "metadata_csum_seed",
    0x4000: "large_dir",
    0x8000: "inline_data",
    0x10000: "encrypt",
    0x20000: "casefold",
}
XFS_INCOMPAT_NAMES = {
    0x1: "ftype",
    0x2: "sparse",
    0x4: "meta_uuid",
    0x8: "bigtime",
    0x10: "needsrepair",
    0x20: "nrext64",
    0x40: "exchange",
    0x80: "parent",
    0x100: "metadir",
}


@cache
def _layouts() -> dict[str, Any]:
    """The structures, by name; construct is loaded when the first one is needed."""
    from construct import Bytes, Int16ub, Int16ul, Int32ub, Int32ul, Int64ub, Int64ul, Pointer, Struct

    def layout(**fields: tuple[int, Any]) -> Any:
        return Struct(*(name / Pointer(offset, kind) for name, (offset, kind) in fields.items()))

    return {
        "ext": layout(
            inodes=(EXT + 0, Int32ul),
            blocks=(EXT + 4, Int32ul),
            free_blocks=(EXT + 12, Int32ul),
            free_inodes=(EXT + 16, Int32ul),
            log_block_size=(EXT + 24, Int32ul),
            state=(EXT + 58, Int16ul),
            compat=(EXT + 92, Int32ul),
            incompat=(EXT + 96, Int32ul),
            ro_compat=(EXT + 100, Int32ul),
            uuid=(EXT + 104, Bytes(16)),
            label=(EXT + 120, Bytes(16)),
            journal_inode=(EXT + 0xE0, Int32ul),
            blocks_high=(EXT + 0x150, Int32ul),
            free_blocks_high=(EXT + 0x158, Int32ul),
        ),
        "xfs": layout(
            block_size=(4, Int32ub),
            blocks=(8, Int64ub),
            uuid=(32, Bytes(16)),
            log_start=(48, Int64ub),
            agblocks=(84, Int32ub),
            agcount=(88, Int32ub),
            version=(100, Int16ub),
            sector_size=(102, Int16ub),
            inode_size=(104, Int16ub),
            label=(108, Bytes(12)),
            inodes=(128, Int64ub),
            free_inodes=(136, Int64ub),
            free_blocks=(144, Int64ub),
            features2=(200, Int32ub),
            compat=(208, Int32ub),
            ro_compat=(212, Int32ub),
            incompat=(216, Int32ub),
            log_incompat=(220, Int32ub),
        ),
        "btrfs": layout(
            uuid=(0x20, Bytes(16)),
            log_root=(0x60, Int64ul),
            total_bytes=(0x70, Int64ul),
            used_bytes=(0x78, Int64ul),
            devices=(0x88, Int64ul),
            sector_size=(0x90, Int32ul),
            incompat=(0xBC, Int64ul),
            device_number=(0xC9, Int64ul),
            device_uuid=(0xC9 + 66, Bytes(16)),
            array_size=(0xA0, Int32ul),
            array=(0x32B, Bytes(2048)),
            label=(0x12B, Bytes(256)),
        ),
    }


def _names(bits: int, known: dict[int, str]) -> tuple[str, ...]:
    """The names of the bits that are set; an unknown one as its number."""
    each = (1 << place for place in range(bits.bit_length()) if bits >> place & 1)
    return tuple(known.get(bit, f"{bit:#x}") for bit in each)


def ext(blocks: Blocks, head: bytes) -> Signature | None:
    """ext2, ext3, ext4, told apart by features as blkid does (Linux fs/ext4/ext4.h)."""
    if head[EXT + 56 : EXT + 58] != b"\x53\xef" or len(head) < 2 * KIB:
        return None
    block = _layouts()["ext"].parse(head)
    if block.log_block_size > 6:
        return None
    if block.incompat & EXT_JOURNAL_DEVICE:
        kind = "jbd"
    elif block.incompat & ~EXT3_INCOMPAT or block.ro_compat & ~EXT3_RO_COMPAT:
        kind = "ext4"
    else:
        kind = "ext3" if block.compat & EXT_HAS_JOURNAL else "ext2"
    wide = 32 if block.incompat & 0x80 else 0
    high, free_high = (block.blocks_high, block.free_blocks_high) if wide else (0, 0)
    journal = bool(block.compat & EXT_HAS_JOURNAL)
    state = "errors" if block.state & 2 else "clean" if block.state & 1 else "not clean"
    details = {
        "state": state,
        "needs_recovery": bool(block.incompat & EXT_RECOVER),
        "journal": journal,
        "external_journal": journal and not block.journal_inode,
        "block_size": KIB << block.log_block_size,
        "total_blocks": block.blocks | high << 32,
        "free_blocks": block.free_blocks | free_high << 32,
        "total_inodes": block.inodes,
        "free_inodes": block.free_inodes,
        "incompat": _names(block.incompat, EXT_INCOMPAT_NAMES),
        "ro_compat": block.ro_compat,
    }
    return Signature(kind, dashed(block.uuid), words(block.label), details)


def xfs(blocks: Blocks, head: bytes) -> Signature | None:
    """XFS versions 4 and 5 (XFS Algorithms & Data Structures, 12 "Superblocks").

    The free counts are those of the last clean unmount or checkpoint.
    """
    if head[:4] != b"XFSB":
        return None
    block = _layouts()["xfs"].parse(head)
    version = block.version & 0xF
    if not (512 <= block.block_size <= 65536 and block.agcount):
        return None
    details = {
        "version": version,
        "block_size": block.block_size,
        "sector_size": block.sector_size,
        "inode_size": block.inode_size,
        "total_blocks": block.blocks,
        "free_blocks": block.free_blocks,
        "inodes": block.inodes,
        "free_inodes": block.free_inodes,
        "agcount": block.agcount,
        "external_journal": not block.log_start,
        "features2": block.features2,
        "compat": block.compat if version == 5 else 0,
        "ro_compat": block.ro_compat if version == 5 else 0,
        "incompat": _names(block.incompat, XFS_INCOMPAT_NAMES) if version == 5 else (),
        "log_incompat": block.log_incompat if version == 5 else 0,
    }
    return Signature("xfs", dashed(block.uuid), words(block.label), details)


def btrfs(blocks: Blocks, head: bytes) -> Signature | None:
    """btrfs: the first copy of its superblock, at 64 KiB."""
    data = head[64 * KIB :]
    if data[64:72] != b"_BHRfS_M" or len(data) < 4 * KIB:
        return None
    block = _layouts()["btrfs"].parse(data)
    details = {
        "devices": block.devices,
        "device_number": block.device_number,
        "device_uuid": dashed(block.device_uuid),
        "named_devices": _btrfs_devices(block.array[: block.array_size]),
        "log_tree": bool(block.log_root),
        "total_bytes": block.total_bytes,
        "used_bytes": block.used_bytes,
        "incompat": block.incompat,
    }
    return Signature("btrfs", dashed(block.uuid), words(block.label), details)


def _btrfs_devices(array: bytes) -> dict[int, str]:
    """Number and UUID of the devices that hold the chunk tree: some of the filesystem's, often all."""
    found = {}
    at = 17  # behind the key of the first chunk
    while at + 48 <= len(array):
        stripes = number(array, at + 44, 2)
        for place in range(at + 48, min(at + 48 + 32 * stripes, len(array) - 31), 32):
            found[number(array, place, 8)] = dashed(array[place + 16 : place + 32])
        at += 48 + 32 * stripes + 17
    return found


def ntfs(blocks: Blocks, head: bytes) -> Signature | None:
    """NTFS: the serial number from the boot sector, label and dirty flag from the file $Volume."""
    if head[3:11] != b"NTFS    ":
        return None
    sector, per_cluster = number(head, 11, 2), head[13]
    if sector not in (256, 512, 1024, 2048, 4096) or not per_cluster:
        return None
    cluster = sector * per_cluster if per_cluster <= 128 else sector << 256 - per_cluster
    size = int.from_bytes(head[64:65], "little", signed=True)
    record_size = size * cluster if size > 0 else 1 << -size
    record = b""
    if cluster <= 2 * KIB * KIB and 512 <= record_size <= 64 * KIB:
        record = far(blocks, number(head, 48, 8) * cluster + 3 * record_size, record_size)
    label, flags = _ntfs_volume(record)
    details = {} if flags is None else {"dirty": bool(flags & 1)}
    if record:
        table, mirror = (number(head, at, 8) * cluster for at in (48, 56))
        details["mirror"] = _same_records(blocks, table, mirror, record_size)
    return Signature("ntfs", f"{number(head, 72, 8):016X}", label, details)


def _same_records(blocks: Blocks, table: int, mirror: int, size: int) -> bool:
    """Whether $MFTMirr repeats the first four records of the $MFT, in what they use of their length."""
    one, other = far(blocks, table, 4 * size), far(blocks, mirror, 4 * size)
    if len(one) < 4 * size or len(other) < 4 * size:
        return False
    for at in range(0, 4 * size, size):
        used = min(number(one, at + 24, 4), size)
        if one[at : at + 4] != b"FILE" or one[at : at + used] != other[at : at + used]:
            return False
    return True


def _ntfs_volume(record: bytes) -> tuple[str, int | None]:
    """Label and flags out of the record of $Volume; None for flags when it cannot be read."""
    if record[:4] != b"FILE":
        return "", None
    whole = bytearray(record)
    fixups, count = number(record, 4, 2), number(record, 6, 2)
    for sector in range(1, min(count, len(record) // 512 + 1)):  # the ends of sectors are kept in the fixups
        at = fixups + 2 * sector
        if at + 2 <= len(record):
            whole[sector * 512 - 2 : sector * 512] = record[at : at + 2]
    data = bytes(whole)
    label, flags = "", None
    at = number(record, 20, 2)
    while at + 24 <= len(data) and (kind := number(data, at, 4)) != 0xFFFFFFFF:
        length, size, start = number(data, at + 4, 4), number(data, at + 16, 4), number(data, at + 20, 2)
        value = data[at + start : at + start + min(size, 1024)]
        if kind == 0x60:
            label = words(value, "utf-16-le")
        elif kind == 0x70 and len(value) >= 12:
            flags = number(value, 10, 2)
        if length < 24:
            break
        at += length
    return label, flags


def exfat(blocks: Blocks, head: bytes) -> Signature | None:
    """exFAT (Microsoft specification 3.1, 7.3): the label is an entry of the root directory."""
    if head[3:11] != b"EXFAT   ":
        return None
    serial = number(head, 100, 4)
    sector, cluster = head[108], head[108] + head[109]
    label = ""
    if 9 <= sector <= 12 and cluster <= 25:
        heap, root = number(head, 88, 4) << sector, number(head, 96, 4)
        folder = far(blocks, heap + (root - 2 << cluster), min(1 << cluster, 64 * KIB)) if root >= 2 else b""
        for at in range(0, len(folder), 32):
            if folder[at] == 0x83:
                label = folder[at + 2 : at + 2 + 2 * min(folder[at + 1], 11)].decode("utf-16-le", "replace")
                break
    dirty = bool(number(head, 106, 2) & 2)
    return Signature("exfat", f"{serial >> 16:04X}-{serial & 0xFFFF:04X}", label, {"dirty": dirty})


def refs(blocks: Blocks, head: bytes) -> Signature | None:
    """ReFS, by the name in its boot sector."""
    return Signature("ReFS") if head[3:11] == b"ReFS\0\0\0\0" else None


def fat(blocks: Blocks, head: bytes) -> Signature | None:
    """FAT12, 16 and 32 (Microsoft FAT specification). dirty: not unmounted, by Linux's mark or Windows'."""
    from imgtool.disk.mbr import boot_sector_of

    if boot_sector_of(head[:512]) != "vfat" or head[510:512] != b"\x55\xaa":
        return None
    sector, cluster = number(head, 11, 2), head[13] * number(head, 11, 2)
    reserved, tables = number(head, 14, 2), head[16]
    entries, small = number(head, 17, 2), number(head, 22, 2)
    wide = not entries and not small  # FAT32
    table_size = (number(head, 36, 4) if wide else small) * sector
    if not table_size or (not wide and not entries):
        return None
    extra = head[64:] if wide else head[36:]  # drive number, state, signature, serial, label
    serial, label = number(extra, 3, 4), words(extra[7:18], "latin-1")
    if extra[2] not in (0x28, 0x29):
        serial, label = 0, ""
    start = reserved * sector + tables * table_size
    first = number(head, 44, 4)
    folder = far(blocks, start + (first - 2) * cluster, cluster) if wide and first >= 2 else b""
    if not wide:
        folder = far(blocks, start, entries * 32)
    label = _fat_label(folder) or ("" if label == "NO NAME" else label)
    table = head[reserved * sector :][:8]
    count = (number(head, 19, 2) or number(head, 32, 4)) * sector // max(cluster, 1)
    mark = number(table, 4, 4) & 0x0C000000 == 0x0C000000 if wide else number(table, 2, 2) & 0xC000 == 0xC000
    clean = mark or len(table) < 8 or (not wide and count < 4085 + 16)  # FAT12 has no such mark
    uuid = f"{serial >> 16:04X}-{serial & 0xFFFF:04X}" if serial else ""
    return Signature("vfat", uuid, label, {"dirty": bool(extra[1] & 1) or not clean})


def _fat_label(folder: bytes) -> str:
    """The volume label among the entries of a root directory."""
    for at in range(0, len(folder), 32):
        name, attributes = folder[at : at + 11], folder[at + 11]
        if not name[0]:
            break
        if name[0] != 0xE5 and attributes & 0x3F != 0x0F and attributes & 0x18 == 0x08:
            return words(name, "latin-1")
    return ""


SWAP = (b"SWAPSPACE2", b"SWAP-SPACE")
HIBERNATED = (b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001")


def swap(blocks: Blocks, head: bytes) -> Signature | None:
    """Swap space, of any page size; one that holds a hibernated system is `swsuspend`, as blkid says."""
    for page in (4, 8, 16, 32, 64):
        mark = head[page * KIB - 10 : page * KIB]
        sleeping = mark.startswith(HIBERNATED)
        if mark in SWAP or sleeping:
            uuid, label = dashed(head[1036:1052]), words(head[1052:1068])
            kind = "swsuspend" if sleeping else "swap"
            return Signature(kind, uuid, label, {"hibernated": sleeping, "page_size": page * KIB})
    return None


def f2fs(blocks: Blocks, head: bytes) -> Signature | None:
    """F2FS: its first superblock."""
    if head[KIB : KIB + 4] != b"\x10\x20\xf5\xf2":
        return None
    return Signature(
        "f2fs", dashed(head[KIB + 108 : KIB + 124]), words(head[KIB + 124 : KIB + 1148], "utf-16-le")
    )


def iso9660(blocks: Blocks, head: bytes) -> Signature | None:
    """ISO 9660: blkid takes the time of the last change, else of the making, as UUID."""
    data = head[32 * KIB : 34 * KIB]
    if data[1:6] != b"CD001" or len(data) < 2 * KIB:
        return None
    stamps = (data[830:846], data[813:829])
    stamp = next((stamp.decode("latin-1") for stamp in stamps if stamp.isdigit() and stamp.strip(b"0")), "")
    edges = (0, 4, 6, 8, 10, 12, 14, 16)
    uuid = "-".join(stamp[a:b] for a, b in pairwise(edges)) if stamp else ""
    return Signature("iso9660", uuid, words(data[40:72]))


def others(blocks: Blocks, head: bytes) -> Signature | None:
    """What a system disk seldom holds and imgtool does not read, so that it is called by its name."""
    if head[64 * KIB + 52 :].startswith((b"ReIsErFs", b"ReIsEr2Fs", b"ReIsEr3Fs")):
        data = head[64 * KIB :]
        return Signature("reiserfs", dashed(data[84:100]), words(data[100:116]))
    if head[32 * KIB : 32 * KIB + 4] == b"JFS1":
        data = head[32 * KIB :]
        return Signature("jfs", dashed(data[136:152]), words(data[152:168]))
    if head[32:36] == b"NXSB":
        return Signature("apfs", dashed(head[72:88]))
    if head[KIB : KIB + 2] in (b"H+", b"HX"):
        return Signature("hfsplus")
    if head[:4] in (b"hsqs", b"sqsh"):
        return Signature("squashfs")
    if head[KIB : KIB + 4] == b"\xe2\xe1\xf5\xe0":
        return Signature("erofs", dashed(head[KIB + 48 : KIB + 64]), words(head[KIB + 64 : KIB + 80]))
    if head[4096 + 24 : 4096 + 40] == bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81"):
        return Signature("bcache", dashed(head[4096 + 40 : 4096 + 56]))
    return None
