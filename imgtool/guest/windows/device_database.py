"""Which service Windows starts for a PCI device that it meets for the first time at boot.

Up to Server 2008 R2 (and where there is no DriverDatabase) that is Control\\CriticalDeviceDatabase:
`pci#ven_1af4&dev_1001&subsys_00021af4&rev_00` with ClassGUID and Service. From Windows 8 on it is
SYSTEM\\DriverDatabase: DeviceIds\\PCI\\<hardware id> names INF files, DriverInfFiles\\<inf> names the active
package, and DriverPackages\\<package> has Descriptors\\PCI\\<hardware id> with a Configuration whose key
under Configurations names the Service. Packages that are not needed at boot are in the hive DRIVERS, laid out
alike.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from imgtool.guest.windows.known_drivers import VENDOR, DatabaseKind, VirtioDriver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.guest.windows.registry import Key

CRITICAL = "Control\\CriticalDeviceDatabase"
DEVICE_IDS = "DeviceIds\\PCI"


@dataclass(frozen=True)
class Binding:
    """A hardware id and what it leads to. id: VEN_1AF4&DEV_1001..., upper case; service: "" where it leads to
    none; inf: of the DriverDatabase; key: where it stands; boot: read at boot, not by Plug and Play later."""

    id: str
    service: str
    inf: str
    key: str
    boot: bool

    @property
    def device(self) -> int:
        """The PCI device number, 0x1001."""
        found = re.search("DEV_([0-9A-F]{4})", self.id)
        return int(found[1], 16) if found else 0

    @property
    def proof(self) -> str:
        """The key with what it says."""
        via = f" via {self.inf}" if self.inf else ""
        return f"{self.key}: Service {self.service or '(none)'}{via}"


@dataclass(frozen=True)
class DeviceDatabase:
    """kind: the database that this Windows reads at boot. bindings: those of virtio's vendor, 1AF4."""

    kind: DatabaseKind
    bindings: tuple[Binding, ...]

    def of(self, driver: VirtioDriver, *, at_boot: bool) -> tuple[Binding, ...]:
        """The bindings that lead from this driver's devices to it; those at boot, or all."""
        return tuple(
            it
            for it in self.bindings
            if it.device in driver.devices
            and it.service.lower() == driver.name
            and (it.boot or not at_boot)
            and _matches(it.id, driver)
        )


def _matches(hardware_id: str, driver: VirtioDriver) -> bool:
    """An id that names another subsystem does not fit the platform's device."""
    subsystem = re.search("SUBSYS_([0-9A-F]{8})", hardware_id)
    return subsystem is None or subsystem[1] in driver.subsystems


def read_device_database(guest: WindowsGuest) -> DeviceDatabase:
    """Raises GuestReadFailed where a part of it is damaged."""
    found = list(read_boot_bindings(guest, _of_virtio))
    if guest.system.key("DriverDatabase") is None:
        return DeviceDatabase("CriticalDeviceDatabase", tuple(found))
    later = guest.drivers.key("DriverDatabase") if guest.drivers is not None else None
    if later is not None:
        found += _DriverDatabase(later, "DRIVERS", boot=False).bindings(_of_virtio)
    return DeviceDatabase("DriverDatabase", tuple(found))


def read_boot_bindings(guest: WindowsGuest, wanted: Callable[[str], bool]) -> Iterator[Binding]:
    """What Windows reads at boot of PCI devices. wanted: by hardware id. Raises GuestReadFailed."""
    database = guest.system.key("DriverDatabase")
    if database is not None:
        return _DriverDatabase(database, "SYSTEM", boot=True).bindings(wanted)
    return _critical(guest.control_set, wanted)


def _critical(control_set: Key, wanted: Callable[[str], bool]) -> Iterator[Binding]:
    top = control_set.key(CRITICAL)
    for key in top.keys() if top is not None else ():
        bus, _, rest = key.name.partition("#")
        if bus.lower() == "pci" and wanted(rest):
            where = f"SYSTEM\\{key.path}"
            yield Binding(rest.upper().replace("#", "\\"), key.text("Service") or "", "", where, True)


class _DriverDatabase:
    """Follows each INF once: many devices have the same one."""

    def __init__(self, top: Key, hive: str, *, boot: bool) -> None:
        self._top, self._name, self._boot = top, f"{hive}\\DriverDatabase", boot
        self._packages: dict[str, Key | None] = {}
        self._descriptors: dict[str, Key | None] = {}

    def bindings(self, wanted: Callable[[str], bool]) -> Iterator[Binding]:
        ids = self._top.key(DEVICE_IDS)
        for key in ids.keys() if ids is not None else ():
            if not wanted(key.name):
                continue
            where = f"{self._name}\\{DEVICE_IDS}\\{key.name}"
            for inf in key.values():
                if inf:
                    yield Binding(key.name.upper(), self._service(inf, key.name), inf, where, self._boot)

    def _service(self, inf: str, hardware_id: str) -> str:
        """From an INF to the service of its active package's configuration for this id; "" where that leads
        to none."""
        if inf not in self._packages:
            package = self._packages[inf] = self._active_package(inf)
            self._descriptors[inf] = package.key("Descriptors\\PCI") if package is not None else None
        package, descriptors = self._packages[inf], self._descriptors[inf]
        descriptor = descriptors.key(hardware_id) if descriptors is not None else None
        name = (descriptor.text("Configuration") or "") if descriptor is not None else ""
        configuration = package.key(f"Configurations\\{name}") if package is not None and name else None
        return (configuration.text("Service") or "") if configuration is not None else ""

    def _active_package(self, inf: str) -> Key | None:
        file = self._top.key(f"DriverInfFiles\\{inf}")
        if file is None:
            return None
        active = file.text("Active") or next(iter(file.texts("") or ()), "")
        return self._top.key(f"DriverPackages\\{active}") if active else None


def _of_virtio(hardware_id: str) -> bool:
    return hardware_id.upper().startswith(f"VEN_{VENDOR:04X}&DEV_")
