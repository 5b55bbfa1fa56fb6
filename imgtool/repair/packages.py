"""Packages that are given to be installed, by their own headers: what for, how large, how many files.

Debian's (deb(5)): an ar archive whose member control.tar says it. RPM's (file format 3): a lead, a header of
signatures, and the header of the package, all big-endian.
"""

from __future__ import annotations

import io
import re
import struct
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgtool.repair.draft import CannotMend
from imgtool.text import Text

LARGEST_CONTROL = 16 << 20
LARGEST_HEADER = 32 << 20
MOST_ENTRIES = 64 << 10
_ANY = {"deb": ("all", "any"), "rpm": ("noarch",)}
_NAMES = {
    "x86_64": ("amd64", "x86_64"),
    "i386": ("i386", "i486", "i586", "i686"),
    "arm64": ("arm64", "aarch64"),
}
_RPM_LEAD, _RPM_MAGIC = 96, b"\x8e\xad\xe8\x01"
_NAME, _SIZE, _ARCH, _BASENAMES, _LONG_SIZE = 1000, 1009, 1022, 1117, 5009


@dataclass(frozen=True)
class Package:
    """size: bytes when it is installed; files: how many, without folders."""

    name: str
    architecture: str
    size: int
    files: int

    def fits(self, architecture: str) -> bool:
        """Whether it is for such a guest; a guest of 64 bits takes packages of 32 bits as well."""
        known = _NAMES.get(architecture, (architecture,))
        known += _NAMES["i386"] if architecture == "x86_64" else ()
        return self.architecture in (*known, *_ANY["deb"], *_ANY["rpm"])


def read_package(path: Path) -> Package:
    """What a package says of itself. Raises CannotMend for a file that is none, or is not whole."""
    try:
        with path.open("rb") as file:
            return _deb(file) if path.suffix == ".deb" else _rpm(file)
    except (OSError, ValueError, EOFError, LookupError, struct.error, tarfile.TarError) as error:
        raise CannotMend(
            Text(
                en=f"{path} is no package, or not a whole one. Fetch it again.",
                zh=f"{path} 不是软件包，或不完整。请重新下载。",
            )
        ) from error


def _deb(file: BinaryIO) -> Package:
    if file.read(8) != b"!<arch>\n":
        raise ValueError("no ar archive")
    while head := file.read(60):
        name, size = head[:16].decode("ascii").strip().rstrip("/"), int(head[48:58])
        if size < 0 or head[58:] != b"`\n":
            raise ValueError("no member")
        if not name.startswith("control.tar"):
            file.seek(size + size % 2, io.SEEK_CUR)
            continue
        if size > LARGEST_CONTROL:
            raise ValueError("too large")
        return _of_control(_plain(file.read(size), name))
    raise ValueError("no control.tar")


def _plain(data: bytes, name: str) -> bytes:
    """control.tar without its compression, of at most LARGEST_CONTROL bytes."""
    import gzip
    import lzma

    import zstandard

    packed = io.BytesIO(data)
    try:
        if name.endswith(".gz"):
            return gzip.GzipFile(fileobj=packed).read(LARGEST_CONTROL)
        if name.endswith(".xz"):
            return lzma.LZMADecompressor().decompress(data, LARGEST_CONTROL)
        if name.endswith(".zst"):
            return zstandard.ZstdDecompressor().stream_reader(packed).read(LARGEST_CONTROL)
    except (lzma.LZMAError, zstandard.ZstdError) as error:
        raise ValueError(str(error)) from error
    return data


def _of_control(data: bytes) -> Package:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        texts = {
            it.name.removeprefix("./"): it
            for it in archive.getmembers()
            if it.isreg() and it.size <= LARGEST_CONTROL
        }
        control, sums = (
            _text(archive, texts[name]) if name in texts else "" for name in ("control", "md5sums")
        )
    fields = dict(re.findall(r"(?m)^([A-Za-z-]+):[ \t]*(\S.*)$", control))
    size = int(fields.get("Installed-Size", "0")) << 10  # estimated by its maker, in KiB
    return Package(fields["Package"], fields["Architecture"], size, len(sums.splitlines()))


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    stream = archive.extractfile(member)
    return "" if stream is None else stream.read().decode("utf-8", "replace")


def _rpm(file: BinaryIO) -> Package:
    if file.read(_RPM_LEAD)[:4] != b"\xed\xab\xee\xdb":
        raise ValueError("no lead")
    _, signatures = _header(file)
    file.seek(-len(signatures) % 8, io.SEEK_CUR)
    index, data = _header(file)

    def text(tag: int) -> str:
        return data[index[tag][1] :].partition(b"\0")[0].decode("utf-8", "replace")

    size = 0
    if _LONG_SIZE in index:
        (size,) = struct.unpack_from(">Q", data, index[_LONG_SIZE][1])
    elif _SIZE in index:
        (size,) = struct.unpack_from(">I", data, index[_SIZE][1])
    return Package(text(_NAME), text(_ARCH), size, index.get(_BASENAMES, (0, 0))[0])


def _header(file: BinaryIO) -> tuple[dict[int, tuple[int, int]], bytes]:
    """A header's entries, by tag how many values and where, and its data."""
    head = file.read(16)
    if head[:4] != _RPM_MAGIC:
        raise ValueError("no header")
    count, size = struct.unpack(">II", head[8:])
    if count > MOST_ENTRIES or size > LARGEST_HEADER:
        raise ValueError("too large")
    entries = file.read(count * 16)
    data = file.read(size)
    if len(entries) != count * 16 or len(data) != size:
        raise EOFError
    index = {tag: (values, place) for tag, _, place, values in struct.iter_unpack(">IIII", entries)}
    return index, data
