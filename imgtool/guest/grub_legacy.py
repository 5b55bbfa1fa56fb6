"""GRUB legacy (0.9x): menu.lst, which RHEL 6 and older call grub.conf."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.guest.bootloader import BootEntry, BootLoader
from imgtool.guest.grub_devices import Devices

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.guest.kernels import Kernel
    from imgtool.guest.tree import Tree

MOST_ENTRIES = 1_000
_LINE = re.compile(r"\s*([A-Za-z]+)(?:\s*=\s*|\s+|$)(.*)")


def read(tree: Tree, disk: Disk, path: str) -> BootLoader:
    """The menu. Raises CannotRead."""
    devices = Devices(tree, disk, legacy=True)
    home, _ = devices.home(path)
    home = re.sub(r"^hd0,\w*?(\d+)$", lambda found: f"hd0,{int(found[1]) - 1}", home)
    default = ""
    blocks: list[tuple[int, str, list[tuple[str, str]]]] = []
    for number, line in enumerate(tree.text(path).splitlines(), 1):
        found = _LINE.match(line)
        if found is None or line.lstrip().startswith("#"):
            continue
        word, rest = found[1].lower(), found[2].strip()
        if word == "title" and len(blocks) < MOST_ENTRIES:
            blocks.append((number, rest, []))
        elif blocks:
            blocks[-1][2].append((word, rest))
        elif word == "default":
            default = rest
    entries = tuple(_entry(devices, home, f"{path}:{line}", title, lines) for line, title, lines in blocks)
    if default == "saved":
        default = (
            (tree.text_if_there(f"{path.rpartition('/')[0]}/default", 4096) or "0").split("\n")[0].strip()
        )
    index = int(default) if default.isascii() and default.isdigit() and len(default) < 6 else 0
    chosen = entries[index] if index < len(entries) else None
    return BootLoader("grub-legacy", path, entries, chosen)


def menu(tree: Tree, disk: Disk, kernel: Kernel, root: str) -> tuple[str, ...]:
    """The lines of a menu with one entry, which starts the kernel with its root= as given."""
    devices = Devices(tree, disk, legacy=True)
    device, image = devices.home(kernel.image)
    number = re.search(r"[0-9]+$", device)
    lines = ["default=0", "timeout=5", f"title Linux ({kernel.version})"]
    lines += [f"    root (hd0,{int(number[0]) - 1})"] if number else []
    lines += [f"    kernel {image} root={root} ro"]
    return (*lines, *(f"    initrd {devices.home(path)[1]}" for path in kernel.initrds[:1]))


def _entry(devices: Devices, home: str, source: str, title: str, lines: list[tuple[str, str]]) -> BootEntry:
    root, kernel, arguments = home, "", ""
    initrds: list[str] = []
    for word, rest in lines:
        if word in ("root", "rootnoverify"):
            root = rest.strip("()")
        elif word == "kernel":
            words = [it for it in rest.split() if not it.startswith("--")]
            kernel, arguments = (words[0] if words else ""), " ".join(words[1:])
        elif word == "initrd":
            initrds += rest.split()[:1]
        elif word == "module" and "vmlinuz" in rest.split(" ")[0]:  # Xen: the kernel is its first module
            kernel, _, arguments = rest.partition(" ")
        elif word == "module" and rest:
            initrds += rest.split()[:1]
    return BootEntry(
        title=title,
        kernel=devices.place(kernel, root) if kernel else None,
        initrds=tuple(devices.place(path, root) for path in initrds),
        arguments=arguments,
        id=title,
        source=source,
    )
