"""extlinux: labels with LINUX (or KERNEL), INITRD and APPEND (the Syslinux manual, "Configuration")."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from imgtool.guest.bootloader import BootEntry, BootLoader

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

CONFIGS = (
    "/boot/extlinux/extlinux.conf",
    "/boot/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/extlinux.conf",
)
MOST_LABELS = 1_000


def read(tree: Tree, path: str) -> BootLoader:
    """The menu. Raises CannotRead."""
    labels: list[dict[str, str]] = []
    default = ""
    for number, line in enumerate(tree.text(path).splitlines(), 1):
        word, _, rest = line.strip().replace("\t", " ").partition(" ")
        word, rest = word.lower(), rest.strip()
        if word == "label" and len(labels) < MOST_LABELS:
            labels.append({"label": rest, "line": str(number)})
        elif word == "menu" and labels and rest.lower() == "default":
            default = labels[-1]["label"]
        elif word in ("default", "ontimeout") and not labels:
            default = rest
        elif labels and word in ("linux", "kernel", "initrd", "append"):
            labels[-1]["linux" if word == "kernel" else word] = rest
    entries = tuple(_entry(tree, path, label) for label in labels)
    chosen = next((entry for entry in entries if entry.id == default), entries[0] if entries else None)
    return BootLoader("extlinux", path, entries, chosen)


def _entry(tree: Tree, path: str, label: dict[str, str]) -> BootEntry:
    folder = posixpath.dirname(path)

    def place(name: str) -> str:
        inside = posixpath.normpath(posixpath.join(folder, name))
        candidates = [inside, "/boot" + inside]
        return next((it for it in candidates if tree.exists(it)), candidates[0])

    linux = label.get("linux", "")
    is_kernel = bool(linux) and not linux.endswith((".c32", ".com", ".bin"))
    return BootEntry(
        title=label["label"],
        kernel=place(linux.split(" ")[0]) if is_kernel else None,
        initrds=tuple(place(name) for name in label.get("initrd", "").split(",") if name),
        arguments=label.get("append", ""),
        id=label["label"],
        source=f"{path}:{label['line']}",
    )
