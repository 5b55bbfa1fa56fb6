"""What a remedy says to run in this Windows: the shell by name, and commands that its release really has.

Names that come from the image are a stranger's. They go into a command only as one argument that the named
shell takes literally, or not at all: then the remedy says in words what to do.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.guest.windows.known_drivers import VirtioDriver, disk_folder
from imgtool.guest.windows.releases import Release
from imgtool.guest.windows.services import START_WORDS
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.services import Service

DRIVER_DISK = "D:"
"""Where the remedies take virtio-win's disk to be."""
FIRST_WITH_POWERSHELL = 7600
"""The build of Server 2008 R2; on Server 2008 it is a feature that few have installed."""
FIRST_WITH_DISM_DRIVERS = 7600
"""The build of the first images to which `dism /Add-Driver` adds drivers."""
FIRST_WITH_UNBLOCK_FILE = 9200
"""The build that came with PowerShell 3.0."""
FIRST_WITH_ADD_DRIVER = 14393
"""The build from which on pnputil has /add-driver; before it is -i -a."""
# `%` and `"` can't be quoted for cmd. What PowerShell would take for the end of the string, for a variable or
# for
# an escape is kept out as well: people paste into the wrong window.
_NOT_IN_QUOTES = frozenset('%"$`\u201c\u201d\u201e')
# PowerShell takes any of them for a single quote (about_Quoting_Rules).
_SINGLE_QUOTES = re.compile("(['\u2018\u2019\u201a\u201b])")
LONGEST_SHOWN = 120


def for_cmd(word: str) -> str | None:
    """A word as one argument of a program, for cmd; None where cmd can't be kept from changing it."""
    if not word or not word.isprintable() or _NOT_IN_QUOTES & set(word):
        return None
    trailing = len(word) - len(word.rstrip("\\"))
    return f'"{word}{chr(92) * trailing}"'  # a program takes \" for a quote


def for_powershell(word: str) -> str | None:
    """A word as a literal string of PowerShell; None for one that can't be shown."""
    if not word.isprintable():
        return None
    return "'" + _SINGLE_QUOTES.sub(r"\1\1", word) + "'"


def shown(name: str) -> str:
    """A name in a sentence: one line, and not longer than one."""
    name = "".join(char if char.isprintable() else "?" for char in name)
    return name if len(name) <= LONGEST_SHOWN else name[: LONGEST_SHOWN - 1] + "…"


def as_lines(commands: tuple[str, ...]) -> str:
    """Commands below a sentence. One that ends in a drive's colon is set off, so that nobody takes it for
    prose."""
    return "\n".join(f"  {it}" if it.endswith(":") else it for it in commands)


def at_prompt(*commands: str, en: str = "", zh: str = "") -> Text:
    """Commands for cmd, which every release has, also Server Core; en, zh: where, or after what."""
    said = as_lines(commands)
    before = en or "In Windows, in a Command Prompt as administrator"
    before_zh = zh or "请在 Windows 中以管理员身份打开命令提示符（cmd），执行"
    return Text(f"{before}:\n{said}", f"{before_zh}：\n{said}")


def in_powershell(*commands: str) -> Text:
    """Commands for Windows PowerShell, where cmd has none."""
    said = as_lines(commands)
    return Text(
        f"In Windows, in Windows PowerShell as administrator:\n{said}",
        f"请在 Windows 中以管理员身份打开 Windows PowerShell，执行：\n{said}",
    )


def start_service(service: Service, word: str) -> list[str]:
    """The lines that give a service a start, in the words of sc.exe, which leaves StartOverride as it is."""
    if service.start is None:  # the service manager has passed over it, so that sc.exe does not find it
        key, number = f"HKLM\\SYSTEM\\CurrentControlSet\\Services\\{service.name}", START_WORDS.index(word)
        lines = [f'reg add "{key}" /v Start /t REG_DWORD /d {number} /f']
    else:
        name = f'"{service.name}"' if " " in service.name else service.name
        lines = [f"sc.exe config {name} start= {word}"]
    if service.overridden is not None:
        lines.append(drop_override(service))
    return lines


def drop_override(service: Service) -> str:
    """The line that removes StartOverride."""
    return f'reg delete "HKLM\\SYSTEM\\CurrentControlSet\\Services\\{service.name}\\StartOverride" /f'


def install_driver(driver: VirtioDriver, release: Release) -> tuple[str, ...]:
    """The lines that stage a driver from virtio-win's disk, so that Plug and Play installs it when it meets
    the device; () where the disk has none for this Windows."""
    folder = disk_folder(driver, release.name, release.architecture)
    if not folder:
        return ()
    inf = f"{DRIVER_DISK}\\{folder}\\{driver.inf}"
    if release.build >= FIRST_WITH_ADD_DRIVER:
        return (f"pnputil /add-driver {inf} /install",)
    return (f"pnputil -i -a {inf}",)


def install_driver_offline(driver: VirtioDriver, release: Release) -> str:
    """The line that installs it into a Windows that does not run and lies on E:, service and binding of a
    boot driver with it; "" where there is none."""
    folder = disk_folder(driver, release.name, release.architecture)
    if not folder or release.build < FIRST_WITH_DISM_DRIVERS:
        return ""
    return f"dism /Image:E:\\ /Add-Driver /Driver:{DRIVER_DISK}\\{folder}\\{driver.inf}"


def bind_at_boot(driver: VirtioDriver, device: int) -> tuple[str, ...]:
    """The lines that write a binding into CriticalDeviceDatabase."""
    id_ = driver.hardware_ids[driver.devices.index(device)]
    key = f"HKLM\\SYSTEM\\CurrentControlSet\\Control\\CriticalDeviceDatabase\\pci#{id_.lower()}"
    return (
        f'reg add "{key}" /v ClassGUID /d "{driver.class_guid}" /f',
        f'reg add "{key}" /v Service /d {driver.name} /f',
    )
