"""Text where an image was expected: an error page that a download saved, an OVF without its disk, JSON."""

from __future__ import annotations

import re

from imgtool.disk.formats.image_file import ImageFile, escaped
from imgtool.disk.formats.source import Source

LOOKED_AT = 4096
_NOT_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")


def recognise(source: Source) -> ImageFile | None:
    """The file as text, when its beginning is nothing else; variant: what kind; feature `begins=`: its start.

    A disk's first sector holds binary numbers and zeros, so 4 KiB of plain text can't be one.
    """
    start = source.head[:LOOKED_AT]
    if len(start) < 2 or _NOT_TEXT.search(start):
        return None
    try:
        # A character may be cut in two where the part that is looked at ends.
        words = start.removeprefix(b"\xef\xbb\xbf").decode(
            "utf-8", "strict" if len(start) < LOOKED_AT else "ignore"
        )
    except UnicodeDecodeError:
        return None
    if len(words.encode()) < len(start) - 6:
        return None
    first = words.lstrip()
    return source.described(
        "text", _kind(first), features=(f"begins={escaped(first.split(chr(10))[0], 80)}",)
    )


def _kind(words: str) -> str:
    lower = words.lower()
    if lower.startswith(("<!doctype html", "<html")):
        return "html"
    if words.startswith("version https://git-lfs.github.com/spec/"):
        return "git-lfs pointer"
    if lower.startswith("<"):
        if re.search(r"<(?:\w+:)?Envelope\b", words) and "ovf" in lower:
            return "ovf"
        return "xml"
    if lower.startswith(("{", "[")):
        return "json"
    return "plain"
