"""Which partition Windows gives which drive letter: HKEY_LOCAL_MACHINE\\SYSTEM\\MountedDevices.

A value is `\\DosDevices\\X:` or `\\??\\Volume{guid}`. Its data: an MBR disk's signature (4 bytes, little
endian) and the partition's first byte (8 bytes); `DMIO:ID:` and the GUID of a GPT partition; or, for
removable and optical drives, the path of the device in UTF-16.
"""

from __future__ import annotations

import re
import struct
import uuid
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

from imgtool.guest.windows.registry import REG_BINARY, Hive

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.disk.partitions import Partition

GPT_PREFIX = b"DMIO:ID:"
MBR_DATA = struct.Struct("<IQ")
LONGEST_PATH = 1024
"""Bytes of a device's path; a real one has about 200."""
MOST_LETTERS = 26
_LETTER = re.compile(r"\\DosDevices\\([A-Z]):", re.IGNORECASE)

Kind = Literal["mbr", "gpt", "path", "unknown"]


@dataclass(frozen=True)
class MountedDevice:
    """What a letter stands for. signature: 8 hex digits; offset: bytes; partition_guid: lower case."""

    kind: Kind
    signature: str = ""
    offset: int = 0
    partition_guid: str = ""
    path: str = ""

    @property
    def words(self) -> str:
        """In one line, for evidence."""
        if self.kind == "mbr":
            return f"partition at byte {self.offset} of MBR disk {self.signature}"
        if self.kind == "gpt":
            return f"GPT partition {self.partition_guid}"
        return self.path or "nothing known"

    def partition_on(self, disk: Disk) -> Partition | None:
        """The partition of this disk that it names; None where it names none of it."""
        table = disk.table
        for partition in table.partitions:
            if self.kind == "mbr" and table.disk_id == self.signature and partition.start == self.offset:
                return None if partition.extended else partition
            if self.kind == "gpt" and table.kind == "gpt" and partition.uuid.lower() == self.partition_guid:
                return partition
        return None


def parse_mounted_device(data: bytes) -> MountedDevice:
    """`unknown` for bytes that are none of the three forms."""
    if len(data) == MBR_DATA.size:
        signature, offset = MBR_DATA.unpack(data)
        return MountedDevice("mbr", f"{signature:08x}", offset)
    if data.startswith(GPT_PREFIX) and len(data) == len(GPT_PREFIX) + 16:
        return MountedDevice("gpt", partition_guid=str(uuid.UUID(bytes_le=data[len(GPT_PREFIX) :])))
    if len(data) % 2 == 0 and len(data) <= LONGEST_PATH:
        path = data.decode("utf-16-le", "replace").rstrip("\0")
        if path.startswith(("\\??\\", "_??_")) and path.isprintable():
            return MountedDevice("path", path=path)
    return MountedDevice("unknown")


def read_drive_letters(hive: Hive) -> dict[str, MountedDevice]:
    """By upper-case letter, in their order; empty where Windows has not given any. Raises GuestReadFailed."""
    key = hive.key("MountedDevices")
    if key is None:
        return {}
    named = ((_LETTER.fullmatch(name), name) for name in key.values())
    found = {}
    for letter, name in islice(((match[1].upper(), name) for match, name in named if match), MOST_LETTERS):
        data = key.data(name) if key.type_of(name) == REG_BINARY else None
        found[letter] = MountedDevice("unknown") if data is None else parse_mounted_device(data)
    return dict(sorted(found.items()))
