"""Bounded reads of an image file that is not to be trusted."""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from imgtool.disk.formats.image_file import QEMU_FORMATS, Damage, Hazard, ImageFile, Snapshot, escaped
from imgtool.errors import CannotRead
from imgtool.records import dataclass
from imgtool.text import Text

if TYPE_CHECKING:
    from construct import Construct

HEAD_SIZE = 64 * 1024
TAIL_SIZE = 64 * 1024
CHUNK = 1024 * 1024
PAGE = 4096


@dataclass
class Source:
    """An open regular file. Sizes in bytes; reads end at the end of the file and never exceed one chunk."""

    descriptor: int
    path: Path
    size: int
    allocated: int

    def __post_init__(self) -> None:
        self.head = self.read(0, HEAD_SIZE)
        self.tail = self.read(max(0, self.size - TAIL_SIZE), TAIL_SIZE)

    def read(self, offset: int, length: int) -> bytes:
        """At most `length` bytes (and at most CHUNK) at `offset`; fewer at the end. Raises CannotRead."""
        if offset < 0 or offset >= self.size or length <= 0:
            return b""
        try:
            return os.pread(self.descriptor, min(length, CHUNK, self.size - offset), offset)
        except OSError as error:
            why = os.strerror(error.errno or 0)
            shown = escaped(os.fsencode(self.path))
            raise CannotRead(
                Text(
                    en=f"{shown} can't be read at byte {offset}: {why}. Check the storage that holds it.",
                    zh=f"无法读取 {shown} 的第 {offset} 字节：{why}。请检查其所在的存储。",
                )
            ) from error

    def words(self, offset: int, count: int, code: Literal["I", "Q"], order: str) -> Iterator[array[int]]:
        """A table of `count` unsigned integers ("I" 4 bytes, "Q" 8), a chunk of it at a time.

        order: "big" or "little". Ends early at the end of the file.
        """
        width = 4 if code == "I" else 8
        end = offset + count * width
        while offset < end:
            data = self.read(offset, end - offset)
            data = data[: len(data) - len(data) % width]
            if not data:
                return
            offset += len(data)
            table = array(code, data)
            if order != sys.byteorder:
                table.byteswap()
            yield table

    def words_but(
        self, blank: bytes, offset: int, count: int, code: Literal["I", "Q"], order: str
    ) -> Iterator[array[int]]:
        """Like `words`, a page at a time and without the pages that hold nothing but the byte `blank`.

        Tables of large disks are mostly empty, and comparing is far quicker than counting.
        """
        empty = blank * PAGE
        width = 4 if code == "I" else 8
        for start in range(offset, offset + count * width, CHUNK):
            chunk = self.read(start, min(CHUNK, offset + count * width - start))
            if chunk == blank * len(chunk):
                continue
            for at in range(0, len(chunk) - width + 1, PAGE):
                page = chunk[at : at + PAGE]
                if page == empty:
                    continue
                table = array(code, page[: len(page) - len(page) % width])
                if order != sys.byteorder:
                    table.byteswap()
                yield table

    def described(
        self,
        format: str,  # noqa: A002 - the contract's word
        variant: str | None = None,
        *,
        virtual_size: int | None = None,
        features: tuple[str, ...] = (),
        snapshots: tuple[Snapshot, ...] = (),
        hazards: tuple[Hazard, ...] = (),
        damage: tuple[Damage, ...] = (),
        other_files: tuple[Path, ...] = (),
        file_size: int | None = None,
        allocated: int | None = None,
    ) -> ImageFile:
        """What a format module found out about this file."""
        return ImageFile(
            path=self.path,
            format=format,
            variant=variant,
            virtual_size=virtual_size,
            file_size=self.size if file_size is None else file_size,
            allocated=self.allocated if allocated is None else allocated,
            features=features,
            snapshots=tuple(snapshot.name or snapshot.id for snapshot in snapshots),
            hazards=hazards,
            damage=damage,
            qemu_format=None if hazards else QEMU_FORMATS.get(format),
            other_files=other_files,
            snapshot_details=snapshots,
        )


def parse(structure: Construct, data: bytes) -> Any | None:
    """`data` read by a declared structure; None when it is too short or does not fit."""
    from construct import ConstructError

    try:
        return structure.parse(data)
    except ConstructError:
        return None
