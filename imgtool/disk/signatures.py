"""What a volume holds, told from its signatures as blkid tells it, with the state its superblock gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from imgtool.disk.blocks import Blocks, ReadFailed
from imgtool.records import dataclass, field

HEAD = 72 * 1024  # reaches the superblocks of all but those that lie at the end
KIB = 1024


@dataclass(frozen=True)
class Signature:
    """type, uuid and label as `blkid -p` prints them; type "" when nothing known was found.

    details: the superblock's state, by type:
    ext2 ext3 ext4: state ("clean", "not clean", "errors"), needs_recovery, block_size, total_blocks,
    free_blocks, total_inodes, free_inodes, incompat (names of features), external_journal.
    xfs: version (4 or 5), external_journal, block_size, total_blocks, free_blocks, inodes, free_inodes,
    agcount, incompat (names), ...
    btrfs: devices (how many), device_number, device_uuid, named_devices (number: UUID of those that the
    superblock names), log_tree, total_bytes, used_bytes. vfat, ntfs, exfat: dirty. ntfs: mirror
    ($MFTMirr is as the $MFT). swap: hibernated.
    linux_raid_member: version, level, disks, name, data_start, data_size. crypto_LUKS: version.
    """

    type: str = ""
    uuid: str = ""
    label: str = ""
    details: dict[str, Any] = field(default_factory=dict)


Look = Callable[[Blocks, bytes], "Signature | None"]


def identify(blocks: Blocks) -> Signature:
    """Tell what is on a volume. Containers come before what they contain, as in blkid. Raises ReadFailed."""
    from imgtool.disk import superblocks

    head = blocks.read(0, min(HEAD, blocks.size))
    if len(head) < 512:
        return Signature()
    looks: tuple[Look, ...] = (
        _raid,
        _luks,
        _lvm,
        _bitlocker,
        superblocks.xfs,
        superblocks.ext,
        superblocks.btrfs,
        superblocks.ntfs,
        superblocks.exfat,
        superblocks.refs,
        superblocks.fat,
        superblocks.swap,
        superblocks.f2fs,
        superblocks.iso9660,
        superblocks.others,
        _zfs,
    )
    for look in looks:
        found = look(blocks, head)
        if found is not None:
            return found
    return Signature()


def dashed(data: bytes) -> str:
    """16 bytes as a UUID, "" when they are all zero."""
    text = data.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:32])) if any(data) else ""


def words(data: bytes, encoding: str = "utf-8") -> str:
    """A label: up to the first NUL, without the blanks that pad it."""
    return data.decode(encoding, "replace").split("\0")[0].strip()


def number(data: bytes, offset: int, length: int) -> int:
    """A little-endian number; 0 past the end of the data."""
    return int.from_bytes(data[offset : offset + length], "little")


def far(blocks: Blocks, offset: int, length: int) -> bytes:
    """Bytes that may not be there: empty when they can't be read."""
    if offset < 0 or offset + length > blocks.size:
        return b""
    try:
        return blocks.read(offset, length)
    except ReadFailed:
        return b""


RAID_MAGIC = (0xA92B4EFC).to_bytes(4, "little")


def _raid(blocks: Blocks, head: bytes) -> Signature | None:
    """Linux md (linux/raid/md_p.h): 1.1 at the start, 1.2 at 4 KiB, 1.0 and 0.90 near the end."""
    sectors = blocks.size // 512
    tail_start = max(((sectors & ~127) - 128) * 512, 0)  # of the last whole 64 KiB but one: 0.90
    at_end = (sectors - 16 & ~7) * 512  # 1.0
    places = [(0, "1.1", head[:256]), (4 * KIB, "1.2", head[4 * KIB : 4 * KIB + 256])]
    if not any(data.startswith(RAID_MAGIC) for _, _, data in places):
        tail = far(blocks, tail_start, blocks.size - tail_start) if sectors > 256 else b""
        places += [(at_end, "1.0", tail[at_end - tail_start :][:256])]
        if tail.startswith(RAID_MAGIC) and number(tail, 4, 4) == 0:
            return _old_raid(tail, tail_start)
    for where, version, data in places:
        if data.startswith(RAID_MAGIC) and number(data, 4, 4) == 1 and number(data, 144, 8) * 512 == where:
            label = words(data[32:64])
            details = {
                "version": version,
                "level": int.from_bytes(data[72:76], "little", signed=True),
                "disks": number(data, 92, 4),
                "name": label,
                "data_start": number(data, 128, 8) * 512,
                "data_size": number(data, 136, 8) * 512,
            }
            return Signature("linux_raid_member", dashed(data[16:32]), label, details)
    return None


def _old_raid(data: bytes, where: int) -> Signature:
    parts = [data[offset : offset + 4][::-1] for offset in (20, 52, 56, 60)]
    details = {
        "version": f"0.{number(data, 8, 4)}",
        "level": int.from_bytes(data[28:32], "little", signed=True),
        "disks": number(data, 40, 4),
        "name": str(number(data, 48, 4)),  # the minor number: /dev/mdN
        "data_start": 0,
        "data_size": where,
    }
    return Signature("linux_raid_member", dashed(b"".join(parts)), "", details)


def _luks(blocks: Blocks, head: bytes) -> Signature | None:
    """LUKS on-disk formats 1 and 2; the header only, whose fields both share."""
    if head[:6] != b"LUKS\xba\xbe":
        return None
    version = int.from_bytes(head[6:8], "big")
    label = words(head[24:72]) if version == 2 else ""
    uuid = words(head[168:208], "latin-1")
    uuid = uuid if re.fullmatch("[0-9A-Fa-f-]*", uuid) else ""
    return Signature("crypto_LUKS", uuid, label, {"version": version})


def _lvm(blocks: Blocks, head: bytes) -> Signature | None:
    """An LVM 2 label in one of the first four sectors."""
    for sector in range(4):
        label = head[sector * 512 : (sector + 1) * 512]
        if label[:8] == b"LABELONE" and label[24:32] == b"LVM2 001" and number(label, 8, 8) == sector:
            start = number(label, 20, 4)
            return Signature("LVM2_member", lvm_uuid(words(label[start : start + 32], "latin-1")))
    return None


def lvm_uuid(text: str) -> str:
    """32 characters as LVM writes an identifier: 6-4-4-4-4-4-6; "" when they are not one."""
    edges = (0, 6, 10, 14, 18, 22, 26, 32)
    if not re.fullmatch("[0-9A-Za-z]{32}", text):
        return ""
    return "-".join(text[start:end] for start, end in pairwise(edges))


TO_GO = bytes.fromhex("3bd66749292ed84a8399f6a339e3d001")
TO_GO_AT = 424


def _bitlocker(blocks: Blocks, head: bytes) -> Signature | None:
    """BitLocker; on removable media ("To Go") it hides behind the boot sector of a FAT32."""
    if head[3:11] == b"-FVE-FS-" or (head[3:11] == b"MSWIN4.1" and head[TO_GO_AT:][:16] == TO_GO):
        return Signature("BitLocker")
    return None


def _zfs(blocks: Blocks, head: bytes) -> Signature | None:
    """A ZFS label: an XDR list of names and values at 16 KiB, then a ring of uberblocks from 128 KiB."""
    if head[16 * KIB : 16 * KIB + 12] != bytes.fromhex("010100000000000000000001"):
        return None
    ring = far(blocks, 128 * KIB, 128 * KIB)
    magic = 0x00BAB10C
    both = (magic.to_bytes(8, "little"), magic.to_bytes(8, "big"))
    if not any(ring[offset : offset + 8] in both for offset in range(0, len(ring), KIB)):
        return None
    return Signature("zfs_member")
