"""A MemoryTree whose files have owners and modes; programs (ELF files, scripts) are executable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from imgtool.guest.filesystem import GuestReadFailed, Stat
from imgtool.text import Text
from tests.guest.memory_tree import Link, MemoryTree

__all__ = ["Link", "OwnedTree", "elf"]


class OwnedTree(MemoryTree):
    def __init__(
        self,
        files: Mapping[str, bytes | str | Link],
        owned: Mapping[str, tuple[int, int, int]] | None = None,
        mounts: dict[str, Any] | None = None,
    ) -> None:
        """owned: path -> (mode, uid, gid)."""
        super().__init__(dict(files), mounts)
        self.owned = dict(owned or {})
        self.attributes: dict[str, bytes] | None = {}
        """Each file's one extended attribute; None for a filesystem that has no reader of them."""

    def attribute(self, path: str, name: str) -> bytes | None:
        if self.attributes is None:
            raise GuestReadFailed(Text.same("no reader of extended attributes"))
        assert name == "security.selinux"
        return self.attributes.get(self.realpath(path))

    def _stat(self, real: str) -> Stat:
        found = super()._stat(real)
        content = self.files.get(real)
        if isinstance(content, bytes) and content.startswith((b"#!", b"\x7fELF")):
            found = replace(found, mode=0o755)
        if real in self.owned:
            mode, uid, gid = self.owned[real]
            found = replace(found, mode=mode, uid=uid, gid=gid)
        return found


def elf(machine: int, bits: int = 64, big_endian: bool = False) -> bytes:
    """The first bytes of an ELF program for a machine (e_machine)."""
    order = "big" if big_endian else "little"
    start = b"\x7fELF" + bytes([1 if bits == 32 else 2, 2 if big_endian else 1, 1]) + bytes(9)
    return start + (2).to_bytes(2, order) + machine.to_bytes(2, order) + bytes(44)
