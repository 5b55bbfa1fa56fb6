"""What a remedy says to run in this Windows: PowerShell, pnputil, dism, sc and reg, by its version."""

from __future__ import annotations

from imgtool.guest.windows.known_drivers import VirtioDriver, disk_folder
from imgtool.guest.windows.releases import Release
from imgtool.text import Text

DRIVER_DISK = "D:"
"""Where the remedies take virtio-win's disk to be."""
FIRST_WITH_ADD_DRIVER = 14393
"""The build from which on pnputil has /add-driver; before it is -i -a."""


def in_windows(*commands: str, en: str = "", zh: str = "") -> Text:
    """Commands for an administrator's PowerShell, with a sentence before them."""
    said = "\n".join(commands)
    before = en or "In Windows, in PowerShell as administrator"
    before_zh = zh or "请在 Windows 中以管理员身份运行 PowerShell，执行"
    return Text(f"{before}:\n{said}", f"{before_zh}：\n{said}")


def install_driver(driver: VirtioDriver, release: Release) -> tuple[str, ...]:
    """The lines that install a driver from virtio-win's disk; () where the disk has none for this Windows."""
    folder = disk_folder(driver, release.name, release.architecture)
    if not folder:
        return ()
    inf = f"{DRIVER_DISK}\\{folder}\\{driver.inf}"
    if release.build >= FIRST_WITH_ADD_DRIVER:
        return (f"pnputil /add-driver {inf} /install",)
    return (f"pnputil -i -a {inf}",)


def install_driver_offline(driver: VirtioDriver, release: Release) -> str:
    """The line that installs it into a Windows that does not run and lies on E:; "" where there is none."""
    folder = disk_folder(driver, release.name, release.architecture)
    return f"dism /Image:E:\\ /Add-Driver /Driver:{DRIVER_DISK}\\{folder}" if folder else ""


def bind_at_boot(driver: VirtioDriver, device: int) -> tuple[str, ...]:
    """The lines that write a binding into CriticalDeviceDatabase."""
    id_ = driver.hardware_ids[driver.devices.index(device)]
    key = f"HKLM\\SYSTEM\\CurrentControlSet\\Control\\CriticalDeviceDatabase\\pci#{id_.lower()}"
    return (
        f'reg add "{key}" /v ClassGUID /d "{driver.class_guid}" /f',
        f'reg add "{key}" /v Service /d {driver.name} /f',
    )
