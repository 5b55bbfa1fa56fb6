"""Hives put together cell by cell, as no Windows would: for what a reader must survive."""

from __future__ import annotations

import struct

from fixtures.windows import hive

NOWHERE = hive.NONE


class HandMade:
    """Cells in one bin, and a root key that is made last."""

    def __init__(self, minor: int = 5) -> None:
        self.minor = minor
        self.cells = bytearray()

    def cell(self, content: bytes, size: int | None = None) -> int:
        """Its offset. size: what its header says, where that is not the truth (positive: not in use)."""
        offset = hive.BIN.sizeof() + len(self.cells)
        made = bytearray(hive._cell(content))
        if size is not None:
            struct.pack_into("<I", made, 0, size & 0xFFFFFFFF)
        self.cells += made
        return offset

    def key(
        self,
        name: bytes,
        *,
        subkeys: tuple[int, int] = (0, NOWHERE),
        values: tuple[int, int] = (0, NOWHERE),
        flags: int = 0x20,
        name_length: int | None = None,
    ) -> int:
        """subkeys, values: how many, and the offset of their list."""
        return self.cell(node(name, subkeys, values, flags, name_length))

    def leaf(self, mark: bytes, keys: list[int], hashes: list[int] | None = None) -> int:
        """A list of subkeys: li, lf or lh."""
        pairs = zip(keys, hashes or [0] * len(keys), strict=True)
        body = b"".join(
            struct.pack("<II", *it) if mark != b"li" else struct.pack("<I", it[0]) for it in pairs
        )
        return self.cell(mark + struct.pack("<H", len(keys)) + body)

    def value(self, name: bytes, type_: int, size: int, place: int, flags: int = 1) -> int:
        return self.cell(struct.pack("<2sHIIIHH", b"vk", len(name), size, place, type_, flags, 0) + name)

    def list(self, offsets: list[int]) -> int:
        return self.cell(struct.pack(f"<{len(offsets)}I", *offsets))

    def data(self, **root: tuple[int, int]) -> bytes:
        """The hive. root: the root key's subkeys and values."""
        top = self.key(b"root", **root)  # type: ignore[arg-type]
        used = hive.BIN.sizeof() + len(self.cells)
        size = -(-(used + 8) // hive.PAGE) * hive.PAGE
        head = hive.BIN.build({"offset": 0, "size": size, "reserved": 0, "written": 0, "spare": 0})
        bin_ = (head + self.cells + struct.pack("<i", size - used)).ljust(size, b"\0")
        base = bytearray(hive._base("", top)[: hive.PAGE])
        struct.pack_into("<I", base, 24, self.minor)
        struct.pack_into("<I", base, 40, size)
        struct.pack_into("<I", base, 508, hive.checksum(bytes(base)))
        return bytes(base) + bin_


def node(
    name: bytes, subkeys: tuple[int, int], values: tuple[int, int], flags: int, length: int | None
) -> bytes:
    """A key's record."""
    return (
        hive.KEY.build(
            {
                "flags": flags,
                "written": 0,
                "access": 0,
                "parent": 0,
                "subkeys": subkeys[0],
                "volatile_subkeys": 0,
                "subkey_list": subkeys[1],
                "volatile_list": NOWHERE,
                "values": values[0],
                "value_list": values[1],
                "class_name": NOWHERE,
                "largest": bytes(20),
                "name_length": len(name) if length is None else length,
                "class_length": 0,
                "security": NOWHERE,
            }
        )
        + name
    )
