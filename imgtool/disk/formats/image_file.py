"""What is known of an image file before anything opens it: the words that every format reports in."""

from __future__ import annotations

from pathlib import Path

from imgtool.records import dataclass
from imgtool.text import Text

# How QEMU calls the formats that are ever handed to it. It is always told; it never guesses.
QEMU_FORMATS = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vpc"}


@dataclass(frozen=True)
class Hazard:
    """A named safety check that failed: opening the image needs another file, a device, the network or a key.

    check: "backing_file", "data_file", "extent_elsewhere", "device_node", "differencing", "encrypted".
    detail: what it names, escaped and cut to about 200 characters.
    """

    check: str
    detail: str


@dataclass(frozen=True)
class Damage:
    """A named integrity problem.

    check: "truncated", "header_invalid", "header_checksum", "footer_missing", "table_outside_file", ...
    serious: data is lost or can't be relied on; otherwise it is worth a look.
    """

    check: str
    statement: Text
    serious: bool = True


@dataclass(frozen=True)
class Snapshot:
    """An internal snapshot. Sizes in bytes (disk_size: None if not recorded); created: seconds since 1970."""

    id: str
    name: str
    created: int
    disk_size: int | None
    state_size: int


@dataclass(frozen=True)
class ImageFile:
    """A disk image file, by its own structures. Sizes in bytes.

    format: "raw", "qcow2", "vmdk", "vhd", or one that is named to be refused ("vhdx", "iso", "gzip", ...).
    virtual_size: of the disk as the guest sees it (VHD: the footer's current size); None where unknown.
    file_size: of the file and of other_files; allocated: what they take on storage (`qemu-img info`: disk
    size).
    features: "compressed", "zstd", "extended_l2", "compat=0.10", "creator=vpc ", ...
    other_files: files beside this one that hold its data and are safe to open (a VMDK's own extents).
    backing: of a qcow2 overlay that imgtool itself made, the image that it lies over; of no other.
    qemu_format: the explicit format name for QEMU; None where QEMU must not open it.
    """

    path: Path
    format: str
    variant: str | None
    virtual_size: int | None
    file_size: int
    allocated: int
    features: tuple[str, ...] = ()
    snapshots: tuple[str, ...] = ()
    hazards: tuple[Hazard, ...] = ()
    damage: tuple[Damage, ...] = ()
    qemu_format: str | None = None
    other_files: tuple[Path, ...] = ()
    snapshot_details: tuple[Snapshot, ...] = ()
    backing: ImageFile | None = None

    @property
    def damaged(self) -> bool:
        """Data is lost, or can't be relied on: nothing good can be made of the file."""
        return any(damage.serious for damage in self.damage)


def escaped(words: bytes | str, limit: int = 200) -> str:
    """Words out of a hostile file as one printable line of at most about `limit` characters."""
    if isinstance(words, bytes):
        words = words[: 4 * limit].decode("utf-8", "backslashreplace")
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in words[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[:limit] + "…"


def _among_chinese(words: str) -> str:
    """With a space where Latin letters meet the Chinese around them."""
    return " " * words[:1].isascii() + words + " " * words[-1:].isascii()


def beyond_the_end(part: Text, needs: int, file_size: int, largest: int) -> Damage:
    """Damage by a structure that ends at byte `needs` of a file that is shorter.

    largest: more bytes than any whole file of this kind takes. Up to there the file was cut short; a
    structure that points even further was never right.
    """
    if needs <= largest:
        return Damage(
            "truncated",
            Text(
                en=f"The file is cut short: its {part.en} needs at least {needs} bytes, "
                f"the file has {file_size}.",
                zh=f"文件不完整：其{_among_chinese(part.zh)}至少需要 {needs} 字节，"
                f"而文件只有 {file_size} 字节。",
            ),
        )
    return Damage(
        "table_outside_file",
        Text(
            en=f"The {part.en} lies outside the file: at byte {needs} of {file_size}.",
            zh=f"{_among_chinese(part.zh).lstrip()}位于文件之外：指向第 {needs} 字节，"
            f"而文件只有 {file_size} 字节。",
        ),
    )


def header_invalid(what: Text) -> Damage:
    """Damage to a header: `what` says which field holds what."""
    return Damage(
        "header_invalid", Text(en=f"The header is damaged: {what.en}.", zh=f"文件头已损坏：{what.zh}。")
    )
