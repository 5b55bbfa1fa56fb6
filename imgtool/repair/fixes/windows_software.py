"""What is left of other platforms' software in a Windows: kept from starting, off the lists of filters."""

from __future__ import annotations

from imgtool.repair.editor import RegistryValue
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.repair.windows_drivers import SYSTEM, dword, service_key
from imgtool.text import Text


@fix("windows.conflicting-software")
def keep_what_is_left_from_starting(work: Work) -> None:
    """Filters that can't be loaded go off their classes' lists, and so do those of services that are disabled
    here. What has an uninstaller is left to that, which only runs inside."""
    from imgtool.guest.windows.class_filters import BOOT_CLASSES, cannot_load, read_class_filters
    from imgtool.guest.windows.foreign_software import find_foreign

    guest, draft = work.image.windows, work.draft
    found = find_foreign(guest)
    left = [it for it in found if not it.programs and it.foreign.kind != "security software"]
    idle = [service for it in left for service in it.services]
    gone = {service.name.lower() for service in idle}
    for filters in read_class_filters(guest):
        at_boot = filters.class_guid.lower() in BOOT_CLASSES
        kept = tuple(
            name
            for name in filters.drivers
            if name.lower() not in gone and not (at_boot and cannot_load(guest, name))
        )
        if kept != filters.drivers:
            draft.registry_set(SYSTEM, filters.key, filters.list_name, RegistryValue("multi_sz", kept))
    for service in idle:
        key = service_key(guest, service.name)
        draft.registry_set(SYSTEM, key, "Start", dword(4))
        if service.overridden is not None:
            draft.registry_delete(SYSTEM, f"{key}\\StartOverride")
    stubborn = [it.foreign.name for it in found if it not in left or not it.services]
    if stubborn and (not draft.steps or draft.steps[-1].mends != draft.mending):
        raise CannotMend(
            Text(
                en=f"{', '.join(stubborn)}: to be uninstalled in Windows, by its own uninstaller.",
                zh=f"{'、'.join(stubborn)}：请在 Windows 中用其自带的卸载程序卸载。",
            )
        )
