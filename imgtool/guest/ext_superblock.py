"""The superblock of ext2, ext3 and ext4, and which of their features can be read."""

from __future__ import annotations

from imgtool.disk.blocks import Blocks
from imgtool.guest.crc32c import crc32c
from imgtool.guest.filesystem import damaged, read_volume, unsupported
from imgtool.records import dataclass

ROOT_INODE = 2

# s_feature_incompat: what must be understood to read the filesystem
FILETYPE, RECOVER, META_BG, EXTENTS, BIT64 = 0x2, 0x4, 0x10, 0x40, 0x80
READABLE = FILETYPE | RECOVER | META_BG | EXTENTS | BIT64 | 0x100 | 0x200 | 0x400 | 0x2000 | 0x4000 | 0x8000
READABLE |= 0x10000 | 0x20000
NAMED = {0x1: "compression", 0x8: "an external journal device", 0x1000: "data in directory entries"}
CSUM_SEED = 0x2000
# s_feature_ro_compat
SPARSE_SUPER, METADATA_CSUM = 0x1, 0x400
# s_feature_compat
SPARSE_SUPER2 = 0x200


@dataclass(frozen=True)
class Superblock:
    """The fields of struct ext4_super_block that reading needs. Sizes in bytes unless named otherwise."""

    inodes: int
    blocks: int
    first_data_block: int
    block_size: int
    blocks_per_group: int
    inodes_per_group: int
    inode_size: int
    compatible: int
    incompatible: int
    read_only: int
    uuid: bytes
    label: str
    descriptor_size: int
    first_meta_group: int
    backup_groups: tuple[int, int]
    seed: int

    @property
    def checksummed(self) -> bool:
        """Whether the metadata carries CRC-32C sums."""
        return bool(self.read_only & METADATA_CSUM)


def read_superblock(blocks: Blocks) -> Superblock:
    """The primary superblock. Raises GuestReadFailed when damaged or of a format that is not understood."""
    raw = read_volume(blocks, 1024, 1024, "superblock")

    def u32(offset: int) -> int:
        return int.from_bytes(raw[offset : offset + 4], "little")

    def u16(offset: int) -> int:
        return int.from_bytes(raw[offset : offset + 2], "little")

    if u16(0x38) != 0xEF53:
        raise damaged("superblock", "its magic number is missing")
    dynamic = u32(0x4C) >= 1
    compatible, incompatible, read_only = (u32(0x5C), u32(0x60), u32(0x64)) if dynamic else (0, 0, 0)
    unknown = incompatible & ~READABLE
    if unknown:
        names = [name for bit, name in NAMED.items() if unknown & bit] or [
            f"incompatible features {unknown:#x}"
        ]
        raise unsupported("ext4", ", ".join(names))
    if read_only & METADATA_CSUM and crc32c(raw[:1020]) != u32(0x3FC):
        raise damaged("superblock", "its checksum is wrong")
    if u32(0x18) > 6:
        raise damaged("superblock", f"the block size is 2^{10 + u32(0x18)}")
    block_size = 1024 << u32(0x18)
    inode_size = u16(0x58) if dynamic else 128
    descriptor_size = u16(0xFE) if incompatible & BIT64 else 32
    uuid = raw[0x68:0x78]
    found = Superblock(
        inodes=u32(0x0),
        blocks=u32(0x4) | (u32(0x150) << 32 if incompatible & BIT64 else 0),
        first_data_block=u32(0x14),
        block_size=block_size,
        blocks_per_group=u32(0x20),
        inodes_per_group=u32(0x28),
        inode_size=inode_size,
        compatible=compatible,
        incompatible=incompatible,
        read_only=read_only,
        uuid=uuid,
        label=raw[0x78:0x88].split(b"\0")[0].decode("utf-8", "replace"),
        descriptor_size=descriptor_size,
        first_meta_group=u32(0x104),
        backup_groups=(u32(0x24C), u32(0x250)),
        seed=u32(0x270) if incompatible & CSUM_SEED else crc32c(uuid),
    )
    if (
        inode_size < 128
        or inode_size > block_size
        or inode_size & (inode_size - 1)
        or descriptor_size not in (32, 64, 128, 256, 512, 1024)
        or not 0 < found.inodes_per_group <= block_size * 8
        or found.blocks_per_group == 0
        or not found.first_data_block < found.blocks
        or found.inodes < ROOT_INODE
    ):
        raise damaged("superblock", "its sizes contradict each other")
    return found
