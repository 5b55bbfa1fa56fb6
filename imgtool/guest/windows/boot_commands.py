"""The commands that make a Windows start by BIOS again: boot sector, boot manager, boot configuration.

bcdboot came with Windows 7 and Server 2008 R2, its option /f with Windows 8 and Server 2012 (Microsoft's
"BCDboot command-line options"); Server 2008 has bootrec in its recovery environment only. bootsect.exe is in
the folder boot of every installation disk, and in the recovery environment since Server 2008 R2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtool.errors import CannotRead
from imgtool.guest.windows.commands import as_lines
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.volumes import Volume
    from imgtool.guest.windows.guest import WindowsGuest

FIRST_WITH_BCDBOOT = 7600
FIRST_WITH_FIRMWARE_OPTION = 9200
WINDOWS_DRIVE, BOOT_DRIVE = "C:", "S:"


def build_of(guest: WindowsGuest) -> int:
    """The build; 0 where the hive that says it can't be read."""
    try:
        return guest.release.build
    except CannotRead:
        return 0


def drive_of(guest: WindowsGuest, volume: Volume | None) -> str:
    """The letter that the commands use for a volume: Windows' own, or one that they assign."""
    return WINDOWS_DRIVE if volume is guest.root.volume else BOOT_DRIVE


def with_drive(guest: WindowsGuest, volume: Volume | None, *, activate: bool = False) -> list[str]:
    """The line with which diskpart gives a volume its letter, and makes its partition the active one."""
    partition = volume.partition if volume is not None else None
    if partition is None:
        return []
    own = volume is guest.root.volume
    if own and not activate:
        return []
    words = (
        [f"select volume {WINDOWS_DRIVE[0]}"]
        if own
        else ["select disk 0", f"select partition {partition.number}"]
    )
    if activate:
        words.append("active")
    if not own:
        words.append(f"assign letter={BOOT_DRIVE[0]}")
    return ["(" + "& ".join(f"echo {word}" for word in words) + ") | diskpart"]


def boot_sector(drive: str) -> str:
    """The line that writes the code of bootmgr into a volume's boot sector, and that of Windows into sector
    0."""
    return f"bootsect /nt60 {drive} /mbr"


def boot_files(guest: WindowsGuest, drive: str) -> list[str]:
    """The lines that write bootmgr and a boot configuration for this Windows onto a volume."""
    build = build_of(guest)
    if build and build < FIRST_WITH_BCDBOOT:
        return [
            f"if not exist {drive}\\bootmgr copy {WINDOWS_DRIVE}\\Windows\\Boot\\PCAT\\bootmgr"
            f" {drive}\\bootmgr",
            f"if not exist {drive}\\Boot mkdir {drive}\\Boot",
            f"if exist {drive}\\Boot\\BCD move /y {drive}\\Boot\\BCD {drive}\\Boot\\BCD.old",
            "bootrec /rebuildbcd",
        ]
    firmware = " /f BIOS" if build >= FIRST_WITH_FIRMWARE_OPTION else ""
    return [f"bcdboot {WINDOWS_DRIVE}\\Windows /s {drive}{firmware}"]


def boot_code(guest: WindowsGuest, drive: str) -> list[str]:
    """The lines that write the boot sector of a volume and of the disk, with what the release has."""
    build = build_of(guest)
    if build and build < FIRST_WITH_BCDBOOT:
        return ["bootrec /fixmbr", "bootrec /fixboot"]
    return [boot_sector(drive)]


def at_recovery_prompt(guest: WindowsGuest, *commands: str) -> Text:
    """Commands for cmd in the recovery environment, the only shell that it has."""
    said = as_lines(commands)
    build = build_of(guest)
    old = 0 < build < FIRST_WITH_BCDBOOT
    where = (
        ("of its installation disk (Repair your computer)", "其安装光盘（“修复计算机”）的")
        if old
        else ("of an installation disk of this release, or of a newer one", "该版本或更新版本安装光盘的")
    )
    return Text(
        f"At the Command Prompt {where[0]}, where Windows may have another letter than"
        f" {WINDOWS_DRIVE} (`dir C:\\Windows` shows it):\n{said}",
        f"请在{where[1]}恢复环境命令提示符（cmd）中执行（Windows 的盘符可能不是 {WINDOWS_DRIVE}，"
        f"可用 `dir C:\\Windows` 确认）：\n{said}",
    )


def start_by_bios(guest: WindowsGuest, volume: Volume | None, *, activate: bool = False) -> Text:
    """Everything that BIOS needs, written anew onto a volume: boot code, bootmgr, boot configuration."""
    drive = drive_of(guest, volume)
    return at_recovery_prompt(
        guest,
        *with_drive(guest, volume, activate=activate),
        *boot_code(guest, drive),
        *boot_files(guest, drive),
    )


def to_activate(guest: WindowsGuest) -> Volume | None:
    """The volume that is to be active where none is: one with boot files, else Windows' own.

    None where neither lies in a primary partition.
    """
    own = guest.root.volume
    try:
        candidates = [it.volume for it in guest.boot.other_stores if it.path.lower() == "/boot/bcd"]
    except CannotRead:
        candidates = []
    for volume in (*candidates, own):
        partition = volume.partition
        if partition is not None and volume.kind == "partition" and not partition.logical:
            return volume
    return None
