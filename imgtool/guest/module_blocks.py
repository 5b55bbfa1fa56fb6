"""What keeps kernel modules from being loaded: modprobe.d(5), as kmod reads it, and the kernel command line.

Two kinds. *Refused*: the kernel's `module_blacklist=`, and an `install` line whose command does nothing, hold
whoever asks. *Passed over*: `blacklist` only has a module's aliases ignored; so udev does not load it for its
device, but whoever names it, or needs it for another module, gets it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.initramfs import Initramfs
    from imgtool.guest.tree import Tree

Maker = Literal["initramfs-tools", "dracut", "mkinitcpio", "nash", "unknown"]

FOLDERS = (
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
)  # a file in an earlier one hides those of its name in later ones
OLD = "/etc/modprobe.conf"  # of RHEL 5
_LIMIT = 256 << 10
_MOST_FILES = 200
_NOTHING = frozenset({"false", "true", ":"})


@dataclass(frozen=True)
class Block:
    """One module that is kept from being loaded. refused: whoever asks for it; source: the line, or the
    argument; path: of the file, "" for an argument."""

    module: str
    refused: bool
    source: str
    path: str = ""


def in_text(text: str, path: str) -> Iterator[Block]:
    """Those of one file of modprobe.d; a backslash at its end joins a line with the next."""
    number = 1
    for line in re.split(r"(?<!\\)\n", text):
        words = [word for word in re.split(r"[ \t]+", line.replace("\\\n", "")) if word]
        if len(words) > 1 and words[0] in ("blacklist", "install"):
            module = words[1].replace("-", "_")
            source = f"{path}:{number}: {' '.join(words)[:160]}"
            if words[0] == "blacklist":
                yield Block(module, False, source, path)
            elif len(words) > 2 and words[2].strip().rsplit("/", 1)[-1] in _NOTHING:
                yield Block(module, True, source, path)
        number += 1 + line.count("\n")


def of_arguments(arguments: str, maker: Maker, in_root: bool = False) -> Iterator[Block]:
    """Those that the kernel command line asks for. maker: of the initramfs that reads it.

    in_root: for the system behind the initramfs, which no longer knows what concerned that alone.
    """
    refused = ""
    for word in arguments.replace('"', "").split():
        key, equals, value = word.partition("=")
        if not equals:
            continue
        if key.replace("-", "_") == "module_blacklist":
            refused = word  # the last one counts, and only by a module's own name
        here = key == "modprobe.blacklist"
        here = here or (not in_root and maker == "dracut" and key in ("rd.driver.blacklist", "rdblacklist"))
        here = here or (not in_root and maker == "initramfs-tools" and key == "blacklist")
        if here:
            yield from (Block(it.replace("-", "_"), False, word[:200]) for it in value.split(",") if it)
    for name in refused.partition("=")[2].split(","):
        if name:
            yield Block(name, True, refused[:200])


def of_initramfs(found: Initramfs, path: str) -> Iterator[Block]:
    """Those of the modprobe.d inside an initramfs. path: of its file, for the evidence."""
    hidden: set[str] = set()
    for folder in FOLDERS:
        for name in fnmatch.filter(sorted(found.settings), f"{folder[1:]}/*.conf"):
            short = name.rsplit("/", 1)[1]
            if short not in hidden:
                hidden.add(short)
                yield from in_text(_text(found.settings[name]), f"{path}: {name}")
    if OLD[1:] in found.settings:
        yield from in_text(_text(found.settings[OLD[1:]]), f"{path}: {OLD[1:]}")


def of_root(tree: Tree) -> Iterator[Block]:
    """Those of the system's own modprobe.d. Raises GuestReadFailed."""
    hidden: set[str] = set()
    for folder in FOLDERS:
        for path in tree.glob(f"{folder}/*.conf")[:_MOST_FILES]:
            short = path.rsplit("/", 1)[1]
            if short not in hidden:
                hidden.add(short)
                yield from in_text(tree.text_if_there(path, _LIMIT) or "", path)
    yield from in_text(tree.text_if_there(OLD, _LIMIT) or "", OLD)


def maker_of(found: Initramfs) -> Maker:
    """What made an initramfs, by what it leaves in it."""
    names = found.members
    if "conf/initramfs.conf" in names or "conf/arch.conf" in names:
        return "initramfs-tools"
    if any(name in names for name in ("lib/dracut-lib.sh", "usr/lib/dracut-lib.sh", "bin/dracut-cmdline")):
        return "dracut"
    if any(name.startswith(("usr/lib/dracut/", "lib/dracut/")) for name in names):
        return "dracut"
    if "bin/nash" in names:
        return "nash"
    return "mkinitcpio" if "init_functions" in names else "unknown"


def named_outright(found: Initramfs, arguments: str) -> frozenset[str]:
    """Modules that the initramfs loads by their names, whatever is blacklisted.

    initramfs-tools' list, dracut's `rd.driver.pre=` and the hook that `imgtool fix` leaves, nash's insmod.
    """
    names = set(re.findall(r"(?m)^[ \t]*([\w-]+)", _text(found.settings.get("conf/modules", b""))))
    if maker_of(found) == "nash":
        names |= {name for modules in found.modules.values() for name in modules}
    for word in arguments.split():
        key, _, value = word.partition("=")
        if key in ("rd.driver.pre", "rdloaddriver"):
            names |= set(value.split(","))
    for path, data in found.settings.items():
        if path.endswith("-imgtool-virtio.sh"):
            names |= set(re.findall(r"modprobe -q ([\w-]+)", _text(data)))
    return frozenset(name.replace("-", "_") for name in names)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
