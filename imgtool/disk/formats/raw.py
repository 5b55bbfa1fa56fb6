"""Raw images: the bytes of the disk and nothing else. A file is raw when it is nothing else."""

from __future__ import annotations

from imgtool.disk.formats.image_file import ImageFile
from imgtool.disk.formats.source import Source

SECTOR = 512


def describe(source: Source) -> ImageFile:
    """The file as a raw disk. Its size is rounded up to whole sectors, as QEMU does."""
    return source.described("raw", virtual_size=-(-source.size // SECTOR) * SECTOR)
