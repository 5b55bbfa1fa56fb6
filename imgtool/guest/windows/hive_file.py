"""The bytes of a registry hive: its base block, its cells, and a budget for all that is read of it.

A hive names its parts by offsets, and nothing keeps a hostile one from naming one part a million times. So
every cell that is read is paid for out of one budget for each hive, and a hive that spends it can't be read
any further: what is asked then is unknown, never absent. Format: Maxim Suhanov, "Windows registry file format
specification"; offsets count from the end of the base block, which has 4096 bytes.
"""

from __future__ import annotations

import functools
import operator
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import BinaryIO

from imgtool.guest.filesystem import GuestReadFailed
from imgtool.records import dataclass
from imgtool.text import Text

LARGEST_HIVE = 2 << 30
"""Bytes: Windows itself takes no larger one."""
LARGEST_WRITTEN = 256 << 20
"""Bytes of a hive that is written out whole; those of a real system have about 100 MiB."""
MOST_CELLS = 1_000_000
"""Cells that are read of one hive; two thousand services are some thirty thousand."""
MOST_BYTES = 112 << 20
"""Bytes of cells that are read of one hive; 100,000 firewall rules, which a terminal server gathers in years,
have 80 MiB."""
BASE_BLOCK, BASE_BLOCK_SECTOR, SECTOR = 4096, 512, 512
NOWHERE = 0xFFFFFFFF
_CHUNK = 16 << 10
_KEPT_CHUNKS = 4096
"""64 MiB: most hives are kept whole."""
MOST_CHUNKS = 64 << 10
"""Times that a chunk is fetched, 1 GiB in all: cells of a large hive may lie in any order."""
_HEAD = struct.Struct("<4sIIQIIIIII")
_WORDS = struct.Struct("<127I")
_CELLS = {
    "key": "键",
    "list of subkeys": "子键列表",
    "list of values": "值列表",
    "value": "值",
    "value's data": "值数据",
    "split value": "分段值",
}
"""What cells hold, in both languages."""
_CELL_SIZE = struct.Struct("<i")


def damaged_hive(path: str, en: str, zh: str) -> GuestReadFailed:
    """A hive, or a part of it, that contradicts its format. en, zh: how, without a full stop."""
    return GuestReadFailed(
        Text(
            en=f"The registry hive {path} is damaged: {en}.",
            zh=f"注册表配置单元 {path} 已损坏：{zh}。",
        )
    )


@dataclass(frozen=True)
class BaseBlock:
    """The first sector of a hive or of a log.

    first, second: sequence numbers, which differ while a hive is being written; written: a FILETIME; type: 0
    a hive, 1 or 2 a log of old format, 6 one of new; bins: bytes behind the base block; root: offset of the
    root key; sound: its checksum is right.
    """

    first: int
    second: int
    written: int
    minor: int
    type: int
    root: int
    bins: int
    sound: bool


def parse_base_block(data: bytes) -> BaseBlock | None:
    """None for what is too short or does not begin with regf."""
    if len(data) < BASE_BLOCK_SECTOR or data[:4] != b"regf":
        return None
    _, first, second, written, _, minor, type_, _, root, bins = _HEAD.unpack_from(data)
    sound = int.from_bytes(data[508:512], "little") == checksum(data)
    return BaseBlock(first, second, written, minor, type_, root, bins, sound)


def checksum(block: bytes) -> int:
    """Of a base block: the exclusive or of its first 127 words; never 0 or -1."""
    word: int = functools.reduce(operator.xor, _WORDS.unpack_from(block))
    return {0: 1, 0xFFFFFFFF: 0xFFFFFFFE}.get(word, word)


class HiveFile:
    """A hive that is read cell by cell. path: where the guest has it, for messages. `minor`: of its version.

    changes: what replaced sectors hold, by their number in the file. Everything raises GuestReadFailed.
    """

    def __init__(self, stream: BinaryIO, path: str) -> None:
        self.path = path
        self._opened = stream  # which closes what is below it when it goes
        self._stream = getattr(stream, "raw", stream)  # a buffer would fetch far more than is asked for
        self._chunks_left = MOST_CHUNKS
        self._chunks: dict[int, bytes] = {}
        self._changes: Mapping[int, bytes] = {}
        self._cells_left, self._bytes_left = MOST_CELLS, MOST_BYTES
        with self._from_stream():
            self._length = self._stream.seek(0, 2)
        self._end = self._length
        head = self._chunk(0)[:BASE_BLOCK_SECTOR]
        base = parse_base_block(head)
        if base is None:
            raise self.damaged("it does not begin with a base block (regf)", "其开头不是基本块（regf）")
        if self._length > LARGEST_HIVE:
            raise self.damaged(f"it has {self._length} bytes", f"大小为 {self._length} 字节")
        self.base = base
        self.minor, self.root, self._end = base.minor, base.root, BASE_BLOCK + base.bins

    def damaged(self, en: str, zh: str) -> GuestReadFailed:
        """Damage of this hive."""
        return damaged_hive(self.path, en, zh)

    def change(self, sectors: Mapping[int, bytes], base: BaseBlock) -> None:
        """Lays other sectors over those of the file, and takes root, version and length from `base`."""
        self._changes = sectors
        self._chunks.clear()
        self.minor, self.root, self._end = base.minor, base.root, BASE_BLOCK + base.bins

    def demand_whole(self) -> None:
        """Raises where the file ends before its bins do, or has a version that nobody reads."""
        last = max(self._changes, default=-1) + 1
        if self._end > max(self._length, last * SECTOR):
            raise self.damaged(
                f"it has {self._length} bytes, and its base block says {self._end}",
                f"实际大小为 {self._length} 字节，而其基本块记录为 {self._end} 字节",
            )
        if not 2 < self.minor < 7:
            raise self.damaged(f"its version is 1.{self.minor}", f"其版本为 1.{self.minor}")

    def whole(self, sequence: int) -> bytes:
        """The bytes of the hive with the sectors that were laid over it, and a base block that is right.

        sequence: the number that both its sequence numbers become. Raises GuestReadFailed for a larger one
        than LARGEST_WRITTEN.
        """
        if self._end > LARGEST_WRITTEN:
            raise self.damaged(f"it has {self._end} bytes", f"大小为 {self._end} 字节")
        data = bytearray(
            b"".join(self._chunk(it).ljust(_CHUNK, b"\0") for it in range(-(-self._end // _CHUNK)))
        )
        del data[self._end :]
        minor, bins = self.minor, self._end - BASE_BLOCK
        written = int.from_bytes(data[12:20], "little")
        _HEAD.pack_into(data, 0, b"regf", sequence, sequence, written, 1, minor, 0, 1, self.root, bins)
        data[508:512] = checksum(bytes(data[:BASE_BLOCK_SECTOR])).to_bytes(4, "little")
        return bytes(data)

    def first_bin_written(self) -> int:
        """The time in the first bin's header, a copy of the base block's; 0 where there is none."""
        head = self._read(BASE_BLOCK, 32) if self._end >= BASE_BLOCK + 32 else b""
        return int.from_bytes(head[20:28], "little") if head[:4] == b"hbin" else 0

    def cell(self, offset: int, least: int, most: int, what: str) -> bytes:
        """The first `most` bytes of a cell's content. Raises where it has fewer than `least`, or is unused.

        what: for the message, one of _CELLS.
        """
        at = BASE_BLOCK + offset
        if offset % 8 or offset >= NOWHERE - BASE_BLOCK or at + 8 > self._end:
            raise self._bad_cell(what, offset)
        (size,) = _CELL_SIZE.unpack(self._read(at, 4))
        length = -size - 4
        if size >= 0 or size % 8 or length < least or at - size > self._end:
            raise self._bad_cell(what, offset)
        length = min(length, most)
        self._cells_left -= 1
        self._bytes_left -= length
        if self._cells_left < 0 or self._bytes_left < 0:
            raise self._spent()
        return self._read(at + 4, length)

    def content_size(self, offset: int) -> int:
        """How many bytes of content the cell has; -1 where there is no cell in use."""
        at = BASE_BLOCK + offset
        if offset % 8 or at + 8 > self._end:
            return -1
        (size,) = _CELL_SIZE.unpack(self._read(at, 4))
        return int(-size - 4) if size < 0 else -1

    def _bad_cell(self, what: str, offset: int) -> GuestReadFailed:
        return self.damaged(
            f"the cell of a {what} at {offset:#x} is outside, not in use or too small",
            f"{offset:#x} 处的{_CELLS[what]}单元越界、未使用或过小",
        )

    def _spent(self) -> GuestReadFailed:
        return GuestReadFailed(
            Text(
                en=f"The registry hive {self.path} is damaged, or made to exhaust its reader: no more than"
                f" {MOST_CELLS} cells and {MOST_BYTES >> 20} MiB are read of one.",
                zh=f"注册表配置单元 {self.path} 已损坏或被恶意构造：单个配置单元最多读取"
                f" {MOST_CELLS} 个单元、{MOST_BYTES >> 20} MiB。",
            )
        )

    def _read(self, at: int, length: int) -> bytes:
        number, within = divmod(at, _CHUNK)
        if within + length <= _CHUNK:
            data = self._chunk(number)[within : within + length]
        else:
            parts = [self._chunk(it) for it in range(number, (at + length - 1) // _CHUNK + 1)]
            data = b"".join(parts)[within : within + length]
        if len(data) != length:
            raise self.damaged(f"it ends before byte {at + length}", f"在第 {at + length} 字节之前结束")
        return data

    def _chunk(self, number: int) -> bytes:
        kept = self._chunks.get(number)
        if kept is not None:
            return kept
        self._chunks_left -= 1
        if self._chunks_left < 0:
            raise self._spent()
        data = b""
        with self._from_stream():
            self._stream.seek(number * _CHUNK)
            while len(data) < _CHUNK:
                part = self._stream.read(_CHUNK - len(data))
                if not part:
                    break
                data += part
        first, each = number * _CHUNK // SECTOR, _CHUNK // SECTOR
        changed = [it for it in range(first, first + each) if it in self._changes] if self._changes else []
        if changed:
            longer = bytearray(data.ljust(min((changed[-1] + 1 - first) * SECTOR, _CHUNK), b"\0"))
            for sector in changed:
                longer[(sector - first) * SECTOR : (sector - first + 1) * SECTOR] = self._changes[sector]
            data = bytes(longer)
        if len(self._chunks) >= _KEPT_CHUNKS:
            del self._chunks[next(iter(self._chunks))]  # the one that was fetched first
        self._chunks[number] = data
        return data

    @contextmanager
    def _from_stream(self) -> Iterator[None]:
        with reading_stream(self.path):
            yield


@contextmanager
def reading_stream(path: str) -> Iterator[None]:
    """What a stream raises that is not a failure of the guest's filesystem."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise GuestReadFailed(
            Text(en=f"{path} can't be read: {error}.", zh=f"无法读取 {path}：{error}。")
        ) from error


Logs = Callable[[], "list[tuple[str, BinaryIO]]"]
"""The logs beside a hive: their names and contents, opened when asked for."""
