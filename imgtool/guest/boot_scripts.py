"""Scripts that a guest runs while it boots: init scripts, units' programs, rc.local, cron's @reboot."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.services import Services
    from imgtool.guest.tree import Tree

MOST_SCRIPTS = 2000
LARGEST_SCRIPT = 256 << 10  # bytes; init scripts are a few KiB
_RC_LOCAL = (
    "/etc/rc.local",
    "/etc/rc.d/rc.local",
    "/etc/init.d/boot.local",
    "/etc/init.d/after.local",
    "/etc/rc.d/boot.local",
)
_UNIT_FOLDERS = ("/etc/systemd/system", "/usr/local/lib/systemd/system")
_CRON = ("/etc/crontab", "/var/spool/cron/root", "/var/spool/cron/crontabs/root")
# What a script names without being about it; /tmp is empty at boot
_NOT_CALLED = ("/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/dev/", "/proc/", "/sys/", "/tmp/")  # noqa: S108
_PROGRAM = re.compile(r"(?<![\w./-])/[\w./+-]{2,200}")


@dataclass(frozen=True)
class BootScript:
    """A script, and what has the boot run it.

    text: with the text of the scripts that it calls by their path. starter: the unit, link or line.
    starts: the boot runs it; why: where it does not, the reason, as evidence. service: its name, "" for
    rc.local and cron.
    """

    path: str
    text: str
    starter: str
    starts: bool
    why: str = ""
    service: str = ""


def find_boot_scripts(tree: Tree, services: Services, wanted: re.Pattern[str]) -> tuple[BootScript, ...]:
    """The boot scripts whose text has `wanted` in it, those that start before those that do not.

    Raises GuestReadFailed.
    """
    found = [
        script
        for maker in (_init_scripts, _units, _rc_local, _upstart, _cron)
        for script in maker(tree, services)
        if wanted.search(script.text)
    ]
    return tuple(sorted(found, key=lambda script: not script.starts))


def _text(tree: Tree, path: str) -> str:
    """A script's text; "" for what is no text or too large for a script."""
    if not tree.is_file(path) or tree.stat(path).size > LARGEST_SCRIPT:
        return ""
    data = tree.read(path, LARGEST_SCRIPT)
    return "" if data.startswith(b"\x7fELF") else data.decode("utf-8", "replace").replace("\r\n", "\n")


def _with_called(tree: Tree, text: str) -> str:
    """The text, and that of the first scripts outside the system's own folders that it calls."""
    called = []
    for path in dict.fromkeys(_PROGRAM.findall(text)):
        if not path.startswith(_NOT_CALLED):
            called.append(path)
    return "\n".join([text, *(_text(tree, path) for path in called[:16])])


def _not_executable(tree: Tree, path: str) -> str:
    """Why the kernel would not start a script; "" where it would."""
    stat = tree.stat(path)
    if tree.read(path, LARGEST_SCRIPT)[:258].split(b"\n")[0].endswith(b"\r"):
        return f"{path}: Windows line ends, not executable"
    return "" if stat.mode & 0o111 else f"{path}: mode {stat.mode:04o}, not executable"


def _init_scripts(tree: Tree, services: Services) -> Iterator[BootScript]:
    folder = "/etc/init.d" if tree.is_dir("/etc/init.d") else "/etc/rc.d/init.d"
    for name in (tree.list(folder) if tree.is_dir(folder) else [])[:MOST_SCRIPTS]:
        path = f"{folder}/{name}"
        text = _text(tree, path)
        if "conf" not in text:
            continue
        state = services.find(name)
        why = _not_executable(tree, path) or ("" if state.starts else f"{state.proof}: {state.state}")
        yield BootScript(path, _with_called(tree, text), state.proof, not why, why, name)


def _units(tree: Tree, services: Services) -> Iterator[BootScript]:
    if services.init != "systemd":
        return
    for folder in _UNIT_FOLDERS:
        for unit in tree.glob(f"{folder}/*.service")[:MOST_SCRIPTS]:
            for command in re.findall(
                r"^ExecStart(?:Pre|Post)?=[-@:+!|]*(.+)$", _text(tree, unit), re.MULTILINE
            ):
                script = next(
                    (word for word in _words(command) if word.startswith("/") and _text(tree, word)), ""
                )
                text = _with_called(tree, _text(tree, script) if script else command)
                name = unit.rsplit("/", 1)[1]
                state = services.find(name)
                direct = script and _words(command)[0] == script
                why = (_not_executable(tree, script) if direct else "") or (
                    "" if state.starts else f"{state.proof}: {state.state}"
                )
                yield BootScript(script or unit, text, state.proof, not why, why, name)


def _rc_local(tree: Tree, services: Services) -> Iterator[BootScript]:
    seen = set()
    for path in _RC_LOCAL:
        text = _text(tree, path)
        if not text or tree.realpath(path) in seen:
            continue
        seen.add(tree.realpath(path))
        own = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
        why = _not_executable(tree, path)
        if not why and services.init == "systemd":
            state = services.find("rc-local")
            # systemd-rc-local-generator(8) starts it where the file is executable
            why = f"{state.proof}: {state.state}" if state.state in ("masked", "missing") else ""
        yield BootScript(path, _with_called(tree, own), path, not why, why)


def _upstart(tree: Tree, services: Services) -> Iterator[BootScript]:
    if services.init != "upstart":
        return
    for path in tree.glob("/etc/init/*.conf")[:MOST_SCRIPTS]:
        name = path.rsplit("/", 1)[1].removesuffix(".conf")
        state = services.find(name)
        why = "" if state.starts else f"{state.proof}: {state.state}"
        yield BootScript(path, _with_called(tree, _text(tree, path)), state.proof, not why, why, name)


def _cron(tree: Tree, services: Services) -> Iterator[BootScript]:
    for path in (*_CRON, *tree.glob("/etc/cron.d/*")[:64]):
        for number, line in enumerate(_text(tree, path).splitlines(), start=1):
            if line.lstrip().startswith("@reboot"):
                yield BootScript(path, _with_called(tree, line), f"{path}:{number}", True)


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command) or [""]
    except ValueError:
        return command.split() or [""]
