"""What a registry hive's logs hold that the hive does not, replayed as Windows does at its next start.

Windows writes changes into the log first (X.LOG1, X.LOG2) and into the hive later; a copy of a running system
has a hive whose two sequence numbers differ, and its last changes in the log alone. Formats: Maxim Suhanov,
"Windows registry file format specification", *Format of transaction log files* and *Multiple transaction log
files*. Up to Server 2012 a log holds one set of changed pages (DIRT); since 8.1 and 2012 R2 it holds entries
(HvLE), each with a sequence number and two Marvin32 hashes, and replaying stops at the first that does not
follow or is not whole.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import BinaryIO

from imgtool.guest.filesystem import GuestReadFailed
from imgtool.guest.windows.hive_file import (
    BASE_BLOCK,
    BASE_BLOCK_SECTOR,
    LARGEST_HIVE,
    SECTOR,
    BaseBlock,
    HiveFile,
    Logs,
    parse_base_block,
    reading_stream,
)
from imgtool.records import dataclass, replace
from imgtool.text import Text

LARGEST_LOG = 64 << 20
"""Bytes of a log; Windows keeps them far smaller."""
MOST_REPLAYED = 16 << 20
"""Bytes of log entries that are replayed for one hive."""
SINGLE = ".LOG"
"""How the name ends of the one log that Windows had before Vista."""
OF_OLD_FORMAT, OF_NEW_FORMAT = (1, 2), 6
_ENTRY = struct.Struct("<4sIIIIIQQ")
SEED = 0x82EF4D887A4E55C5
_WORD = 0xFFFFFFFF

Sectors = dict[int, bytes]


@dataclass(frozen=True)
class Replayed:
    """What of the logs was laid over the hive. logs: their names; sectors: how many of 512 bytes; sequence:
    the number of the last change."""

    logs: tuple[str, ...]
    sectors: int
    sequence: int

    @property
    def words(self) -> str:
        """In one line, for evidence."""
        names = ", ".join(name.rpartition("/")[2] for name in self.logs)
        return (
            f"read with {self.sectors * SECTOR >> 10} KiB of {names}"
            if names
            else "its logs hold nothing newer"
        )


@dataclass(frozen=True)
class _Log:
    name: str
    stream: BinaryIO
    size: int
    base: BaseBlock

    def read(self, at: int, length: int) -> bytes:
        with reading_stream(self.name):
            self.stream.seek(at)
            return self.stream.read(length)


def replay(hive: HiveFile, logs: Logs) -> Replayed | None:
    """Lays what the logs hold over the hive; None for a hive that was written out.

    Raises GuestReadFailed where that can't be done, or not be told: then what the hive says is not what
    Windows will read.
    """
    base = hive.base
    if base.sound and base.first == base.second:
        return None
    new: list[_Log] = []
    old: list[_Log] = []
    strange: list[str] = []
    for name, stream in logs():
        if name.endswith(SINGLE) and (new or old or strange):
            break  # of an installation image, where there are two others
        log = _open(hive, name, stream)
        if isinstance(log, _Log):
            (new if log.base.type == OF_NEW_FORMAT else old).append(log)
        elif log is not None:
            strange.append(log)
    if new:
        return _replay_entries(hive, new)
    if old:
        return _replay_pages(hive, old)
    if strange:
        names = " and ".join(strange)
        raise _cannot(hive, f"{names} does not begin as a log", f"{'、'.join(strange)} 的开头不是日志")
    if not base.sound:
        raise hive.damaged("the checksum of its base block is wrong", "其基本块的校验和错误")
    return Replayed((), 0, base.first)


def _cannot(hive: HiveFile, en: str, zh: str) -> GuestReadFailed:
    return GuestReadFailed(
        Text(
            en=f"The registry hive {hive.path} was being written when the image was made, and its last"
            f" changes can't be read from its log: {en}. Shut the source down and export the disk again.",
            zh=f"制作镜像时注册表配置单元 {hive.path} 正在写入，且无法从其日志读取最后的更改：{zh}。"
            "请将源机器关机后重新导出磁盘。",
        )
    )


def _open(hive: HiveFile, name: str, stream: BinaryIO) -> _Log | str | None:
    """A log with a base block; None for an empty one (no bytes, or zeros), its name for one that is no log,
    which Windows passes over."""
    with reading_stream(name):
        size = stream.seek(0, 2)
        stream.seek(0)
        head = stream.read(BASE_BLOCK_SECTOR)
    if not any(head):
        return None
    base = parse_base_block(head)
    if size > LARGEST_LOG:
        raise _cannot(hive, f"{name} has {size} bytes", f"{name} 大小为 {size} 字节")
    if base is None or not base.sound or base.type not in (*OF_OLD_FORMAT, OF_NEW_FORMAT):
        return name
    return _Log(name, stream, size, base)


# New format


def _replay_entries(hive: HiveFile, logs: list[_Log]) -> Replayed:
    """The entries of both logs, that with the earlier ones first, as far as they follow one another."""
    if len(logs) == 2 and _later(logs[0].base.first, logs[1].base.first):
        logs.reverse()
    if hive.base.sound:
        logs = [log for log in logs if not _later(hive.base.second, log.base.first)]
    else:
        logs = logs[-1:]  # so does Windows, whose base block is then the log's
    sectors: Sectors = {}
    used: list[str] = []
    base: BaseBlock | None = None if hive.base.sound else replace(logs[0].base, type=0)
    last: int | None = None
    left = MOST_REPLAYED
    for log in logs:
        if last is not None and log.base.first != (last + 1) & _WORD:
            break
        at, wanted = BASE_BLOCK_SECTOR, log.base.first
        while True:
            entry = _entry(hive, log, at, wanted, left)
            if entry is None:
                break
            size, bins, pages = entry
            left -= size
            base = replace(log.base, bins=bins, type=0)
            for start, data in pages:
                _lay(sectors, start, data)
            used += [log.name] if log.name not in used else []
            last, at, wanted = wanted, at + size, (wanted + 1) & _WORD
    if base is not None:
        hive.change(sectors, base)
    return Replayed(tuple(used), len(sectors), hive.base.first if last is None else last)


def _later(one: int, other: int) -> bool:
    """Whether a sequence number comes after another: they wrap around."""
    return 0 < (one - other) & _WORD < 0x80000000


def _entry(
    hive: HiveFile, log: _Log, at: int, wanted: int, left: int
) -> tuple[int, int, list[tuple[int, bytes]]] | None:
    """The entry at a place: its size, the bytes of bins after it, the pages with their place in its file.

    None where there is none that is whole and has the sequence number `wanted`.
    """
    head = log.read(at, _ENTRY.size)
    if len(head) < _ENTRY.size:
        return None
    mark, size, _, number, bins, count, of_body, of_head = _ENTRY.unpack(head)
    if mark != b"HvLE" or number != wanted or size % SECTOR or not _ENTRY.size < size <= log.size - at:
        return None
    if bins % BASE_BLOCK or bins > LARGEST_HIVE or marvin32(head[:32]) != of_head:
        return None
    if size > left:
        raise _cannot(
            hive,
            f"{log.name} holds more than {MOST_REPLAYED >> 20} MiB of changes",
            f"{log.name} 中的更改超过 {MOST_REPLAYED >> 20} MiB",
        )
    body = log.read(at + _ENTRY.size, size - _ENTRY.size)
    if len(body) != size - _ENTRY.size or marvin32(body) != of_body:
        return None
    pages = []
    start = count * 8
    for reference in range(min(count, len(body) // 8)):
        offset, length = struct.unpack_from("<II", body, reference * 8)
        if offset % SECTOR or length % SECTOR or offset + length > bins or start + length > len(body):
            raise _cannot(hive, f"an entry of {log.name} contradicts itself", f"{log.name} 的记录自相矛盾")
        pages.append((BASE_BLOCK + offset, body[start : start + length]))
        start += length
    if count * 8 > len(body):
        raise _cannot(hive, f"an entry of {log.name} contradicts itself", f"{log.name} 的记录自相矛盾")
    return size, bins, pages


def _lay(sectors: Sectors, start: int, data: bytes) -> None:
    for at in range(0, len(data), SECTOR):
        sectors[(start + at) // SECTOR] = data[at : at + SECTOR]


def marvin32(data: bytes, seed: int = SEED) -> int:
    """The keyed hash of log entries (US patent 20130262421), with the key that all logs have."""
    low, high = seed & _WORD, seed >> 32
    whole = len(data) & ~3
    words = array("I", data[:whole])
    if sys.byteorder == "big":
        words.byteswap()
    words.append(int.from_bytes(data[whole:] + b"\x80", "little"))
    words.append(0)
    for word in words:
        low = (low + word) & _WORD
        high ^= low
        low = ((low << 20 | low >> 12) + high) & _WORD
        high = ((high << 9 | high >> 23) & _WORD) ^ low
        low = ((low << 27 | low >> 5) + high) & _WORD
        high = (high << 19 | high >> 13) & _WORD
    return high << 32 | low


# Old format


def _replay_pages(hive: HiveFile, logs: list[_Log]) -> Replayed:
    """The changed pages of the log that belongs to the hive's last write, which both date alike."""
    whole = [log for log in logs if log.base.first == log.base.second]
    written = hive.base.written if hive.base.sound else hive.first_bin_written()
    fitting = [log for log in whole if log.base.written == written]
    if not fitting:
        if whole and hive.base.sound and all(log.base.written < written for log in whole):
            return Replayed((), 0, hive.base.first)  # of earlier writes, which are in the hive
        raise _cannot(hive, "none is whole and of the hive's last write", "没有完整且属于最后一次写入的日志")
    if len(whole) > 1 and any(log.base.written > written for log in whole):
        raise _cannot(hive, "two logs claim to be the last", "两个日志都自称为最后一次写入")
    log = fitting[0]
    bins = log.base.bins
    length = -(-bins // SECTOR // 8)
    if bins % BASE_BLOCK or bins > LARGEST_HIVE:
        raise _cannot(hive, f"{log.name} contradicts itself", f"{log.name} 自相矛盾")
    vector = log.read(BASE_BLOCK_SECTOR, 4 + length)
    if vector[:4] != b"DIRT" or len(vector) < 4 + length:
        raise _cannot(hive, f"{log.name} holds no changed pages", f"{log.name} 中没有更改的页")
    at = BASE_BLOCK_SECTOR + -(-(4 + length) // SECTOR) * SECTOR
    sectors: Sectors = {}
    for byte, bits in enumerate(vector[4:]):
        for bit in range(8) if bits else ():
            if bits >> bit & 1:
                data = log.read(at, SECTOR)
                if len(data) < SECTOR or len(sectors) * SECTOR >= MOST_REPLAYED:
                    raise _cannot(hive, f"{log.name} is not whole, or too large", f"{log.name} 不完整或过大")
                sectors[BASE_BLOCK // SECTOR + byte * 8 + bit] = data
                at += SECTOR
    hive.change(sectors, replace(log.base, type=0))
    return Replayed((log.name,), len(sectors), log.base.first)
