"""How Windows starts: boot sector, boot manager, boot configuration, loader, kernel and registry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.bcd import Device, Loader
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.image import Image

KERNEL_FILES = ("/Windows/System32/ntoskrnl.exe", "/Windows/System32/hal.dll")
HIVE_FILES = ("/Windows/System32/config/SYSTEM", "/Windows/System32/config/SOFTWARE")
REGISTRY_BACKUPS = "/Windows/System32/config/RegBack"
NT_5 = 6000
"""The build of Vista, the first that bootmgr starts."""


@rule(
    "windows.boot",
    Text("Boot of Windows", "Windows 引导"),
    severity=Severity.ERROR,
    source="ref 07",
    family="windows",
    requires=("disk.root", "disk.partition-table.allowed", "disk.boot-mode"),
)
def boot(image: Image) -> Iterator[Outcome]:
    """Every step of a BIOS boot leads to this Windows.

    The boot sector of the active partition loads bootmgr, that reads Boot\\BCD, whose default entry names a
    loader (winload.exe) and the partition it is on, by disk signature and offset; the loader reads the kernel
    and the registry. A missing link ends in `BOOTMGR is missing`, 0xc000000e, 0xc000000f or 0xc0000225. A
    loader winload.efi is that of UEFI, which the platform does not start for Windows (ref 07). A disk cloned
    with another signature, or a system moved to another partition, has a BCD that names the old place.

    Evidence: each step with its partition. Example: `BCD: default {…}, \\Windows\\system32\\winload.exe on
    partition at byte 368050176 of MBR disk 6a2d1f0e`. The fix is `bcdboot` and `bootsect` at the prompt of
    the recovery environment (`bootrec` on Server 2008, which has no bcdboot). That nothing is active is
    disk.boot-mode's to say, that a Windows is too old for bootmgr windows.version's.
    """
    from imgtool.guest.boot_mode import read_boot_mode
    from imgtool.guest.windows.boot_commands import build_of

    found = read_boot_mode(image.disk)
    guest = image.windows
    if 0 < build_of(guest) < NT_5:
        yield not_judged(
            Text(
                f"{guest.release.full_name} starts by NTLDR; windows.version says that it is too old.",
                f"{guest.release.full_name} 由 NTLDR 启动；版本过旧，见 windows.version。",
            )
        )
        return
    if found.mode == "uefi":
        yield _uefi_only(guest, *found.evidence)
        return
    faults = [*_boot_files(guest, found.boot_code), *_configuration(guest), *_kernel(guest)]
    yield from faults
    if not faults:
        loader = guest.boot.configuration.default_loader
        yield kept(
            Text(
                "The boot sector, bootmgr and BCD lead to this Windows.",
                "引导扇区、bootmgr 与 BCD 均指向该 Windows。",
            ),
            *_steps(guest),
            _described(loader) if loader is not None else "",
        )


def _uefi_only(guest: WindowsGuest, *evidence: str) -> Outcome:
    """On an MBR disk, where any primary partition can be made the active one; a GPT has its own rule."""
    from imgtool.guest.windows.boot_commands import start_by_bios, to_activate

    return broken(
        Text(
            "This Windows starts by UEFI only; the platform takes Windows that start by BIOS, from MBR.",
            "该 Windows 仅能以 UEFI 启动；平台只接受以 BIOS 从 MBR 启动的 Windows。",
        ),
        *evidence,
        remedy=start_by_bios(guest, to_activate(guest), activate=True),
    )


def _steps(guest: WindowsGuest) -> list[str]:
    volume = guest.boot.active
    if volume is None:
        return []
    return [
        f"{volume.name}: active, boot sector of bootmgr",
        f"{volume.name}: /bootmgr, {guest.boot.store and guest.boot.store.path}",
    ]


def _boot_files(guest: WindowsGuest, boot_code: str) -> Iterator[Outcome]:
    volume = guest.boot.active
    if volume is None:
        if boot_code == "windows":
            yield undecided(Text("No partition is active.", "没有活动分区。"))
        return
    starts = guest.boot.boot_sector
    if boot_code == "windows" and starts != "bootmgr":
        seen = "NTLDR, of Windows 2003 and XP" if starts == "ntldr" else "no boot code of Windows"
        yield broken(
            Text(
                f"The boot sector of the active partition ({volume.name}) does not load bootmgr.",
                f"活动分区（{volume.name_zh}）的引导扇区不会加载 bootmgr。",
            ),
            f"{volume.name}: boot sector: {seen}",
            remedy=_boot_code(guest),
        )
        return
    if not guest.boot.active_tree.is_file("/bootmgr"):
        yield broken(
            Text(
                f'The active partition ({volume.name}) has no bootmgr: the start ends with "BOOTMGR is'
                ' missing".',
                f"活动分区（{volume.name_zh}）上没有 bootmgr：启动时会提示“BOOTMGR is missing”。",
            ),
            f"{volume.name}: not there: /bootmgr",
            *(f"{it.volume.name}: {it.path}" for it in guest.boot.other_stores[:4]),
            remedy=_rebuild(guest),
        )


def _configuration(guest: WindowsGuest) -> Iterator[Outcome]:
    if guest.boot.active is None:
        return
    if guest.boot.store is None:
        yield broken(
            Text(
                "The active partition has no boot configuration (Boot\\BCD): the start ends with 0xc000000f.",
                "活动分区上没有启动配置（Boot\\BCD）：启动时会提示 0xc000000f。",
            ),
            f"{guest.boot.active.name}: not there: /Boot/BCD",
            *(f"{it.volume.name}: {it.path}" for it in guest.boot.other_stores[:4]),
            remedy=_rebuild(guest),
        )
        return
    try:
        loader = guest.boot.configuration.default_loader
    except CannotRead as error:
        yield broken(
            Text(
                f"The boot configuration can't be read. {error.statement().en}",
                f"无法读取启动配置。{error.statement().zh}",
            ),
            f"{guest.boot.active.name}: /Boot/BCD",
            remedy=_rebuild(guest),
        )
        return
    if loader is None:
        shown = [f"BCD: {_described(it)}" for it in guest.boot.configuration.loaders[:4]]
        yield broken(
            Text(
                "The boot configuration has no entry that would start Windows by default.",
                "启动配置中没有默认启动的 Windows 条目。",
            ),
            f"BCD: default {guest.boot.configuration.default or '(none)'}",
            *shown,
            remedy=_rebuild(guest),
        )
        return
    yield from _loader(guest, loader)


def _loader(guest: WindowsGuest, loader: Loader) -> Iterator[Outcome]:
    seen = _described(loader)
    if loader.path.lower().endswith(".efi"):
        yield broken(
            Text(
                f"The default entry starts {loader.path}, the loader for UEFI; a BIOS can't.",
                f"默认条目启动的是 UEFI 加载程序 {loader.path}，BIOS 无法启动。",
            ),
            seen,
            remedy=_set(guest, loader, "path \\Windows\\system32\\winload.exe"),
        )
        return
    for device in (loader.device, loader.os_device):
        wrong = _wrong_place(guest, device)
        if wrong is not None:
            yield broken(
                wrong,
                seen,
                f"this Windows: {_own_place(guest)}",
                remedy=_set(guest, loader, "device partition=C:", "osdevice partition=C:"),
            )
            return
    path = loader.path.replace("\\", "/")
    if not path.startswith("/") or not guest.tree.is_file(path):
        yield broken(
            Text(
                f"The loader that the default entry names is not there: {loader.path or '(none)'}.",
                f"默认条目指定的加载程序不存在：{loader.path or '（无）'}。",
            ),
            seen,
            remedy=_rebuild(guest),
        )
    if loader.safe_boot:
        yield broken(
            Text(
                "The default entry starts Windows in safe mode, in which cloudbase-init does not run.",
                "默认条目以安全模式启动 Windows，此时 cloudbase-init 不会运行。",
            ),
            seen,
            severity=Severity.WARNING,
            remedy=_leave_safe_mode(guest, loader),
        )


def _wrong_place(guest: WindowsGuest, device: Device | None) -> Text | None:
    """Why a device of the default entry is not the volume of this Windows; None where it is, or may be."""
    if device is None:
        return Text(
            "The default entry does not say which partition Windows is on.",
            "默认条目未指明 Windows 所在的分区。",
        )
    if device.kind == "boot":
        if guest.boot.active is guest.root.volume:
            return None
        return Text(
            "The default entry looks for Windows on the active partition, but it lies on another.",
            "默认条目在活动分区上查找 Windows，但它位于其他分区。",
        )
    if device.kind != "partition":
        return None
    partition = guest.root.volume.partition
    if partition is None:
        return None
    if device.style != "mbr":
        return Text(
            "The default entry names a partition of a GPT disk; this disk has an MBR.",
            "默认条目指向 GPT 磁盘的分区，而此磁盘为 MBR。",
        )
    if device.signature != guest.disk.table.disk_id:
        return Text(
            f"The boot configuration looks for a disk with signature {device.signature}; this one has"
            f" {guest.disk.table.disk_id or 'none'}: the start ends with 0xc000000e.",
            f"启动配置查找签名为 {device.signature} 的磁盘，而此磁盘的签名为"
            f" {guest.disk.table.disk_id or '空'}：启动时会提示 0xc000000e。",
        )
    if device.offset != partition.start:
        return Text(
            f"The boot configuration looks for Windows at byte {device.offset}; it lies at byte"
            f" {partition.start}.",
            f"启动配置在字节 {device.offset} 处查找 Windows，而它位于字节 {partition.start}。",
        )
    return None


def _kernel(guest: WindowsGuest) -> Iterator[Outcome]:
    """The files that the loader itself reads, and the hive without which nothing of Windows can be judged."""
    lacking = [path for path in (*KERNEL_FILES, *HIVE_FILES) if not guest.tree.is_file(path)]
    if lacking:
        names = ", ".join(path.rpartition("/")[2] for path in lacking)
        yield broken(
            Text(f"Windows can't start without {names}.", f"缺少 {names}，Windows 无法启动。"),
            *(f"not there: {path}" for path in lacking),
            remedy=_restore(guest, lacking),
        )
        return
    for name in ("SYSTEM", "SOFTWARE"):
        try:
            _ = guest.system if name == "SYSTEM" else guest.software
            if name == "SYSTEM":
                _ = guest.control_set
        except CannotRead as error:
            yield undecided(error.statement(), f"/Windows/System32/config/{name}")
            return


def _own_place(guest: WindowsGuest) -> str:
    partition = guest.root.volume.partition
    where = f"at byte {partition.start}" if partition is not None else ""
    return f"{guest.root.volume.name} {where} of disk {guest.disk.table.disk_id or 'without signature'}"


def _described(loader: Loader) -> str:
    device = loader.device.words if loader.device is not None else "no device"
    return f"BCD: {loader.description[:120]!a} {loader.id}: {loader.path} on {device}"


def _restore(guest: WindowsGuest, lacking: list[str]) -> Text:
    """Where what is missing comes from: hives from RegBack, where this image has a copy, programs from
    WinSxS.

    Windows has left RegBack empty since version 1803 and Server 2019; servers have no restore points.
    """
    from imgtool.guest.windows.boot_commands import at_recovery_prompt

    lines: list[str] = []
    lost: list[str] = []
    for path in lacking:
        name = path.rpartition("/")[2]
        copy = f"{REGISTRY_BACKUPS}/{name}"
        if path not in HIVE_FILES:
            continue
        if guest.tree.is_file(copy) and guest.tree.stat(copy).size:
            folder = "C:\\Windows\\System32\\config"
            lines.append(f"copy /y {folder}\\RegBack\\{name} {folder}\\{name}")
        else:
            lost.append(name)
    if any(path in KERNEL_FILES for path in lacking):
        lines.append("sfc /scannow /offbootdir=C:\\ /offwindir=C:\\Windows")
    said = at_recovery_prompt(guest, *lines) if lines else None
    if not lost:
        return said or Text.same("")
    names = ", ".join(lost)
    again = Text(
        f"Export the source again, or restore {names} from a backup of its system state: RegBack on this disk"
        " has no copy.",
        f"请重新导出源机器，或从其系统状态备份中恢复 {names}：此磁盘的 RegBack 中没有副本。",
    )
    return again if said is None else Text(f"{again.en}\n{said.en}", f"{again.zh}\n{said.zh}")


def _rebuild(guest: WindowsGuest) -> Text:
    from imgtool.guest.windows.boot_commands import start_by_bios

    return start_by_bios(guest, guest.boot.active)


def _boot_code(guest: WindowsGuest) -> Text:
    from imgtool.guest.windows import boot_commands

    volume = guest.boot.active
    return boot_commands.at_recovery_prompt(
        guest,
        *boot_commands.with_drive(guest, volume),
        *boot_commands.boot_code(guest, boot_commands.drive_of(guest, volume)),
    )


def _set(guest: WindowsGuest, loader: Loader, *values: str) -> Text:
    """Values of the default entry, set in its store. An id that is none is a stranger's text: no command for
    it."""
    from imgtool.guest.windows import boot_commands
    from imgtool.guest.windows.bcd import GUID

    if not GUID.fullmatch(loader.id):
        return _rebuild(guest)
    volume = guest.boot.active
    store = f"{boot_commands.drive_of(guest, volume)}\\Boot\\BCD"
    return boot_commands.at_recovery_prompt(
        guest,
        *boot_commands.with_drive(guest, volume),
        *(f'bcdedit /store {store} /set "{loader.id}" {value}' for value in values),
    )


def _leave_safe_mode(guest: WindowsGuest, loader: Loader) -> Text:
    from imgtool.guest.windows.bcd import GUID
    from imgtool.guest.windows.commands import at_prompt

    if not GUID.fullmatch(loader.id):
        return _rebuild(guest)
    return at_prompt(f'bcdedit /deletevalue "{loader.id}" safeboot')
