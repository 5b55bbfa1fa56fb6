"""LVM 2: the groups on a disk and the bytes of their logical volumes.

Read from LVM's own text metadata, not through libvslvm: that library (20260901) opens no group that has a
striped volume ("unsupported character value: 0x2c"), a volume that was ever extended or a second physical
volume ("physical volume value already set"), or a missing one, and the last is just what has to be reported.
Layout: lvm2 lib/format_text/layout.h and lib/label/label.h.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from imgtool.disk.blocks import Blocks, Extents, ReadFailed, Slice, Striped
from imgtool.disk.signatures import lvm_uuid, number, words
from imgtool.records import dataclass
from imgtool.text import Text

SECTOR = 512
LARGEST_METADATA = 4 * 1024 * 1024  # bytes of all texts that differ; LVM's default area is 1 MiB
AREA_MAGIC = b" LVM2 x[5A%r0N*>"
INITIAL_CRC = 0xF597A6CF
DEEPEST = 16  # nested sections
MOST_VOLUMES = 1024  # of all groups; the rest of hostile ones is not looked at
LARGEST_VOLUME = 1 << 62
TOKEN = re.compile(r'#[^\n]*|"(?:[^"\\]|\\.)*"|[{}\[\]=,]|[^\s{}\[\]=,#"]+')
POOLS = ("thin-pool", "cache-pool", "vdo-pool")  # hold other volumes, and no filesystem of their own
NAME = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,127}")  # lvm(8), "Valid names"

Section = dict[str, Any]


@dataclass(frozen=True)
class PhysicalVolume:
    """A member of a group. uuid as blkid writes it; metadata: the group's text and its root, None without."""

    uuid: str
    blocks: Blocks
    group: tuple[str, Section] | None


@dataclass(frozen=True)
class LogicalVolume:
    """One visible volume: its bytes, or why they can't be read. size in bytes; uuid "" where it has none."""

    name: str
    uuid: str
    size: int
    content: Blocks | Text


@dataclass(frozen=True)
class Group:
    """A volume group. missing: the physical volumes that are not here, named as the group names them."""

    name: str
    uuid: str
    missing: tuple[str, ...]
    volumes: tuple[LogicalVolume, ...]


class BadMetadata(Exception):
    """The text is not what LVM writes."""


class Texts:
    """The metadata texts of a disk by length and checksum: the members of a group have the same one."""

    def __init__(self) -> None:
        self._left = LARGEST_METADATA
        self._parsed: dict[tuple[int, int], Section] = {}

    def parsed(self, length: int, checksum: int, read: Callable[[], bytes]) -> Section:
        """The text's sections. Raises BadMetadata, also when it is more than is ever read; ReadFailed."""
        found = self._parsed.get((length, checksum))
        if found is None:
            self._left -= length
            if self._left < 0:
                raise BadMetadata("too much")
            text = read()
            if crc(text) != checksum:
                raise BadMetadata("checksum")
            found = parse(text.decode("utf-8", "replace").rstrip("\0"))
            self._parsed[length, checksum] = found
        return found


def read_groups(members: list[Blocks]) -> list[Group]:
    """The groups that these physical volumes belong to, by the newest metadata among them."""
    texts = Texts()
    read = (_physical_volume(member, texts) for member in members)
    found = [volume for volume in read if volume is not None]
    here = {volume.uuid: volume.blocks for volume in found}
    newest: dict[str, tuple[str, Section]] = {}
    for volume in found:
        if volume.group is None:
            continue
        identity = str(volume.group[1].get("id"))
        known = newest.get(identity)
        if known is None or _whole(volume.group[1], "seqno") > _whole(known[1], "seqno"):
            newest[identity] = volume.group
    groups: list[Group] = []
    left = MOST_VOLUMES
    for name, section in newest.values():
        try:
            groups.append(_Reader(name, section, here).group(left))
        except (BadMetadata, RecursionError):
            continue
        left -= len(groups[-1].volumes)
    return groups


def _physical_volume(blocks: Blocks, texts: Texts) -> PhysicalVolume | None:
    try:
        head = blocks.read(0, min(4 * SECTOR, blocks.size))
        for sector in range(4):
            label = head[sector * SECTOR : (sector + 1) * SECTOR]
            if label[:8] == b"LABELONE" and label[24:32] == b"LVM2 001":
                header = label[number(label, 20, 4) :]
                uuid = lvm_uuid(words(header[:32], "latin-1"))
                return PhysicalVolume(uuid, blocks, _newest_text(blocks, header[40:], texts))
    except ReadFailed:
        pass
    return None


def _newest_text(blocks: Blocks, descriptors: bytes, texts: Texts) -> tuple[str, Section] | None:
    """The first metadata area whose text is whole. descriptors: data areas, zeros, metadata areas, zeros."""
    pairs = [(number(descriptors, at, 8), number(descriptors, at + 8, 8)) for at in range(0, 400, 16)]
    for area, _ in pairs[pairs.index((0, 0)) + 1 :] if (0, 0) in pairs else []:
        if not area:
            break
        try:
            for name, section in _area(blocks, area, texts).items():
                if isinstance(section, dict) and "physical_volumes" in section:
                    _whole(section, "seqno")
                    return name, section
        except (BadMetadata, ReadFailed):
            continue
    return None


def _area(blocks: Blocks, area: int, texts: Texts) -> Section:
    """The current text in a metadata area, a ring after its header; empty when there is none."""
    header = blocks.read(area, SECTOR)
    start, size = number(header, 24, 8), number(header, 32, 8)
    offset, length, checksum, flags = (number(header, at, width) for at, width in _LOCATION)
    if header[4:20] != AREA_MAGIC or crc(header[4:]) != number(header, 0, 4) or flags & 1 or not length:
        return {}
    if start != area or not SECTOR <= offset < size or length > size - SECTOR:
        raise BadMetadata("area")
    first = min(length, size - offset)

    def read() -> bytes:
        return blocks.read(area + offset, first) + blocks.read(area + SECTOR, length - first)

    return texts.parsed(length, checksum, read)


_LOCATION = ((40, 8), (48, 8), (56, 4), (60, 4))


def crc(data: bytes) -> int:
    """LVM's checksum: CRC-32 with its own start and nothing inverted."""
    return zlib.crc32(data, INITIAL_CRC ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def parse(text: str) -> Section:
    """LVM's configuration syntax: sections, and names with a string, number or list. Raises BadMetadata."""
    tokens = (token for token in TOKEN.findall(text) if not token.startswith("#"))
    root: Section = {}
    stack = [root]
    for name in tokens:
        if name == "}":
            if len(stack) == 1:
                raise BadMetadata("}")
            stack.pop()
            continue
        mark = next(tokens, "")
        if mark == "{" and len(stack) < DEEPEST:
            section: Section = {}
            stack[-1][name] = section
            stack.append(section)
        elif mark == "=":
            stack[-1][name] = _value(tokens)
        else:
            raise BadMetadata(name[:40])
    if len(stack) > 1:
        raise BadMetadata("end")
    return root


def _value(tokens: Iterator[str]) -> Any:
    token = next(tokens, "")
    if token != "[":
        return _scalar(token)
    values: list[str | int] = []
    for token in tokens:
        if token == "]":
            return values
        if token != ",":
            values.append(_scalar(token))
    raise BadMetadata("[")


def _scalar(token: str) -> str | int:
    if token.startswith('"'):
        return re.sub(r"\\(.)", r"\1", token[1:-1])
    if re.fullmatch(r"-?[0-9]{1,19}", token):
        return int(token)
    if re.fullmatch(r"-?[0-9.e+-]{1,40}", token):
        return token  # a fraction, which nothing here needs
    raise BadMetadata(token[:40])


def _whole(section: Section, name: str) -> int:
    value = section.get(name)
    if not isinstance(value, int) or value < 0:
        raise BadMetadata(name)
    return value


def _sections(section: Section, name: str) -> dict[str, Section]:
    inner = section.get(name, {})
    if not isinstance(inner, dict):
        raise BadMetadata(name)
    return {key: value for key, value in inner.items() if isinstance(value, dict)}


class _Unreadable(Exception):
    def __init__(self, why: Text) -> None:
        super().__init__(why.en)
        self.why = why


class _Reader:
    """Follows one group's metadata from logical volumes down to the bytes."""

    def __init__(self, name: str, section: Section, here: dict[str, Blocks]) -> None:
        self.name = name
        self.uuid = str(section.get("id", ""))
        self.extent = _whole(section, "extent_size") * SECTOR
        self.physical = _sections(section, "physical_volumes")
        self.logical = _sections(section, "logical_volumes")
        self.here = here
        self.followed: dict[str, Blocks | Exception] = {}

    def group(self, most: int) -> Group:
        """The group with its first `most` visible volumes."""
        missing = tuple(
            f"{_shown(name)} ({_shown(member.get('device', '?'))}, {_shown(member.get('id', '?'))})"
            for name, member in self.physical.items()
            if str(member.get("id")) not in self.here
        )
        shown = [name for name, volume in self.logical.items() if "VISIBLE" in _list(volume, "status")]
        visible = [name for name in shown if self._kind(name) not in POOLS][:most]
        if not all(NAME.fullmatch(name) for name in (self.name, *visible)):
            raise BadMetadata("name")
        return Group(self.name, self.uuid, missing, tuple(self._volume(name) for name in visible))

    def _volume(self, name: str) -> LogicalVolume:
        content: Blocks | Text
        try:
            content = self._blocks(name)
        except _Unreadable as reason:
            content = reason.why
        except BadMetadata:
            content = Text(en="its metadata make no sense", zh="其元数据不合理")
        try:
            size = sum(_whole(segment, "extent_count") for segment in self._segments(name)) * self.extent
        except BadMetadata:
            size = 0
        uuid = str(self.logical.get(name, {}).get("id", ""))
        return LogicalVolume(name, uuid, min(size, LARGEST_VOLUME), content)

    def _kind(self, name: str) -> str:
        segments = self._segments(name)
        return str(segments[0].get("type")) if segments else ""

    def _segments(self, name: str) -> list[Section]:
        inner = self.logical.get(name)
        if inner is None:
            raise BadMetadata(name)
        segments = [
            value for key, value in inner.items() if key.startswith("segment") and isinstance(value, dict)
        ]
        return sorted(segments, key=lambda segment: _whole(segment, "start_extent"))

    def _blocks(self, name: str) -> Blocks:
        """The bytes of a volume, followed once: a volume that is a part of itself makes no sense."""
        if name not in self.followed:
            self.followed[name] = BadMetadata(name)
            try:
                self.followed[name] = self._follow(name)
            except (_Unreadable, BadMetadata) as reason:
                self.followed[name] = reason
        found = self.followed[name]
        if isinstance(found, Exception):
            raise found
        return found

    def _follow(self, name: str) -> Blocks:
        parts: list[tuple[Blocks, int, int]] = []
        reached = 0
        for segment in self._segments(name):
            count = _whole(segment, "extent_count")
            if _whole(segment, "start_extent") != reached or (reached + count) * self.extent > LARGEST_VOLUME:
                raise BadMetadata(name)
            reached += count
            parts.append((self._segment(segment, count * self.extent), 0, count * self.extent))
        return parts[0][0] if len(parts) == 1 else Extents(parts)

    def _segment(self, segment: Section, length: int) -> Blocks:
        kind = segment.get("type")
        if kind in ("striped", "linear"):
            return self._striped(segment, length)
        if kind in ("raid1", "mirror"):  # every leg holds everything: one that is whole is enough
            legs = [
                leg
                for leg in _list(segment, "raids" if kind == "raid1" else "mirrors")
                if isinstance(leg, str)
            ]
            reason: Exception = BadMetadata("legs")
            for leg in legs[1::2] if kind == "raid1" else legs:  # raids: metadata and image by turns
                try:
                    return Slice(self._blocks(leg), 0, length)
                except _Unreadable as unreadable:
                    reason = unreadable
            raise reason
        raise _Unreadable(
            Text(
                en=f"it is of type {_shown(kind)}, which imgtool can't read natively",
                zh=f"其类型为 {_shown(kind)}，imgtool 无法直接读取",
            )
        )

    def _striped(self, segment: Section, length: int) -> Blocks:
        stripes = _list(segment, "stripes")
        places = [
            self._place(str(name), first)
            for name, first in zip(stripes[::2], stripes[1::2], strict=False)
            if isinstance(first, int)
        ]
        if not places or len(places) * 2 != len(stripes):
            raise BadMetadata("stripes")
        if len(places) == 1:
            return Slice(*places[0], length)
        stripe = _whole(segment, "stripe_size") * SECTOR
        if not stripe or length % (stripe * len(places)):
            raise BadMetadata("stripe_size")
        return Striped(places, stripe, length)

    def _place(self, name: str, first: int) -> tuple[Blocks, int]:
        member = self.physical.get(name)
        if member is None:
            raise BadMetadata("stripes")  # a volume on a volume is of another segment type
        blocks = self.here.get(str(member.get("id")))
        if blocks is None:
            raise _Unreadable(
                Text(
                    en=f"it lies on a physical volume that this image does not hold, {_shown(name)}",
                    zh=f"其所在的物理卷 {_shown(name)} 不在本镜像中",
                )
            )
        if first < 0 or first > _whole(member, "pe_count"):
            raise BadMetadata("stripes")
        return blocks, _whole(member, "pe_start") * SECTOR + first * self.extent


def _shown(value: object) -> str:
    """A word of the metadata as a person may see it: no control characters, not long."""
    return ascii(value)[1:-1][:80] if isinstance(value, str) else str(value)[:80]


def _list(section: Section, name: str) -> list[Any]:
    value = section.get(name)
    return value if isinstance(value, list) else []
