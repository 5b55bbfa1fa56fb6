"""How the disk starts: BIOS boot code, UEFI loaders, and whether the platform takes it that way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.remedy import if_known, in_guest, quoted
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.boot_mode import BootMode, Loader
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

NAMES = {"bios": "BIOS", "uefi": "UEFI"}
# The packages with what grub-install puts on the disk
GRUB_MODULES = {
    ("debian", "i386-pc"): "grub-pc-bin",
    ("debian", "x86_64-efi"): "grub-efi-amd64-bin",
    ("debian", "arm64-efi"): "grub-efi-arm64-bin",
    ("redhat", "i386-pc"): "grub2-pc-modules",
}


@rule(
    "disk.boot-mode",
    Text("Boot mode", "启动模式"),
    severity=Severity.ERROR,
    source="ref 06, 07, 09",
    requires=("disk.partition-table",),
)
def boot_mode(image: Image) -> Iterator[Outcome]:
    """The disk starts by BIOS, by UEFI or by both, in a mode that the platform takes and that was declared.

    The mode is set when an image is imported, and a machine made from it starts in no other (ref 09). BIOS
    runs the code in sector 0, which must find the rest of itself: GRUB behind the partition table or in a
    bios_grub partition, Windows and Syslinux in the active partition. UEFI runs a loader from the EFI system
    partition. An image that was exported without its MBR cannot start (ref 06). For a migration, which goes
    into an instance that is there already, a disk that starts by UEFI alone is a warning unless declared.

    Evidence: whose boot code was found and where it goes on, the loaders with their machine. Example: `sector
    0: boot code of GRUB 2, continued at sector 1 (before the first partition)`. The fix is `grub-install`, or
    exporting the whole disk instead of a partition. A disk without any system is left to disk.root.
    """
    from imgtool.guest.boot_mode import read_boot_mode

    found = read_boot_mode(image.disk)
    if found.mode == "unknown":
        yield _nothing(image, found)
        return
    modes = [mode for mode in ("bios", "uefi") if mode in found.mode.split("+")]
    names = " + ".join(NAMES[mode] for mode in modes)
    declared = image.options.boot_mode
    if declared is not None and declared not in modes:
        if found.unreadable and declared == "uefi":
            yield undecided(found.unreadable[0], *found.evidence)
            return
        yield broken(
            Text(
                en=f"The image is declared to start by {NAMES[declared]}, but it starts by {names} only.",
                zh=f"声明的启动模式为 {NAMES[declared]}，但此镜像只能以 {names} 启动。",
            ),
            *found.evidence,
            *(why.en for why in found.lacking),
            remedy=_import_or_install(image, names, declared),
        )
        return
    taken = [mode for mode in modes if mode in image.profile.disk.boot_modes]
    if not taken:
        wanted = " / ".join(NAMES.get(mode, mode) for mode in image.profile.disk.boot_modes)
        yield broken(
            Text(
                en=f"The image starts by {names}; this deployment takes {wanted}.",
                zh=f"此镜像以 {names} 启动；此部署只接受 {wanted}。",
            ),
            *found.evidence,
        )
        return
    if image.target == "migrate" and declared is None and taken == ["uefi"] and _table_is_taken(image):
        yield broken(
            Text(
                en="The disk starts by UEFI only: the instance that it goes into has to start by UEFI, too.",
                zh="磁盘只能以 UEFI 启动：迁入的实例也必须以 UEFI 启动。",
            ),
            *found.evidence,
            severity=Severity.WARNING,
            remedy=Text(
                en="Choose an instance made from an image that says UEFI, and declare it: --boot-mode uefi",
                zh="请选择以“UEFI 版”镜像创建的实例，并声明：--boot-mode uefi",
            ),
        )
        return
    yield kept(Text(en=f"The disk starts by {names}.", zh=f"磁盘可以 {names} 启动。"), *found.evidence)


def _table_is_taken(image: Image) -> bool:
    """Else disk.partition-table.allowed says what has to change, and this follows from it."""
    return image.disk.table.kind in image.profile.disk.allowed(image.family, image.target)


def _nothing(image: Image, found: BootMode) -> Outcome:
    why = found.lacking
    if found.unreadable:
        return undecided(found.unreadable[0], *(reason.en for reason in why))
    if image.search.root is None and not image.search.unreadable:
        return not_judged(
            Text(
                en="There is no system on the disk that could start; disk.root says so.",
                zh="磁盘上没有可启动的系统，见 disk.root。",
            )
        )
    mode = image.options.boot_mode or (
        "uefi" if any(_is_esp(it.type) for it in image.disk.table.partitions) else "bios"
    )
    return broken(
        Text(
            en="Nothing on the disk starts it: neither BIOS boot code nor a UEFI boot loader.",
            zh="磁盘无法启动：既没有 BIOS 引导代码，也没有 UEFI 引导程序。",
        ),
        *(reason.en for reason in why),
        remedy=_export_or_install(image, mode),
    )


@if_known
def _import_or_install(image: Image, names: str, declared: str) -> Text | None:
    en, zh = f"Import it with boot mode {names}", f"请以 {names} 启动模式导入"
    if image.family == "windows" and declared == "bios":
        said = _windows_by_bios(image)
        return Text(f"{en}. Or {said.en[0].lower()}{said.en[1:]}", f"{zh}。或{said.zh}") if said else None
    command = _install(image, declared)
    if not command:
        return Text(en=f"{en}.", zh=f"{zh}。")
    return _or_install(f"{en}, or", f"{zh}，或", f"a {NAMES[declared]}", f" {NAMES[declared]} ", command)


@if_known
def _export_or_install(image: Image, mode: str) -> Text | None:
    en, zh = "Export the whole source disk with its first sectors", "请导出包含起始扇区在内的整个源磁盘"
    if image.family == "windows" and mode == "bios":
        said = _windows_by_bios(image)
        return Text(f"{en}. Or {said.en[0].lower()}{said.en[1:]}", f"{zh}。或{said.zh}") if said else None
    command = _install(image, mode)
    if not command:
        return Text(en=f"{en}.", zh=f"{zh}。")
    return _or_install(f"{en}, or", f"{zh}，或重新", "the", "", command)


def _or_install(en: str, zh: str, which: str, which_zh: str, command: str) -> Text:
    if "/dev/vda" not in command:
        return Text(
            f"{en} install {which} boot loader in the guest, as its administrator:\n{command}",
            f"{zh}在系统内以管理员身份安装{which_zh}引导程序：\n{command}",
        )
    return Text(
        f"{en} install {which} boot loader in the guest, as root, where the disk may be /dev/sda"
        f" (`lsblk` tells):\n{command}",
        f"{zh}在系统内以 root 安装{which_zh}引导程序（磁盘可能为 /dev/sda，以 `lsblk` 为准）：\n{command}",
    )


def _install(image: Image, mode: str) -> str:
    """The line that installs the boot loader for a mode on this guest.

    "" where the disk has no partition that it could go to. Raises CannotRead.
    """
    from imgtool.guest.boot_mode import BIOS_GRUB

    types = [partition.type for partition in image.disk.table.partitions]
    if mode == "uefi" and not any(map(_is_esp, types)):
        return ""
    if mode == "bios" and image.disk.table.kind == "gpt" and BIOS_GRUB not in types:
        return ""
    if image.family == "windows":
        return "bcdboot C:\\Windows /s S: /f UEFI" if mode == "uefi" else ""
    return _install_linux(image.linux, mode)


def _windows_by_bios(image: Image) -> Text | None:
    """An active partition with the boot files of this release; None where no primary one could be it."""
    from imgtool.guest.windows.boot_commands import start_by_bios, to_activate

    guest = image.windows
    volume = to_activate(guest)
    return start_by_bios(guest, volume, activate=True) if volume is not None else None


def _install_linux(guest: LinuxGuest, mode: str) -> str:
    release = guest.release
    tool = "grub2-install" if release.family in ("redhat", "suse") else "grub-install"
    if mode == "bios":
        target, place = "i386-pc", "/dev/vda"
    else:
        kernel = guest.default_kernel
        arm = kernel is not None and kernel.architecture == "arm64"
        if release.family == "redhat":  # its grub2-install refuses: the packages hold loaders that are signed
            packages = "grub2-efi-aa64 shim-aa64" if arm else "grub2-efi-x64 shim-x64"
            manager = release.package_manager or "yum"
            return f"{manager} reinstall -y {packages} || {manager} install -y {packages}"
        target = "arm64-efi" if arm else "x86_64-efi"
        place = "--efi-directory=/boot/efi --removable"
    package = GRUB_MODULES.get((release.family, target))
    absent = package is not None and not guest.tree.is_dir(f"/usr/lib/grub/{target}")
    first = (
        f"{release.install_command(package)} && " if package and absent and release.package_manager else ""
    )
    return f"{first}{tool} --target={target} {place}"


def _is_esp(partition_type: str) -> bool:
    from imgtool.guest.boot_mode import ESP_TYPES

    return partition_type in ESP_TYPES


@rule(
    "disk.boot-mode.fallback",
    Text("UEFI fallback loader", "UEFI 后备引导程序"),
    severity=Severity.WARNING,
    source="field",
    requires=("disk.boot-mode",),
    fixable=True,
)
def fallback(image: Image) -> Iterator[Outcome]:
    """A disk that starts by UEFI has a loader at \\EFI\\BOOT\\BOOTX64.EFI (BOOTAA64.EFI on arm64).

    Which loader a machine starts is kept in variables of its firmware, and those do not travel with a disk:
    on a new machine the firmware finds only the fallback path. Without it the same disk stops in the
    firmware's shell.

    Evidence: the loaders that are there. Example: `partition 1: \\EFI\\debian\\shimx64.efi (x86_64)`. The fix
    is a copy of the distribution's own loader.
    """
    from imgtool.guest.boot_mode import FALLBACKS, read_boot_mode

    found = read_boot_mode(image.disk)
    if not found.loaders:
        yield not_judged(Text(en="The disk does not start by UEFI.", zh="磁盘不以 UEFI 启动。"))
        return
    at_fallback = [loader for loader in found.loaders if loader.fallback]
    if at_fallback:
        shown = [f"{loader.volume}: {loader.path}" for loader in at_fallback]
        yield kept(Text(en="The fallback loader is there.", zh="后备引导程序存在。"), *shown)
        return
    machines = {loader.machine for loader in found.loaders}
    wanted = [name for name, machine in FALLBACKS.items() if machine in machines] or ["BOOTX64.EFI"]
    yield broken(
        Text(
            en=f"There is no \\EFI\\BOOT\\{wanted[0]}: firmware that is new to this disk finds no loader.",
            zh=f"缺少 \\EFI\\BOOT\\{wanted[0]}：新机器的固件将找不到引导程序。",
        ),
        *found.evidence,
        remedy=_copy(image, found.loaders, wanted[0]),
    )


def main_loader(loaders: tuple[Loader, ...]) -> Loader:
    """The distribution's own loader that firmware is to start: shim, else GRUB."""
    return min(
        loaders, key=lambda it: ("shim" not in it.path.lower(), "grub" not in it.path.lower(), it.path)
    )


def _copy(image: Image, loaders: tuple[Loader, ...], name: str) -> Text:
    """The lines that put the distribution's loader at the fallback path."""
    first = main_loader(loaders)
    if image.family == "windows":
        line = f'mkdir S:\\EFI\\BOOT & copy "S:{first.path}" S:\\EFI\\BOOT\\{name}'
        return Text(
            f"In Windows, in a Command Prompt as administrator:\nmountvol S: /S\n{line}",
            f"请在 Windows 中以管理员身份打开命令提示符（cmd），执行：\nmountvol S: /S\n{line}",
        )
    source = "/boot/efi" + first.path.replace("\\", "/")
    lines = [f"mkdir -p /boot/efi/EFI/BOOT && cp {quoted(source)} /boot/efi/EFI/BOOT/{name}"]
    if "shim" in first.path.lower():  # shim starts the GRUB that lies beside it
        folder = source.rsplit("/", 1)[0]
        lines.append(f"cp {quoted(folder)}/grub*.efi /boot/efi/EFI/BOOT/")
    return in_guest(" && ".join(lines))
