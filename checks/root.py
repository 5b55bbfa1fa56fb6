"""The root: an operating system is on the disk, and its partition can grow."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.errors import ImgtoolError
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.disk.volumes import Volume
    from imgtool.guest.root import LooksLike, Root, RootSearch
    from imgtool.image import Image

FAMILIES = {"linux": "Linux", "windows": "Windows"}
SHOWN = 24

MISTAKES: dict[LooksLike, Text] = {
    "data-disk": Text(
        "No operating system is on this disk; it looks like a data disk.",
        "该磁盘上没有操作系统，看起来是一块数据盘。",
    ),
    "boot-only": Text(
        "Only a boot partition is on this disk; the root it starts is on another one.",
        "该磁盘上只有启动分区，它所启动的根文件系统在另一块磁盘上。",
    ),
    "installer": Text(
        "This is an installation medium, not an installed system.",
        "这是安装介质，而不是已安装好的系统。",
    ),
    "empty": Text(
        "The disk is empty: no partition of it holds a filesystem.",
        "磁盘是空的：没有任何分区含有文件系统。",
    ),
    "encrypted": Text(
        "No operating system can be seen; a volume of this disk is encrypted.",
        "未发现操作系统；该磁盘上有加密的卷。",
    ),
    "unknown": Text(
        "No operating system was found on this disk.",
        "未在该磁盘上找到操作系统。",
    ),
}
REMEDIES: dict[LooksLike, Text] = {
    "data-disk": Text(
        "Export the system disk of the source machine (the one that `findmnt -no SOURCE /` names) and check "
        "that. A data disk is checked with --target data-disk.",
        "请导出源机器的系统盘（`findmnt -no SOURCE /` 所示的磁盘）后再检查。"
        "数据盘请使用 --target data-disk 检查。",
    ),
    "boot-only": Text(
        "Put / and /boot on one disk of the source machine (`lsblk -o NAME,MOUNTPOINT` shows where they "
        "are), and export that disk.",
        "请在源机器上将 / 与 /boot 放到同一块磁盘（可用 `lsblk -o NAME,MOUNTPOINT` 查看所在位置），"
        "再导出该磁盘。",
    ),
    "installer": Text(
        "Install the system onto an empty disk in a virtual machine, and export that disk.",
        "请在虚拟机中将系统安装到空磁盘，再导出该磁盘。",
    ),
    "empty": Text(
        "Check that the right file was exported, and that the export ended: `lsblk -f` on the source machine "
        "shows which disk holds /.",
        "请确认导出的文件正确且导出已完成：在源机器上执行 `lsblk -f` 可查看 / 所在的磁盘。",
    ),
    "encrypted": Text(
        "Export the disk of a machine without disk encryption.",
        "请导出未启用磁盘加密的机器的磁盘。",
    ),
    "unknown": Text(
        "Check that this is the file of the system disk: `lsblk -f` on the source machine shows which disk "
        "holds /.",
        "请确认这是系统盘的镜像文件：在源机器上执行 `lsblk -f` 可查看 / 所在的磁盘。",
    ),
}


@rule(
    "disk.root",
    Text("Operating system", "操作系统"),
    severity=Severity.ERROR,
    source="ref 01",
    targets=("import", "migrate", "data-disk"),
    platform_code="RootPartitionNotFound",
    requires=("disk.partition-table",),
)
def root(image: Image) -> Iterator[Outcome]:
    """An operating system's root is on the disk.

    The platform looks for it and refuses an image without one (RootPartitionNotFound). Every volume that can
    be read is looked at: a Linux root has /etc, the usual directories, and a release file, an init or an
    fstab; a Windows root has Windows/System32/config with its registry. What was found in place of a system
    names the mistake: a data disk, a boot partition alone, an installer, an empty disk. Several systems on
    one disk are a warning: the one that the boot loader starts is judged, the others are not. Where a volume
    that may hold the root can't be read, the rule is undecided. With `--target data-disk` it is the other way
    round: a disk with a system on it is worth a warning, because that system is not judged and does not
    start.

    Evidence: each volume and what it holds. Example: `partition 1: xfs, files (backups, lost+found)`.
    The fix is to export the right disk.
    """
    search = image.search
    seen = search.seen[:SHOWN]
    if image.target == "data-disk":
        yield _on_data_disk(search, seen)
        return
    if len(search.roots) > 1:
        yield broken(
            _found(search.roots),
            *seen,
            severity=Severity.WARNING,
            platform_code="",
            remedy=Text(
                "If another one is meant to start, make it the boot loader's default and check again;"
                " else take the"
                " systems that are not needed off the disk: the platform sets up one.",
                "如果需要启动的是另一个系统，请将其设为引导程序的默认项后重新检查；否则请删除不需要的系统："
                "平台只会初始化其中一个。",
            ),
        )
        return
    if search.root is not None:
        yield kept(_found(search.roots), *seen)
        return
    missing = [group.name for group in image.disk.groups if not group.complete]
    if search.unreadable or missing:
        yield _undecided(search, missing)
        return
    yield broken(MISTAKES[search.looks_like], *seen, remedy=REMEDIES[search.looks_like])


@rule(
    "disk.root.last",
    Text("Room to grow", "根分区扩容"),
    severity=Severity.INFO,
    source="field",
    requires=("disk.root",),
)
def root_last(image: Image) -> Iterator[Outcome]:
    """The root can grow into a larger system disk.

    An instance's system disk is often larger than the image. At its first boot cloud-init grows the root,
    if the root's partition is the last one on the disk and the guest has `growpart`. A partition behind it
    (swap, most often) stops that; a logical volume is not grown by cloud-init at all.

    Evidence: the partition behind, or where `growpart` was looked for. Example: `partition 3: bytes
    20401094656 to 21474836480, swap`. The fix is to move or remove the partition behind the root, or to
    install the package that has `growpart`.
    """
    found = image.search.root
    if found is None:
        return
    if found.volume.kind not in ("partition", "disk"):
        yield not_judged(
            Text(
                f"The root is on {found.volume.name}, which is not grown at the first boot.",
                f"根文件系统位于 {found.volume.name_zh}，首次启动时不会自动扩容。",
            )
        )
        return
    behind = _behind(image.disk, found.volume)
    if behind is not None:
        start, start_zh = found.volume.name, found.volume.name_zh
        yield broken(
            Text(
                f"{behind.name} lies behind the root ({start}), which therefore can't grow.",
                f"{behind.name_zh} 位于根分区（{start_zh}）之后，因此根分区无法扩容。",
            ),
            _place(found.volume),
            _place(behind),
            remedy=_move(image, behind),
        )
        return
    if found.family == "linux" and not _growpart(found):
        yield broken(
            Text(
                "The root is the last partition, but the guest has no growpart to grow it.",
                "根分区是最后一个分区，但客户机中没有用于扩容的 growpart。",
            ),
            "not there: /usr/bin/growpart, /usr/sbin/growpart",
            remedy=_install_growpart(image),
        )
        return
    yield kept(
        Text("The root is the last partition and can grow.", "根分区是最后一个分区，可以扩容。"),
        _place(found.volume),
    )


def _on_data_disk(search: RootSearch, seen: tuple[str, ...]) -> Outcome:
    if search.root is None:
        return kept(
            Text("There is no system on the disk, as on a data disk.", "磁盘上没有系统，符合数据盘。"), *seen
        )
    what = _found(search.roots)
    return broken(
        Text(f"{what.en} As a data disk it is not started.", f"{what.zh}作为数据盘时不会启动。"),
        *seen,
        severity=Severity.WARNING,
        platform_code="",
        remedy=Text(
            "If the system is meant to start, check the image with --target import or --target migrate.",
            "如果需要启动该系统，请使用 --target import 或 --target migrate 检查。",
        ),
    )


def _found(roots: tuple[Root, ...]) -> Text:
    """What is on the disk; more than one system is worth a word, since the platform sets up only one."""
    first, others = roots[0], roots[1:]
    name = FAMILIES[first.family]
    type_ = first.volume.signature.type
    place, place_zh = f"{first.volume.name} ({type_})", f"{first.volume.name_zh}（{type_}）"
    if not others:
        return Text(f"A {name} system is on {place}.", f"{place_zh}上有 {name} 系统。")
    more = ", ".join(f"{other.volume.name} ({FAMILIES[other.family]})" for other in others)
    more_zh = "、".join(f"{other.volume.name_zh}（{FAMILIES[other.family]}）" for other in others)
    return Text(
        f"A {name} system is on {place}; it is the one that is checked. Other systems: {more}.",
        f"{place_zh}上有 {name} 系统，以下检查针对该系统。其他系统：{more_zh}。",
    )


def _undecided(search: RootSearch, missing: list[str]) -> Outcome:
    reasons = search.unreadable[:4]
    en = " ".join(f"{volume.name}: {why.en}" for volume, why in reasons)
    zh = "".join(f"{volume.name_zh}：{why.zh}" for volume, why in reasons)
    if missing:
        groups = ", ".join(missing)
        en = f"{en} Volume group {groups} needs a disk that this image does not hold.".strip()
        zh = f"{zh} 卷组 {groups} 需要此镜像未包含的磁盘。".strip()
    return undecided(
        Text(
            f"Whether a system is on the disk can't be told. {en}",
            f"无法判断磁盘上是否有系统。{zh}",
        ),
        *search.seen[:SHOWN],
    )


def _behind(disk: Disk, volume: Volume) -> Volume | None:
    """A volume whose partition begins after the root's."""
    if volume.partition is None:
        return None
    own = volume.partition.start
    later = [other for other in disk.volumes if other.partition is not None and other.partition.start > own]
    return min(later, key=lambda other: other.partition.start if other.partition else 0, default=None)


def _place(volume: Volume) -> str:
    if volume.partition is None:
        return volume.name
    end = volume.partition.start + volume.partition.length
    kind = volume.signature.type or "nothing known"
    return f"{volume.name}: bytes {volume.partition.start} to {end}, {kind}"


def _growpart(found: Root) -> bool:
    return any(found.tree.exists(f"/usr/{folder}/growpart") for folder in ("bin", "sbin"))


def _install_growpart(image: Image) -> Text:
    try:
        release = image.linux.release
        package = {"redhat": "cloud-utils-growpart", "suse": "growpart"}.get(
            release.family, "cloud-guest-utils"
        )
        command = release.install_command(package)
    except ImgtoolError:
        command = ""
    if not command:
        return Text(
            "In the guest, install the package that has growpart: cloud-guest-utils or cloud-utils-growpart.",
            "在客户机中安装包含 growpart 的软件包：cloud-guest-utils 或 cloud-utils-growpart。",
        )
    return Text(f"In the guest: {command}", f"在客户机中执行：{command}")


def _move(image: Image, behind: Volume) -> Text:
    number = behind.partition.number if behind.partition else 0
    if behind.signature.type == "swap":
        file_format = image.file.qemu_format or image.file.format
        command = (
            f"guestfish --rw --format={file_format} -a {shlex.quote(str(image.path))} "
            f"run : part-del /dev/sda {number}"
        )
        return Text(
            "If the guest can do without this swap space, remove its line from /etc/fstab, and then its "
            f"partition, on a copy: {command}",
            f"如果客户机不需要该交换分区，先从 /etc/fstab 中删除对应行，再在镜像副本上删除该分区：{command}",
        )
    return Text(
        f"To have the root grow, move {behind.name} in front of it (`virt-resize`); or leave it so and add a "
        "data disk when more room is needed.",
        f"如需根分区自动扩容，请将 {behind.name_zh} 移到根分区之前（`virt-resize`）；"
        "也可保持不变，需要更多空间时另外挂载数据盘。",
    )
