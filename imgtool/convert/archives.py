"""Images in archives: the one image is streamed out of gzip, xz, bzip2, zstd, tar, zip or OVA.

Hostile input: what comes out is bounded in bytes and written with holes where it is zeros; what the libraries
would keep in memory (headers, dictionaries, a zip's directory) is bounded before they see it. No name in an
archive is ever used as a name of a file.
"""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from imgtool.convert.output import STORAGE_FULL, NoRoom, shown
from imgtool.convert.unpacked_size import least_size
from imgtool.convert.unpacking import Bomb, Damaged, unpacked_stream
from imgtool.disk.commands import byte_count
from imgtool.disk.formats.archives import is_tar
from imgtool.disk.formats.image_file import escaped
from imgtool.errors import CannotRead
from imgtool.text import Text

if TYPE_CHECKING:
    import tarfile
    import zipfile

    from imgtool.disk.probe import ImageFile

COMPRESSED = ("gzip", "xz", "bzip2", "zstd")
ARCHIVES = (*COMPRESSED, "tar", "ova", "zip")
PIECE = 1024 * 1024
HOLE = 64 * 1024
HEAD = 64 * 1024
MOST_MEMBERS = 10_000
MOST_NAMED = 20
LARGEST_ZIP_DIRECTORY = 16 * 1024**2
HEADER_BUDGET = 2 * 1024**2  # bytes that the headers of one tar member may take
KEPT_FREE = 16 * 1024**2  # bytes of free storage below which nothing more is unpacked
LOOK_EVERY = 64 * 1024**2
SUFFIXES = (
    ".qcow2",
    ".qcow",
    ".img",
    ".raw",
    ".dd",
    ".vmdk",
    ".vhd",
    ".vpc",
    ".vhdx",
    ".vdi",
    ".qed",
    ".hdd",
)
COMPANIONS = (
    ".ovf",
    ".mf",
    ".cert",
    ".txt",
    ".md",
    ".xml",
    ".json",
    ".sha256",
    ".md5",
    ".asc",
    ".sig",
    ".nvram",
)
PACKED = (".gz", ".xz", ".bz2", ".zst")
APPLE_DOUBLE = b"\0\5\x16\7"  # "._disk.vmdk": what macOS packs beside every file
_MAGICS = (b"QFI\xfb", b"KDMV", b"COWD", b"conectix", b"vhdxfile", b"QED\0", b"# Disk DescriptorFile")

Fill = Callable[[Callable[[bytes], None]], None]


@dataclass(frozen=True)
class Unpacked:
    """What came out. name: as the archive calls it ("" where it names nothing)."""

    path: Path
    name: str


def unpack(
    archive: ImageFile, out: Path, limit: int, at: Callable[[int], None] = lambda done: None
) -> Unpacked:
    """Write the one image in an archive to `out`, which does not exist.

    limit: the most bytes that may come out of it. at: told the bytes written; may raise. Raises CannotRead
    for an archive that is damaged, encrypted or holds no image or several; Bomb (a CannotRead) beyond the
    limit; NoRoom when the storage is about to be full.
    """
    writer = _Sparse(archive, out, limit, at)
    try:
        with writer:
            if archive.format == "zip":
                name = _from_zip(archive, writer)
            elif archive.format in ("tar", "ova"):
                with open(archive.path, "rb") as file:
                    name = _from_tar(archive, file, writer)
            else:
                with open(archive.path, "rb") as file:
                    stream = unpacked_stream(archive.format, file, limit + HEAD)
                    head = stream.read(HEAD)
                    if is_tar(head):  # the probe sees this only where little has to be unpacked for it
                        name = _from_tar(archive, stream, writer, head)
                    else:
                        _copy(stream, writer, head)
                        name = ""
    except OSError as error:
        if error.errno in STORAGE_FULL:
            raise writer.no_room() from error
        raise _failed(archive, error) from error
    except Damaged as error:
        raise _damaged(archive, error.why) from error
    return Unpacked(out, name)


class _Sparse:
    """The file that is written, with holes for zeros, never beyond the limit."""

    def __init__(self, archive: ImageFile, path: Path, limit: int, at: Callable[[int], None]) -> None:
        self._archive, self._path, self._limit, self._at = archive, path, limit, at
        self.expected: int | None = None  # bytes of the image, once the archive's directory has told them
        self._size = 0
        self._next_look = 0
        self.head = b""

    def __enter__(self) -> _Sparse:
        self._file = open(self._path, "xb")
        return self

    def __exit__(self, *_: object) -> None:
        with self._file:
            self._file.truncate(self._size)

    @property
    def size(self) -> int:
        return self._size

    def write(self, data: bytes) -> None:
        if self._size + len(data) > self._limit:
            raise Bomb(self._limit)
        for start in range(0, len(data), HOLE):
            piece = data[start : start + HOLE]
            if piece.count(0) == len(piece):
                self._file.seek(len(piece), os.SEEK_CUR)
            else:
                self._file.write(piece)
        self._size += len(data)
        if self._size >= self._next_look:
            self._next_look = self._size + LOOK_EVERY
            self._look_at_storage()
        self._at(self._size)

    def _look_at_storage(self) -> None:
        if free_bytes(self._path.parent) < KEPT_FREE:
            raise self.no_room()

    def no_room(self) -> NoRoom:
        """How much there is and, where the archive says so, how much it takes."""
        free, total = free_bytes(self._path.parent), self.expected
        if total is None and self._archive.format in COMPRESSED:
            with suppress(OSError):
                total = least_size(self._archive.format, self._archive.path, self._size)
        so_far = Text(
            en=byte_count(self._size) + (f" so far, of at least {byte_count(total)}" if total else " so far"),
            zh=f"已解压 {byte_count(self._size)}" + (f"，总计至少 {byte_count(total)}" if total else ""),
        )
        return NoRoom(
            Text(
                en=f"The storage beside the output is full: {byte_count(free)} are left, and the archive "
                f"is unpacked there ({so_far.en}) only while {byte_count(KEPT_FREE)} "
                "stay free. Make room, or give an output elsewhere.",
                zh=f"输出所在的存储已满：仅剩 {byte_count(free)}，而压缩包需解压到该处"
                f"（{so_far.zh}），且须保留 {byte_count(KEPT_FREE)} 可用空间。"
                "请释放空间，或将输出放到其他位置。",
            )
        )


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write to the storage of a folder; without end if it is not told."""
    status = os.statvfs(folder)
    if not status.f_blocks:  # ramfs, and file systems in user space
        return sys.maxsize
    return status.f_bavail * status.f_frsize


def _copy(stream: BinaryIO, writer: _Sparse, first: bytes = b"") -> None:
    if first:
        writer.write(first)
    while piece := stream.read(PIECE):
        writer.write(piece)


def _is_image(name: str, head: bytes) -> bool:
    """By what it begins with, or by its name; what only accompanies images is none."""
    lower = name.lower()
    if lower.endswith(COMPANIONS) or head.startswith(APPLE_DOUBLE):
        return False
    for packed in PACKED:  # as OVF allows of its disks; what comes out is unpacked in its turn
        lower = lower.removesuffix(packed)
    return head.startswith(_MAGICS) or head[510:512] == b"\x55\xaa" or lower.endswith(SUFFIXES)


class _Choice:
    """The members of an archive: which of them is the image."""

    def __init__(self, archive: ImageFile) -> None:
        self._archive = archive
        self.images: list[str] = []
        self.others: list[str] = []

    def take(self, name: str, image: bool) -> bool:
        """Note a member; whether it is the (first) image."""
        if len(self.images) + len(self.others) >= MOST_MEMBERS:
            raise CannotRead(
                Text(
                    en=f"{shown(self._archive.path)} holds more than {MOST_MEMBERS} files. Unpack it and "
                    "give the "
                    "image in it.",
                    zh=f"{shown(self._archive.path)} 中的文件超过 {MOST_MEMBERS} 个。"
                    "请解压后指定其中的镜像。",
                )
            )
        (self.images if image else self.others).append(escaped(name, 100))
        return image and len(self.images) == 1

    def decide(self) -> str:
        """The one image's name. Raises CannotRead where there is none, or several."""
        if len(self.images) == 1:
            return self.images[0]
        found = self.images or self.others
        more = f" (+{len(found) - MOST_NAMED})" if len(found) > MOST_NAMED else ""
        named = ", ".join(found[:MOST_NAMED]) + more
        path = shown(self._archive.path)
        if self.images:
            raise CannotRead(
                Text(
                    en=f"{path} holds {len(self.images)} images, and one is converted at a time: {named}. "
                    "Unpack it and give one of them.",
                    zh=f"{path} 含有 {len(self.images)} 个镜像，而每次只转换一个：{named}。"
                    "请解压后指定其中一个。",
                )
            )
        raise CannotRead(
            Text(
                en=f"{path} holds no disk image; it holds: {named or 'nothing'}.",
                zh=f"{path} 中没有磁盘镜像，其内容为：{named or '空'}。",
            )
        )


def _from_tar(archive: ImageFile, stream: BinaryIO, writer: _Sparse, head: bytes = b"") -> str:
    """Read to the end, also behind the image: a second one must not go unseen."""
    import tarfile

    choice = _Choice(archive)
    metered = _Metered(stream, head)
    try:
        with tarfile.open(
            fileobj=cast(BinaryIO, metered), mode="r|", errorlevel=2, ignore_zeros=False
        ) as tar:
            for member in _members(tar, metered):
                if not member.isreg():
                    continue
                metered.budget = None
                content = tar.extractfile(member)
                assert content is not None  # noqa: S101 - it is a regular file
                head = content.read(HEAD)
                if choice.take(member.name, _is_image(member.name, head)):
                    writer.expected = member.size
                    _copy(cast(BinaryIO, content), writer, head)
    except (tarfile.TarError, ValueError) as error:
        raise Damaged(str(error)) from error
    return choice.decide()


def _members(tar: tarfile.TarFile, metered: _Metered) -> Iterator[tarfile.TarInfo]:
    """The members, one by one, none kept; the bytes that headers may take are counted anew for each."""
    member = tar.next()  # the first was read when the archive was opened
    while member is not None:
        tar.members = []  # type: ignore[attr-defined]
        yield member
        metered.budget = None
        while (left := tar.offset - tar.fileobj.tell()) > 0:
            if not tar.fileobj.read(min(left, PIECE)):
                raise Damaged("it is cut short")
        metered.budget = HEADER_BUDGET
        member = tar.next()


class _Metered:
    """A stream of which only so much may be read: tarfile keeps a header as large as the archive says."""

    def __init__(self, stream: BinaryIO, head: bytes) -> None:
        self._stream, self._head = stream, head
        self.budget: int | None = HEADER_BUDGET

    def read(self, size: int) -> bytes:
        data, self._head = self._head[:size], self._head[size:]
        data += self._stream.read(size - len(data))
        if self.budget is not None:
            self.budget -= len(data)
            if self.budget < 0:
                raise Damaged("a header of the tar archive is too large")
        return data


def _from_zip(archive: ImageFile, writer: _Sparse) -> str:
    import zipfile

    small_directory(archive.path)
    choice = _Choice(archive)
    try:
        with zipfile.ZipFile(archive.path) as opened:
            for member in opened.infolist():
                if member.is_dir():
                    continue
                with _member(opened, member) as content:
                    head = content.read(HEAD)
                    if choice.take(member.filename, _is_image(member.filename, head)):
                        writer.expected = member.file_size
                        _copy(content, writer, head)
                        if writer.size != member.file_size:
                            raise Damaged(f"{escaped(member.filename, 100)} is shorter than the archive says")
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        raise Damaged(str(error)) from error
    except (RuntimeError, NotImplementedError) as error:
        raise Damaged(str(error)) from error
    return choice.decide()


@contextmanager
def _member(opened: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[BinaryIO]:
    import zipfile

    if member.flag_bits & 1:
        raise Damaged("it is encrypted; unpack it with its password first")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        raise Damaged(f"compression method {member.compress_type} is not supported; unpack it first")
    with opened.open(member) as content:
        yield cast(BinaryIO, content)


def small_directory(path: Path) -> None:
    """zipfile reads the whole directory into memory: look what size it claims (APPNOTE 4.3.14-16)."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - 66 * 1024)
        file.seek(start)
        tail = file.read(66 * 1024)
        at = tail.rfind(b"PK\5\6")
        if at < 0 or len(tail) < at + 22:
            raise Damaged("the directory at the end of the zip is missing")
        length = int.from_bytes(tail[at + 12 : at + 16], "little")
        locator = tail[at - 20 : at] if at >= 20 else b""
        if locator.startswith(b"PK\6\7"):
            file.seek(min(int.from_bytes(locator[8:16], "little"), size))
            record = file.read(56)
            length = max(length if length != 0xFFFFFFFF else 0, int.from_bytes(record[40:48], "little"))
    if length > LARGEST_ZIP_DIRECTORY:
        raise Damaged("the directory of the zip is too large")


def _damaged(archive: ImageFile, why: str) -> CannotRead:
    path, said = shown(archive.path), escaped(why)
    return CannotRead(
        Text(
            en=f"{path} ({archive.format}) can't be unpacked: {said}. Copy or download it again.",
            zh=f"无法解压 {path}（{archive.format}）：{said}。请重新复制或下载。",
        )
    )


def _failed(archive: ImageFile, error: OSError) -> Exception:
    """An OSError is the storage's; decompressors' own are Damaged by then."""
    from imgtool.convert.output import write_failed

    return write_failed(archive.path.parent if error.filename is None else Path(str(error.filename)), error)
