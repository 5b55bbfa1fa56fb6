"""The kernel that the boot loader starts, and what belongs to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead
from imgtool.remedy import if_known
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.bootloader import BootEntry
    from imgtool.guest.kernels import Kernel
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

# How distributions with rpm mark their own kernels in the version; others' (elrepo, ...) are marked too.
RPM_KERNEL = re.compile(
    r"[.-](el|fc|amzn|an|al|oe|tl|tlinux|ky|uel|oc|ns|azl|cm|mga)[0-9_]|uek"
    r"|-(default|azure|kvmsmall|longterm|pae|preempt|rt|xen)$"
)
UNMARKED = ("tencentos", "tlinux")  # whose kernels may be called 5.4.119-19-0009.1
FOREIGN_KERNEL = re.compile(r"elrepo|-pve|xanmod|liquorix|zabbly")


def unpack_ahead(image: Image) -> None:
    """Begin to unpack the default kernel's initramfs, which takes as long as all else together."""
    default = image.linux.default_kernel
    if default is not None and default.initrds:
        image.linux.begin_initramfs(default.initrds[-1])


@rule(
    "linux.kernel",
    Text("Kernel", "内核"),
    severity=Severity.ERROR,
    source="ref 01",
    family="linux",
    requires=("linux.bootloader",),
    ahead=unpack_ahead,
)
def kernel(image: Image) -> Iterator[Outcome]:
    """The kernel that starts by default, its modules and its initramfs are there and made for each other.

    Several kernels may be installed; what counts is the one that the boot loader starts. An upgrade that was
    cut short leaves an entry without its files, a kernel's file that is not whole, or an initramfs of
    another version: the kernel then finds no modules, and so no disk. A kernel that is not the
    distribution's own is a warning (ref 01: best the native one).

    Evidence: the files, and the versions in the initramfs. Example: `/boot/initrd.img-6.1.0-18-amd64: modules
    for 6.1.0-17-amd64`. The fix is the distribution's own command for this kernel version.
    """
    guest = image.linux
    entry = guest.bootloader.default
    if entry is None or entry.kernel is None:
        yield not_judged(Text(en="There is no default entry.", zh="没有默认菜单项。"))
        return
    faults = list(_files(guest, entry))
    if faults:
        yield from faults
        return
    found = guest.default_kernel
    if found is None:
        yield undecided(Text(en="The default kernel was not found.", zh="未找到默认内核。"), entry.kernel)
        return
    faults = list(_damaged(guest, found)) or list(_belonging(guest, found, entry))
    yield from faults
    if not faults:
        yield kept(
            Text(
                en=f"Kernel {found.version} starts by default, with its modules and initramfs.",
                zh=f"默认启动内核 {found.version}，其模块和 initramfs 齐全。",
            ),
            *(path for path in (found.image, *found.initrds, found.modules_dir) if path),
        )
    if _foreign(guest, found):
        yield broken(
            Text(
                en=f"Kernel {found.version} is not the distribution's own.",
                zh=f"内核 {found.version} 不是发行版的原生内核。",
            ),
            found.image,
            severity=Severity.WARNING,
        )


def _files(guest: LinuxGuest, entry: BootEntry) -> Iterator[Outcome]:
    gone = [path for path in (entry.kernel, *entry.initrds) if path and not guest.tree.is_file(path)]
    empty = [
        path
        for path in (entry.kernel, *entry.initrds)
        if path and path not in gone and guest.tree.stat(path).size == 0
    ]
    if not gone and not empty:
        return
    words = [f"{path} is not there" for path in gone] + [f"{path} is empty" for path in empty]
    only_initrd = entry.kernel is not None and entry.kernel not in gone + empty
    version = _version(
        guest.tree.realpath(entry.kernel) if entry.kernel and only_initrd else entry.kernel or ""
    )
    if not version and only_initrd and guest.default_kernel is not None:
        version = guest.default_kernel.version  # vmlinuz-linux says no version; its header does
    yield broken(
        Text(
            en=f"The boot loader's default entry can't start: {'; '.join(words)}.",
            zh="引导程序的默认项无法启动："
            + "；".join([f"{path} 不存在" for path in gone] + [f"{path} 为空文件" for path in empty])
            + "。",
        ),
        f"{entry.source}: {entry.title}",
        *words,
        remedy=_initramfs_remedy(guest, version, entry) if only_initrd else _reinstall(guest, version),
    )


def _damaged(guest: LinuxGuest, found: Kernel) -> Iterator[Outcome]:
    """A file that no boot loader takes for a kernel, or that ends before its own header says."""
    from imgtool.guest.kernel_image import read_header

    size = guest.tree.stat(found.image).size
    with guest.tree.open(found.image) as stream:
        header = read_header(stream)
        stream.seek(0)
        start = stream.read(16)
    if header is None and not start.startswith((b"\x7fELF", b"MZ")):
        yield broken(
            Text(
                en=f"{found.image} is no kernel: no boot loader starts it.",
                zh=f"{found.image} 不是内核文件，引导程序无法启动它。",
            ),
            f"{found.image}: {size} bytes, begins with {start.hex(' ')}",
            remedy=_reinstall(guest, found.version),
        )
    elif header is not None and size < header.size:
        yield broken(
            Text(
                en=f"{found.image} is cut short: it has {size} bytes of {header.size}.",
                zh=f"{found.image} 不完整：应有 {header.size} 字节，实际只有 {size} 字节。",
            ),
            f"{found.image}: {size} bytes",
            remedy=_reinstall(guest, found.version),
        )


def _belonging(guest: LinuxGuest, found: Kernel, entry: BootEntry) -> Iterator[Outcome]:
    modular = guest.modules(found).option("MODULES") != "n"
    if found.modules_dir is None and modular:
        yield broken(
            Text(
                en=f"The modules of kernel {found.version} are not there.",
                zh=f"内核 {found.version} 的模块目录不存在。",
            ),
            f"/lib/modules/{found.version}: not there",
            *(f"/lib/modules: {name}" for name in _folders(guest)[:4]),
            remedy=_reinstall(guest, found.version),
        )
        return
    if not found.initrds:
        yield from _without_initramfs(guest, found, entry)
        return
    try:
        parts = [guest.initramfs(path) for path in found.initrds]
    except CannotRead as error:
        yield undecided(error.statement(), *found.initrds)
        return
    first = _first_program(entry)
    carried = guest.modules(found).option("INITRAMFS_SOURCE")  # "y": the kernel has one in it as well
    if not any(first in part.members for part in parts) and carried == "n":
        yield broken(
            Text(
                en=f"The initramfs has no /{first}: the kernel does not use it, and finds no root without.",
                zh=f"initramfs 中没有 /{first}：内核不会使用该 initramfs，将找不到根文件系统。",
            ),
            *(
                f"{path}: {len(part.members)} members"
                for path, part in zip(found.initrds, parts, strict=True)
            ),
            remedy=_initramfs_remedy(guest, found.version, entry),
        )
        return
    versions = {version for part in parts for version in part.versions}
    if versions and found.version not in versions:
        yield broken(
            Text(
                en=f"The initramfs is made for another kernel than {found.version}.",
                zh=f"initramfs 不是为内核 {found.version} 制作的。",
            ),
            f"{found.initrds[-1]}: modules for {', '.join(sorted(versions)[:4])}",
            remedy=_initramfs_remedy(guest, found.version, entry),
        )


def _first_program(entry: BootEntry) -> str:
    """What the kernel runs in an initramfs, /init if `rdinit=` names no other (init/main.c)."""
    words = [word[7:] for word in entry.arguments.split() if word.startswith("rdinit=")]
    return (words[-1] if words else "/init").lstrip("/")


def _without_initramfs(guest: LinuxGuest, found: Kernel, entry: BootEntry) -> Iterator[Outcome]:
    """A kernel alone needs its drivers built in; linux.bootloader.root judges the name of its root."""
    from imgtool.guest.kernel_alone import drivers_of_root

    if guest.modules(found).option("INITRAMFS_SOURCE") == "y":
        return  # it carries its own, as Container Linux's does
    drivers = drivers_of_root(guest, found)
    lacking = [name for name, place in drivers.items() if place in ("module", "absent")]
    if lacking:
        names = ", ".join(lacking)
        yield broken(
            Text(
                en=f"The default entry gives kernel {found.version} no initramfs, and {names} is not built"
                " in: it finds no root.",
                zh=f"默认菜单项没有为内核 {found.version} 指定 initramfs，而 {names} 未内建："
                "内核将找不到根文件系统。",
            ),
            f"{entry.source}: {entry.title}",
            *(f"{name}: {place}" for name, place in drivers.items()),
            remedy=_give_initramfs(guest, found.version),
        )
    elif "unknown" in drivers.values():
        yield undecided(
            Text(
                en="The default entry has no initramfs, and whether the kernel needs one can't be told.",
                zh="默认菜单项没有 initramfs，无法判断内核是否需要。",
            ),
            entry.source,
        )


def _folders(guest: LinuxGuest) -> list[str]:
    return guest.tree.list("/lib/modules") if guest.tree.is_dir("/lib/modules") else []


def _version(path: str) -> str:
    found = re.search(r"[0-9]+\.[0-9].*", path.rsplit("/", 1)[-1])
    return found[0] if found else ""


@if_known
def _initramfs_remedy(guest: LinuxGuest, version: str, entry: BootEntry) -> Text | None:
    target = entry.initrds[-1] if entry.initrds else ""
    command = guest.release.initramfs_command(version, target) if version else ""
    return Text.same(command) if command else None


@if_known
def _give_initramfs(guest: LinuxGuest, version: str) -> Text | None:
    """Make the initramfs, then the configuration that names it."""
    loader = guest.bootloader
    later = guest.release.bootloader_command(loader.config_path or "") if loader.kind == "grub2" else ""
    commands = [it for it in (guest.release.initramfs_command(version) if version else "", later) if it]
    return Text.same(" && ".join(commands)) if commands else None


@if_known
def _reinstall(guest: LinuxGuest, version: str) -> Text | None:
    manager, family = guest.release.package_manager, guest.release.family
    if not version:
        return None
    if manager == "rpm-ostree":
        return Text.same("rpm-ostree override reset kernel kernel-core kernel-modules; rpm-ostree upgrade")
    if manager == "pacman":
        return Text.same(f"pacman -S --noconfirm linux{'-lts' if version.endswith('-lts') else ''}")
    if family == "debian":
        return Text.same(f"apt-get install --reinstall linux-image-{version}")
    if family == "suse":
        return Text.same("zypper install --force kernel-default")
    if family == "redhat" and manager:
        package = "kernel-core" if "el8" in version or "el9" in version or "el10" in version else "kernel"
        return Text.same(f"{manager} reinstall {package}-{version}")
    return None


def _foreign(guest: LinuxGuest, found: Kernel) -> bool:
    """Whether no package of the distribution brought this kernel, as far as that shows."""
    family, version = guest.release.family, found.version
    if family == "debian" and guest.tree.is_dir("/var/lib/dpkg/info"):
        names = (f"linux-image-{version}", f"linux-image-unsigned-{version}", f"linux-modules-{version}")
        return not any(
            guest.tree.exists(f"/var/lib/dpkg/info/{name}{architecture}.list")
            for name in names
            for architecture in ("", ":amd64", ":arm64", ":i386")
        ) or bool(FOREIGN_KERNEL.search(version))
    if family in ("redhat", "suse"):
        marked = RPM_KERNEL.search(version) is not None or guest.release.id in UNMARKED
        return not marked or FOREIGN_KERNEL.search(version) is not None
    return False
