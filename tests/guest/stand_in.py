"""A disk and a guest in memory for the boot loaders' and rules' tests: partitions by their facts alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from imgtool.disk.partitions import Partition, PartitionTable
from imgtool.disk.signatures import Signature
from imgtool.disk.volumes import Volume
from tests.guest.memory_tree import Link, MemoryTree

BOOT_UUID = "b007b007-1111-4222-8333-444455556666"
ROOT_UUID = "4007a007-aaaa-4bbb-8ccc-ddddeeeeffff"
ESP_UUID = "ABCD-1234"


class ZeroBlocks:
    """Bytes that are zero but for those given by offset."""

    def __init__(self, size: int = 64 << 20, parts: dict[int, bytes] | None = None) -> None:
        self.size = size
        self.parts = parts or {}

    def read(self, offset: int, length: int) -> bytes:
        data = bytearray(length)
        for start, part in self.parts.items():
            begin, end = max(start, offset), min(start + len(part), offset + length)
            if begin < end:
                data[begin - offset : end - offset] = part[begin - start : end - start]
        return bytes(data)


@dataclass
class MemoryDisk:
    table: PartitionTable
    volumes: tuple[Volume, ...]
    blocks: Any = field(default_factory=ZeroBlocks)
    groups: tuple[Any, ...] = ()


def volume(number: int, type_: str, uuid: str, label: str = "", part_type: str = "83") -> Volume:
    start = number << 20
    partition = Partition(number, start, 1 << 20, part_type, number == 1, "", f"11223344-{number:02x}", False)
    return Volume(
        f"partition {number}", "partition", ZeroBlocks(1 << 20), Signature(type_, uuid, label), partition
    )


def logical(name: str, type_: str, uuid: str) -> Volume:
    group, _, logical_name = name.partition("/")
    names = (f"/dev/mapper/{group}-{logical_name}", f"/dev/{group}/{logical_name}")
    return Volume(name, "lv", ZeroBlocks(1 << 20), Signature(type_, uuid, ""), None, names)


def disk(
    *volumes: Volume, kind: str = "mbr", boot_code: bytes = b"", blocks: ZeroBlocks | None = None
) -> MemoryDisk:
    partitions = tuple(it.partition for it in volumes if it.partition is not None)
    code = boot_code.ljust(440, b"\0")
    table = PartitionTable(kind, 512, partitions, (), False, "11223344", any(code), code)
    return MemoryDisk(table, volumes, blocks or ZeroBlocks())


ROOT = volume(1, "ext4", ROOT_UUID, "cloudimg-rootfs")
BOOT = volume(2, "xfs", BOOT_UUID)
ESP = volume(3, "vfat", ESP_UUID, part_type="c12a7328-f81f-11d2-ba4b-00a0c93ec93b")


def guest_tree(
    files: dict[str, bytes | str | Link], *, boot: Volume | None = None, esp: Volume | None = None
) -> MemoryTree:
    """A tree on ROOT; with /boot and /boot/efi on volumes of their own where they are given."""
    mounts: dict[str, Any] = {"/": ROOT}
    if boot is not None:
        mounts["/boot"] = boot
    if esp is not None:
        mounts["/boot/efi"] = esp
    return MemoryTree(files, mounts)
