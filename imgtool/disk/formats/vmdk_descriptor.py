"""The text part of a VMDK: which files hold the disk, and which disk it is a difference to.

A name in it can be any file of the host. Only a plain name that carries the descriptor's own base name and is
a regular file beside it (disk.vmdk: disk-flat.vmdk, disk-s001.vmdk) belongs to the image; everything else
is "elsewhere" and is never opened.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from imgtool.disk.formats.image_file import Damage, Hazard, ImageFile, escaped
from imgtool.disk.formats.source import Source
from imgtool.errors import CannotRead
from imgtool.records import dataclass
from imgtool.text import Text

SECTOR = 512
MAX_SIZE = 1024 * 1024 - 1  # QEMU reads no more of it either
MAX_EXTENTS = 4096
NO_PARENT = "ffffffff"
SPARSE_TYPES = {"SPARSE", "VMFSSPARSE", "SESPARSE"}
DEVICE_TYPES = {"VMFSRDM", "VMFSRAW"}

LARGEST_NUMBER = (1 << 63) - 1
# QEMU reads an extent with sscanf: a line end is as good as a blank, a number may have a sign and any length
# (too large a one is the largest there is), and nothing need part it from the type. What QEMU takes for an
# extent must never escape this.
_EXTENT = re.compile(
    rb'^[^\S\n]*([A-Z]+)\s+(\+?\d+)\s*([A-Z][A-Z0-9]*)(?:\s*"([^"\r\n]*)"(?:\s*(\+?\d+))?)?', re.M | re.I
)
_SETTING = re.compile(rb'^[^\S\n]*([\w.]+)[^\S\n]*=[^\S\n]*"?([^"\r\n]*)', re.M)


_Looked = tuple[Path, os.stat_result] | Hazard | Damage


@dataclass(frozen=True)
class Extent:
    """One line of the extent description. size, offset: bytes (offset: into the file, for flat extents)."""

    access: str
    size: int
    type: str
    name: bytes
    offset: int


@dataclass(frozen=True)
class Descriptor:
    """A descriptor. parent: what it names as its parent, or a parent's content ID; b"" for none."""

    create_type: str
    extents: tuple[Extent, ...]
    parent: bytes

    @property
    def capacity(self) -> int:
        """Bytes of the disk."""
        return sum(extent.size for extent in self.extents)


def is_descriptor(head: bytes) -> bool:
    """Whether text at the start of a file is a descriptor, as VMware and QEMU know it."""
    if head.startswith(b"# Disk DescriptorFile"):
        return True
    said = re.sub(rb"\A(?:#[^\n]*\n|\s+)*", b"", head[:4096])
    return re.match(rb"version=[123]\s", said) is not None and b"CID=" in head[:4096]


def read(text: bytes) -> Descriptor:
    """A descriptor from its bytes (at most MAX_SIZE of them are looked at)."""
    text = text[:MAX_SIZE].replace(b"\0", b"\n")
    settings: dict[str, bytes] = {}
    for found in _SETTING.finditer(text):
        settings.setdefault(found[1].decode().lower(), found[2].strip())
    extents = tuple(
        Extent(
            access=found[1].decode().upper(),
            size=_number(found[2]) * SECTOR,
            type=found[3].decode().upper(),
            name=found[4] or b"",
            offset=_number(found[5] or b"0") * SECTOR,
        )
        for found, _ in zip(_EXTENT.finditer(text), range(MAX_EXTENTS + 1), strict=False)
    )
    parent = b""
    # QEMU looks for this word anywhere in the text.
    hint = re.search(rb'parentFileNameHint[^\S\n]*=?[^\S\n]*"?([^"\r\n]*)', text, re.I)
    content_id = settings.get("parentcid", NO_PARENT.encode()).decode("ascii", "replace").lower()
    if hint is not None:
        parent = hint[1] or b"(no name)"
    elif content_id.rjust(8, "0") != NO_PARENT:
        parent = b"parentCID=" + content_id.encode()
    return Descriptor(escaped(settings.get("createtype", b""), 40), extents, parent)


def _number(digits: bytes) -> int:
    significant = digits.lstrip(b"+0") or b"0"
    return min(int(significant[:20]), LARGEST_NUMBER)


def embedded_hazards(descriptor: Descriptor) -> Iterator[Hazard]:
    """Dangers in the descriptor inside a sparse file, whose one extent is that file itself.

    Its name is not compared: a file that was renamed keeps the old one inside, and no reader looks at it.
    """
    if descriptor.parent:
        yield Hazard("differencing", escaped(descriptor.parent))
    named = [extent for extent in descriptor.extents if extent.name]
    if len(named) > 1:
        yield Hazard("extent_elsewhere", ", ".join(escaped(extent.name, 40) for extent in named[:5]))
    elif named and not _is_plain(named[0].name):
        yield Hazard("extent_elsewhere", escaped(named[0].name))


def describe(source: Source, descriptor: Descriptor | None = None) -> ImageFile:
    """A disk whose data is in other files. Those beside it that are its own are looked at, never followed."""
    if descriptor is None:
        descriptor = read(source.read(0, MAX_SIZE))
    hazards: list[Hazard] = []
    damage: list[Damage] = []
    if descriptor.parent:
        hazards.append(Hazard("differencing", escaped(descriptor.parent)))
    other_files: dict[Path, os.stat_result] = {}
    # A sparse file holds one extent only: it is read once, however often it is named.
    named = {
        (extent.name if extent.type in SPARSE_TYPES else extent): extent
        for extent in descriptor.extents[:MAX_EXTENTS]
        if extent.name or extent.type != "ZERO"
    }
    for looked_at in [_look_at(source.path, extent) for extent in named.values()]:
        if isinstance(looked_at, Hazard):
            if len(hazards) < 100:
                hazards.append(looked_at)
        elif isinstance(looked_at, Damage):
            if len(damage) < 100:
                damage.append(looked_at)
        else:
            other_files[looked_at[0]] = looked_at[1]
    if len(descriptor.extents) > MAX_EXTENTS:  # those after them were not looked at
        hazards.append(Hazard("extent_elsewhere", f"(more than {MAX_EXTENTS} extents)"))
    if not descriptor.extents:
        damage.append(
            Damage(
                "header_invalid",
                Text(
                    en="The descriptor is damaged: it names no files that hold the disk.",
                    zh="描述文件已损坏：没有任何数据文件。",
                ),
            )
        )
    return source.described(
        "vmdk",
        descriptor.create_type or None,
        virtual_size=descriptor.capacity,
        hazards=tuple(hazards),
        damage=tuple(damage),
        other_files=tuple(other_files),
        file_size=source.size + sum(status.st_size for status in other_files.values()),
        allocated=source.allocated + sum(status.st_blocks * 512 for status in other_files.values()),
    )


def _is_plain(name: bytes) -> bool:
    """A name without a folder, a device, a protocol ("nbd:", "json:") or anything unprintable."""
    return not (set(b"/\\:") & set(name)) and name not in {b"", b".", b".."} and min(name) >= 32


def _is_own(name: bytes, descriptor: Path) -> bool:
    """Whether the name is what VMware and QEMU make of the descriptor's own for the files of its data."""
    base, suffix = os.fsencode(descriptor.stem), os.fsencode(descriptor.suffix)
    if not name.startswith(base):
        return False
    return (
        re.fullmatch(
            rb"-(?:flat|[fsp]\d+|pt|delta|sesparse)(?:\.vmdk|%s)" % re.escape(suffix), name[len(base) :]
        )
        is not None
    )


def _look_at(descriptor: Path, extent: Extent) -> _Looked:
    """The file of an extent when it is the image's own; otherwise what is dangerous or wrong about it."""
    shown = escaped(extent.name)
    if extent.name.startswith((b"/dev/", b"\\\\.\\")) or extent.type in DEVICE_TYPES:
        return Hazard("device_node", shown)
    if not _is_plain(extent.name) or not _is_own(extent.name, descriptor):
        return Hazard("extent_elsewhere", shown)
    path = descriptor.parent / os.fsdecode(extent.name)
    try:
        status = os.lstat(path)
    except OSError:
        return Damage(
            "extent_missing",
            Text(
                en=f"The file {shown}, which holds data of the disk, is not beside the descriptor.",
                zh=f"描述文件旁缺少存放磁盘数据的文件 {shown}。",
            ),
        )
    if stat.S_ISLNK(status.st_mode):
        return Hazard("extent_elsewhere", f"{shown} -> {escaped(os.fsencode(os.readlink(path)), 100)}")
    if not stat.S_ISREG(status.st_mode):
        return Hazard("device_node", shown)
    if extent.type in SPARSE_TYPES:
        return _look_inside(path, status, extent)
    if status.st_size < extent.offset + extent.size:
        return Damage(
            "truncated",
            Text(
                en=f"{shown} is cut short: it has {status.st_size} bytes of {extent.offset + extent.size}.",
                zh=f"{shown} 不完整：应有 {extent.offset + extent.size} 字节，实有 {status.st_size} 字节。",
            ),
        )
    return path, status


def _look_inside(path: Path, status: os.stat_result, extent: Extent) -> _Looked:
    """A sparse extent is a VMDK itself: QEMU would follow what that one names, so it must name nothing."""
    from imgtool.disk.probe import probe

    shown = escaped(extent.name)
    try:
        inner = probe(path)
    except CannotRead as unreadable:
        return Damage("extent_missing", unreadable.statement())
    if inner.format != "vmdk" or inner.other_files:
        return Hazard("extent_elsewhere", f"{shown} (not a sparse extent)")
    if inner.hazards:
        return inner.hazards[0]
    if inner.damage:
        return inner.damage[0]
    if inner.virtual_size is not None and inner.virtual_size < extent.size:
        return Damage(
            "capacity_differs",
            Text(
                en=f"{shown} holds {inner.virtual_size} bytes of the disk, "
                f"the descriptor promises {extent.size}.",
                zh=f"{shown} 容量为 {inner.virtual_size} 字节，而描述文件声明为 {extent.size} 字节。",
            ),
        )
    return path, status
