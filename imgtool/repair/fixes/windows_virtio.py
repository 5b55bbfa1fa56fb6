"""The virtio drivers of Windows: files from virtio-win's disk, services and bindings by the registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtool.checks import windows_virtio as rules
from imgtool.repair.registration import Work, fix
from imgtool.repair.windows_drivers import (
    SYSTEM,
    bind,
    copy_files,
    dword,
    install_at_boot,
    service_key,
    start_by_plug_and_play,
    start_with_kernel,
)

if TYPE_CHECKING:
    from imgtool.guest.windows.known_drivers import VirtioDriver


@fix("windows.virtio.storage")
def find_the_disk(work: Work) -> None:
    """viostor there, started with the kernel and bound to the platform's disk."""
    from imgtool.guest.windows.known_drivers import DRIVERS

    driver = DRIVERS[work.image.profile.windows.system_disk]
    kinds = {fault.kind for fault in rules.storage_faults(work.image.windows, driver)}
    if "install" in kinds:
        copy_files(work, driver)
        install_at_boot(work, driver)
    elif kinds & {"start", "override"}:
        start_with_kernel(work, driver)
    if kinds & {"install", "bind"}:
        bind(work, driver)


@fix("windows.virtio.network")
def find_the_network(work: Work) -> None:
    """netkvm there for Plug and Play, and not disabled."""
    from imgtool.guest.windows.known_drivers import DRIVERS

    guest = work.image.windows
    for name in work.image.profile.windows.network:
        driver = DRIVERS[name]
        service = guest.services.get(name)
        if service is None or _lacks_files(work, driver):
            copy_files(work, driver)
            start_by_plug_and_play(work, driver)
        elif service.disabled:
            work.draft.registry_set(SYSTEM, service_key(guest, name), "Start", dword(3))
            work.draft.registry_delete(SYSTEM, f"{service_key(guest, name)}\\StartOverride")


def _lacks_files(work: Work, driver: VirtioDriver) -> bool:
    guest = work.image.windows
    service = guest.services[driver.name]
    faults = list(rules.file_faults(guest, driver, service.file or driver.file))
    return bool(faults) or not rules.inf_of(guest, driver)
