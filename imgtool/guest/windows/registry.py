"""Registry hives: keys by path, values by type, every length bounded.

Names are compared without regard to case, as Windows compares them. What is damaged is GuestReadFailed: a key
is absent only where the list of its parent is whole and does not name it. Format: Maxim Suhanov, "Windows
registry file format specification"; the bytes, and the budget for what is read of one hive, are hive_file's.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from imgtool.guest.filesystem import GuestReadFailed
from imgtool.guest.windows.hive_file import HiveFile, Logs
from imgtool.guest.windows.hive_logs import Replayed, replay
from imgtool.guest.windows_names import upper
from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

LOG_ENDS = (".LOG1", ".LOG2", ".LOG")
MOST_KEYS = 100_000
"""Subkeys that one key may have; a real Services has about 600, a real Packages some ten thousand."""
MOST_VALUES = 100_000
"""Values that one key may have; the firewall rules of a terminal server can be tens of thousands."""
DEEPEST = 512
"""Levels of keys that Windows allows."""
LARGEST_VALUE = 1 << 20
"""Bytes of a value that are read."""
LONGEST_TEXT = 32_767
"""Characters of a string that are read: no path of Windows is longer."""
LONGEST_KEY_NAME, LONGEST_VALUE_NAME = 512, 32_766
"""Bytes: 256 and 16,383 characters of UTF-16."""
SEGMENT = 16_344
"""Bytes in each part of a value that is split, as those of more are since version 1.4."""

REG_SZ, REG_EXPAND_SZ, REG_BINARY, REG_DWORD, REG_DWORD_BE, REG_LINK, REG_MULTI_SZ = 1, 2, 3, 4, 5, 6, 7
_STRINGS = (REG_SZ, REG_EXPAND_SZ, REG_LINK)
_KEY = struct.Struct("<2sH16xI4xI4xII28xHH")
_VALUE = struct.Struct("<2sHIIIH2x")
_OF_ONE_BYTE = 0x20
"""A key's flag: its name is Latin-1, not UTF-16. A value's is 1."""
_IN_PLACE = 0x80000000


@dataclass(frozen=True)
class _Node:
    """A key as it is stored. list, values: offsets."""

    name: str
    subkeys: int
    list: int
    value_count: int
    values: int


@dataclass(frozen=True)
class _Value:
    """size: bytes; place: offset of the data, or the data itself where `here`."""

    name: str
    type: int
    size: int
    place: int
    here: bool


class Hive:
    """One hive, with what its logs hold laid over it. path: where the guest has it, for messages.

    logs: opens the logs beside it, which only a hive needs that Windows was writing. replayed: what of them
    was used; None where the hive was written out. Raises GuestReadFailed from all that reads.
    """

    def __init__(self, stream: BinaryIO, path: str, logs: Logs | None = None) -> None:
        self.path = path
        self._file = HiveFile(stream, path)
        self.replayed: Replayed | None = replay(self._file, logs or list)
        self._file.demand_whole()
        self.root = Key(self._file, self._file.root, "")
        """The key at the top, whose own name means nothing."""

    @property
    def dirty(self) -> bool:
        """Windows was writing it when the image was made."""
        return self.replayed is not None

    def written_out(self) -> bytes:
        """The hive as the next start of Windows writes it: what its logs hold is in it. Raises
        GuestReadFailed."""
        last = self.replayed.sequence if self.replayed is not None else self._file.base.first
        return self._file.whole((last + 1) & 0xFFFFFFFF)

    def key(self, path: str) -> Key | None:
        """The key at a path such as `ControlSet001\\Services\\viostor`; None where there is none."""
        return self.root.key(path)


class Key:
    """A key. path: from the hive's top, as it is written there; name: its last part."""

    def __init__(self, hive: HiveFile, offset: int, above: str, within: frozenset[int] = frozenset()) -> None:
        self._hive = hive
        self._node = _node(hive, offset, above)
        self.name = self._node.name if within else ""
        self.path = f"{above}\\{self.name}" if above else self.name
        self._within = within | {offset}
        self._values: dict[str, _Value] | None = None
        self._listed: list[tuple[int, int | None]] | None = None
        self._unread: GuestReadFailed | None = None

    def _damaged(self, en: str, zh: str) -> GuestReadFailed:
        shown = self.path[:200]
        return self._hive.damaged(f"{shown or 'root key'}: {en}", f"{shown or '根键'}：{zh}")

    def key(self, path: str) -> Key | None:
        """A key below this one, by its path; None where there is none."""
        here = self
        for name in path.split("\\"):
            below = here._child(name)
            if below is None:
                return None
            here = below
        return here

    def keys(self) -> Iterator[Key]:
        """The keys right below, as the hive has them: sorted by upper-case name."""
        for offset, _ in self._subkeys():
            yield self._below(offset)

    def names(self) -> list[str]:
        """The names of the keys right below."""
        return [it.name for it in self.keys()]

    def _child(self, name: str) -> Key | None:
        wanted = upper(name)
        listed = self._subkeys()
        hash_ = _hash(wanted)
        for offset, hashed in listed:
            if hashed == hash_:
                below = self._below(offset)
                if upper(below.name) == wanted:
                    return below
        for offset, hashed in listed:
            if hashed != hash_:
                below = self._below(offset)
                if upper(below.name) == wanted:
                    if hashed is None or not name.isascii():
                        return below
                    raise self._damaged(f"the hash of {name[:80]} is wrong", f"{name[:80]} 的哈希值错误")
        return None

    def _below(self, offset: int) -> Key:
        if offset in self._within:
            raise self._damaged("a key is its own subkey", "键是其自身的子键")
        if len(self._within) >= DEEPEST:
            raise self._damaged(f"keys are more than {DEEPEST} levels deep", f"键的层级超过 {DEEPEST}")
        return Key(self._hive, offset, self.path, self._within)

    def _subkeys(self) -> list[tuple[int, int | None]]:
        """Offset of each subkey, and the hash of its name where the list has hashes."""
        if self._listed is None:
            self._listed = self._read_subkeys() if self._node.subkeys else []
        return self._listed

    def _read_subkeys(self) -> list[tuple[int, int | None]]:
        node, hive = self._node, self._hive
        if node.subkeys > MOST_KEYS:
            raise self._damaged(f"{node.subkeys} subkeys", f"有 {node.subkeys} 个子键")
        mark, count = _list_head(hive, node.list)
        lists = [node.list]
        if mark == b"ri":
            if count > node.subkeys:
                raise self._damaged("its list of subkeys contradicts itself", "子键列表自相矛盾")
            lists = list(
                struct.unpack_from(
                    f"<{count}I", hive.cell(node.list, 4 + 4 * count, 4 + 4 * count, "list of subkeys"), 4
                )
            )
        found: list[tuple[int, int | None]] = []
        for each in lists:
            mark, count = _list_head(hive, each)
            if len(found) + count > node.subkeys:
                break
            found += _leaf(hive, each, mark, count)
        if len(found) != node.subkeys or len({offset for offset, _ in found}) != node.subkeys:
            raise self._damaged(
                f"its list does not name {node.subkeys} subkeys, each once",
                f"其列表未恰好列出 {node.subkeys} 个子键（每个一次）",
            )
        return found

    def values(self) -> list[str]:
        """The names of the values; "" is the default value's."""
        found = self._all()
        if self._unread is not None:
            raise self._unread
        return [value.name for value in found.values()]

    def text(self, name: str) -> str | None:
        """A string value (REG_SZ, REG_EXPAND_SZ) up to its NUL, or to 32,767 characters; None where there is
        none of that type."""
        value = self._value(name)
        if value is None or value.type not in _STRINGS:
            return None
        return self._bytes(value, 2 * LONGEST_TEXT).decode("utf-16-le", "replace").split("\0")[0]

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of strings (REG_MULTI_SZ, or the one of REG_SZ); None where there is none of that type."""
        value = self._value(name)
        if value is None or value.type not in (*_STRINGS, REG_MULTI_SZ):
            return None
        whole = self._whole(value).decode("utf-16-le", "replace")
        return tuple(part[:LONGEST_TEXT] for part in whole.split("\0") if part)

    def number(self, name: str) -> int | None:
        """A REG_DWORD, or four bytes that were written as REG_BINARY; None where there is none."""
        value = self._value(name)
        if value is None or value.type not in (REG_DWORD, REG_DWORD_BE, REG_BINARY) or value.size != 4:
            return None
        return int.from_bytes(self._bytes(value, 4), "big" if value.type == REG_DWORD_BE else "little")

    def data(self, name: str) -> bytes | None:
        """The bytes of a value of whatever type; None where there is none."""
        value = self._value(name)
        return None if value is None else self._whole(value)

    def type_of(self, name: str) -> int | None:
        """The type of a value: REG_SZ and so on; None where there is none."""
        value = self._value(name)
        return None if value is None else value.type

    def has(self, name: str) -> bool:
        """Whether there is a value of that name."""
        return self._value(name) is not None

    def _value(self, name: str) -> _Value | None:
        found = self._all().get(upper(name))
        if found is None and self._unread is not None:
            raise self._unread  # it may be the one that was asked for
        return found

    def _all(self) -> dict[str, _Value]:
        """The values by upper-case name. One that can't be read does not hide the others."""
        if self._values is None:
            node, found = self._node, dict[str, _Value]()
            if node.value_count > MOST_VALUES:
                raise self._damaged(f"{node.value_count} values", f"有 {node.value_count} 个值")
            length = 4 * node.value_count
            listed = self._hive.cell(node.values, length, length, "list of values") if length else b""
            for (offset,) in struct.iter_unpack("<I", listed):
                try:
                    value = _value(self._hive, offset)
                    found.setdefault(upper(value.name), value)
                except GuestReadFailed as error:
                    self._unread = error
            self._values = found
        return self._values

    def _whole(self, value: _Value) -> bytes:
        if value.size > LARGEST_VALUE:
            shown = value.name[:80] or "(default)"
            raise self._damaged(
                f"value {shown} of {value.size} bytes; at most {LARGEST_VALUE} are read",
                f"值 {shown} 有 {value.size} 字节，最多读取 {LARGEST_VALUE} 字节",
            )
        return self._bytes(value, value.size)

    def _bytes(self, value: _Value, most: int) -> bytes:
        """The first `most` bytes of a value."""
        length, hive = min(value.size, most), self._hive
        if value.here:
            return value.place.to_bytes(4, "little")[:length]
        if not length:
            return b""
        if value.size > SEGMENT and hive.minor > 3 and hive.content_size(value.place) < value.size:
            return self._joined(value, length)
        return hive.cell(value.place, value.size, length, "value's data")

    def _joined(self, value: _Value, length: int) -> bytes:
        """The first `length` bytes of a value that is split into segments."""
        hive = self._hive
        head = hive.cell(value.place, 8, 8, "split value")
        count, listed = struct.unpack_from("<HI", head, 2)
        if head[:2] != b"db" or count != -(-value.size // SEGMENT):
            raise self._damaged(
                f"the parts of value {value.name[:80]} are not {value.size} bytes",
                f"值 {value.name[:80]} 的各部分不足 {value.size} 字节",
            )
        places = struct.unpack(f"<{count}I", hive.cell(listed, 4 * count, 4 * count, "split value"))
        parts = []
        for number, place in enumerate(places[: -(-length // SEGMENT)]):
            part = min(SEGMENT, value.size - number * SEGMENT)
            parts.append(hive.cell(place, part, min(part, length - number * SEGMENT), "split value"))
        return b"".join(parts)


def _node(hive: HiveFile, offset: int, above: str) -> _Node:
    data = hive.cell(offset, _KEY.size, _KEY.size + LONGEST_KEY_NAME, "key")
    mark, flags, subkeys, listed, values, value_list, length, _ = _KEY.unpack_from(data)
    raw = data[_KEY.size : _KEY.size + length]
    if mark != b"nk" or len(raw) != length or not length:
        shown = above[:200] or "root key"
        raise hive.damaged(
            f"a subkey of {shown} at {offset:#x} is no key", f"{shown} 的子键（{offset:#x} 处）不是键"
        )
    return _Node(_decoded(raw, flags & _OF_ONE_BYTE), subkeys, listed, values, value_list)


def _list_head(hive: HiveFile, offset: int) -> tuple[bytes, int]:
    data = hive.cell(offset, 4, 4, "list of subkeys")
    return data[:2], int.from_bytes(data[2:], "little")


def _leaf(hive: HiveFile, offset: int, mark: bytes, count: int) -> list[tuple[int, int | None]]:
    """The keys that one list names; a list of lists names lists only."""
    if mark == b"li":
        data = hive.cell(offset, 4 + 4 * count, 4 + 4 * count, "list of subkeys")
        return [(each, None) for (each,) in struct.iter_unpack("<I", data[4:])]
    if mark not in (b"lf", b"lh"):
        raise hive.damaged(f"a list of subkeys at {offset:#x} is none", f"{offset:#x} 处的子键列表不是列表")
    data = hive.cell(offset, 4 + 8 * count, 4 + 8 * count, "list of subkeys")
    pairs = struct.iter_unpack("<II", data[4:])
    return list(pairs) if mark == b"lh" else [(each, None) for each, _ in pairs]


def _value(hive: HiveFile, offset: int) -> _Value:
    data = hive.cell(offset, _VALUE.size, _VALUE.size + LONGEST_VALUE_NAME, "value")
    mark, length, size, place, type_, flags = _VALUE.unpack_from(data)
    raw = data[_VALUE.size : _VALUE.size + length]
    here = bool(size & _IN_PLACE)
    size &= ~_IN_PLACE
    if mark != b"vk" or len(raw) != length or (here and size > 4):
        raise hive.damaged(f"a value at {offset:#x} is none", f"{offset:#x} 处的值不是值")
    return _Value(_decoded(raw, flags & 1), type_, size, place, here)


def _decoded(raw: bytes, of_one_byte: int) -> str:
    return raw.decode("latin-1") if of_one_byte else raw.decode("utf-16-le", "replace")


def _hash(upper: str) -> int:
    word = 0
    for (unit,) in struct.iter_unpack("<H", upper.encode("utf-16-le", "surrogatepass")):
        word = (37 * word + unit) & 0xFFFFFFFF
    return word


def open_hive(tree: Tree, path: str) -> Hive:
    """A hive of the guest with the logs beside it. Raises CannotRead, NotInGuest where there is none."""

    def logs() -> list[tuple[str, BinaryIO]]:
        return [(path + end, tree.open(path + end)) for end in LOG_ENDS if tree.is_file(path + end)]

    return Hive(tree.open(path), path, logs)
