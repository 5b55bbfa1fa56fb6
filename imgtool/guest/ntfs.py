"""NTFS through libfsntfs. What libfsntfs can't read, or finds damaged, is GuestReadFailed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from imgtool.disk.blocks import BlockFile, Blocks
from imgtool.guest.filesystem import MOST_NAMES, Stat, damaged, unsupported

ROOT_RECORD = 5
FIRST_RECORD = 16
"""Those before it are the files of NTFS itself."""
REPARSE_POINT, ENCRYPTED = 0x400, 0x4000
REPARSE_ATTRIBUTE, VOLUME_RECORD, VOLUME_INFORMATION = 0xC0, 3, 0x70
JUNCTION_TAG = 0xA0000003
OVERLAY_TAG = 0x80000017
"""Compact OS: libfsntfs unpacks these files."""
NAMED_TAGS = {0x80000013: "deduplicated files", 0x9000001A: "cloud files"}
FILETIME_EPOCH = 11_644_473_600
KEPT = 512
FILE_NAME = 0x30
RECORD_NUMBER = 0xFFFFFFFFFFFF
"""The part of a file reference that is not the sequence number."""


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """What libfsntfs raises, as GuestReadFailed."""
    try:
        yield
    except (OSError, ValueError, OverflowError, RuntimeError, MemoryError, TypeError) as error:
        raise damaged(what, str(error).split(". ")[0][:200]) from error


class Ntfs:
    """An NTFS filesystem; a node is an MFT record number. Raises GuestReadFailed from all that reads."""

    type = "ntfs"
    case_sensitive = False
    root = ROOT_RECORD

    def __init__(self, blocks: Blocks, uuid: str = "") -> None:
        """Raises GuestReadFailed when the volume can't be opened."""
        import pyfsntfs

        self._volume: Any = pyfsntfs.volume()
        with _reading("NTFS volume"):
            self._volume.open_file_object(BlockFile(blocks))
            self.label: str = self._volume.name or ""
            self.uuid = uuid or f"{self._volume.serial_number:016X}"
        self._entries: dict[int, Any] = {}
        self._paths: dict[int, str] = {ROOT_RECORD: ""}

    def lookup(self, directory: int, name: str) -> int | None:
        """The record of a name, whatever its case."""
        if not name or re.search(r"[\\/\0]", name):
            return None
        path = f"{self._paths[directory]}\\{name}"
        with _reading("directory"):
            found = self._volume.get_file_entry_by_path(path)
            if found is None and "~" in name:
                found = self._by_short_name(directory, name)
                path = path if found is None else f"{self._paths[directory]}\\{found.name}"
            return None if found is None else self._keep(found, path)

    def _by_short_name(self, directory: int, name: str) -> Any:
        """libfsntfs looks entries up by their long names only; the short one (PROGRA~1) is an attribute."""
        folder = self._entry(directory)
        for index in range(min(folder.number_of_sub_file_entries, MOST_NAMES)):
            entry = folder.get_sub_file_entry(index)
            for number in range(entry.number_of_attributes if entry is not None else 0):
                if entry.get_attribute(number).attribute_type != FILE_NAME:
                    continue
                said = entry.get_name_by_attribute_index(number) or ""
                parent = entry.get_parent_file_reference_by_attribute_index(number) & RECORD_NUMBER
                if said.upper() == name.upper() and parent == directory:
                    return entry
        return None

    def names(self, directory: int) -> list[str]:
        """The names in a directory, without the files of NTFS itself ($MFT …), as Windows shows it."""
        entry = self._entry(directory)
        found: list[str] = []
        with _reading("directory"):
            count = entry.number_of_sub_file_entries
            if count > MOST_NAMES:
                raise damaged("directory", f"it holds more than {MOST_NAMES} names")
            for index in range(count):
                below = entry.get_sub_file_entry(index)
                if below is None or below.name is None:
                    raise damaged("directory", f"name {index} of MFT record {directory} is missing")
                if directory != ROOT_RECORD or below.file_reference & 0xFFFFFFFFFFFF >= FIRST_RECORD:
                    found.append(below.name)
        return found

    def stat(self, node: int) -> Stat:
        """NTFS has no modes and no numbered owners: root's, and what Linux gives by default."""
        entry = self._entry(node)
        with _reading(f"MFT record {node}"):
            time = entry.get_modification_time_as_integer() / 1e7 - FILETIME_EPOCH
            if self._target(entry) is not None:
                return Stat("symlink", 0o777, 0, 0, 0, time)
            if entry.has_directory_entries_index():
                return Stat("directory", 0o777, 0, 0, 0, time)
            return Stat("file", 0o777, 0, 0, entry.size if entry.has_default_data_stream() else 0, time)

    def readlink(self, node: int) -> str:
        """The target of a symbolic link or junction, with slashes; drive C is taken for this volume."""
        entry = self._entry(node)
        with _reading(f"MFT record {node}"):
            target = self._target(entry)
        if target is None:
            raise damaged("symbolic link", f"MFT record {node} is none")
        target = re.sub(r"^\\\?\?\\", "", target)
        drive = re.match(r"([A-Za-z]):", target)
        if target.startswith(("\\\\", "Volume{", "UNC\\")) or (drive and drive[1].upper() != "C"):
            raise unsupported("NTFS", f"a link to another volume (MFT record {node})")
        return re.sub(r"^[A-Za-z]:", "", target).replace("\\", "/")

    def read(self, node: int, offset: int, length: int) -> bytes:
        """Bytes of a file's own data stream."""
        entry = self._entry(node)
        with _reading(f"MFT record {node}"):
            self._readable(node, entry)
            if not entry.has_default_data_stream():
                return b""
            length = max(0, min(length, entry.size - offset))
            data: bytes = entry.read_buffer_at_offset(length, offset) if length else b""
        if len(data) != length:
            raise damaged("file", f"MFT record {node} ends before its size")
        return data

    def stream(self, node: int, name: str, limit: int) -> bytes | None:
        """At most `limit` bytes of a named stream of a file; None where it has no such stream."""
        entry = self._entry(node)
        with _reading(f"MFT record {node}"):
            if not entry.has_alternate_data_stream_by_name(name):
                return None
            found = entry.get_alternate_data_stream_by_name(name)
            data: bytes = found.read_buffer_at_offset(min(found.size, limit), 0) if found.size else b""
        return data

    def _readable(self, node: int, entry: Any) -> None:
        """Refuse the files whose bytes are elsewhere: libfsntfs would give zeros or cipher text."""
        flags = entry.file_attribute_flags or 0
        if flags & ENCRYPTED:
            raise unsupported("NTFS", f"encrypted files (MFT record {node})")
        for attribute in entry.attributes if flags & REPARSE_POINT else ():
            if attribute.attribute_type == REPARSE_ATTRIBUTE:
                tag = getattr(attribute, "tag", None)
                if tag != OVERLAY_TAG:
                    what = (
                        NAMED_TAGS.get(tag, "reparse points of an unknown kind") if tag else "reparse points"
                    )
                    raise unsupported("NTFS", f"{what} (MFT record {node})")

    def _target(self, entry: Any) -> str | None:
        if not (entry.file_attribute_flags or 0) & REPARSE_POINT:
            return None
        target: str | None = entry.symbolic_link_target
        if target is None:  # libfsntfs gives those of symbolic links only
            for attribute in entry.attributes:
                if attribute.attribute_type == REPARSE_ATTRIBUTE and attribute.tag == JUNCTION_TAG:
                    target = attribute.substitute_name
        return target

    def _entry(self, node: int) -> Any:
        kept = self._entries.get(node)
        if kept is None:
            with _reading(f"MFT record {node}"):
                kept = self._volume.get_file_entry(node)
            if kept is None:
                raise damaged("MFT record", f"{node} is not in use")
            self._entries[node] = kept
        return kept

    def _keep(self, entry: Any, path: str) -> int:
        node: int = entry.file_reference & RECORD_NUMBER
        if len(self._entries) >= KEPT:
            self._entries.clear()
        self._entries[node] = entry
        self._paths[node] = path
        return node
