"""The virtio drivers of Windows: storage that starts with the kernel, network, and their signatures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.records import dataclass
from imgtool.remedy import if_known
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.guest.windows.known_drivers import VirtioDriver
    from imgtool.image import Image

STORE = "/Windows/System32/DriverStore/FileRepository"
INF_FOLDER = "/Windows/INF"
LARGEST_INF = 1 << 20
MOST_INFS = 400
SHA2_UPDATES = {"2008 R2": ("KB3033929", "KB4474419"), "2008": ("KB4474419", "KB4493730")}
"""Updates that let a release load drivers signed with SHA-2; any one does (Microsoft's KB4472027)."""


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
            remedy=_storage_remedy(guest, DRIVERS[limits.system_disk], faults[limits.system_disk]),
        )
        return
    driver = drivers[0]
    found = faults[driver.name]
    yield broken(
        found[0].message,
        *(line for fault in found for line in fault.evidence),
        remedy=_storage_remedy(guest, driver, found),
    )


def storage_faults(guest: WindowsGuest, driver: VirtioDriver) -> Iterator[Fault]:
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
    if service.effective_start != 0:
        override = service.overridden is not None and service.start == 0
        yield Fault(
            "override" if override else "start",
            Text(
                f"{name} does not start at boot ({service.start_word}): Windows would not find its disk"
                " (0x7B).",
                f"{name} 不随系统启动（{service.start_word}）：Windows 将找不到系统盘（0x7B）。",
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
            (f"not there: {path}",),
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
            (f"{path}: {what}",),
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
def _storage_remedy(guest: WindowsGuest, driver: VirtioDriver, faults: list[Fault]) -> Text:
    from imgtool.guest.windows.commands import (
        DRIVER_DISK,
        bind_at_boot,
        in_windows,
        install_driver,
        install_driver_offline,
    )

    kinds = {fault.kind for fault in faults}
    install = install_driver(driver, guest.release)
    lines: list[str] = []
    if "install" in kinds or ("bind" in kinds and guest.devices.kind == "DriverDatabase"):
        lines += install
    if kinds & {"start", "install"}:
        lines.append(f"sc.exe config {driver.name} start= boot")
    if "override" in kinds:
        lines.append(f"reg delete HKLM\\SYSTEM\\CurrentControlSet\\Services\\{driver.name}\\StartOverride /f")
    if kinds & {"bind", "install"} and guest.devices.kind == "CriticalDeviceDatabase":
        lines += [line for device in driver.devices for line in bind_at_boot(driver, device)]
    if kinds & {"install", "bind"} and not install:
        return Text(
            f"virtio-win has no {driver.name} for {guest.release.full_name}; ask the platform for its own.",
            f"virtio-win 没有适用于 {guest.release.full_name} 的 {driver.name}；请向平台索取定制驱动。",
        )
    offline = install_driver_offline(driver, guest.release)
    said = in_windows(
        *lines,
        en=f"In Windows, as administrator, with virtio-win's disk in {DRIVER_DISK}" + _custom(guest)[0],
        zh=f"请在 Windows 中以管理员身份执行，virtio-win 光盘位于 {DRIVER_DISK}" + _custom(guest)[1],
    )
    if "install" not in kinds or not offline:
        return said
    return Text(
        f"{said.en}\nOr, from another Windows with this system's volume at E:\n{offline}",
        f"{said.zh}\n或在另一台 Windows 上挂载该系统卷为 E: 后执行：\n{offline}",
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
    meets it: from an INF that is staged in the driver store. A service that is disabled, or a file of another
    architecture, keeps it from starting. A driver that is staged but was never installed is a warning: it was
    never tried here.

    Evidence: service, file and INF. Example: `not there: SYSTEM\\ControlSet001\\Services\\netkvm`. The fix is
    to install the driver from virtio-win's disk.
    """
    from imgtool.guest.windows.known_drivers import DRIVERS

    guest = image.windows
    for name in image.profile.windows.network:
        driver = DRIVERS[name]
        service, inf = guest.services.get(name), inf_of(guest, driver)
        where = f"SYSTEM\\{guest.control_set.path}\\Services\\{name}"
        remedy = _network_remedy(guest, driver)
        if service is None and not inf:
            yield broken(
                Text(
                    f"The virtio network driver {name} is not installed: the instance would have no network.",
                    f"未安装 virtio 网卡驱动 {name}：实例将没有网络。",
                ),
                f"not there: {where}",
                f"not there: {STORE}/{driver.inf}_*",
                remedy=remedy,
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
                remedy=remedy,
            )
            return
        faults = list(file_faults(guest, driver, service.file or driver.file))
        if service.effective_start == 4:
            faults.append(
                Fault("start", Text(f"{name} is disabled.", f"{name} 已被禁用。"), (service.proof,))
            )
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
                remedy=_network_remedy(guest, driver, enable=service.effective_start == 4),
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
    from imgtool.guest.windows.commands import DRIVER_DISK, in_windows, install_driver

    lines = (
        [f"sc.exe config {driver.name} start= demand"]
        if enable
        else list(install_driver(driver, guest.release))
    )
    if not lines:
        return Text(
            f"virtio-win has no {driver.name} for {guest.release.full_name}; ask the platform for its own.",
            f"virtio-win 没有适用于 {guest.release.full_name} 的 {driver.name}；请向平台索取定制驱动。",
        )
    return in_windows(
        *lines,
        en=f"In Windows, as administrator, with virtio-win's disk in {DRIVER_DISK}{_custom(guest)[0]}",
        zh=f"请在 Windows 中以管理员身份执行，virtio-win 光盘位于 {DRIVER_DISK}{_custom(guest)[1]}",
    )


@rule(
    "windows.driver-signing",
    Text("Signatures of drivers", "驱动签名"),
    severity=Severity.WARNING,
    source="field",
    family="windows",
    requires=("windows.virtio.storage",),
)
def driver_signing(image: Image) -> Iterator[Outcome]:
    """An old Windows can check the signature of its virtio driver.

    64-bit Server 2008 and 2008 R2 know SHA-2 signatures of drivers only with an update (KB3033929 or
    KB4474419 for 2008 R2, KB4474419 or KB4493730 for 2008). virtio-win's drivers after 0.1.189 are signed
    with SHA-2 only: without the update such a boot driver is refused with 0xc0000428. A driver that has a
    SHA-1 signature as well loads.

    Evidence: the signatures in the driver file, the updates that were looked for. Example: `viostor.sys:
    SHA-2 only; no KB3033929, no KB4474419`. The fix is the update, or an older driver.
    """
    from imgtool.guest.windows.known_drivers import DRIVERS, LAST_WITH_OLD_RELEASES
    from imgtool.guest.windows.program_file import read_program_file

    guest = image.windows
    release = guest.release
    wanted = SHA2_UPDATES.get(release.name) if release.kind == "server" else None
    if wanted is None or release.architecture != "x86_64":
        yield not_judged(
            Text(
                f"{release.full_name} ({release.architecture}) needs no update for this.",
                f"{release.full_name}（{release.architecture}）无需为此安装更新。",
            )
        )
        return
    updates = [it.kb for it in guest.updates if it.kb in wanted]
    if updates:
        yield kept(Text("The SHA-2 update is installed.", "已安装 SHA-2 更新。"), *updates)
        return
    for name in image.profile.windows.storage:
        driver = DRIVERS[name]
        service = guest.services.get(name)
        path = (service.file if service is not None else None) or driver.file
        if not guest.tree.is_file(path):
            continue
        program = read_program_file(guest.tree, path)
        digests = program.digests if program is not None else ()
        if "sha1" in digests:
            yield kept(
                Text(f"{name} has a SHA-1 signature.", f"{name} 带有 SHA-1 签名。"),
                f"{path}: signed with {', '.join(digests)}",
            )
            return
        yield broken(
            Text(
                f"{release.full_name} has no update for SHA-2 signatures, and {name} has no SHA-1"
                " signature: Windows"
                " would refuse to load it (0xc0000428).",
                f"{release.full_name} 未安装 SHA-2 签名更新，而 {name} 没有 SHA-1 签名：Windows 将拒绝加载"
                "（0xc0000428）。",
            ),
            f"{path}: signed with {', '.join(digests) or 'nothing embedded'}",
            f"not installed: {', '.join(wanted)}",
            remedy=Text(
                f"Install {wanted[-1]} on the source (`wusa.exe` with its .msu, then restart), or the"
                " drivers of virtio-win"
                f" {LAST_WITH_OLD_RELEASES}.",
                f"请在源机器上安装 {wanted[-1]}（用 `wusa.exe` 安装 .msu 后重启），或改用 virtio-win"
                f" {LAST_WITH_OLD_RELEASES} 的驱动。",
            ),
        )
        return
    yield not_judged(Text("There is no virtio driver to judge.", "没有可判断的 virtio 驱动。"))
