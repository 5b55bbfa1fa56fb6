"""The state that a Windows was left in: its volume, what waits for the next start, its CD-ROM driver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.rules import Outcome, Severity, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.image import Image

CDROM_DENIED = "Policies\\Microsoft\\Windows\\RemovableStorageDevices"
CDROM_CLASS = "{53f56308-b6bf-11d0-94f2-00a0c91efb8b}"
CDROM_FILE = "/Windows/System32/drivers/cdrom.sys"
CREATE_CDROM = (
    'sc.exe create cdrom type= kernel start= system error= normal group= "SCSI CDROM Class"'
    " binPath= System32\\drivers\\cdrom.sys"
)


@rule(
    "windows.volume",
    Text("State of the Windows volume", "Windows 卷状态"),
    severity=Severity.ERROR,
    source="ref 07",
    family="windows",
    requires=("disk.root",),
    fixable=True,
)
def volume(image: Image) -> Iterator[Outcome]:
    """Windows was shut down for good: neither hibernated nor copied while it ran.

    A hibernated Windows (hiberfil.sys begins with HIBR) takes up a memory that belongs to other hardware, and
    its volume must not be written to: an error. With fast start-up, which clients have since Windows 8, every
    shutdown is such a hibernation of the kernel: a warning. Registry hives whose sequence numbers differ were
    being written when the copy was made (a snapshot of a running system, ref 07). What their logs hold is
    counted in here, as Windows does at its next start; where the logs can't be read, all that the hive would
    tell is unknown. The NTFS dirty flag is disk.filesystem.clean's, BitLocker disk.encrypted's.

    Evidence: the file's signature, the value, the hive. Example: `hiberfil.sys: HIBR`. The fix is `powercfg
    /hibernate off` and a full shutdown.
    """
    from imgtool.guest.windows.commands import at_prompt
    from imgtool.guest.windows.settings import HIBERNATION, read_hibernation

    guest = image.windows
    found = read_hibernation(guest)
    off = ("powercfg /hibernate off", "shutdown /s /t 0")
    if found.state == "hibernated":
        yield broken(
            Text("Windows is hibernated, not shut down.", "Windows 处于休眠状态，未关机。"),
            f"{guest.root.volume.name}: {HIBERNATION} begins with HIBR",
            remedy=at_prompt(
                *off,
                en="Start the source, and in a Command Prompt as administrator; then export again",
                zh="请启动源机器，以管理员身份打开命令提示符（cmd），执行以下命令后重新导出",
            ),
        )
    elif found.fast_startup:
        yield broken(
            Text(
                "Fast start-up is on: a shutdown of this Windows hibernates its kernel.",
                "已启用快速启动：该 Windows 关机时会将内核休眠。",
            ),
            f"SYSTEM\\{guest.control_set.path}\\Control\\Session Manager\\Power: HiberbootEnabled=1",
            severity=Severity.WARNING,
            remedy=at_prompt(*off),
        )
    if guest.dirty_hives:
        yield broken(
            Text(
                "The registry was being written when the image was made: this is a copy of a running system."
                " What its logs hold, which the next start replays, is counted in here.",
                "制作镜像时注册表正在写入，即镜像复制自运行中的系统；此处的判断已包含其日志中的更改，"
                "下次启动时会回放这些日志。",
            ),
            *guest.dirty_hives,
            severity=Severity.WARNING,
            fixable=False,
            remedy=Text(
                "Shut the source down (`shutdown /s /t 0`) and export the disk again; a start of the image"
                " replays the"
                " logs as well.",
                "请将源机器关机（`shutdown /s /t 0`）后重新导出磁盘；启动一次镜像也会回放这些日志。",
            ),
        )
    if found.state != "hibernated" and not found.fast_startup and not guest.dirty_hives:
        yield kept(Text("It was shut down.", "已正常关机。"), f"{HIBERNATION}: {found.state}")


@rule(
    "windows.pending",
    Text("Work that waits for a restart", "待重启的操作"),
    severity=Severity.WARNING,
    source="field",
    family="windows",
    requires=("disk.root",),
)
def pending(image: Image) -> Iterator[Outcome]:
    """No update, rename or setup is half done.

    Updates that wait for a restart are finished at the first start on the platform, where drivers have just
    changed, and cloudbase-init has to wait for them. Setup or Sysprep in progress make the first start ask
    questions that nobody answers; after Sysprep Windows resets what this check judged (ref 04: do not run
    Sysprep).

    Evidence: the registry keys, WinSxS\\pending.xml, Setup\\State. Example: `RebootPending`. The fix is a
    restart, or finishing the setup.
    """
    from imgtool.guest.windows.settings import COMPLETE, SETUP_STATE, read_pending

    found = read_pending(image.windows)
    wrong = False
    if found.reboots:
        wrong = True
        yield broken(
            Text("Updates or renames wait for a restart.", "有更新或文件重命名等待重启完成。"),
            *found.reboots,
            remedy=Text(
                "On the source, in a Command Prompt as administrator: `shutdown /r /t 0`, again until nothing"
                " waits; then `shutdown /s /t 0`, and export again.",
                "请在源机器上以管理员身份打开命令提示符（cmd），执行 `shutdown /r /t 0` 直至没有待处理操作，"
                "再执行 `shutdown /s /t 0` 并重新导出。",
            ),
        )
    strange = found.image_state not in ("", COMPLETE)
    if found.setup or strange:
        wrong = True
        yield broken(
            Text(
                "Windows is in the middle of its setup, or was prepared with Sysprep.",
                "Windows 安装尚未完成，或已用 Sysprep 处理。",
            ),
            *found.setup,
            *([f"SOFTWARE\\{SETUP_STATE}: ImageState={found.image_state[:80]}"] if strange else []),
            remedy=Text(
                "Start the source and let the setup end; then install or check again what Sysprep takes away"
                " (drivers, cloudbase-init and its settings), shut it down with `shutdown /s /t 0`,"
                " without Sysprep,"
                " and export again.",
                "请启动源机器完成安装，随后重新安装或检查 Sysprep 所清除的内容（驱动、cloudbase-init"
                " 及其配置），"
                "在不运行 Sysprep 的情况下执行 `shutdown /s /t 0` 关机，再重新导出。",
            ),
        )
    if not wrong:
        yield kept(Text("Nothing waits for a restart.", "没有待重启的操作。"))


@rule(
    "windows.cdrom",
    Text("CD-ROM driver", "CD-ROM 驱动"),
    severity=Severity.ERROR,
    source="ref 11",
    family="windows",
    requires=("disk.root",),
    fixable=True,
)
def cdrom(image: Image) -> Iterator[Outcome]:
    """Windows can read a CD: the platform's settings for an instance come on one.

    cloudbase-init reads the config drive, which is a CD labelled config-2. Hardening guides disable the
    driver (Services\\ cdrom with Start 4) or deny reading by policy, and burning programs that were removed
    leave filters of their own in its class; then the instance gets no address and no password (ref 11).
    Evidence: the service key, the policy, the filters. Example: `cdrom: Start=4`. The fix is `sc.exe config
    cdrom start= system`.
    """
    from imgtool.guest.windows.class_filters import CDROM_CLASS as FILTERED
    from imgtool.guest.windows.class_filters import cannot_load, clear_filters, read_class_filters
    from imgtool.guest.windows.commands import at_prompt, start_service

    guest = image.windows
    service = guest.services.get("cdrom")
    where = f"SYSTEM\\{guest.control_set.path}\\Services\\cdrom"
    if service is None:
        yield broken(
            Text("There is no CD-ROM driver.", "没有 CD-ROM 驱动。"),
            f"not there: {where}",
            remedy=at_prompt(CREATE_CDROM),
        )
        return
    if service.disabled:
        yield broken(
            Text("The CD-ROM driver is disabled.", "CD-ROM 驱动已被禁用。"),
            service.proof,
            remedy=at_prompt(*start_service(service, "system")),
        )
        return
    path = service.file or CDROM_FILE
    if not guest.tree.is_file(path):
        yield broken(
            Text("The file of the CD-ROM driver is not there.", "缺少 CD-ROM 驱动文件。"),
            f"not there: {path[:300]}",
            remedy=at_prompt("sfc /scannow"),
        )
        return
    denied = cdrom_denials(guest)
    if denied:
        yield broken(
            Text("A policy denies reading CDs.", "策略禁止读取 CD。"),
            *(f"SOFTWARE\\{key}: {name}" for key, name in denied),
            remedy=at_prompt(
                *(f'reg delete "HKLM\\SOFTWARE\\{key}" /v {name} /f' for key, name in denied),
                en="In Windows, in a Command Prompt as administrator (a domain's policy: in the domain)",
                zh="请在 Windows 中以管理员身份打开命令提示符（cmd），执行（域策略需在域中修改）",
            ),
        )
        return
    lost = [
        it
        for it in read_class_filters(guest, [FILTERED])
        if any(cannot_load(guest, name) for name in it.drivers)
    ]
    if lost:
        yield broken(
            Text(
                "Filters of the CD-ROM class name drivers that are gone or disabled: Windows does not"
                " start the"
                " drive.",
                "CD-ROM 类的过滤驱动中有已不存在或已禁用的驱动：Windows 不会启动该光驱。",
            ),
            *(it.proof for it in lost),
            remedy=clear_filters(
                lost, [name for it in lost for name in it.drivers if cannot_load(guest, name)]
            ),
        )
        return
    yield kept(Text("The CD-ROM driver starts.", "CD-ROM 驱动可用。"), service.proof)


def cdrom_denials(guest: WindowsGuest) -> list[tuple[str, str]]:
    """The values that deny reading, each with its key in SOFTWARE; what else the policy says stays."""
    found = []
    for key, name in ((CDROM_DENIED, "Deny_All"), (f"{CDROM_DENIED}\\{CDROM_CLASS}", "Deny_Read")):
        policy = guest.software.key(key)
        if policy is not None and policy.number(name):
            found.append((key, name))
    return found
