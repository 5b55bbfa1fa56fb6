"""What a Windows expects behind its drive letters that this disk does not hold: part of disk.other-disks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.guest.windows.paths import drive_of
from imgtool.guest.windows.services import AUTO
from imgtool.rules import Outcome, Severity, broken
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest

MEMORY = "Control\\Session Manager\\Memory Management"
PROFILES = "Microsoft\\Windows NT\\CurrentVersion\\ProfileList"
CURRENT_VERSION = "Microsoft\\Windows\\CurrentVersion"
FOLDERS = ((PROFILES, "ProfilesDirectory"), (CURRENT_VERSION, "ProgramFilesDir"))
SHOWN = 6


def letters(guest: WindowsGuest) -> Iterator[Outcome]:
    """What disk.other-disks says of the letters of a Windows. Raises CannotRead."""
    yield from _own_letter(guest)
    elsewhere = {
        letter: f"SYSTEM\\MountedDevices: {letter}: is the {device.words}, not of this disk"
        for letter, device in guest.drive_letters.items()
        if device.kind in ("mbr", "gpt") and device.partition_on(guest.disk) is None
    }
    elsewhere.pop(guest.system_drive, None)
    if elsewhere:
        yield from _page_file(guest, elsewhere)
        yield from _folders(guest, elsewhere)
        yield from _services(guest, elsewhere)


def _own_letter(guest: WindowsGuest) -> Iterator[Outcome]:
    """The letter of the system's own volume is to be that volume's at the next start, too."""
    letter, own = guest.system_drive, guest.root.volume.partition
    device = guest.drive_letters.get(letter)
    if device is None or own is None or device.kind not in ("mbr", "gpt"):
        return
    there = device.partition_on(guest.disk)
    if there == own:
        return
    where = f"partition {there.number}" if there is not None else "a partition that this disk does not have"
    where_zh = f"分区 {there.number}" if there is not None else "本磁盘上不存在的分区"
    yield broken(
        Text(
            f"Windows was installed on {letter}:, but it has that letter kept for {where}: it may come up"
            " with another letter, and then neither people nor services find their files.",
            f"Windows 安装在 {letter}:，但该盘符保留给了{where_zh}：Windows 启动后可能使用其他盘符，"
            "用户与服务将找不到各自的文件。",
        ),
        f"SYSTEM\\MountedDevices: {letter}: is the {device.words}",
        f"this Windows: {guest.root.volume.name} at byte {own.start} of disk {guest.disk.table.disk_id}",
        severity=Severity.WARNING,
        remedy=_in_recovery(
            r"reg load HKLM\offline C:\Windows\System32\config\SYSTEM",
            rf"reg delete HKLM\offline\MountedDevices /v \DosDevices\{letter}: /f",
            r"reg unload HKLM\offline",
        ),
    )


def _page_file(guest: WindowsGuest, elsewhere: dict[str, str]) -> Iterator[Outcome]:
    memory = guest.control_set.key(MEMORY)
    files = (memory.texts("PagingFiles") or ()) if memory is not None else ()
    lost = [it for it in files if drive_of(it) in elsewhere]
    if not lost:
        return
    key = f"SYSTEM\\{guest.control_set.path}\\{MEMORY}"
    yield broken(
        Text(
            "The page file is on a disk that this image does not hold"
            + (": Windows will have none." if len(lost) == len(files) else "."),
            "页面文件位于本镜像中没有的磁盘上"
            + ("：Windows 将没有页面文件。" if len(lost) == len(files) else "。"),
        ),
        *(f"{key}: PagingFiles={it[:120]}" for it in lost[:SHOWN]),
        *_proofs(lost, elsewhere),
        severity=Severity.WARNING,
        remedy=_in_windows(
            f'reg add "HKLM\\SYSTEM\\CurrentControlSet\\{MEMORY}" /v PagingFiles /t REG_MULTI_SZ'
            ' /d "?:\\pagefile.sys" /f'
        ),
    )


def _folders(guest: WindowsGuest, elsewhere: dict[str, str]) -> Iterator[Outcome]:
    """Where people's profiles and programs are put."""
    for path, name in FOLDERS:
        key = guest.software.key(path)
        folder = (key.text(name) or "") if key is not None else ""
        if drive_of(folder) in elsewhere:
            yield broken(
                Text(
                    f"{folder[:120]} is on a disk that this image does not hold.",
                    f"{folder[:120]} 位于本镜像中没有的磁盘上。",
                ),
                f"SOFTWARE\\{path}: {name}={folder[:120]}",
                *_proofs([folder], elsewhere),
                severity=Severity.WARNING,
                remedy=_move(),
            )


def _services(guest: WindowsGuest, elsewhere: dict[str, str]) -> Iterator[Outcome]:
    """Services that start by themselves, from a file that is elsewhere."""
    lost = [
        it
        for it in guest.services.values()
        if it.effective_start is not None
        and it.effective_start <= AUTO
        and drive_of(it.image_path) in elsewhere
    ]
    if lost:
        names = ", ".join(it.name for it in lost[:SHOWN]) + (" ..." if len(lost) > SHOWN else "")
        yield broken(
            Text(
                f"Services start from a disk that this image does not hold: {names}.",
                f"以下服务的程序位于本镜像中没有的磁盘上：{names}。",
            ),
            *(f"SYSTEM\\{it.key}: ImagePath={it.image_path[:120]}" for it in lost[:SHOWN]),
            *_proofs([it.image_path for it in lost], elsewhere),
            severity=Severity.WARNING,
            remedy=_move(),
        )


def _proofs(paths: list[str], elsewhere: dict[str, str]) -> list[str]:
    return [elsewhere[letter] for letter in sorted({drive_of(it) for it in paths})]


def _move() -> Text:
    return Text(
        "Migrate that disk as well and attach it to the instance, or move what lies on it onto the system"
        " disk of the source, and export again.",
        "请将该磁盘一并迁移并挂载到实例，或在源机器上将其内容移到系统盘后重新导出。",
    )


def _in_windows(*commands: str) -> Text:
    said = "\n".join(commands)
    return Text(
        f"On the source, in a Command Prompt as administrator, then restart and export again:\n{said}",
        f"请在源机器上以管理员身份打开命令提示符（cmd）执行以下命令，重启后重新导出：\n{said}",
    )


def _in_recovery(*commands: str) -> Text:
    said = "\n".join(commands)
    return Text(
        "In the recovery environment, with C: for the volume of Windows there; Windows then gives the letter"
        f" anew:\n{said}",
        f"请在恢复环境中执行，其中 C: 为 Windows 所在的卷；之后 Windows 会重新分配盘符：\n{said}",
    )
