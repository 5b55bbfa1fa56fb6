"""Disk formats that are named and refused: VHDX, VDI, QED, Parallels, WIM, and LUKS over a whole file.

Specifications: Microsoft's [MS-VHDX]; VirtualBox's VDICore.h; QEMU's docs/interop/qed_spec.rst; the LUKS
on-disk format. They are read only as far as their name, size and dangers go.
"""

from __future__ import annotations

import uuid

from construct import Array, Bytes, Const, Int16ub, Int16ul, Int32ul, Int64ul, Padding, Struct, this

from imgtool.disk.formats.image_file import Hazard, ImageFile, escaped
from imgtool.disk.formats.source import Source, parse

VDI_SIGNATURE = b"\x7f\x10\xda\xbe"
VDI_SIGNATURE_OFFSET = 64

VDI = Struct(
    Padding(VDI_SIGNATURE_OFFSET),
    "signature" / Const(VDI_SIGNATURE),
    "version" / Int32ul,
    "header_size" / Int32ul,
    "type" / Int32ul,
    Padding(4 + 256 + 7 * 4),
    "disk_size" / Int64ul,
    Padding(4 * 4 + 2 * 16),
    "parent_uuid" / Bytes(16),
)
VDI_TYPES = {1: "dynamic", 2: "fixed", 3: "undo", 4: "differencing"}
QED = Struct(
    "magic" / Const(b"QED\0"),
    "cluster_size" / Int32ul,
    "table_size" / Int32ul,
    "header_size" / Int32ul,
    "features" / Int64ul,
    Padding(8 + 8 + 8),
    "image_size" / Int64ul,
    "backing_offset" / Int32ul,
    "backing_size" / Int32ul,
)
QED_BACKING_FILE = 1
LUKS = Struct("magic" / Const(b"LUKS\xba\xbe"), "version" / Int16ub)

VHDX_REGION_TABLE_OFFSET = 192 * 1024
VHDX_REGIONS = Struct(
    "signature" / Const(b"regi"),
    "checksum" / Int32ul,
    "count" / Int32ul,
    Padding(4),
    "entries"
    / Array(
        lambda context: min(context.count, 2047),
        Struct("id" / Bytes(16), "offset" / Int64ul, "length" / Int32ul, "required" / Int32ul),
    ),
)
VHDX_METADATA = Struct(
    "signature" / Const(b"metadata"),
    Padding(2),
    "count" / Int16ul,
    Padding(20),
    "entries"
    / Array(
        this.count,
        Struct("id" / Bytes(16), "offset" / Int32ul, "length" / Int32ul, "flags" / Int32ul, Padding(4)),
    ),
)
VHDX_METADATA_REGION = uuid.UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E").bytes_le
VHDX_DISK_SIZE = uuid.UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8").bytes_le
VHDX_FILE_PARAMETERS = uuid.UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B").bytes_le
VHDX_HAS_PARENT = 2


def recognise(source: Source) -> ImageFile | None:
    """The file as one of these formats; None when it is none."""
    head = source.head
    if head.startswith(b"vhdxfile"):
        return _vhdx(source)
    if head.startswith((b"WithoutFreeSpace", b"WithouFreSpacExt")):
        return source.described("parallels")
    if head.startswith(b"MSWIM\0\0\0"):
        return source.described("wim")
    if (qed := parse(QED, head)) is not None:
        hazards: tuple[Hazard, ...] = ()
        if qed.features & QED_BACKING_FILE:
            name = source.read(qed.backing_offset, min(qed.backing_size, 1023))
            hazards = (Hazard("backing_file", escaped(name)),)
        return source.described("qed", virtual_size=int(qed.image_size), hazards=hazards)
    if (luks := parse(LUKS, head)) is not None and luks.version in {1, 2}:
        hazard = Hazard("encrypted", f"LUKS{luks.version}")
        return source.described("luks", f"LUKS{luks.version}", hazards=(hazard,))
    if (vdi := parse(VDI, head)) is not None and vdi.type in VDI_TYPES:
        hazards = (Hazard("differencing", "VDI"),) if any(vdi.parent_uuid) or vdi.type in {3, 4} else ()
        return source.described("vdi", VDI_TYPES[vdi.type], virtual_size=int(vdi.disk_size), hazards=hazards)
    return None


def _vhdx(source: Source) -> ImageFile:
    regions = parse(VHDX_REGIONS, source.read(VHDX_REGION_TABLE_OFFSET, 64 * 1024))
    start = (
        next((entry.offset for entry in regions.entries if entry.id == VHDX_METADATA_REGION), 0)
        if regions
        else 0
    )
    metadata = parse(VHDX_METADATA, source.read(start, 64 * 1024)) if start else None
    items = {entry.id: start + entry.offset for entry in metadata.entries} if metadata else {}
    size = source.read(items.get(VHDX_DISK_SIZE, source.size), 8)
    parameters = source.read(items.get(VHDX_FILE_PARAMETERS, source.size), 8)
    differencing = int.from_bytes(parameters[4:], "little") & VHDX_HAS_PARENT
    return source.described(
        "vhdx",
        virtual_size=int.from_bytes(size, "little") if len(size) == 8 else None,
        hazards=(Hazard("differencing", "VHDX"),) if differencing else (),
    )
