"""The boot configuration data: a registry hive of objects, each with elements.

Sources: Microsoft's documentation of the BCD WMI provider (BcdObject types, BcdLibraryElementTypes,
BcdBootMgrElementTypes, BcdOSLoaderElementTypes) for the numbers; the layout of a device element as bootmgr
itself reads it: 16 bytes of options, type, flags, length, then for a partition 16 bytes that identify it, the
style of its disk, and what identifies that.
"""

from __future__ import annotations

import re
import struct
import uuid
from dataclasses import dataclass
from typing import Literal

from imgtool.guest.windows.registry import Hive, Key

BOOT_MANAGER = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}"
WINDOWS_LOADER = 0x10200003
RESUME_LOADER = 0x10200004
DEVICE, PATH, DESCRIPTION = "11000001", "12000002", "12000004"
OS_DEVICE, SYSTEM_ROOT = "21000001", "22000002"
DEFAULT_OBJECT, DISPLAY_ORDER, RESUME_OBJECT = "23000003", "24000001", "23000006"
TEST_SIGNING, NO_INTEGRITY_CHECKS, SAFE_BOOT = "16000049", "16000048", "25000080"
GUID = re.compile(r"\{[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}", re.IGNORECASE)

LONGEST_ELEMENT = 512
"""Characters of a path or a description."""
BOOT_DEVICE, PARTITION, LOCATE = 5, 6, 8


@dataclass(frozen=True)
class Device:
    """What a device element names.

    kind "boot": the volume that bootmgr came from; "locate": searched for by a file; "partition": style mbr
    with signature (8 hex digits) and offset (bytes), or gpt with two GUIDs; "other": a type of another
    number.
    """

    kind: Literal["boot", "partition", "locate", "other"]
    style: Literal["mbr", "gpt", ""] = ""
    signature: str = ""
    offset: int = 0
    partition_guid: str = ""
    disk_guid: str = ""
    type: int = 0

    @property
    def words(self) -> str:
        """In one line, for evidence."""
        if self.kind == "partition" and self.style == "mbr":
            return f"partition at byte {self.offset} of MBR disk {self.signature}"
        if self.kind == "partition":
            return f"partition {self.partition_guid} of GPT disk {self.disk_guid}"
        return {"boot": "boot", "locate": "locate"}.get(self.kind, f"a device of type {self.type}")


@dataclass(frozen=True)
class Loader:
    """An entry that starts Windows. path: winload.exe or winload.efi, as written."""

    id: str
    description: str
    path: str
    device: Device | None
    os_device: Device | None
    system_root: str
    test_signing: bool
    safe_boot: bool


@dataclass(frozen=True)
class BootConfiguration:
    """default: the id that bootmgr starts; "" where it names none. loaders: in the order of the menu."""

    default: str
    display_order: tuple[str, ...]
    loaders: tuple[Loader, ...]

    @property
    def default_loader(self) -> Loader | None:
        """What starts: the default, else the only one that is shown."""
        wanted = self.default or next(iter(self.display_order), "")
        return next((it for it in self.loaders if it.id == wanted.lower()), None)


def read_bcd(hive: Hive) -> BootConfiguration:
    """Raises GuestReadFailed."""
    objects = hive.key("Objects")
    manager = objects.key(BOOT_MANAGER) if objects is not None else None
    default = ""
    order: tuple[str, ...] = ()
    if manager is not None:
        default = _element(manager, DEFAULT_OBJECT).lower()
        key = manager.key(f"Elements\\{DISPLAY_ORDER}")
        order = tuple(it.lower() for it in (key.texts("Element") or ())) if key is not None else ()
    loaders = []
    for key in objects.keys() if objects is not None else ():
        description = key.key("Description")
        if description is not None and description.number("Type") == WINDOWS_LOADER:
            loaders.append(_loader(key))
    loaders.sort(key=lambda it: order.index(it.id) if it.id in order else len(order))
    return BootConfiguration(default if GUID.fullmatch(default) else "", order, tuple(loaders))


def _loader(key: Key) -> Loader:
    return Loader(
        id=key.name.lower(),
        description=_element(key, DESCRIPTION),
        path=_element(key, PATH),
        device=_device(key, DEVICE),
        os_device=_device(key, OS_DEVICE),
        system_root=_element(key, SYSTEM_ROOT),
        test_signing=_flag(key, TEST_SIGNING),
        safe_boot=key.key(f"Elements\\{SAFE_BOOT}") is not None,
    )


def _element(top: Key, number: str) -> str:
    key = top.key(f"Elements\\{number}")
    return (key.text("Element") or "")[:LONGEST_ELEMENT] if key is not None else ""


def _flag(top: Key, number: str) -> bool:
    key = top.key(f"Elements\\{number}")
    data = (key.data("Element") or b"") if key is not None else b""
    return any(data[:1])


def _device(top: Key, number: str) -> Device | None:
    key = top.key(f"Elements\\{number}")
    data = key.data("Element") if key is not None else None
    return None if data is None else parse_device(data)


def parse_device(data: bytes) -> Device | None:
    """None for bytes that are too short for what they say they are."""
    if len(data) < 32:
        return None
    (type_,) = struct.unpack_from("<I", data, 16)
    if type_ == BOOT_DEVICE:
        return Device("boot", type=type_)
    if type_ == LOCATE:
        return Device("locate", type=type_)
    if type_ != PARTITION:
        return Device("other", type=type_)
    if len(data) < 72:
        return None
    offset, _, _, style = struct.unpack_from("<QQII", data, 32)
    if style == 1:
        (signature,) = struct.unpack_from("<I", data, 56)
        return Device("partition", "mbr", f"{signature:08x}", offset, type=type_)
    if style == 0:
        partition = str(uuid.UUID(bytes_le=data[32:48]))
        return Device("partition", "gpt", "", 0, partition, str(uuid.UUID(bytes_le=data[56:72])), type=type_)
    return Device("other", type=type_)
