"""The virtio drivers of Windows: storage that starts with the kernel, and network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.records import dataclass
from imgtool.remedy import if_known
from imgtool.rules import Outcome, Severity, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.guest.windows.known_drivers import VirtioDriver
    from imgtool.image import Image

STORE = "/Windows/System32/DriverStore/FileRepository"
INF_FOLDER = "/Windows/INF"
LARGEST_INF = 1 << 20
MOST_INFS = 400


@dataclass(frozen=True)
class Fault:
    """What is wrong with a driver. kind: what mends it."""

    kind: str
    message: Text
    evidence: tuple[str, ...] = ()


@rule(
    "windows.virtio.storage",
    Text("virtio storage driver", "virtio 磁盘驱动"),
    severity=Severity.ERROR,
    source="ref 01, 07",
    family="windows",
    platform_code="VirtioNotInstall",
    requires=("disk.root",),
    fixable=True,
)
def storage(image: Image) -> Iterator[Outcome]:
    """Windows has a driver for the platform's disk, starts it with the kernel, and binds it to the device.

    On the platform the system disk is a virtio disk, PCI device 1AF4:1001 (1042 to machines without the old
    interface), which Windows has no driver for by itself (ref 01). Without it Windows stops with 0x7B
    (INACCESSIBLE_BOOT_DEVICE). It takes: the file viostor.sys for this architecture; a service with Start 0
    (boot) in the control set that is used next, not overridden by a StartOverride key; and a binding of the
    device's hardware id to the service, where Windows looks at boot: Control\\CriticalDeviceDatabase, or
    SYSTEM\\DriverDatabase where there is one (Windows 8, Server 2012 and later). A system that has vioscsi
    only starts from virtio SCSI disks: a warning.

    Evidence: the service key, the file, the bindings. Example: `SYSTEM\\ControlSet002\\Services\\viostor:
    Start=3 (demand)`. The fix is to install the driver from virtio-win's disk on the source, where pnputil
    and dism do all of it.
    """
    from imgtool.guest.windows.known_drivers import DRIVERS

    guest, limits = image.windows, image.profile.windows
    names = [limits.system_disk, *(it for it in limits.storage if it != limits.system_disk)]
    drivers = [DRIVERS[name] for name in names if name in DRIVERS]
    faults: dict[str, list[Fault]] = {}
    for driver in drivers:
        faults[driver.name] = list(storage_faults(guest, driver))
        if faults[driver.name]:
            continue
        if driver.name == limits.system_disk:
            seen = _proofs(guest, driver)
            yield kept(Text(f"{driver.name} starts at boot.", f"{driver.name} 随系统启动。"), *seen)
            return
        yield broken(
            Text(
                f"Only {driver.name} starts at boot, which drives virtio SCSI disks; the platform's system"
                " disk"
                f" needs {limits.system_disk}.",
                f"只有 {driver.name} 随系统启动，它驱动 virtio SCSI 磁盘；平台的系统盘需要"
                f" {limits.system_disk}。",
            ),
            *_proofs(guest, driver),
            *(line for fault in faults[limits.system_disk] for line in fault.evidence),
            severity=Severity.WARNING,
            remedy=_storage_remedy(image, DRIVERS[limits.system_disk], faults[limits.system_disk]),
        )
        return
    driver = drivers[0]
    found = faults[driver.name]
    yield broken(
        found[0].message,
        *(line for fault in found for line in fault.evidence),
        remedy=_storage_remedy(image, driver, found),
    )


def storage_faults(guest: WindowsGuest, driver: VirtioDriver) -> Iterator[Fault]:
    from imgtool.guest.windows.services import said_of

    name = driver.name
    where = f"SYSTEM\\{guest.control_set.path}\\Services\\{name}"
    service = guest.services.get(name)
    if service is None:
        yield Fault(
            "install",
            Text(
                f"The virtio storage driver {name} is not installed: Windows would not find its disk (0x7B).",
                f"未安装 virtio 磁盘驱动 {name}：Windows 将找不到系统盘（0x7B）。",
            ),
            (f"not there: {where}",),
        )
        return
    yield from file_faults(guest, driver, service.file or driver.file)
    if service.start != 0 or service.overridden not in (None, 0):
        said = said_of(service.start if service.start != 0 else service.overridden)
        yield Fault(
            "start" if service.start != 0 else "override",
            Text(
                f"{name} does not start at boot ({said.en}): Windows would not find its disk (0x7B).",
                f"{name} 不随系统启动（{said.zh}）：Windows 将找不到系统盘（0x7B）。",
            ),
            (service.proof,),
        )
    bindings = guest.devices.of(driver, at_boot=True)
    old, new = driver.devices
    if not any(it.device == old for it in bindings):
        only_new = any(it.device == new for it in bindings)
        yield Fault(
            "bind",
            Text(
                f"Nothing binds the platform's disk (PCI 1AF4:{old:04X}) to {name}: Windows would not start"
                " it for"
                " that device (0x7B).",
                f"没有将平台磁盘（PCI 1AF4:{old:04X}）绑定到 {name}：Windows 不会为该设备启动驱动（0x7B）。",
            ),
            (
                f"{_database(guest)}: no binding of PCI 1AF4:{old:04X} to {name}",
                *(it.proof for it in guest.devices.bindings[:4] if it.device in driver.devices),
                *([f"only 1AF4:{new:04X} is bound"] if only_new else []),
            ),
        )


def file_faults(guest: WindowsGuest, driver: VirtioDriver, path: str) -> Iterator[Fault]:
    from imgtool.guest.windows.program_file import read_program_file

    if not guest.tree.is_file(path):
        yield Fault(
            "install",
            Text(f"The driver file of {driver.name} is not there.", f"缺少 {driver.name} 的驱动文件。"),
            (f"not there: {path[:300]}",),
        )
        return
    program = read_program_file(guest.tree, path)
    if program is None or program.machine != guest.release.architecture:
        what = "no program" if program is None else f"for {program.machine or 'another machine'}"
        yield Fault(
            "install",
            Text(
                f"The driver file of {driver.name} is not for this Windows ({guest.release.architecture}).",
                f"{driver.name} 的驱动文件与该 Windows（{guest.release.architecture}）不匹配。",
            ),
            (f"{path[:300]}: {what}",),
        )


def _proofs(guest: WindowsGuest, driver: VirtioDriver) -> tuple[str, ...]:
    service = guest.services[driver.name]
    bindings = guest.devices.of(driver, at_boot=driver.boot)
    return (service.proof, service.file or driver.file, *(it.proof for it in bindings[:4]))


def _database(guest: WindowsGuest) -> str:
    if guest.devices.kind == "DriverDatabase":
        return "SYSTEM\\DriverDatabase"
    return f"SYSTEM\\{guest.control_set.path}\\Control\\CriticalDeviceDatabase"


@if_known
def _storage_remedy(image: Image, driver: VirtioDriver, faults: list[Fault]) -> Text:
    """A service that is there is mended on the source; a driver that is not is put in offline.

    On a source without virtio devices (VMware, Hyper-V, a physical machine) pnputil only stages a driver: the
    service comes with the device. dism installs a boot driver of a system that is off, service and binding
    too.
    """
    from imgtool.guest.windows import commands

    guest = image.windows
    kinds = {fault.kind for fault in faults}
    service = guest.services.get(driver.name)
    if "install" in kinds or (guest.devices.kind == "DriverDatabase" and "bind" in kinds):
        return _offline(image, driver)
    lines: list[str] = []
    if service is not None and "start" in kinds:
        lines += commands.start_service(service, "boot")
    elif service is not None and "override" in kinds:
        lines.append(commands.drop_override(service))
    if "bind" in kinds:
        lines += [line for device in driver.devices for line in commands.bind_at_boot(driver, device)]
    return commands.at_prompt(*lines)


def _offline(image: Image, driver: VirtioDriver) -> Text:
    from imgtool.disk.commands import qcow2_name, shell_name
    from imgtool.guest.windows.commands import DRIVER_DISK, install_driver, install_driver_offline

    guest = image.windows
    if not install_driver(driver, guest.release):
        return _no_driver(guest, driver)
    result = shell_name(qcow2_name(image.path))
    fix = f"imgtool fix --virtio-win virtio-win.iso {shell_name(image.path)} -o {result}"
    own = _custom(guest)
    said = Text(
        f"Put the driver into a copy of the image, with virtio-win's ISO{own[0]}:\n{fix}",
        f"用 virtio-win ISO 将驱动写入镜像副本{own[1]}：\n{fix}",
    )
    line = install_driver_offline(driver, guest.release)
    if not line:
        return said
    return Text(
        f"{said.en}\nOr attach the disk to another Windows, not older than this one, where its system"
        " volume is E:"
        f" and virtio-win's disk {DRIVER_DISK}, and in a Command Prompt as administrator:\n{line}",
        f"{said.zh}\n或将磁盘挂载到另一台不低于此版本的 Windows（系统卷为 E:，virtio-win 光盘为"
        f" {DRIVER_DISK}），"
        f"以管理员身份打开命令提示符（cmd），执行：\n{line}",
    )


def _no_driver(guest: WindowsGuest, driver: VirtioDriver) -> Text:
    return Text(
        f"virtio-win has no {driver.name} for {guest.release.full_name}; ask the platform for its own.",
        f"virtio-win 没有适用于 {guest.release.full_name} 的 {driver.name}；请向平台索取定制驱动。",
    )


def _custom(guest: WindowsGuest) -> tuple[str, str]:
    """Ref 07 has drivers of the platform's own for two releases."""
    if guest.release.name in ("2008 R2", "2012 R2"):
        return (
            " (for this release the platform has drivers of its own; ask for them)",
            "（该版本请联系平台获取定制版驱动）",
        )
    return "", ""


@rule(
    "windows.virtio.network",
    Text("virtio network driver", "virtio 网卡驱动"),
    severity=Severity.ERROR,
    source="ref 01, 07",
    family="windows",
    platform_code="VirtioNotInstall",
    requires=("disk.root",),
    fixable=True,
)
def network(image: Image) -> Iterator[Outcome]:
    """Windows has the driver for the platform's network card, or can install it at its first start there.

    The network card is virtio's, PCI 1AF4:1000 or 1041. Plug and Play installs netkvm for it when Windows
    meets it: from an INF that is staged in the driver store. A service that is disabled (one without Start is
    taken for that), or a file of another architecture, keeps it from starting. A driver that is staged but
    was never installed is a warning: it was never tried here.

    Evidence: service, file and INF. Example: `not there: SYSTEM\\ControlSet001\\Services\\netkvm`. The fix is
    to install the driver from virtio-win's disk.
    """
    from imgtool.guest.windows.known_drivers import DRIVERS

    guest = image.windows
    for name in image.profile.windows.network:
        driver = DRIVERS[name]
        service, inf = guest.services.get(name), inf_of(guest, driver)
        where = f"SYSTEM\\{guest.control_set.path}\\Services\\{name}"
        if service is None and not inf:
            yield broken(
                Text(
                    f"The virtio network driver {name} is not installed: the instance would have no network.",
                    f"未安装 virtio 网卡驱动 {name}：实例将没有网络。",
                ),
                f"not there: {where}",
                f"not there: {STORE}/{driver.inf}_*",
                remedy=_network_remedy(guest, driver),
            )
            return
        if service is None:
            yield broken(
                Text(
                    f"{name} is staged but not installed: Windows installs it when it meets the device.",
                    f"{name} 已预置但未安装：Windows 检测到设备时才会安装。",
                ),
                f"not there: {where}",
                f"there: {inf}",
                severity=Severity.WARNING,
                remedy=_network_remedy(guest, driver),
            )
            return
        faults = list(file_faults(guest, driver, service.file or driver.file))
        if service.disabled:
            why = Text(f"{name} is disabled.", f"{name} 已被禁用。")
            if service.start is None:
                why = Text(
                    f"{name} has no Start value: Windows takes it for disabled.",
                    f"{name} 没有 Start 值：Windows 视其为已禁用。",
                )
            faults.append(Fault("start", why, (service.proof,)))
        if not inf:
            message = Text(
                f"The INF of {name} is gone: Windows can't install it for the platform's device.",
                f"缺少 {name} 的 INF：Windows 无法为平台的设备安装该驱动。",
            )
            faults.append(Fault("install", message, (f"not there: {STORE}/{driver.inf}_*",)))
        if faults:
            yield broken(
                faults[0].message,
                *(line for fault in faults for line in fault.evidence),
                remedy=_network_remedy(guest, driver, enable=all(it.kind == "start" for it in faults)),
            )
            return
        yield kept(Text(f"{name} is installed.", f"已安装 {name}。"), service.proof, inf)


def inf_of(guest: WindowsGuest, driver: VirtioDriver) -> str:
    """Where the driver's INF is: in the driver store, or among the installed ones under another name."""
    for path in guest.tree.glob(f"{STORE}/{driver.inf}_*/{driver.inf}"):
        return path
    for path in guest.tree.glob(f"{INF_FOLDER}/oem*.inf")[:MOST_INFS]:
        if guest.tree.stat(path).size <= LARGEST_INF:
            data = guest.tree.read(path, LARGEST_INF).replace(b"\0", b"").lower()
            if driver.name.encode() in data and b"ven_1af4" in data:
                return path
    return ""


@if_known
def _network_remedy(guest: WindowsGuest, driver: VirtioDriver, *, enable: bool = False) -> Text:
    from imgtool.guest.windows.commands import DRIVER_DISK, at_prompt, install_driver, start_service

    if enable:
        return at_prompt(*start_service(guest.services[driver.name], "demand"))
    lines = install_driver(driver, guest.release)
    if not lines:
        return _no_driver(guest, driver)
    own = _custom(guest)
    return at_prompt(
        *lines,
        en=f"In Windows, with virtio-win's disk in {DRIVER_DISK}{own[0]}, in a Command Prompt as"
        " administrator",
        zh=f"virtio-win 光盘位于 {DRIVER_DISK}{own[1]}，请在 Windows 中以管理员身份打开命令提示符（cmd），"
        "执行",
    )
