"""Starting an image until it asks for a login: the proof that needs nothing of the platform's first boot."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imgtool.image import Image
from imgtool.rehearsal.console import Console
from imgtool.rehearsal.emulator import Emulator
from imgtool.rehearsal.firmware import Architecture
from imgtool.rehearsal.machine import Mode
from imgtool.rehearsal.setting import assemble, overlay, private_folder

if TYPE_CHECKING:
    from imgtool.profiles import Profile

LOGIN = re.compile(r"^\S+ login: *$")
PATIENCE = 600.0  # seconds


@dataclass(frozen=True)
class Booted:
    """How a boot went. login: after how many seconds it asked for a login, None when it did not; console: the
    last lines of its serial console; screenshot: PNG, as it was at the end."""

    login: float | None
    console: tuple[str, ...]
    screenshot: bytes


def how_to_boot(image: Image, mode: Mode | None = None) -> tuple[Architecture, Mode]:
    """The processor and the firmware that an image wants, as far as it can be read: else x86-64, and BIOS."""
    from imgtool.errors import ImgtoolError
    from imgtool.guest.boot_mode import read_boot_mode

    try:
        found = read_boot_mode(image.disk)
    except ImgtoolError:
        return "x86_64", mode or "bios"
    machines = {loader.machine for loader in found.loaders}
    if found.mode == "uefi" and "arm64" in machines and not machines & {"x86_64", "i386"}:
        return "aarch64", "uefi"
    return "x86_64", mode or ("uefi" if found.mode == "uefi" else "bios")


def boot(path: Path, profile: Profile, *, mode: Mode | None = None, patience: float = PATIENCE) -> Booted:
    """Start an image on virtio hardware until it asks for a login, at most `patience` seconds.

    The image is not written to. Raises CannotRead and UnsafeImage for what can't be opened, MachineLacks
    without QEMU or firmware, EmulatorFailed.
    """
    from imgtool.virtualization import kvm_usable

    with Image(path, profile) as image:
        file = image.file
        architecture, mode = how_to_boot(image, mode)
    console = Console()
    with private_folder() as folder, overlay(file, folder) as disk:
        machine = assemble(disk, folder, architecture=architecture, mode=mode, kvm=kvm_usable())
        with Emulator(machine, folder) as emulator:
            emulator.power_on()
            login = _until_login(emulator, console, patience)
            return Booted(login, tuple(console.tail(40)), emulator.screen().png())


def _until_login(emulator: Emulator, console: Console, patience: float) -> float | None:
    while emulator.age < patience:
        said = emulator.wait(min(1.0, patience - emulator.age))
        console.take(said.console)
        if LOGIN.match(console.partial):
            return emulator.age
        if any(event.name == "SHUTDOWN" for event in said.events):
            return None
    return None
