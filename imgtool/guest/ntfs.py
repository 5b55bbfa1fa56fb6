"""NTFS: directories by ntfs_index, files through libfsntfs. What is damaged is GuestReadFailed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from imgtool.disk.blocks import BlockFile, Blocks
from imgtool.guest.filesystem import GuestReadFailed, Stat, damaged, unsupported
from imgtool.guest.ntfs_index import NUMBER, FileTable, Named
from imgtool.guest.windows_names import upper
from imgtool.text import Text

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
KEPT_NAMES = 300_000
"""Of all directories that are kept together."""


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """What libfsntfs raises, as GuestReadFailed; its own words are no use to who reads the report."""
    try:
        yield
    except (
        OSError,
        ValueError,
        OverflowError,
        RuntimeError,
        MemoryError,
        TypeError,
        AttributeError,
    ) as error:
        raise GuestReadFailed(
            Text(
                en=f"The filesystem is damaged: {what} can't be read.",
                zh=f"文件系统已损坏：无法读取 {what}。",
            )
        ) from error


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
        self._table = FileTable(blocks)
        self._entries: dict[int, Any] = {}
        self._directories: dict[int, dict[str, Named]] = {}

    def lookup(self, directory: int, name: str) -> int | None:
        """The record of a name, whatever its case; of a short one (PROGRA~1), too."""
        if not name or re.search(r"[\\/\0]", name):
            return None
        wanted = upper(name)
        if wanted.isascii() and directory not in self._directories:
            found = self._table.find(directory, wanted)
        else:
            found = self._directory(directory).get(wanted)
        if found is None:
            return None
        number = found.reference & NUMBER
        self._table.record(number, found.reference >> 48)
        return number

    def names(self, directory: int) -> list[str]:
        """The names in a directory, without the files of NTFS itself ($MFT …), as Windows shows it."""
        return [
            it.name
            for it in self._directory(directory).values()
            if not it.short and (directory != ROOT_RECORD or it.reference & NUMBER >= FIRST_RECORD)
        ]

    def _directory(self, number: int) -> dict[str, Named]:
        """The names of a directory by upper-case name. The last ones that were read are kept."""
        kept = self._directories.get(number)
        if kept is None:
            kept = {}
            for entry in self._table.directory(number):
                key = upper(entry.name)
                if key not in kept or kept[key].short:
                    kept[key] = entry
            if sum(map(len, self._directories.values())) + len(kept) > KEPT_NAMES:
                self._directories.clear()
            self._directories[number] = kept
        return kept

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
            if attribute.attribute_type == REPARSE_ATTRIBUTE and attribute.tag != OVERLAY_TAG:
                what = NAMED_TAGS.get(attribute.tag, f"reparse points of kind {attribute.tag:#x}")
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
            if len(self._entries) >= KEPT:
                self._entries.clear()
            self._entries[node] = kept
        return kept
