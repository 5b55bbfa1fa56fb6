"""An image file in words for a person: commands with its name and format filled in, and sizes."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import ImageFile

IN_ARCHIVE = Text(
    en="The image is inside an archive. Unpack it to have it judged.",
    zh="镜像位于压缩包内。如需判定，请先解压。",
)
ARCHIVE_SUFFIXES = (".gz", ".tgz", ".xz", ".txz", ".bz2", ".zst", ".tar", ".zip", ".ova")
# What QEMU calls the formats that it can turn into qcow2.
QEMU_NAMES = {
    "raw": "raw",
    "qcow2": "qcow2",
    "vmdk": "vmdk",
    "vhd": "vpc",
    "vhdx": "vhdx",
    "vdi": "vdi",
    "qed": "qed",
    "qcow": "qcow",
    "parallels": "parallels",
}


def shell_name(path: Path) -> str:
    """The file's name as a word for a shell and as a name for QEMU, which takes "a:b" for a protocol."""
    name = os.fspath(path)
    if name.startswith("-") or ":" in name.partition("/")[0]:
        name = "./" + name
    if name.isprintable():
        return shlex.quote(name)
    return "$'" + "".join(_ansi_c(char) for char in name) + "'"


def _ansi_c(char: str) -> str:
    if char in "\\'":
        return "\\" + char
    if char.isprintable():
        return char
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))


def qcow2_name(path: Path) -> Path:
    """A name for the result of a conversion that is not the file's own."""
    result = path.with_suffix(".qcow2")
    return result if result != path else path.with_name(f"{path.stem}-converted.qcow2")


def own_conversion(file: ImageFile) -> str:
    """The command of ours that makes a compressed qcow2 of the image, or of the one in an archive."""
    path = file.path
    while path.suffix.lower() in ARCHIVE_SUFFIXES:
        path = path.with_suffix("")
    out = qcow2_name(path) if path == file.path else path.with_suffix(".qcow2")
    return f"imgtool convert --compress {shell_name(file.path)} {shell_name(out)}"


def conversion(file: ImageFile) -> str:
    """The command that makes one plain qcow2 file of the image."""
    return (
        f"qemu-img convert -f {QEMU_NAMES[file.format]} -O qcow2 "
        f"{shell_name(file.path)} {shell_name(qcow2_name(file.path))}"
    )


def byte_count(count: int) -> str:
    """Bytes as people read them, and exactly."""
    for unit, bits in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << bits:
            return f"{count / (1 << bits):.4g} {unit} ({count} bytes)"
    return f"{count} bytes"
