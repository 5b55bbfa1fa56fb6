"""Which distribution the guest is, and what machine its programs were built for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.errors import ImgtoolError
from imgtool.rules import Outcome, Severity, broken, kept, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.kernels import Kernel
    from imgtool.image import Image


@rule(
    "linux.distribution",
    Text("Distribution", "发行版"),
    severity=Severity.WARNING,
    source="ref 01, 21",
    family="linux",
    requires=("disk.root",),
)
def distribution(image: Image) -> Iterator[Outcome]:
    """The guest is one of the distributions that the platform names, or one built from them.

    The platform takes images "based on" CentOS, Ubuntu, Debian, CoreOS, openSUSE and SUSE (ref 01), and
    ImportImage wants to be told which (OsType, OsVersion; ref 21). Other distributions may well import, under
    the name of what they are built from; that choice is the person's, hence a warning.

    Evidence: what the guest's os-release, or the release file of an older distribution, says. Example:
    `Fedora Linux 40 (/etc/os-release)`. The fix is to choose OsType and OsVersion oneself.
    """
    from imgtool.guest.release import import_os

    release = image.linux.release
    known = image.profile.linux.distributions
    said = f"{release.source}: {release.pretty}" + (f", version {release.version}" if release.version else "")
    names = ", ".join(dict.fromkeys(entry.os_type for entry in known.values()))
    if not release.id:
        yield undecided(
            Text(
                "No file says which distribution this is (/etc/os-release, /etc/*-release ...).",
                "没有文件说明这是哪个发行版（/etc/os-release、/etc/*-release、/etc/debian_version）。",
            ),
            remedy=Text(
                f"Name it yourself at the import: OsType is one of {names}.",
                f"请在导入时自行指定：OsType 为 {names} 之一。",
            ),
        )
        return
    os_type, os_version = import_os(release, known)
    if os_type and os_version:
        yield kept(
            Text(
                f"{release.pretty}: import it as OsType {os_type}, OsVersion {os_version}.",
                f"{release.pretty}：导入时 OsType 为 {os_type}，OsVersion 为 {os_version}。",
            ),
            said,
        )
    elif os_type:
        yield broken(
            Text(
                f"{release.pretty} is related to {os_type}, but its version does not say to which version of"
                f" {os_type} it corresponds.",
                f"{release.pretty} 与 {os_type} 同源，但无法由其版本得知对应的 {os_type} 版本。",
            ),
            said,
            remedy=Text(
                f"Import it as OsType {os_type}, with the OsVersion of the {os_type} that it is built from;"
                " DescribeImportImageOs lists what the platform takes.",
                f"导入时将 OsType 设为 {os_type}，OsVersion 设为其所基于的 {os_type} 版本；"
                "可用 DescribeImportImageOs 查询平台支持的列表。",
            ),
        )
    else:
        yield broken(
            Text(
                f"{release.pretty} is not among the distributions that the platform takes: {names}.",
                f"{release.pretty} 不在平台支持的发行版之列：{names}。",
            ),
            said,
            remedy=Text(
                "Ask DescribeImportImageOs which OsType comes nearest, import it under that name and boot one"
                " instance before relying on it.",
                "请用 DescribeImportImageOs 查询最接近的 OsType，以该名称导入，并先启动一台实例验证。",
            ),
        )


@rule(
    "linux.architecture",
    Text("Processor architecture", "处理器架构"),
    severity=Severity.ERROR,
    source="ref 01, 21",
    family="linux",
    requires=("disk.root",),
)
def architecture(image: Image) -> Iterator[Outcome]:
    """The guest's programs run on a processor that the platform has: x86_64, i386 or arm64.

    It is read from the ELF headers of the first programs that a boot runs (/sbin/init, /bin/sh ...), not from
    names, and must be what is declared for the import, where that is said (`--architecture`). A 64-bit kernel
    runs 32-bit programs of the same family; a kernel cannot run programs of another
    one, nor a 32-bit kernel 64-bit programs.

    Evidence: the program and what it was built for. Example: `/usr/lib/systemd/systemd: ppc64le`. The fix
    is another system: nothing in the image can be changed to mend this; install it for x86_64 or arm64.
    """
    programs = image.linux.programs
    allowed = image.profile.linux.architectures
    if not programs:
        yield undecided(
            Text(
                "None of the guest's basic programs (/sbin/init, /bin/sh ...) is there as an ELF file.",
                "系统的基本程序（/sbin/init、/bin/sh 等）均不存在或不是 ELF 文件。",
            )
        )
        return
    evidence = [f"{program.path}: {program.architecture}" for program in programs]
    named = programs[0].architecture
    names = ", ".join(allowed)
    if named not in allowed:
        yield broken(
            Text(
                f"The guest was built for {named}; the platform runs {names}.",
                f"该系统为 {named} 架构；平台仅支持 {names}。",
            ),
            *evidence,
            remedy=Text(
                f"Install the same system for one of {names} and move the data there.",
                f"请安装 {names} 架构的同一系统并迁移数据。",
            ),
        )
        return
    wanted, given = allowed[named], image.options.architecture
    if given is not None and given != wanted:
        yield broken(
            Text(
                f"The image is declared as {given}, but its programs were built for {named}.",
                f"声明的架构为 {given}，但系统程序为 {named} 架构。",
            ),
            *evidence,
            remedy=Text(
                f"Import it with Architecture {wanted}: --architecture {wanted}",
                f"导入时请将 Architecture 设为 {wanted}：--architecture {wanted}",
            ),
        )
        return
    kernel = _default_kernel(image)
    runs = _runs(kernel.architecture) if kernel and kernel.architecture else None
    if kernel and runs is not None and named not in runs:
        yield broken(
            Text(
                f"The {kernel.architecture} kernel {kernel.version} can't run {named} programs.",
                f"内核 {kernel.version} 为 {kernel.architecture} 架构，无法运行 {named} 程序。",
            ),
            *evidence,
            f"{kernel.image}: {kernel.architecture}",
            severity=Severity.WARNING,  # the kernel's architecture may be known by its name only
            remedy=Text(
                f"Install a kernel for {named} and make it the default.",
                f"请安装 {named} 架构的内核并设为默认启动项。",
            ),
        )
        return
    declared = Text(
        f"Built for {named}: import it with Architecture {allowed[named]}.",
        f"{named} 架构：导入时 Architecture 为 {allowed[named]}。",
    )
    if kernel and kernel.architecture and kernel.architecture != named:
        evidence.append(f"{kernel.image}: {kernel.architecture}")
        declared = Text(
            f"A {kernel.architecture} kernel with a {named} user land: import it with Architecture"
            f" {allowed[named]}.",
            f"{kernel.architecture} 内核配 {named} 用户态：导入时 Architecture 为 {allowed[named]}。",
        )
    yield kept(declared, *evidence)


def _default_kernel(image: Image) -> Kernel | None:
    try:
        return image.linux.default_kernel
    except ImgtoolError:
        return None  # what is wrong with the kernel is for linux.kernel and linux.bootloader to say


def _runs(kernel: str) -> tuple[str, ...] | None:
    """The programs that a kernel runs; None where nothing is known of it."""
    return {"x86_64": ("x86_64", "x32", "i386"), "i386": ("i386",), "arm64": ("arm64", "arm")}.get(kernel)
