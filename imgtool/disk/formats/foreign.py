"""Formats that are only recognised, to be refused by name."""

from __future__ import annotations

from imgtool.disk.formats.image_file import ImageFile
from imgtool.disk.formats.source import Source


def recognise(source: Source) -> ImageFile | None:
    return None
