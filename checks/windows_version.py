"""Which Windows it is, and on what kind of volume."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.rules import Outcome, Severity, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.releases import Release
    from imgtool.image import Image


@rule(
    "windows.version",
    Text("Version of Windows", "Windows 版本"),
    severity=Severity.ERROR,
    source="ref 01, 04",
    family="windows",
    requires=("disk.root",),
)
def version(image: Image) -> Iterator[Outcome]:
    """It is a Windows Server that the platform takes, for a processor that it has.

    The platform lists Windows Server 2008, 2012 and 2016 with their R2 releases, 32 and 64 bit (ref 01). 2019
    and 2022 are not on that list, but ref 04 takes 2022 for its example: a warning. Clients (Windows 7, 10,
    11), older and newer servers are refused. The release is told by the build number, the kind by
    ProductType, both in the registry; the profile lists what is taken.

    Evidence: the product's name, edition, build, architecture and language. Example: `Windows Server 2012 R2
    Standard, build 9600.19913, x86_64, zh-CN`. The fix is to move the workload to a release that is taken.
    """
    release, limits = image.windows.release, image.profile.windows
    seen = _seen(release)
    if release.architecture not in limits.architectures:
        yield broken(
            Text(
                "The platform has no machines for Windows on"
                f" {release.architecture or 'an unknown processor'}.",
                f"平台没有可运行 {release.architecture or '未知架构'} 版 Windows 的机器。",
            ),
            seen,
            remedy=_move(limits.releases),
        )
        return
    if release.kind == "server" and release.name in limits.releases:
        yield kept(Text(f"{release.full_name} is taken.", f"支持 {release.full_name}。"), seen)
        return
    if release.kind == "server" and release.name in limits.releases_not_listed:
        yield broken(
            Text(
                f"The platform's documentation does not list {release.full_name} among the systems that it"
                " imports.",
                f"平台文档的导入系统列表中没有 {release.full_name}。",
            ),
            seen,
            severity=Severity.WARNING,
            remedy=Text(
                "Ask whether this deployment takes it (DescribeImportImageOs lists what it does) before the"
                " import.",
                "导入前请确认此部署是否支持（DescribeImportImageOs 会列出支持的系统）。",
            ),
        )
        return
    what = (release.full_name, release.full_name)
    if release.kind == "client":
        what = (f"{release.full_name}, a Windows for clients", f"{release.full_name}（客户端版 Windows）")
    yield broken(
        Text(f"The platform does not take {what[0]}.", f"平台不支持 {what[1]}。"),
        seen,
        remedy=_move(limits.releases),
    )


def _seen(release: Release) -> str:
    parts = [
        " ".join(word for word in (release.product, release.service_pack) if word),
        f"edition {release.edition or 'unknown'}",
        f"build {release.build_text}",
        release.architecture,
        release.installation,
        release.language,
    ]
    return ", ".join(part for part in parts if part)


def _move(releases: tuple[str, ...]) -> Text:
    """No upgrade leads from a client to a server, nor back to an older release, nor from 32 bit to 64."""
    names = ", ".join(releases)
    return Text(
        f"Install a 64-bit Windows Server that is taken ({names}) anew, move the workload to it, and"
        " export that: an"
        " upgrade in place does not lead there.",
        f"请全新安装受支持的 64 位 Windows Server（{'、'.join(releases)}），将业务迁移过去，再导出该系统"
        "（无法通过原地升级实现）。",
    )


@rule(
    "windows.filesystem",
    Text("Filesystem of Windows", "Windows 文件系统"),
    severity=Severity.ERROR,
    source="ref 01",
    family="windows",
    requires=("disk.root", "disk.partition-table.allowed", "disk.other-disks"),
)
def filesystem(image: Image) -> Iterator[Outcome]:
    """Windows lies on NTFS, in a partition of a basic MBR disk.

    The platform supports NTFS on MBR partitions only: no GPT, no logical volume management (ref 01), which is
    what dynamic disks are. A GPT is told by disk.partition-table.allowed and a dynamic disk by
    disk.other-disks; then this rule is skipped. Evidence: the volume and its filesystem. Example: `partition
    1: exfat`. The fix is `convert C: /fs:ntfs`.
    """
    from imgtool.guest.windows.commands import at_prompt

    volume = image.windows.root.volume
    type_, kind = volume.signature.type, image.disk.table.kind
    seen = f"{volume.name}: {type_ or 'unknown'}, {kind.upper()}"
    if type_ != "ntfs":
        yield broken(
            Text(
                f"Windows lies on {type_ or 'an unknown filesystem'}; the platform takes NTFS only.",
                f"Windows 位于 {type_ or '未知文件系统'} 上；平台仅支持 NTFS。",
            ),
            seen,
            remedy=at_prompt(
                "convert C: /fs:ntfs",
                "shutdown /r /t 0",
                en="On the source, in a Command Prompt as administrator (the conversion runs at the"
                " restart); then export again",
                zh="请在源机器上以管理员身份打开命令提示符（cmd），执行（重启时转换），然后重新导出",
            ),
        )
        return
    yield kept(Text("Windows lies on NTFS, on a basic disk.", "Windows 位于基本磁盘的 NTFS 分区。"), seen)
