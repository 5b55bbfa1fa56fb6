"""The drivers that a Windows starts with and has its network by, and the devices that each is bound to.

A boot driver is bound where Windows looks before Plug and Play runs (device_database); a network card where
Plug and Play has noted it: Enum\\<bus>\\<hardware id>\\<instance> with Service and ClassGUID, of every card
that this system has ever met.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from imgtool.guest.windows.device_database import read_boot_bindings
from imgtool.guest.windows.known_drivers import NET_CLASS
from imgtool.guest.windows.services import BOOT
from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.guest.windows.registry import Key
    from imgtool.guest.windows.services import Service

ENUM = "Enum"
OF_BUSES = "boot bus extender"
BUSES = ("PCI", "VMBUS", "XENBUS", "XENVIF", "XEN", "XENPCI")
"""Where network cards of machines, real or virtual, hang; those that Windows makes itself (ROOT, SWD) are
left out."""


Role = Literal["boot", "network"]


@dataclass(frozen=True)
class BoundDriver:
    """devices: hardware ids, PCI\\VEN_1AF4&DEV_1001 and so on, sorted."""

    role: Role
    service: Service
    devices: tuple[str, ...]


def read_bound_drivers(guest: WindowsGuest) -> tuple[BoundDriver, ...]:
    """Boot drivers first, each group by name; those bound to nothing are left out. Raises CannotRead."""
    bound: dict[tuple[Role, str], set[str]] = {}
    for binding in read_boot_bindings(guest, lambda _: True):
        bound.setdefault(("boot", binding.service.lower()), set()).add(f"PCI\\{binding.id}")
    for name, device in _network_cards(guest.control_set):
        bound.setdefault(("network", name.lower()), set()).add(device)
    found = []
    for (role, name), devices in sorted(bound.items()):
        service = guest.services.get(name)
        if service is None or (role == "boot" and not _drives_disks(service)):
            continue
        found.append(BoundDriver(role, service, tuple(sorted(devices))))
    return tuple(found)


def _drives_disks(service: Service) -> bool:
    """Starts at boot, and not for a bus: pci.sys is bound to hundreds of bridges."""
    return service.effective_start == BOOT and service.group.lower() != OF_BUSES


def _network_cards(control_set: Key) -> Iterator[tuple[str, str]]:
    """The service and the hardware id of each."""
    top = control_set.key(ENUM)
    for bus in BUSES:
        devices = top.key(bus) if top is not None else None
        for device in devices.keys() if devices is not None else ():
            for instance in device.keys():  # noqa: SIM118 - a method
                if (instance.text("ClassGUID") or "").lower() == NET_CLASS:
                    service = instance.text("Service")
                    if service:
                        yield service, f"{bus}\\{device.name.upper()}"
