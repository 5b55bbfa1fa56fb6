"""virtio-win's driver disk: an ISO, read in process, or a folder with its content."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgtool.repair.draft import CannotMend
from imgtool.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST_FILE = 64 << 20
MOST_FILES = 200


def driver_files(disk: Path, folder: str) -> dict[str, bytes]:
    """The files of a folder such as `viostor\\2k12R2\\amd64`, by lower-case name; names count in any case.

    Raises CannotMend where the disk can't be read or has no such folder.
    """
    parts = folder.lower().split("\\")
    try:
        found = dict(_of_folder(disk, parts) if disk.is_dir() else _of_iso(disk, parts))
    except OSError as error:
        raise _unreadable(disk, Text.same(error.strerror or str(error))) from error
    if not found:
        raise CannotMend(
            Text(
                en=f"{disk} has no folder {folder}. Give a virtio-win ISO that has drivers for this Windows.",
                zh=f"{disk} 中没有目录 {folder}。请提供包含该 Windows 版本驱动的 virtio-win ISO。",
            )
        )
    return found


def _of_folder(disk: Path, parts: list[str]) -> Iterator[tuple[str, bytes]]:
    here = disk
    for part in parts:
        below = next((it for it in here.iterdir() if it.name.lower() == part and it.is_dir()), None)
        if below is None:
            return
        here = below
    for path in sorted(here.iterdir())[:MOST_FILES]:
        if path.is_file() and path.stat().st_size <= LARGEST_FILE:
            yield path.name.lower(), path.read_bytes()


def _of_iso(disk: Path, parts: list[str]) -> Iterator[tuple[str, bytes]]:
    import pycdlib
    from pycdlib.pycdlibexception import PyCdlibException

    iso = pycdlib.PyCdlib()
    try:
        iso.open(str(disk))
        try:
            yield from _read(iso, parts)
        finally:
            iso.close()
    except PyCdlibException as error:
        why = Text(f"it is no ISO image, or a damaged one ({error})", f"不是 ISO 映像，或已损坏（{error}）")
        raise _unreadable(disk, why) from error


def _read(iso: Any, parts: list[str]) -> Iterator[tuple[str, bytes]]:
    kind = "joliet_path" if iso.has_joliet() else "rr_path" if iso.has_rock_ridge() else "iso_path"
    here = ""
    for part in parts:
        names = {_name(it, kind).lower(): _name(it, kind) for it in _children(iso, kind, here)}
        if part not in names:
            return
        here = f"{here}/{names[part]}"
    for child in list(_children(iso, kind, here))[:MOST_FILES]:
        if child.is_file() and child.get_data_length() <= LARGEST_FILE:
            data = io.BytesIO()
            iso.get_file_from_iso_fp(data, **{kind: f"{here}/{_name(child, kind)}"})
            yield _name(child, kind).lower().partition(";")[0], data.getvalue()


def _children(iso: Any, kind: str, path: str) -> Iterator[Any]:
    for child in iso.list_children(**{kind: path or "/"}):
        if child is not None and not child.is_dot() and not child.is_dotdot():
            yield child


def _name(child: Any, kind: str) -> str:
    if kind == "rr_path":
        return str(child.rock_ridge.name().decode("utf-8", "replace"))
    encoding = "utf-16-be" if kind == "joliet_path" else "utf-8"
    return str(child.file_identifier().decode(encoding, "replace"))


def _unreadable(disk: Path, why: Text) -> CannotMend:
    return CannotMend(
        Text(en=f"The driver disk {disk} can't be read: {why.en}.", zh=f"无法读取驱动光盘 {disk}：{why.zh}。")
    )
