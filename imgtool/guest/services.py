"""Which services a guest starts at boot: systemd units and presets, Upstart jobs, SysV links, OpenRC."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING, Literal

from imgtool.records import dataclass, field

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

Init = Literal["systemd", "upstart", "sysvinit", "openrc", "unknown"]
State = Literal["enabled", "disabled", "masked", "missing"]

# systemd.unit(5), table 1; what is in /run is not on a disk
UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
PRESET_FOLDERS = (
    "/etc/systemd/system-preset",
    "/usr/local/lib/systemd/system-preset",
    "/usr/lib/systemd/system-preset",
    "/lib/systemd/system-preset",
)
# Targets that a boot reaches by itself (bootup(7)).
BOOT_TARGETS = frozenset(
    {"default.target", "graphical.target", "multi-user.target", "basic.target", "sysinit.target"}
    | {"local-fs.target", "local-fs-pre.target", "remote-fs.target", "network.target", "network-pre.target"}
    | {"network-online.target", "sockets.target", "timers.target", "paths.target", "getty.target"}
)
_GENERATOR_FOLDERS = (
    "/etc/systemd/system-generators",
    "/usr/local/lib/systemd/system-generators",
    "/usr/lib/systemd/system-generators",
    "/lib/systemd/system-generators",
)
# generator, and the unit that it lets multi-user.target want
_GENERATORS = {"cloud-init.target": "cloud-init-generator"}
_RUNLEVELS = "2345"
_DEPTH = 8
_LIMIT = 1 << 20


@dataclass(frozen=True)
class Service:
    """Whether the boot starts a unit or script, and the file that makes it so."""

    name: str
    state: State
    proof: str

    @property
    def starts(self) -> bool:
        """The boot starts it."""
        return self.state == "enabled"


@dataclass(frozen=True)
class Services:
    """The init system of a guest, and what it starts."""

    tree: Tree
    init: Init
    _wanted: dict[str, list[str]] = field(default_factory=dict, repr=False, compare=False)

    def find(self, name: str) -> Service:
        """The state of a service. name: "cloud-init" (a service), or a unit with its suffix ("x.target")."""
        if self.init == "systemd":
            unit = name if "." in name else f"{name}.service"
            found = self._systemd(unit, 0)
            if found.state == "missing" and unit.endswith(".service"):
                return self._sysv(unit.removesuffix(".service"), found)  # systemd-sysv-generator(8)
            return found
        missing = Service(name, "missing", "")
        if self.init == "upstart":
            job = self._upstart(name)
            return job if job.state != "missing" else self._sysv(name, missing)
        if self.init == "openrc":
            return self._openrc(name)
        return self._sysv(name, missing)

    def unit_path(self, unit: str) -> str | None:
        """The file of a systemd unit; None where it has none."""
        return next((path for path in _paths(unit) if self.tree.exists(path)), None)

    def _systemd(self, unit: str, depth: int) -> Service:
        tree = self.tree
        for path in _paths(unit):
            if not _is_there(tree, path):
                continue
            if _is_mask(tree, path):
                return Service(unit, "masked", f"{path} -> /dev/null")
            break
        else:
            return Service(unit, "missing", f"{UNIT_FOLDERS[2]}/{unit}")
        generated = self._generated(unit)
        if generated:
            return Service(unit, "enabled", generated)
        for link in self._links(unit):
            target = re.sub(r"\.(wants|requires|upholds)$", "", link.rsplit("/", 2)[1])
            if target in BOOT_TARGETS:
                return Service(unit, "enabled", link)
            if depth < _DEPTH and self._systemd(target, depth + 1).starts:
                return Service(unit, "enabled", link)
        alias = self._alias(unit)
        if alias:
            return Service(unit, "enabled", alias)
        preset = self._preset(unit) if self._first_boot() else None
        if preset:
            return Service(unit, "enabled", preset)
        return Service(unit, "disabled", path)

    def _generated(self, unit: str) -> str | None:
        """The generator that puts the unit into multi-user.target while the machine boots."""
        name = _GENERATORS.get(unit)
        for folder in _GENERATOR_FOLDERS if name else ():
            path = f"{folder}/{name}"
            if not _is_there(self.tree, path):
                continue
            if _is_mask(self.tree, path) or not self.tree.is_file(path):
                return None
            return path if self.tree.stat(path).mode & 0o111 else None
        return None

    def _links(self, unit: str) -> list[str]:
        """The links through which other units want this one."""
        if not self._wanted:
            self._wanted[""] = []  # read, even if there are none
            for folder in self._unit_folders():
                for holder in self.tree.list(folder):
                    if not holder.endswith((".wants", ".requires", ".upholds")):
                        continue
                    path = f"{folder}/{holder}"
                    for name in self.tree.list(path) if self.tree.is_dir(path) else ():
                        self._wanted.setdefault(name, []).append(f"{path}/{name}")
        return [path for path in self._wanted.get(unit, []) if not _is_mask(self.tree, path)]

    def _unit_folders(self) -> list[str]:
        """The folders of units that are there, each once (/lib is often a link to /usr/lib)."""
        there = {
            self.tree.realpath(folder): folder
            for folder in reversed(UNIT_FOLDERS)
            if self.tree.is_dir(folder)
        }
        return list(reversed(there.values()))

    def _alias(self, unit: str) -> str | None:
        """A wanted alias of the unit (`Alias=` of its [Install]), a link in /etc/systemd/system."""
        text = self.tree.text_if_there(self.unit_path(unit) or "", limit=_LIMIT) or ""
        for names in re.findall(r"^Alias=(.*)$", text, re.MULTILINE):
            for name in names.split()[:16]:
                path = f"{UNIT_FOLDERS[0]}/{name}"
                if not _is_there(self.tree, path) or _is_mask(self.tree, path):
                    continue
                if name == "default.target" or self._links(name):
                    return path
        return None

    def _first_boot(self) -> bool:
        """machine-id(5): systemd applies its presets when there is no machine ID, not when it is empty."""
        text = self.tree.text_if_there("/etc/machine-id", limit=_LIMIT)
        return text is None or text.strip() == "uninitialized"

    def _preset(self, unit: str) -> str | None:
        """The preset file that enables the unit; the first line that matches counts."""
        own = self.tree.text_if_there(self.unit_path(unit) or "", limit=_LIMIT) or ""
        if not re.search(r"^(WantedBy|RequiredBy)=", own, re.MULTILINE):
            return None
        files: dict[str, str] = {}
        for folder in PRESET_FOLDERS:
            for path in self.tree.glob(f"{folder}/*.preset"):
                files.setdefault(path.rsplit("/", 1)[1], path)
        for _, path in sorted(files.items()):
            for line in (self.tree.text_if_there(path, limit=_LIMIT) or "").splitlines():
                words = line.split()
                if len(words) >= 2 and words[0] in ("enable", "disable") and fnmatch.fnmatch(unit, words[1]):
                    return path if words[0] == "enable" else None
        return None

    def _upstart(self, name: str) -> Service:
        path = f"/etc/init/{name}.conf"
        text = self.tree.text_if_there(path, limit=_LIMIT)
        if text is None:
            return Service(name, "missing", path)
        state: State = "disabled"
        for source, content in ((path, text), (f"/etc/init/{name}.override", None)):
            stanzas = content if content is not None else self.tree.text_if_there(source, limit=_LIMIT)
            for line in (stanzas or "").splitlines():
                if re.match(r"\s*start\s+on\b", line):
                    state, path = "enabled", source
                elif re.match(r"\s*manual\b", line):
                    state, path = "disabled", source
        return Service(name, state, path)

    def _sysv(self, name: str, missing: Service) -> Service:
        script = next(
            (path for path in (f"/etc/init.d/{name}", f"/etc/rc.d/init.d/{name}") if self.tree.exists(path)),
            None,
        )
        if script is None:
            return missing
        for level in self._runlevels():
            for folder in (f"/etc/rc{level}.d", f"/etc/rc.d/rc{level}.d", f"/etc/init.d/rc{level}.d"):
                links = self.tree.glob(f"{folder}/S[0-9][0-9]{name}")
                if links:
                    return Service(name, "enabled", links[0])
        return Service(name, "disabled", script)

    def _runlevels(self) -> str:
        """The default runlevel of /etc/inittab, where it says one; the boot's own (S) always counts."""
        table = self.tree.text_if_there("/etc/inittab", limit=_LIMIT) or ""
        found = re.search(r"^[^#:\n]*:([2-5]):initdefault:", table, re.MULTILINE)
        return (found[1] if found and self.init != "systemd" else _RUNLEVELS) + "S"

    def _openrc(self, name: str) -> Service:
        script = f"/etc/init.d/{name}"
        if not self.tree.exists(script):
            return Service(name, "missing", script)
        links = self.tree.glob(f"/etc/runlevels/*/{name}")
        return Service(name, "enabled", links[0]) if links else Service(name, "disabled", script)


def read_services(tree: Tree) -> Services:
    """The init system that /sbin/init is. Raises GuestReadFailed."""
    return Services(tree, _init(tree))


def _init(tree: Tree) -> Init:
    if tree.exists("/sbin/init"):
        program = tree.realpath("/sbin/init")
        if program.endswith("/systemd"):
            return "systemd"
        if tree.exists("/sbin/initctl") and tree.is_dir("/etc/init"):
            return "upstart"
        if tree.exists("/sbin/openrc-run"):
            return "openrc"
        return "sysvinit" if tree.glob("/etc/rc*.d") or tree.exists("/etc/inittab") else "unknown"
    if any(tree.exists(f"{folder}/systemd/systemd") for folder in ("/usr/lib", "/lib")):
        return "systemd"
    return "unknown"


def _paths(unit: str) -> list[str]:
    return [f"{folder}/{unit}" for folder in UNIT_FOLDERS]


def _is_there(tree: Tree, path: str) -> bool:
    """Whether the name is there, even as a link that leads nowhere (as /dev/null does on a disk)."""
    return bool(tree.glob(path))


def _is_mask(tree: Tree, path: str) -> bool:
    found = tree.lstat(path)
    if found.kind == "symlink":
        return tree.readlink(path) == "/dev/null"
    return found.kind == "file" and found.size == 0 and "/etc/systemd/" in path
