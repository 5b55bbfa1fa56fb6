"""A virtio driver put into a Windows that is off: its files, its service, and what binds it to the device.

A driver that the disk hangs on has to start with the kernel, before Plug and Play: it needs a service with
Start 0 and a binding in the database that Windows reads at boot (imgtool.guest.windows.device_database). The
layout of a DriverDatabase entry is that which Windows writes for such a driver; the same one is known to work
from virt-v2v. Any other driver is installed by Plug and Play from an INF that it finds in DevicePath.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtool.repair.driver_disk import driver_files
from imgtool.repair.editor import RegistryValue
from imgtool.repair.registration import CannotMend
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.guest.windows.known_drivers import VirtioDriver
    from imgtool.repair.registration import Work

CONFIG = "/Windows/System32/config"
SYSTEM, SOFTWARE = f"{CONFIG}/SYSTEM", f"{CONFIG}/SOFTWARE"
FOLDER = "/Windows/Drivers/VirtIO"
INF_FOLDER = "/Windows/INF"
CATALOGS = "/Windows/System32/CatRoot/{F750E6C3-38EE-11D1-85E5-00C04FC295EE}"
CURRENT_VERSION = "Microsoft\\Windows\\CurrentVersion"
INSTALLED = "%SystemRoot%\\inf"
"""Where Windows seeks INFs while DevicePath says nothing else."""
GIVEN = "%SystemRoot%\\Drivers\\VirtIO"
STORED = (".sys", ".inf", ".cat", ".pdb", ".dll", ".exe")
_BUS_TYPES = {"viostor": 1, "vioscsi": 0x0A}
"""What storport takes the disks for, as the drivers' own INFs set it: SCSI, or serial-attached SCSI."""
_SCORE = 0x0D000003  # signed by the vendor, as Windows scores it
_MATCHED = bytes((1, 255, 0, 0))


def dword(number: int) -> RegistryValue:
    """REG_DWORD."""
    return RegistryValue("dword", number)


def sz(text: str) -> RegistryValue:
    """REG_SZ."""
    return RegistryValue("sz", text)


def set_values(work: Work, hive: str, key: str, values: dict[str, RegistryValue]) -> None:
    """Set several values of one key."""
    for name, value in values.items():
        work.draft.registry_set(hive, key, name, value)


def service_key(guest: WindowsGuest, name: str) -> str:
    """The key of a service in the control set that the next boot uses."""
    return f"{guest.control_set.path}\\Services\\{name}"


def copy_files(work: Work, driver: VirtioDriver) -> None:
    """The driver's files from the disk that was given: to where Windows keeps it, and for Plug and Play."""
    from imgtool.guest.windows.known_drivers import disk_folder

    guest, draft = work.image.windows, work.draft
    if work.wishes.virtio_win is None:
        raise CannotMend(
            Text(
                en=f"{driver.name} is not on the image: give virtio-win's ISO with --virtio-win ISO.",
                zh=f"镜像中没有驱动 {driver.name}：请用 --virtio-win 指定 virtio-win ISO。",
            )
        )
    folder = disk_folder(driver, guest.release.name, guest.release.architecture)
    if not folder:
        raise CannotMend(
            Text(
                en=f"virtio-win has no {driver.name} for {guest.release.full_name}.",
                zh=f"virtio-win 没有适用于 {guest.release.full_name} 的 {driver.name}。",
            )
        )
    found = driver_files(work.wishes.virtio_win, folder)
    lacking = [name for name in (f"{driver.name}.sys", driver.inf) if name not in found]
    if lacking:
        raise CannotMend(
            Text(
                en=f"{folder} of the driver disk lacks {', '.join(lacking)}.",
                zh=f"驱动光盘的 {folder} 中缺少 {'、'.join(lacking)}。",
            )
        )
    draft.write(driver.file, found[f"{driver.name}.sys"])
    for name, content in found.items():
        if name.endswith(STORED):
            draft.write(f"{FOLDER}/{name}", content)
    _stage(work, driver, found)
    draft.registry_set(SOFTWARE, CURRENT_VERSION, "DevicePath", RegistryValue("expand_sz", _seeking(guest)))


def _seeking(guest: WindowsGuest) -> str:
    """DevicePath with the folder of the drivers behind those that it has."""
    key = guest.software.key(CURRENT_VERSION)
    there = (key.text("DevicePath") if key is not None else None) or INSTALLED
    folders = [folder for folder in there.split(";") if folder]
    if GIVEN.lower() not in (folder.lower() for folder in folders):
        folders.append(GIVEN)
    return ";".join(folders)


def _stage(work: Work, driver: VirtioDriver, found: dict[str, bytes]) -> None:
    """The INF among the installed ones, under the next free name, with its catalogue."""
    tree = work.draft.tree
    for path in tree.glob(f"{INF_FOLDER}/oem*.inf"):
        if tree.stat(path).size == len(found[driver.inf]) and tree.read(path) == found[driver.inf]:
            return
    number = next(it for it in range(1000) if not tree.exists(f"{INF_FOLDER}/oem{it}.inf"))
    work.draft.write(f"{INF_FOLDER}/oem{number}.inf", found[driver.inf])
    catalogue = found.get(f"{driver.name}.cat")
    if catalogue is not None:
        work.draft.write(f"{CATALOGS}/oem{number}.cat", catalogue)


def start_with_kernel(work: Work, driver: VirtioDriver) -> None:
    """A service that is there started with the kernel; its program stays where it is."""
    key = service_key(work.image.windows, driver.name)
    work.draft.registry_set(SYSTEM, key, "Start", dword(0))
    work.draft.registry_delete(SYSTEM, f"{key}\\StartOverride")


def install_at_boot(work: Work, driver: VirtioDriver) -> None:
    """The service of a driver that was copied, to start with the kernel."""
    key = service_key(work.image.windows, driver.name)
    path = RegistryValue("expand_sz", f"system32\\drivers\\{driver.name}.sys")
    set_values(
        work,
        SYSTEM,
        key,
        {
            "Type": dword(1),
            "ErrorControl": dword(1),
            "Group": sz("SCSI miniport"),
            "Tag": dword(0x21),
            "ImagePath": path,
        },
    )
    set_values(work, SYSTEM, f"{key}\\Parameters", {"BusType": dword(_BUS_TYPES[driver.name])})
    set_values(work, SYSTEM, f"{key}\\Parameters\\PnpInterface", {"5": dword(1)})
    start_with_kernel(work, driver)


def start_by_plug_and_play(work: Work, driver: VirtioDriver) -> None:
    """The service of a driver that starts when its device is met."""
    key = service_key(work.image.windows, driver.name)
    path = RegistryValue("expand_sz", f"\\SystemRoot\\System32\\drivers\\{driver.name}.sys")
    values = {"Type": dword(1), "Start": dword(3), "ErrorControl": dword(1), "Group": sz("NDIS")}
    set_values(work, SYSTEM, key, {**values, "ImagePath": path})
    work.draft.registry_delete(SYSTEM, f"{key}\\StartOverride")


def bind(work: Work, driver: VirtioDriver) -> None:
    """Lead the platform's device to the driver in the database that Windows reads at boot."""
    guest = work.image.windows
    if guest.devices.kind == "DriverDatabase":
        _bind_in_database(work, driver)
        return
    for hardware_id in driver.hardware_ids:
        key = f"{guest.control_set.path}\\Control\\CriticalDeviceDatabase\\pci#{hardware_id.lower()}"
        set_values(work, SYSTEM, key, {"ClassGUID": sz(driver.class_guid), "Service": sz(driver.name)})


def _bind_in_database(work: Work, driver: VirtioDriver) -> None:
    architecture = {"x86_64": "amd64", "i386": "x86"}.get(work.image.windows.release.architecture, "amd64")
    label = f"{driver.inf}_{architecture}_imgtool00000000"
    configuration = f"{driver.name}_conf"
    top = "DriverDatabase"
    set_values(
        work,
        SYSTEM,
        f"{top}\\DriverInfFiles\\{driver.inf}",
        {
            "": RegistryValue("multi_sz", (label,)),
            "Active": sz(label),
            "Configurations": RegistryValue("multi_sz", (configuration,)),
        },
    )
    for hardware_id in driver.hardware_ids:
        key = f"{top}\\DeviceIds\\PCI\\{hardware_id}"
        work.draft.registry_set(SYSTEM, key, driver.inf, RegistryValue("binary", _MATCHED))
    package = f"{top}\\DriverPackages\\{label}"
    set_values(
        work,
        SYSTEM,
        package,
        {
            "": sz(driver.inf),
            "F6": dword(1),
            "InfName": sz(driver.inf),
            "OemPath": sz(""),
            "Provider": sz("Red Hat, Inc."),
            "SignerName": sz(""),
            "SignerScore": dword(_SCORE),
            "StatusFlags": dword(0x12),
            "Version": RegistryValue("binary", _version(driver)),
        },
    )
    set_values(
        work,
        SYSTEM,
        f"{package}\\Configurations\\{configuration}",
        {"ConfigFlags": dword(0), "Service": sz(driver.name)},
    )
    for hardware_id in driver.hardware_ids:
        set_values(
            work,
            SYSTEM,
            f"{package}\\Descriptors\\PCI\\{hardware_id}",
            {
                "Configuration": sz(configuration),
                "Description": sz("%device%"),
                "Manufacturer": sz("%vendor%"),
            },
        )
    set_values(
        work,
        SYSTEM,
        f"{package}\\Strings",
        {"device": sz("Red Hat VirtIO SCSI controller"), "vendor": sz("Red Hat, Inc.")},
    )


def _version(driver: VirtioDriver) -> bytes:
    """What Windows keeps of a driver: flags, its class' GUID, its date as a FILETIME, its version."""
    from uuid import UUID

    guid = UUID(driver.class_guid.strip("{}")).bytes_le
    date = (130_000_000_000_000_000).to_bytes(8, "little")
    return bytes((0, 255, 9, 0, 0, 0, 0, 0)) + guid + date + bytes(8)
