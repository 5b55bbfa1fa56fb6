"""What a boot ends in: the program that becomes process 1, and where that is told to stop.

Sources: init/main.c of Linux (`init=`; /sbin/init, /etc/init, /bin/init, /bin/sh), kernel-command-line(7) and
bootup(7) of systemd, inittab(5), dracut.cmdline(7) (`rd.break`), initramfs-tools(7) (`break`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.initramfs import Initramfs
    from imgtool.guest.tree import Tree

USUAL = ("/sbin/init", "/etc/init", "/bin/init")
SYSTEMD = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh", "busybox", "sulogin"})
DEFAULT_TARGET = "/etc/systemd/system/default.target"
INITTAB = "/etc/inittab"
# Targets at which no network and no login of many is up, and those that end the machine
_STOPS = frozenset({"rescue.target", "emergency.target", "runlevel1.target"})
_ENDS = frozenset({"poweroff.target", "halt.target", "reboot.target", "runlevel0.target", "runlevel6.target"})
_TARGETS = {
    **dict.fromkeys(("single", "s", "S", "1", "rescue"), "rescue.target"),
    **dict.fromkeys(("emergency", "-b"), "emergency.target"),
    **dict.fromkeys(("2", "3", "4"), "multi-user.target"),
    "5": "graphical.target",
}
_LIMIT = 64 << 10


@dataclass(frozen=True)
class Stop:
    """What keeps a boot from its login. kind: where it is said; said: the argument, the link or the line;
    path: the file, "" for an argument; where: rescue.target, a shell, the initramfs' shell."""

    kind: Literal["argument", "target", "inittab"]
    said: str
    where: str
    path: str = ""


@dataclass(frozen=True)
class FirstProgram:
    """named: by `init=`, "" for none. path: what becomes process 1, "" for nothing; shell: it is a shell."""

    named: str
    path: str
    shell: bool = False


def first_program(tree: Tree, arguments: str, initramfs: Callable[[], Initramfs | None]) -> FirstProgram:
    """What the initramfs, or the kernel by itself, starts; the usual one where `init=` names none there is.

    initramfs: asked only where there is no usual one: if its own process 1 is systemd, that goes on with the
    root's systemd, /sbin/init or not. Raises GuestReadFailed, and what `initramfs` does.
    """
    words = [word[5:] for word in arguments.split() if word.startswith("init=")]
    named = words[-1] if words else ""
    if named and _runs(tree, named):
        return FirstProgram(named, named, _is_shell(tree, named))
    usual = next((path for path in USUAL if _runs(tree, path)), "")
    systemd = next((path for path in SYSTEMD if _runs(tree, path)), "")
    if not usual and systemd:
        held = initramfs()
        if held is not None and any(path[1:] in held.members for path in SYSTEMD):
            return FirstProgram(named, systemd)
    return FirstProgram(named, usual)


def _runs(tree: Tree, path: str) -> bool:
    return path.startswith("/") and tree.is_file(path) and bool(tree.stat(path).mode & 0o111)


def _is_shell(tree: Tree, path: str) -> bool:
    return tree.realpath(path).rsplit("/", 1)[-1] in SHELLS


def stop_by_argument(arguments: str, init: str, initramfs_tool: str) -> Stop | None:
    """The argument that has the boot stop early; of several the last counts, as for init itself.

    init: of services.read_services; initramfs_tool: of the release.
    """
    words = arguments.split()
    breaks = ("break",) if initramfs_tool in ("mkinitramfs", "mkinitcpio") else ("rd.break", "rdbreak")
    early = next((word for word in words if word.partition("=")[0] in breaks), "")
    if early:
        return Stop("argument", early, "the initramfs' shell")
    found = None
    for word in words:
        if init == "systemd":
            unit = word.removeprefix("systemd.unit=") if word.startswith("systemd.unit=") else ""
            target = _TARGETS.get(word, unit)
        else:
            target = "single-user mode" if word in ("single", "s", "S", "1", "-b", "emergency") else ""
            target = target or ("a runlevel" if word in ("2", "3", "4", "5") else "")
        if target:
            found = (word, target)
    if found is None or not (found[1] in _STOPS | _ENDS or found[1] == "single-user mode"):
        return None
    return Stop("argument", *found)


def stop_by_default(tree: Tree, init: str) -> Stop | None:
    """The default target, or runlevel, that is none to work in. Raises GuestReadFailed."""
    if init == "systemd":
        if not tree.glob(DEFAULT_TARGET):
            return None
        if tree.lstat(DEFAULT_TARGET).kind != "symlink":
            return None
        target = tree.readlink(DEFAULT_TARGET)
        name = target.rsplit("/", 1)[-1]
        said = f"{DEFAULT_TARGET} -> {target[:200]}"
        if name in _STOPS | _ENDS:
            return Stop("target", said, name, DEFAULT_TARGET)
        if not tree.exists(DEFAULT_TARGET) or target == "/dev/null":
            return Stop("target", said, "rescue.target", DEFAULT_TARGET)  # what systemd falls back to
        return None
    table = tree.text_if_there(INITTAB, _LIMIT) or ""
    for number, line in enumerate(table.splitlines(), start=1):
        found = re.match(r"[^#:]*:([0-9sS]*):initdefault:", line)
        if found:
            if found[1] and found[1][0] in "016sS":
                where = {"0": "a halt", "6": "a restart without end"}.get(found[1][0], "single-user mode")
                return Stop("inittab", f"{INITTAB}:{number}: {line[:200]}", where, INITTAB)
            return None
    return None
