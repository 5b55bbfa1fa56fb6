"""What this machine has of what imgtool needs, and which package brings the rest."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from imgtool.appliance import SEEING_ENVIRONMENT, SYSTEM_GUESTFS
from imgtool.errors import ImgtoolError
from imgtool.extras import install_command
from imgtool.records import dataclass
from imgtool.text import Text
from imgtool.virtualization import kvm_usable, readable_kernels

# Module, the distribution package on PyPI that has it, what it reads.
_READERS = (
    ("pyfsntfs", "libfsntfs-python", Text("reads NTFS", "读取 NTFS")),
    ("zstandard", "zstandard", Text("decompresses zstd", "解压 zstd")),
    ("lz4.block", "lz4", Text("decompresses lz4", "解压 lz4")),
    ("yaml", "PyYAML", Text("reads cloud-init's configuration", "读取 cloud-init 配置")),
    ("construct", "construct", Text("reads on-disk structures", "解析磁盘结构")),
)
# Program, its Debian/Ubuntu package, whether `check` needs it, what for.
_PROGRAMS = (
    (
        "qemu-nbd",
        "qemu-utils",
        True,
        Text("reads VMDK and dynamic VHD", "读取 VMDK 与动态 VHD"),
    ),
    ("setpriv", "util-linux", True, Text("ends qemu-nbd when imgtool ends", "随 imgtool 一同结束 qemu-nbd")),
    (
        "qemu-img",
        "qemu-utils",
        False,
        Text("converts images; --deep", "用于格式转换与 --deep"),
    ),
    (
        "qemu-system-x86_64",
        "qemu-system-x86",
        False,
        Text("boots images (rehearse)", "启动镜像（rehearse）"),
    ),
    (
        "tesseract",
        "tesseract-ocr tesseract-ocr-chi-sim",
        False,
        Text("reads the screen of a Windows (rehearse)", "识别 Windows 屏幕文字（rehearse）"),
    ),
)

# Module, its distribution package, the extra that brings it, what for.
_EXTRAS = (
    ("tencentcloud", "tencentcloud-sdk-python-cvm", "cloud", Text("imports images", "导入镜像")),
    ("qcloud_cos", "cos-python-sdk-v5", "cloud", Text("uploads to COS", "上传到 COS")),
    ("boto3", "boto3", "s3", Text("uploads to s3://", "上传到 s3://")),
    ("aiohttp", "aiohttp", "sandbox", Text("serves the sandbox", "运行沙箱服务")),
)


@dataclass(frozen=True)
class Item:
    """One thing that is here or not. required: `imgtool check` can't do without. version: "" for none."""

    name: str
    present: bool
    required: bool
    version: str
    purpose: Text
    remedy: Text | None = None


def examine() -> list[Item]:
    """Look at this machine: first what `check` needs, then what other work needs. Changes nothing."""
    return [
        Item("Python", True, True, sys.version.split()[0], Text("runs imgtool", "运行 imgtool")),
        *(_program(*program) for program in _PROGRAMS),
        *(_module(name, package, purpose) for name, package, purpose in _READERS),
        _btrfs(),
        *(_extra(*each) for each in _EXTRAS),
        _firmware(),
        *_appliance(),
        _kvm(),
    ]


def ready(items: list[Item]) -> bool:
    """Whether `imgtool check` can do all of its work here."""
    return all(item.present for item in items if item.required)


def _program(name: str, package: str, required: bool, purpose: Text) -> Item:
    from imgtool.process import program_path, run

    version = ""
    try:
        program_path(name)
    except ImgtoolError:
        return Item(name, False, required, "", purpose, Text.same(f"apt-get install {package}"))
    with suppress(ImgtoolError):
        said = run([name, "--version"], timeout=10).stdout.decode(errors="replace")
        found = re.search(r"\d+(?:\.\d+)+", said)
        version = found.group() if found else ""
    return Item(name, True, required, version, purpose)


def _module(name: str, package: str, purpose: Text) -> Item:
    version = _import_version(name, package)
    remedy = None if version is not None else Text.same(f"{sys.executable} -m pip install {package}")
    return Item(package, version is not None, True, version or "", purpose, remedy)


def _import_version(name: str, package: str) -> str | None:
    """The version of a module that can be imported; None where it can't, "" where it does not say."""
    try:
        importlib.import_module(name)
    except Exception:  # a broken extension module raises what it likes
        return None
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _btrfs() -> Item:
    purpose = Text(
        "reads btrfs, without libguestfs (AGPL, hence an extra)",
        "读取 btrfs，无需 libguestfs（AGPL，故为扩展）",
    )
    version = _import_version("dissect.btrfs", "dissect.btrfs")
    remedy = None if version is not None else Text.same(install_command("btrfs"))
    return Item("dissect.btrfs", version is not None, False, version or "", purpose, remedy)


def _extra(name: str, package: str, extra: str, purpose: Text) -> Item:
    version = _import_version(name, package)
    remedy = None if version is not None else Text.same(install_command(extra))
    return Item(package, version is not None, False, version or "", purpose, remedy)


def _firmware() -> Item:
    from imgtool.rehearsal.firmware import find_uefi

    purpose = Text("boots UEFI images (rehearse)", "启动 UEFI 镜像（rehearse）")
    try:
        find_uefi("x86_64")
    except ImgtoolError:
        return Item("ovmf", False, False, "", purpose, Text.same("apt-get install ovmf"))
    return Item("ovmf", True, False, "", purpose)


def _appliance() -> Iterator[Item]:
    """libguestfs, and the host's kernel that it makes its appliance from: containers have none."""
    purpose = Text(
        "libguestfs: repairs guests, and reads what imgtool can't read itself",
        "libguestfs：修复镜像，并读取 imgtool 自身无法读取的内容",
    )
    version = _import_version("guestfs", "guestfs")
    install = "apt-get install python3-guestfs libguestfs-tools"
    if SYSTEM_GUESTFS.exists():  # this Python does not see it
        install = SEEING_ENVIRONMENT
    remedy = None if version is not None else Text.same(install)
    yield Item("guestfs", version is not None, False, version or "", purpose, remedy)
    parts = sorted(Path("/usr/lib").glob("*/guestfs/supermin.d"))
    if parts:  # Debian's way of packing it; elsewhere XFS is in the appliance by default
        present = any(part.joinpath("packages-xfs").exists() for part in parts)
        purpose = Text("lets libguestfs work on XFS", "使 libguestfs 可以处理 XFS")
        remedy = None if present else Text.same("apt-get install libguestfs-xfs")
        yield Item("libguestfs-xfs", present, False, "", purpose, remedy)
    kernels = readable_kernels()
    bring = Text(
        en="apt-get install linux-image-cloud-amd64   (any kernel will do; /boot/vmlinuz-* must be readable)",
        zh="apt-get install linux-image-cloud-amd64   （任意内核均可；须可读取 /boot/vmlinuz-*）",
    )
    newest = kernels[-1] if kernels else ""
    uses_it = Text("libguestfs builds its appliance from it", "libguestfs 用它构建其运行环境")
    yield Item("kernel in /boot", bool(kernels), False, newest, uses_it, None if kernels else bring)


def _kvm() -> Item:
    usable = kvm_usable()
    return Item(
        "KVM",
        usable,
        False,
        "",
        Text(
            "runs guests at full speed; without it QEMU emulates (slow)",
            "全速运行虚拟机；没有时由 QEMU 模拟（较慢）",
        ),
        None
        if usable
        else Text(
            "a machine with /dev/kvm and vmx or svm among its CPU flags",
            "需要 /dev/kvm，且 CPU 标志含 vmx 或 svm",
        ),
    )
