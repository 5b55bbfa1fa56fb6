"""systemd-boot: loader/loader.conf and loader/entries/*.conf in the ESP (loader.conf(5), Boot Loader
Specification)."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

from imgtool.guest import bls
from imgtool.guest.bootloader import BootEntry, BootLoader

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree


def read(tree: Tree, esp: str) -> BootLoader:
    """The menu. esp: where in the tree the ESP (or the XBOOTLDR partition) is mounted. Raises CannotRead."""
    config = f"{esp}/loader/loader.conf"
    text = tree.text_if_there(config, bls.LARGEST_ENTRY) or ""
    wanted = ""
    for line in text.splitlines():
        key, _, value = line.strip().replace("\t", " ").partition(" ")
        if key == "default":
            wanted = value.strip()
    found = bls.read_entries(tree, f"{esp}/loader/entries", bls.systemd_order)
    entries = tuple(_entry(tree, esp, entry) for entry in found)
    if wanted.startswith("@"):  # @saved: kept in firmware variables, which do not travel with a disk
        wanted = ""
    chosen = [it for it in entries if wanted and fnmatch.fnmatchcase(f"{it.id}.conf", _with_suffix(wanted))]
    return BootLoader(
        kind="systemd-boot",
        config_path=config if text else f"{esp}/loader/entries",
        entries=entries,
        default=next(iter(chosen or entries), None),
    )


def _with_suffix(pattern: str) -> str:
    return pattern if pattern.endswith((".conf", "*", "]", "?")) else f"{pattern}.conf"


def _entry(tree: Tree, esp: str, entry: bls.Entry) -> BootEntry:
    def place(path: str) -> str:
        inside = "/" + path.lstrip("/")
        candidates = [top.rstrip("/") + inside for top in dict.fromkeys((esp, "/boot", ""))]
        return next((it for it in candidates if tree.exists(it)), candidates[0])

    return BootEntry(
        title=entry.title,
        kernel=place(entry.linux) if entry.linux else None,
        initrds=tuple(place(path) for path in entry.initrds),
        arguments=entry.options,
        id=entry.id,
        source=entry.path,
    )
