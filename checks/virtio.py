"""The virtio drivers, without which the kernel sees neither disk nor network on the platform."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead
from imgtool.remedy import if_known
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.initramfs import Initramfs
    from imgtool.guest.kernels import Kernel
    from imgtool.guest.linux import LinuxGuest
    from imgtool.guest.modules import KernelModules
    from imgtool.image import Image

MOST_OTHERS = 4  # kernels beside the default one that are judged, the newest first
VIRTIO_NOT_INSTALLED = "VirtioNotInstall"


@rule(
    "linux.virtio.kernel",
    Text("virtio drivers in the kernel", "内核中的 virtio 驱动"),
    severity=Severity.ERROR,
    source="ref 03",
    family="linux",
    platform_code=VIRTIO_NOT_INSTALLED,
    requires=("linux.kernel",),
)
def in_kernel(image: Image) -> Iterator[Outcome]:
    """The default kernel has VIRTIO_BLK, VIRTIO_NET and VIRTIO_PCI, built in or as modules that are there.

    The platform's disk and network card are virtio devices on PCI. A kernel without these drivers cannot be
    imported (ref 03, step 1). Where no configuration is kept, the lists of modules and the configuration
    inside the kernel answer. Other kernels that lack them are a warning: they are one menu entry away.

    Evidence: the option in its file, or where the module is. Example: `/boot/config-3.10.0-957.el7.x86_64: #
    CONFIG_VIRTIO_BLK is not set`. The fix is the distribution's own kernel.
    """
    guest = image.linux
    default = guest.default_kernel
    if default is None:
        yield not_judged(Text(en="There is no default kernel.", zh="没有默认内核。"))
        return
    options = image.profile.linux.virtio_modules_kernel
    yield from _kernel(guest, default, options, None)
    for kernel in _others(guest, default):
        for outcome in _kernel(guest, kernel, options, Severity.WARNING):
            if outcome.kind == "broken":
                yield outcome


def _others(guest: LinuxGuest, default: Kernel) -> list[Kernel]:
    same = (default.image, default.version)
    return [it for it in guest.kernels if it.image != same[0] and it.version != same[1]][:MOST_OTHERS]


def _kernel(
    guest: LinuxGuest, kernel: Kernel, options: tuple[str, ...], severity: Severity | None
) -> Iterator[Outcome]:
    modules = guest.modules(kernel)
    lacking, unknown, evidence = [], [], []
    for option in options:
        place = modules.place(option.lower())
        evidence.append(_evidence(kernel, modules, option, place))
        if place == "absent":
            lacking.append(option)
        elif place == "unknown":
            unknown.append(option)
    if lacking:
        yield broken(
            Text(
                en=f"Kernel {kernel.version} has no {', '.join(lacking)}: it can't run on the platform.",
                zh=f"内核 {kernel.version} 缺少 {'、'.join(lacking)}，无法在平台上运行。",
            ),
            *evidence,
            severity=severity,
            remedy=_other_kernel(guest, kernel, modules, lacking),
        )
    elif unknown:
        yield undecided(
            Text(
                en=f"Whether kernel {kernel.version} has {', '.join(unknown)} can't be told: it has no "
                "configuration and no list of its modules.",
                zh=f"无法判断内核 {kernel.version} 是否有 {'、'.join(unknown)}：缺少内核配置和模块列表。",
            ),
            *evidence,
        )
    else:
        yield kept(
            Text(
                en=f"Kernel {kernel.version} has the virtio drivers.",
                zh=f"内核 {kernel.version} 包含 virtio 驱动。",
            ),
            *evidence,
        )


def _evidence(kernel: Kernel, modules: KernelModules, option: str, place: str) -> str:
    value = modules.option(option)
    path = (modules.files or {}).get(option.lower())
    if value in ("y", "m"):
        line = f"{modules.config_source}: CONFIG_{option}={value}"
        return line if place != "absent" else f"{line}, but {option.lower()}.ko is not in {modules.folder}"
    if path:
        return path
    if place == "builtin":
        return f"{modules.folder}/modules.builtin: {option.lower()}"
    if value == "n":
        return f"{modules.config_source}: # CONFIG_{option} is not set"
    if place == "absent":
        return f"{modules.folder}: neither modules.builtin nor modules.dep has {option.lower()}"
    return f"{kernel.image}: no configuration"


@if_known
def _other_kernel(
    guest: LinuxGuest, kernel: Kernel, modules: KernelModules, lacking: list[str]
) -> Text | None:
    release = guest.release
    configured = [option for option in lacking if modules.option(option) == "m"]
    packages = {"debian": "linux-image-amd64", "redhat": "kernel", "suse": "kernel-default"}
    package = packages.get(release.family, "")
    if release.id == "ubuntu":
        package = "linux-image-generic"
    if release.family == "debian" and kernel.architecture == "arm64":
        package = package.replace("amd64", "arm64")
    command = release.install_command(package) if package else ""
    if configured == lacking and release.id == "ubuntu":
        version = (modules.folder or "").rsplit("/", 1)[-1]
        command = release.install_command(f"linux-modules-{version}")
    if release.package_manager == "rpm-ostree":
        command = "rpm-ostree override reset kernel kernel-core kernel-modules"
    if not command:
        return None
    return Text(
        en=f"Install the distribution's own kernel and start that by default: {command}",
        zh=f"安装发行版自带的内核并设为默认启动：{command}",
    )


@rule(
    "linux.virtio.initramfs",
    Text("virtio drivers in the initramfs", "initramfs 中的 virtio 驱动"),
    severity=Severity.ERROR,
    source="ref 03",
    family="linux",
    platform_code=VIRTIO_NOT_INSTALLED,
    requires=("linux.virtio.kernel",),
    fixable=True,
)
def in_initramfs(image: Image) -> Iterator[Outcome]:
    """The default kernel's initramfs has virtio_blk, virtio_pci and what they need, where they are modules.

    The root is on a virtio disk, so its driver must be in the initramfs (ref 03, step 2). An initramfs that
    was made for the old machine only (dracut's hostonly, MODULES=dep) lacks it, and the boot ends in the
    initramfs' shell. Only modules for the version of this kernel count. What is built into the kernel is not
    looked for. Other kernels' initramfs files are a warning.

    Evidence: the file, its archives, and which modules it has and lacks. Example:
    `/boot/initramfs-3.10.0-957.el7 .x86_64.img: no virtio_blk`. The fix rebuilds it with the distribution's
    tool (ref 03, step 3).
    """
    guest = image.linux
    default = guest.default_kernel
    if default is None:
        yield not_judged(Text(en="There is no default kernel.", zh="没有默认内核。"))
        return
    wanted = image.profile.linux.virtio_modules_initramfs
    yield _initramfs(guest, default, wanted, None)
    for kernel in _others(guest, default):
        outcome = _initramfs(guest, kernel, wanted, Severity.WARNING)
        if outcome.kind == "broken":
            yield outcome


def judged_kernels(guest: LinuxGuest) -> list[Kernel]:
    """The default kernel and the others that are judged."""
    default = guest.default_kernel
    return [] if default is None else [default, *_others(guest, default)]


def lacking(guest: LinuxGuest, kernel: Kernel, wanted: tuple[str, ...]) -> list[str]:
    """The modules that a kernel's initramfs lacks for certain. Raises CannotRead."""
    modules = guest.modules(kernel)
    found = _read(guest, kernel)
    builtin = found.builtin_modules(kernel.version)
    names = [it for it in required(modules, wanted) if found.path_of(it, kernel.version) is None]
    names = [it for it in names if it not in builtin]
    return names if any(modules.place(it) != "unknown" for it in names) else []


def _initramfs(
    guest: LinuxGuest, kernel: Kernel, wanted: tuple[str, ...], severity: Severity | None
) -> Outcome:
    modules = guest.modules(kernel)
    needed = required(modules, wanted)
    if not needed:
        return not_judged(
            Text(
                en=f"Kernel {kernel.version} has the virtio drivers built in.",
                zh=f"内核 {kernel.version} 已内建 virtio 驱动。",
            ),
            *(f"{name}: built in" for name in wanted),
        )
    remedy = _rebuild(guest, kernel)
    if not kernel.initrds and modules.option("INITRAMFS_SOURCE") == "y":
        return _carried(guest, kernel, modules)
    if not kernel.initrds:
        return broken(
            Text(
                en=f"Kernel {kernel.version} has no initramfs, and {', '.join(needed)} are modules.",
                zh=f"内核 {kernel.version} 没有 initramfs，而 {'、'.join(needed)} 是模块。",
            ),
            kernel.image,
            severity=severity,
            remedy=remedy,
            fixable=False,
        )
    try:
        found = _read(guest, kernel)
    except CannotRead as error:
        read: Initramfs | None = getattr(error, "read", None)
        seen = [f"{len(read.members)} members were read before that"] if read else []
        return undecided(error.statement(), *kernel.initrds, *seen, remedy=remedy)
    paths = {name: found.path_of(name, kernel.version) for name in needed}
    builtin = found.builtin_modules(kernel.version)
    lacking = [name for name, path in paths.items() if path is None and name not in builtin]
    unsure = [name for name in lacking if modules.place(name) == "unknown"]
    about = f"{kernel.initrds[-1]}: {_archives(found)}"
    here = [path for path in paths.values() if path]
    if lacking and unsure == lacking:
        return undecided(
            Text(
                en=f"The initramfs has no {', '.join(lacking)}; whether the kernel has them can't be told.",
                zh=f"initramfs 中没有 {'、'.join(lacking)}；无法判断内核是否内建。",
            ),
            about,
            *here,
            remedy=remedy,
        )
    if lacking:
        return broken(
            Text(
                en=f"The initramfs of kernel {kernel.version} has no {', '.join(lacking)}: "
                "the kernel will not see its disk.",
                zh=f"内核 {kernel.version} 的 initramfs 缺少 {'、'.join(lacking)}，内核将无法识别系统盘。",
            ),
            about,
            *(f"{kernel.initrds[-1]}: no {name}" for name in lacking),
            *here,
            severity=severity,
            remedy=remedy,
        )
    return kept(
        Text(
            en=f"The initramfs of kernel {kernel.version} has the virtio drivers.",
            zh=f"内核 {kernel.version} 的 initramfs 包含 virtio 驱动。",
        ),
        about,
        *here,
    )


def _carried(guest: LinuxGuest, kernel: Kernel, modules: KernelModules) -> Outcome:
    """A kernel with an initramfs in it. CoreOS builds one for every machine, and no one changes it."""
    evidence = f"{modules.config_source}: CONFIG_INITRAMFS_SOURCE"
    if guest.release.family == "coreos":
        return not_judged(
            Text(
                en=f"Kernel {kernel.version} carries the initramfs that CoreOS makes for every machine.",
                zh=f"内核 {kernel.version} 内置 CoreOS 为所有机器制作的 initramfs。",
            ),
            evidence,
        )
    return undecided(
        Text(
            en=f"Kernel {kernel.version} carries its own initramfs, which this version does not read.",
            zh=f"内核 {kernel.version} 内置 initramfs，此版本无法读取。",
        ),
        evidence,
    )


def required(modules: KernelModules, wanted: tuple[str, ...]) -> list[str]:
    """Those of the wanted modules, and of what they depend on, that must come from the initramfs.

    What the kernel proves not to have at all is left out: a module that its version does not know, such as
    virtio_pci_modern_dev. Whether it lacks one of the drivers themselves is judged by linux.virtio.kernel.
    """
    names = [name for name in wanted if modules.place(name) in ("module", "unknown")]
    for name in tuple(names):
        names += [
            it for it in modules.needs.get(name, ()) if it not in names and modules.place(it) == "module"
        ]
    return names


def _read(guest: LinuxGuest, kernel: Kernel) -> Initramfs:
    from imgtool.guest.initramfs import together

    return together(guest.initramfs(path) for path in kernel.initrds)


def _archives(found: Initramfs) -> str:
    kinds = ", ".join(archive.compression or "not compressed" for archive in found.archives[:6])
    return f"{len(found.members)} members ({kinds})"


@if_known
def _rebuild(guest: LinuxGuest, kernel: Kernel) -> Text | None:
    target = guest.tree.realpath(kernel.initrds[-1]) if kernel.initrds else ""
    command = guest.release.initramfs_command(kernel.version, target)
    return Text.same(command) if command else None
