"""An archive put behind an initramfs: what the kernel unpacks last counts (init/initramfs.c of Linux).

Any compression will do, and no program of the guest is needed: the archive behind is not compressed, and
begins on a multiple of 4. Only LZ4's legacy stream has no end mark: whatever follows is taken for its next
block. So there the archive is a block of that stream.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from imgtool.errors import CannotRead
from imgtool.guest.compression import LZ4_BLOCK
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.initramfs import Initramfs
    from imgtool.repair.draft import Draft

ALIGNMENT = 4
TRAILER = "TRAILER!!!"
FIRST_INODE = 0x696D6700  # far from those of the archives before: equal ones would be taken for links


@dataclass(frozen=True)
class Member:
    """A file or, without content, a folder of an archive."""

    name: str
    content: bytes | None
    mode: int = 0o644


def archive(members: Iterable[Member]) -> bytes:
    """A cpio archive ("newc") of these members, in this order, to its last padding."""
    parts = [_member(member, FIRST_INODE + number) for number, member in enumerate(members)]
    return b"".join((*parts, _entry(TRAILER, 0, b"", 0)))


def _member(member: Member, inode: int) -> bytes:
    if member.content is None:
        return _entry(member.name, stat.S_IFDIR | 0o755, b"", inode)
    return _entry(member.name, stat.S_IFREG | member.mode, member.content, inode)


def _entry(name: str, mode: int, data: bytes, inode: int) -> bytes:
    raw = name.encode("utf-8", "surrogateescape") + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(raw), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + raw
    return _padded(header) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)


@dataclass(frozen=True)
class Addition:
    """What turns an initramfs file into one with the archive behind: its first `keep` bytes stay, then
    `content` follows."""

    keep: int
    content: bytes


def addition(made: bytes, stream: BinaryIO, size: int, listed: Initramfs) -> Addition:
    """How to put an archive behind the initramfs in a stream of `size` bytes. Raises CannotRead."""
    last = listed.archives[-1]
    if last.compression == "lz4":
        return Addition(_end_of_lz4(stream, last.offset, size), b"".join(_lz4_blocks(made)))
    end = size if listed.tail is None else listed.tail
    return Addition(end, bytes(-end % ALIGNMENT) + made)


def put_behind(
    draft: Draft, path: str, listed: Initramfs, members: Sequence[Member], why: Text | None = None
) -> None:
    """Put an archive of these members behind the initramfs at a path of the guest. why: for people.

    Raises CannotRead, CannotMend.
    """
    tree = draft.tree
    with tree.open(path) as stream:
        size = tree.stat(path).size
        added = addition(archive(members), stream, size, listed)
    if added.keep == size:
        draft.append(path, added.content, tuple(it.name for it in members if it.content is not None), why)
    else:  # bytes that the kernel would stumble over lie behind the last archive
        whole = tree.read(path, limit=size)[: added.keep] + added.content
        draft.replace(path, whole, why)


def _lz4_blocks(data: bytes) -> Iterable[bytes]:
    import lz4.block

    for start in range(0, len(data), LZ4_BLOCK):
        block: bytes = lz4.block.compress(
            data[start : start + LZ4_BLOCK], mode="high_compression", store_size=False
        )
        yield struct.pack("<I", len(block)) + block


def _end_of_lz4(stream: BinaryIO, offset: int, size: int) -> int:
    """Where the blocks of a legacy stream end: at the end of the file, or at zeros that fill it up."""
    at = offset + 4
    while at < size:
        stream.seek(at)
        head = stream.read(4)
        length = struct.unpack("<I", head.ljust(4, b"\0"))[0]
        if length == 0:
            break
        if at + 4 + length > size:
            raise CannotRead(
                Text(
                    en=f"The lz4 stream's block at byte {at} runs past the end of the file.",
                    zh=f"lz4 数据流第 {at} 字节处的块超出文件末尾。",
                )
            )
        at += 4 + length
    return at
