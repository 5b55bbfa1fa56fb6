"""Boot Loader Specification entries, type 1: /boot/loader/entries/*.conf, as GRUB's blscfg and systemd-boot
read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from imgtool.guest.version_order import version_key
from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

MOST_ENTRIES = 1_000
LARGEST_ENTRY = 64 << 10
LARGEST_FOLDER = 4 << 20  # bytes of all entries together


@dataclass(frozen=True)
class Entry:
    """One file. id: its name without .conf; paths as written, from the top of the filesystem it lies on."""

    path: str
    id: str
    title: str
    version: str
    sort_key: str
    machine_id: str
    linux: str
    initrds: tuple[str, ...]
    options: str
    efi: str

    def script(self) -> str:
        """The same as a script of GRUB's, which is how blscfg runs it: its variables are GRUB's."""
        if not self.linux:
            return ""
        lines = [f"linux {self.linux} {self.options}"]
        lines += [f"initrd {' '.join(self.initrds)}"] if self.initrds else []
        # What would end a command in a script is only text here.
        return "\n".join(line.replace(";", "\\;") for line in lines)


def parse_entry(path: str, text: str) -> Entry:
    """Read one entry: a key and a value on each line; `linux`, `initrd` and `options` may come more than
    once."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.strip().replace("\t", " ").partition(" ")
        if key and not key.startswith("#"):
            values.setdefault(key, []).append(value.strip())
    name = path.rpartition("/")[2].removesuffix(".conf")

    def last(key: str) -> str:
        return values.get(key, [""])[-1]

    return Entry(
        path=path,
        id=name,
        title=last("title") or name,
        version=last("version"),
        sort_key=last("sort-key"),
        machine_id=last("machine-id"),
        linux=last("linux"),
        initrds=tuple(word for value in values.get("initrd", []) for word in value.split()),
        options=" ".join(values.get("options", [])),
        efi=last("efi") or last("uki"),
    )


def read_entries(tree: Tree, folder: str, order: Callable[[Entry], Any]) -> list[Entry]:
    """Every entry of a folder, the first of the menu first. Raises GuestReadFailed, TooLarge."""
    entries, left = [], LARGEST_FOLDER
    for path in tree.glob(f"{folder}/*.conf")[:MOST_ENTRIES]:
        if tree.is_file(path):
            text = tree.text(path, min(LARGEST_ENTRY, left))
            left -= len(text)
            entries.append(parse_entry(path, text))
    return sorted(entries, key=order, reverse=True)


def grub_order(entry: Entry) -> Any:
    """GRUB's blscfg: by file name, newest version first."""
    return version_key(entry.id)


def systemd_order(entry: Entry) -> Any:
    """systemd-boot: those with a sort-key first and by it, then the newest version first, then by file
    name."""
    inverted = tuple(-ord(letter) for letter in entry.sort_key)
    return bool(entry.sort_key), (*inverted, 1), version_key(entry.version), version_key(entry.id)
