"""Filter drivers of device classes: Control\\Class\\{guid} with the lists UpperFilters and LowerFilters.

Windows loads every driver on these lists for each device of the class; where one can't be loaded, because its
service is gone or disabled, it does not start the device (problem 32 or 39). For the classes that the system
disk hangs on that ends in 0x7B (INACCESSIBLE_BOOT_DEVICE), which is what a removed Xen or backup driver
leaves behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from imgtool.records import dataclass
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest

CLASSES = "Control\\Class"
LISTS = ("UpperFilters", "LowerFilters")
LONGEST_LINE = 8191
"""Characters that cmd takes."""
CDROM_CLASS = "{4d36e965-e325-11ce-bfc1-08002be10318}"
BOOT_CLASSES = {
    "{4d36e967-e325-11ce-bfc1-08002be10318}": "DiskDrive",
    "{4d36e96a-e325-11ce-bfc1-08002be10318}": "HDC",
    "{4d36e97b-e325-11ce-bfc1-08002be10318}": "SCSIAdapter",
    "{4d36e97d-e325-11ce-bfc1-08002be10318}": "System",
    "{71a27cdd-812a-11d0-bec7-08002be2092f}": "Volume",
}


@dataclass(frozen=True)
class ClassFilters:
    """One list of one class. class_guid: as the key is called; list_name: UpperFilters or LowerFilters."""

    class_guid: str
    list_name: str
    drivers: tuple[str, ...]
    key: str

    @property
    def proof(self) -> str:
        """The value with what it holds."""
        return f"SYSTEM\\{self.key}: {self.list_name}={', '.join(self.drivers)[:200]}"


def read_class_filters(guest: WindowsGuest, only: Iterable[str] | None = None) -> list[ClassFilters]:
    """Of every class, or of those named by GUID in lower case. Raises CannotRead."""
    top = guest.control_set.key(CLASSES)
    if top is None:
        return []
    named = (top.key(guid) for guid in only) if only is not None else top.keys()
    found = []
    for key in named:
        if key is None:
            continue
        for name in LISTS:
            drivers = key.texts(name)
            if drivers:
                found.append(ClassFilters(key.name, name, drivers, key.path))
    return found


def cannot_load(guest: WindowsGuest, driver: str) -> bool:
    """Whether Windows can't load a driver: it has no service, or one that never starts."""
    service = guest.services.get(driver.lower())
    return service is None or service.disabled


def without(filters: ClassFilters, drivers: Iterable[str]) -> str | None:
    """The line that takes drivers off a list, for cmd; None where what stays on it can't be written there."""
    from imgtool.guest.windows.bcd import GUID

    gone = {name.lower() for name in drivers}
    kept = [name for name in filters.drivers if name.lower() not in gone]
    if not GUID.fullmatch(filters.class_guid) or not all(_plain(name) for name in kept):
        return None
    key = f'"HKLM\\SYSTEM\\CurrentControlSet\\{CLASSES}\\{filters.class_guid}"'
    if not kept:
        return f"reg delete {key} /v {filters.list_name} /f"
    data = "\\0".join(kept)  # what reg.exe puts between the strings of a list
    line = f'reg add {key} /v {filters.list_name} /t REG_MULTI_SZ /d "{data}" /f'
    return line if len(line) <= LONGEST_LINE else None


def clear_filters(filters: list[ClassFilters], drivers: Iterable[str]) -> Text:
    """What takes drivers off lists: a line for each, or, where a name can't be written, what to do."""
    from imgtool.guest.windows.commands import at_prompt

    gone = list(drivers)
    lines = [line for it in filters if (line := without(it, gone)) is not None]
    if len(lines) < len(filters):
        return Text(
            "In Windows, in regedit, take these names off the lists, and leave the others on them.",
            "请在 Windows 的注册表编辑器（regedit）中从这些列表里删除上述驱动名，保留其余项。",
        )
    return at_prompt(*lines)


def _plain(name: str) -> bool:
    """Letters and digits as real drivers have them; a backslash would end a name in the list."""
    return name.isascii() and name.replace("_", "").replace("-", "").replace(".", "").isalnum()
