"""cloudbase-init: where it is, whether it can run, what it remembers of earlier runs.

The service's command line is that of its installer: OpenStackService.exe starts Python with the program and
the option --config-file. The state is cloudbaseinit/plugins/common/base.py's: 1 done, 2 run at the next boot,
kept in the registry by instance (cloudbaseinit/osutils/windows.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgtool.guest.windows.cloudbase_config import Config, read_config
from imgtool.guest.windows.paths import guest_path, program_of
from imgtool.lazy import fact

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.guest.windows.registry import Key
    from imgtool.guest.windows.services import Service

SERVICE = "cloudbase-init"
FOLDER = "Cloudbase Solutions/Cloudbase-Init"
PLACES = (f"/Program Files/{FOLDER}", f"/Program Files (x86)/{FOLDER}")
CONFIG = "conf/cloudbase-init.conf"
STATE_KEYS = ("Cloudbase Solutions\\Cloudbase-Init", "Wow6432Node\\Cloudbase Solutions\\Cloudbase-Init")
DONE, NEXT_BOOT = 1, 2
NEEDED = (
    "bin/OpenStackService.exe",
    "Python/python.exe",
    "Python/Lib/site-packages/cloudbaseinit/__init__.py",
)
ENTRY_POINTS = ("Python/Scripts/cloudbase-init.exe", "Python/Scripts/cloudbase-init-script.py")
LARGEST_CONFIG = 1 << 20


@dataclass(frozen=True)
class PluginState:
    """What a plugin left behind. instance: the instance's id, "" for a place that counts for all; value: 1
    done, 2 runs at every boot."""

    plugin: str
    value: int | None
    instance: str
    key: str


class CloudbaseInit:
    """folder: as a path of the tree, None where it is not installed. Facts may raise CannotRead."""

    def __init__(self, guest: WindowsGuest, folder: str | None, service: Service | None) -> None:
        self._guest = guest
        self.folder = folder
        self.service = service

    @property
    def windows_folder(self) -> str:
        """The folder as Windows writes it."""
        return self.as_windows(self.folder or PLACES[0])

    def as_windows(self, path: str) -> str:
        """A path of the tree as this Windows writes it."""
        return windows_path(path, self._guest.system_drive)

    @fact
    def version(self) -> str:
        """As its package says; "" where it does not."""
        return self._version()

    def _version(self) -> str:
        for program in self._guest.programs:
            if program.name.lower().startswith("cloudbase-init"):
                return program.version
        folder = f"{self.folder}/Python/Lib/site-packages"
        for path in self._guest.tree.glob(f"{folder}/cloudbase_init-*-info"):
            found = re.search(r"cloudbase_init-([0-9][^-]*)", path)
            if found:
                return found[1].removesuffix(".dist")
        return ""

    @fact
    def missing(self) -> tuple[str, ...]:
        """The files without which it can't run, of those that are not there."""
        tree = self._guest.tree
        lacking = [f"{self.folder}/{name}" for name in NEEDED if not tree.is_file(f"{self.folder}/{name}")]
        if not any(tree.is_file(f"{self.folder}/{name}") for name in ENTRY_POINTS):
            lacking.append(f"{self.folder}/{ENTRY_POINTS[0]}")
        return tuple(lacking)

    @property
    def config_path(self) -> str:
        """The configuration that the service names, else the installer's."""
        command = self.service.image_path if self.service is not None else ""
        named = re.search(r'--config-file[= ]+("[^"]+"|\S+)', command)
        path = guest_path(named[1], self._guest.system_drive) if named else None
        return path or f"{self.folder or PLACES[0]}/{CONFIG}"

    @fact
    def config(self) -> Config:
        """Its configuration. Raises CannotRead where the file is not there."""
        return read_config(self._guest.tree.read(self.config_path, LARGEST_CONFIG))

    @fact
    def states(self) -> tuple[PluginState, ...]:
        """What plugins left behind, of every instance that this system has been."""
        found: list[PluginState] = []
        for path in STATE_KEYS:
            top = self._guest.software.key(path)
            if top is None:
                continue
            found += _states(top, "")
            for key in top.keys():  # noqa: SIM118 - a method
                if key.name.lower() != "plugins":
                    found += _states(key, key.name)
        return tuple(found)


def windows_path(path: str, drive: str = "C") -> str:
    """A path of the tree as Windows writes it, on its own drive."""
    return f"{drive}:" + path.replace("/", "\\")


def read_cloudbase_init(guest: WindowsGuest) -> CloudbaseInit:
    """Looks where the service says, then where the installer puts it. Raises CannotRead."""
    service = guest.services.get(SERVICE)
    places = list(PLACES)
    if service is not None and service.image_path:
        program = guest_path(program_of(service.image_path), guest.system_drive)
        if program is not None and program.lower().endswith("/bin/openstackservice.exe"):
            places.insert(0, program[: -len("/bin/OpenStackService.exe")])
    folder = next((place for place in places if guest.tree.is_dir(place)), None)
    return CloudbaseInit(guest, folder, service)


def _states(top: Key, instance: str) -> list[PluginState]:
    key = top.key("Plugins")
    if key is None:
        return []
    where = f"SOFTWARE\\{key.path}"
    return [PluginState(name, key.number(name), instance, where) for name in key.values() if name]
