"""What changes a guest: one small interface, for files and for the Windows registry.

Every path is absolute in the guest and free of links in its folders: whoever makes the steps has followed
them, inside the guest (imgtool.repair.draft). The editors follow none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from imgtool.errors import Stated
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.volumes import Volume

RegistryType = Literal["none", "sz", "expand_sz", "binary", "dword", "multi_sz", "qword"]
REGISTRY_TYPES: dict[RegistryType, int] = {
    "none": 0,
    "sz": 1,
    "expand_sz": 2,
    "binary": 3,
    "dword": 4,
    "multi_sz": 7,
    "qword": 11,
}


class EditFailed(Stated):
    """A guest could not be changed as it was to be: nothing of the work is kept."""


@dataclass(frozen=True)
class RegistryValue:
    """A value of the registry. data: str for sz and expand_sz, a tuple of str for multi_sz, int for dword and
    qword, bytes for binary and none."""

    type: RegistryType
    data: str | int | bytes | tuple[str, ...]

    def encoded(self) -> tuple[int, bytes]:
        """The type's number and the bytes, as a hive holds them."""
        data = self.data
        if isinstance(data, tuple):
            raw = "".join(f"{item}\0" for item in (*data, "")).encode("utf-16-le")
        elif isinstance(data, str):
            raw = f"{data}\0".encode("utf-16-le")
        elif isinstance(data, int):
            raw = data.to_bytes(8 if self.type == "qword" else 4, "little")
        else:
            raw = data
        return REGISTRY_TYPES[self.type], raw


@dataclass(frozen=True)
class Device:
    """A volume of the disk, as the appliance finds it again.

    name: as imgtool.disk.volumes has it; number: the partition's, 0 for none; options: for mounting it.
    """

    name: str
    kind: str
    number: int
    type: str
    uuid: str
    options: str = ""

    @classmethod
    def of(cls, volume: Volume, options: str = "") -> Device:
        """The device of a volume, and what it is mounted with."""
        number = volume.partition.number if volume.kind == "partition" and volume.partition else 0
        return cls(volume.name, volume.kind, number, volume.signature.type, volume.signature.uuid, options)


class GuestEditor(Protocol):
    """Changes a guest. Every method raises EditFailed when it can't."""

    def read(self, path: str) -> bytes | None:
        """The whole of a regular file; None where there is none."""

    def write(self, path: str, content: bytes) -> None:
        """Give a file this content. One that is there keeps its owner, mode and attributes; else it is made,
        with the folders that lead to it (0755)."""

    def append(self, path: str, content: bytes) -> None:
        """Add to the end of a file that is there."""

    def remove(self, path: str) -> None:
        """Remove a file, a link, or a folder with all that is in it. What is not there is no error."""

    def chmod(self, path: str, mode: int) -> None:
        """Set permission bits (0o7777)."""

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Set owner and group."""

    def mkdir(self, path: str) -> None:
        """Make a folder and those that lead to it, where they are not there (0755)."""

    def symlink(self, path: str, target: str) -> None:
        """Make a symbolic link, in place of whatever file or link is there."""

    def registry_set(self, hive: str, key: str, name: str, value: RegistryValue) -> None:
        """Set a value, making the keys that lead to it. hive: the file's path; key: below the hive's root
        ("ControlSet001\\Services"); name: "" for the key's default value."""

    def registry_delete(self, hive: str, key: str, name: str | None = None) -> None:
        """Remove a value, or with name None a key with all below it. What is not there is no error."""

    def run(self, command: str, *, network: bool = False) -> str:
        """Run a shell command inside the guest, by the guest's own programs; what it printed."""

    def check_filesystem(self, device: Device, *, replay_only: bool = False) -> None:
        """Have a filesystem that is not mounted checked and mended by its own tool, or its journal
        replayed."""


def failed(what: Text, why: str) -> EditFailed:
    """A change that the guest's filesystem, or the appliance, refused."""
    return EditFailed(Text(en=f"{what.en}: {why}", zh=f"{what.zh}：{why}"))
