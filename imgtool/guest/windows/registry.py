"""Registry hives through libregf: keys by path, values by type, every length bounded.

Names are compared without regard to case, as Windows compares them. What libregf can't read, or finds
damaged, is GuestReadFailed: a key is absent only where its parent could be read and does not list it. Format:
the base block and its sequence numbers as in the header that every hive begins with ("regf").
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from imgtool.guest.filesystem import GuestReadFailed
from imgtool.text import Text

LARGEST_HIVE = 2 << 30
"""Bytes: Windows itself takes no larger one."""
MOST_KEYS = 100_000
"""Subkeys that one key may have; a real Services has about 600, a real Packages some ten thousand."""
MOST_VALUES = 10_000
LARGEST_VALUE = 1 << 20
"""Bytes of a value that are read."""

REG_SZ, REG_EXPAND_SZ, REG_BINARY, REG_DWORD, REG_DWORD_BE, REG_LINK, REG_MULTI_SZ = 1, 2, 3, 4, 5, 6, 7
_STRINGS = (REG_SZ, REG_EXPAND_SZ, REG_LINK)
_BASE_BLOCK = struct.Struct("<4sII")
DAMAGE = (OSError, ValueError, OverflowError, RuntimeError, MemoryError, TypeError, AttributeError)
"""What libregf raises."""


def damaged_hive(path: str, why: str) -> GuestReadFailed:
    """A hive, or a part of it, that contradicts its format."""
    return GuestReadFailed(
        Text(
            en=f"The registry hive {path} is damaged: {why}.",
            zh=f"注册表配置单元 {path} 已损坏：{why}。",
        )
    )


@contextmanager
def _reading(path: str, what: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        raise damaged_hive(path, f"{what}: {str(error).split('. ')[0][:200]}") from error


class Hive:
    """One hive. path: where the guest has it, for messages. Raises GuestReadFailed from all that reads."""

    def __init__(self, stream: BinaryIO, path: str) -> None:
        import pyregf

        self.path = path
        with _reading(path, "base block"):
            head = stream.read(_BASE_BLOCK.size)
            size = stream.seek(0, 2)
            stream.seek(0)
        if len(head) < _BASE_BLOCK.size or head[:4] != b"regf":
            raise damaged_hive(path, "it does not begin with regf")
        if size > LARGEST_HIVE:
            raise damaged_hive(path, f"it has {size} bytes")
        _, first, second = _BASE_BLOCK.unpack(head)
        self.dirty: bool = first != second
        """Windows was writing it when the image was made: what its logs hold is not in it yet."""
        self._stream = stream
        self._file: Any = pyregf.file()
        with _reading(path, "hive"):
            self._file.open_file_object(stream)
            self._root = self._file.get_root_key()
        if self._root is None:
            raise damaged_hive(path, "it has no root key")

    @property
    def root(self) -> Key:
        """The key at the top, whose own name means nothing."""
        return Key(self, self._root, "")

    def key(self, path: str) -> Key | None:
        """The key at a path such as `ControlSet001\\Services\\viostor`; None where there is none."""
        return self.root.key(path)


class Key:
    """A key. path: from the hive's top, as it is written there."""

    def __init__(self, hive: Hive, key: Any, path: str, above: frozenset[int] = frozenset()) -> None:
        self.hive = hive
        self.path = path
        self._key = key
        with self._reading("key"):
            offset = key.offset
        if offset in above:
            raise damaged_hive(hive.path, f"{path}: a key is its own subkey")
        self._within = above | {offset}
        self._values: dict[str, Any] | None = None
        self._unread: GuestReadFailed | None = None

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("\\")[2]

    def _reading(self, what: str) -> Any:
        return _reading(self.hive.path, f"{self.path or 'root key'}: {what}")

    def key(self, path: str) -> Key | None:
        """A key below this one, by its path; None where there is none."""
        here = self
        for name in path.split("\\"):
            with here._reading("subkeys"):
                below = here._key.get_sub_key_by_name(name)
                written = None if below is None else below.name
            if below is None:
                # libregf compares ASCII without case only
                below = None if name.isascii() else here._by_folded_name(name)
                if below is None:
                    return None
                with here._reading("subkeys"):
                    written = below.name
            here = Key(self.hive, below, f"{here.path}\\{written}".lstrip("\\"), here._within)
        return here

    def _by_folded_name(self, name: str) -> Any:
        return next((it._key for it in self.keys() if it.name.upper() == name.upper()), None)

    def keys(self) -> Iterator[Key]:
        """The keys right below, as the hive has them: sorted by upper-case name."""
        with self._reading("subkeys"):
            count = self._key.number_of_sub_keys
        if count > MOST_KEYS:
            raise damaged_hive(self.hive.path, f"{self.path}: {count} subkeys")
        for index in range(count):
            with self._reading(f"subkey {index}"):
                below = self._key.get_sub_key(index)
                name = None if below is None else below.name
            if name is None:
                raise damaged_hive(self.hive.path, f"{self.path}: subkey {index} is missing")
            yield Key(self.hive, below, f"{self.path}\\{name}".lstrip("\\"), self._within)

    def names(self) -> list[str]:
        """The names of the keys right below."""
        return [it.name for it in self.keys()]

    def values(self) -> list[str]:
        """The names of the values; "" is the default value's."""
        found = self._all()
        if self._unread is not None:
            raise self._unread
        return [value.name or "" for value in found.values()]

    def text(self, name: str) -> str | None:
        """A string value (REG_SZ, REG_EXPAND_SZ) up to its NUL; None where there is none of that type."""
        value = self._value(name)
        if value is None or value.type not in _STRINGS:
            return None
        return self._bytes(value, name).decode("utf-16-le", "replace").split("\0")[0]

    def texts(self, name: str) -> tuple[str, ...] | None:
        """A list of strings (REG_MULTI_SZ, or the one of REG_SZ); None where there is none of that type."""
        value = self._value(name)
        if value is None or value.type not in (*_STRINGS, REG_MULTI_SZ):
            return None
        whole = self._bytes(value, name).decode("utf-16-le", "replace")
        return tuple(part for part in whole.split("\0") if part)

    def number(self, name: str) -> int | None:
        """A REG_DWORD, or four bytes that were written as REG_BINARY; None where there is none."""
        value = self._value(name)
        if value is None or value.type not in (REG_DWORD, REG_DWORD_BE, REG_BINARY):
            return None
        data = self._bytes(value, name)
        order = "big" if value.type == REG_DWORD_BE else "little"
        return int.from_bytes(data, order) if len(data) == 4 else None  # type: ignore[arg-type]

    def data(self, name: str) -> bytes | None:
        """The bytes of a value of whatever type; None where there is none."""
        value = self._value(name)
        return None if value is None else self._bytes(value, name)

    def type_of(self, name: str) -> int | None:
        """The type of a value: REG_SZ and so on; None where there is none."""
        value = self._value(name)
        return None if value is None else int(value.type)

    def has(self, name: str) -> bool:
        """Whether there is a value of that name."""
        return self._value(name) is not None

    def _value(self, name: str) -> Any:
        found = self._all().get(name.upper())
        if found is None and self._unread is not None:
            raise self._unread  # it may be the one that was asked for
        return found

    def _all(self) -> dict[str, Any]:
        """The values by upper-case name. One that can't be read does not hide the others."""
        if self._values is None:
            found: dict[str, Any] = {}
            with self._reading("values"):
                count = self._key.number_of_values
            if count > MOST_VALUES:
                raise damaged_hive(self.hive.path, f"{self.path}: {count} values")
            for index in range(count):
                try:
                    with self._reading(f"value {index}"):
                        value = self._key.get_value(index)
                        found.setdefault((value.name or "").upper(), value)
                except GuestReadFailed as error:
                    self._unread = error
            self._values = found
        return self._values

    def _bytes(self, value: Any, name: str) -> bytes:
        with self._reading(f"value {name or '(default)'}"):
            if value.data_size > LARGEST_VALUE:
                raise damaged_hive(self.hive.path, f"{self.path}: value {name} of {value.data_size} bytes")
            return value.data or b""
