"""Services and drivers of a control set: when each starts, from which file, as whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imgtool.guest.windows.paths import guest_path, program_of
from imgtool.guest.windows.registry import Key
from imgtool.text import Text

BOOT, SYSTEM, AUTO, DEMAND, DISABLED = range(5)
START_WORDS = ("boot", "system", "auto", "demand", "disabled")
"""What `sc.exe config NAME start=` calls them."""
LONGEST_NAME = 256
"""Characters: Windows takes no longer one for a service."""
KERNEL_DRIVER, FILE_SYSTEM_DRIVER = 1, 2


@dataclass(frozen=True)
class Service:
    """A key below Services. start: 0 boot, 1 system, 2 auto, 3 demand, 4 disabled; None where it has none.

    overridden: what StartOverride makes of it on Windows 8 and later, None where there is no such key;
    account: ObjectName, "" for what means LocalSystem; image_path: as written; drive: the letter of the
    volume that Windows is on.
    """

    name: str
    display_name: str
    type: int | None
    start: int | None
    overridden: int | None
    image_path: str
    account: str
    group: str
    key: str
    drive: str = "C"

    @property
    def is_driver(self) -> bool:
        """A driver of the kernel or a filesystem."""
        return self.type in (KERNEL_DRIVER, FILE_SYSTEM_DRIVER)

    @property
    def effective_start(self) -> int | None:
        """When it starts, StartOverride counted in."""
        return self.start if self.overridden is None else self.overridden

    @property
    def disabled(self) -> bool:
        """Whether Windows never starts it. One without Start counts: neither the service manager nor Plug and
        Play starts what does not say when."""
        return self.start is None or DISABLED in (self.start, self.overridden)

    @property
    def start_word(self) -> str:
        """The start in the words of `sc.exe`; the number where it has none."""
        return word_of(self.effective_start)

    @property
    def kind(self) -> Literal["driver", "service"]:
        """Which of the two."""
        return "driver" if self.is_driver else "service"

    @property
    def file(self) -> str | None:
        """Its program as a path of the guest; drivers without ImagePath have the one of their name."""
        if not self.image_path:
            return f"/Windows/System32/drivers/{self.name}.sys" if self.is_driver else None
        path = self.image_path if self.is_driver else program_of(self.image_path)
        return guest_path(path, self.drive)

    @property
    def proof(self) -> str:
        """The key with what decides."""
        said = "no Start value" if self.start is None else f"Start={self.start}"
        if self.overridden is not None:
            said += f", StartOverride={self.overridden}"
        word = self.effective_start is not None
        return f"SYSTEM\\{self.key}: {said}" + (f" ({self.start_word})" if word else "")


def word_of(start: int | None) -> str:
    """A start in the words of `sc.exe`."""
    if start is None:
        return "no Start value"
    return START_WORDS[start] if start < len(START_WORDS) else str(start)


def said_of(start: int | None) -> Text:
    """The same for people."""
    return Text("no Start value", "没有 Start 值") if start is None else Text.same(word_of(start))


def read_services(control_set: Key, drive: str = "C") -> dict[str, Service]:
    """By lower-case name. Raises GuestReadFailed; a control set without Services has none."""
    top = control_set.key("Services")
    found: dict[str, Service] = {}
    for key in top.keys() if top is not None else ():
        found[key.name.lower()] = read_service(key, drive)
    return found


def read_service(key: Key, drive: str = "C") -> Service:
    """One key below Services."""
    override = key.key("StartOverride")
    return Service(
        name=key.name,
        display_name=(key.text("DisplayName") or "")[:LONGEST_NAME],
        type=key.number("Type"),
        start=key.number("Start"),
        overridden=override.number("0") if override is not None else None,
        image_path=key.text("ImagePath") or "",
        account=(key.text("ObjectName") or "")[:LONGEST_NAME],
        group=(key.text("Group") or "")[:LONGEST_NAME],
        key=key.path,
        drive=drive,
    )
