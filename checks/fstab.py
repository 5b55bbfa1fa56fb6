"""The guest's /etc/fstab: every line can be read, and every device the boot waits for is on this image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from imgtool.checks.btrfs import absent_subvolume

from imgtool.guest.fstab_lines import (
    by_passing_name,
    cannot_tell,
    host_shares,
    is_untold_root,
    lacks_root_line,
    line_instead,
    line_of,
    mended_line,
    of_other_disks,
    read_or_write,
    resolved,
    right_root_line,
    unresolved,
    wrong_root_lines,
)
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.fstab import FstabEntry
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

PATH = "/etc/fstab"
MOST_FAULTS = 64  # named one by one; a hostile table could have thousands
# The platform's own name for its first disk (ref 06)
PLATFORM_DISK = "vda"


@rule(
    "linux.fstab",
    Text("fstab", "fstab"),
    severity=Severity.ERROR,
    source="ref 06, 13",
    family="linux",
    requires=("disk.root",),
    fixable=True,
)
def fstab(image: Image) -> Iterator[Outcome]:
    """Every line of fstab can be read, and `/` and all that the boot waits for are on this image.

    systemd stops the boot in emergency mode, without network, when a line that is not `nofail` or `noauto`
    names a device that does not appear within 90 seconds. A line that mount cannot read is ignored: if it is
    that of `/`, the root stays read-only. Swap space that is not there only delays the boot: a warning.
    Folders that the old machine's host shared (9p, virtiofs, vboxsf, vmhgfs) stop the boot as well.

    Evidence: the line, with its number. Example: `/etc/fstab:3: UUID=1111-... /srv ext4 defaults 0 2`. The
    fix is the line that this guest should have, or its removal. Lines for other disks by their name
    (`/dev/vdb1`) and for this disk by a name that changes (`/dev/sda1`) have rules of their own.
    """
    guest = image.linux
    if not guest.tree.exists(PATH):
        yield not_judged(
            Text(
                "There is no /etc/fstab; linux.key-files judges that.",
                "没有 /etc/fstab，由 linux.key-files 判定。",
            )
        )
        return
    found = list(islice(_faults(guest), MOST_FAULTS))
    yield from found
    if not found:
        shown = [str(entry) for entry in guest.fstab if entry.needs_device]
        yield kept(
            Text(
                "fstab is readable, and what the boot mounts is on this image.",
                "fstab 可读，启动所需的设备都在镜像中。",
            ),
            *shown[:12],
        )


def _faults(guest: LinuxGuest) -> Iterator[Outcome]:
    yield from _unreadable_lines(guest)
    yield from _root_lines(guest)
    yield from _absent_devices(guest)
    yield from _absent_subvolumes(guest)
    yield from _host_shares(guest)


def _unreadable_lines(guest: LinuxGuest) -> Iterator[Outcome]:
    for entry in guest.fstab:
        if entry.problems:
            problem = entry.problems[0]  # the others of this line follow from it
            yield broken(
                Text(f"Line {entry.line} of fstab: {problem.en}", f"fstab 第 {entry.line} 行：{problem.zh}"),
                str(entry),
                remedy=_mend_line(guest, entry),
            )
            continue
        for remark in entry.remarks:
            yield broken(
                Text(f"Line {entry.line} of fstab: {remark.en}", f"fstab 第 {entry.line} 行：{remark.zh}"),
                str(entry),
                severity=Severity.WARNING,
                remedy=_rewrite_or_comment(entry, mended_line(guest, entry)),
            )


def _mend_line(guest: LinuxGuest, entry: FstabEntry) -> Text:
    if entry.raw.startswith("\ufeff"):
        command = f"sed -i '{entry.line}s/^\\xEF\\xBB\\xBF//' {PATH}"
        return Text(f"Take the byte order mark out:\n{command}", f"请去掉字节顺序标记：\n{command}")
    return _rewrite_or_comment(entry, mended_line(guest, entry))


def _root_lines(guest: LinuxGuest) -> Iterator[Outcome]:
    """What is wrong with the lines for `/`, but for the names that other rules judge."""
    entries = [entry for entry in guest.fstab if entry.mount_point == "/" and not entry.problems]
    right = right_root_line(guest)
    if not entries:
        if any(entry.mount_point == "/" for entry in guest.fstab):
            return  # it is there, and can't be read
        yield from _no_root_line(guest, right)
        return
    wrong, doubled = wrong_root_lines(guest)
    for entry in entries:
        if entry not in wrong:
            if is_untold_root(guest, entry):
                yield _untold(entry)
            continue
        there = resolved(guest, entry)
        where = (
            Text(f"is {there.name}, where there is no system", f"是 {there.name}，其上没有系统")
            if there
            else Text("is not on this image", "不在此镜像中")
        )
        yield broken(
            Text(
                f"fstab mounts {_said(entry)} as /, which {where.en}; the root is {guest.root.volume.name}.",
                f"fstab 将 {_said(entry)} 挂载为 /，而它{where.zh}；"
                f"根文件系统是 {guest.root.volume.name_zh}。",
            ),
            str(entry),
            remedy=_rewrite(entry, right) if right else None,
            fixable=right is not None,
        )
    if doubled:
        yield broken(
            Text(f"fstab has {len(entries)} lines for /.", f"fstab 中有 {len(entries)} 行挂载到 /。"),
            *(str(entry) for entry in entries),
            severity=Severity.WARNING,
            remedy=_comment_out(*doubled),
        )


def _no_root_line(guest: LinuxGuest, right: str | None) -> Iterator[Outcome]:
    """Without a line for /, the kernel's own `ro` or `rw` stays in force."""
    if not lacks_root_line(guest):
        return
    words = read_or_write(guest)
    yield broken(
        Text(
            "fstab has no line for /: the root is mounted as the kernel command line says"
            + (" (ro), and nothing can be written to it." if words else "."),
            "fstab 中没有 / 的行：根文件系统按内核命令行挂载" + ("（ro），将无法写入。" if words else "。"),
        ),
        f"{PATH}: no line for /",
        *(f"kernel command line: {word}" for word in words[-1:]),
        severity=None if words else Severity.WARNING,
        remedy=Text(
            f"Add the line:\necho {_shell(right)} >> {PATH}", f"请添加该行：\necho {_shell(right)} >> {PATH}"
        )
        if right
        else None,
        fixable=right is not None,
    )


def _absent_devices(guest: LinuxGuest) -> Iterator[Outcome]:
    """Lines whose device is not on this image, and that the boot waits for."""
    for entry in unresolved(guest):
        if cannot_tell(guest, entry):
            yield _untold(entry)
            continue
        if entry.is_swap:
            yield broken(
                Text(
                    f"The swap space {_said(entry)} is not on this image: the boot waits 90 seconds for it.",
                    f"交换空间 {_said(entry)} 不在此镜像中：启动时会等待 90 秒。",
                ),
                str(entry),
                severity=Severity.WARNING,
                remedy=_instead(guest, entry),
            )
            continue
        yield broken(
            Text(
                f"{_said(entry)}, to be mounted at {_place(entry)}, is not on this image:"
                " the boot stops in emergency mode.",
                f"要挂载到 {_place(entry)} 的 {_said(entry)} 不在此镜像中：启动会停在紧急模式。",
            ),
            str(entry),
            remedy=_instead(guest, entry),
        )


def _absent_subvolumes(guest: LinuxGuest) -> Iterator[Outcome]:
    for entry in guest.fstab:
        if not entry.problems and (judged := absent_subvolume(guest, entry)) is not None:
            yield judged


def _host_shares(guest: LinuxGuest) -> Iterator[Outcome]:
    for entry in host_shares(guest):
        yield broken(
            Text(
                f"{_place(entry)} is a folder of the old machine's host ({entry.type}), which is not there on"
                " the platform: the boot stops in emergency mode.",
                f"{_place(entry)} 是原机器宿主机的共享目录（{entry.type}），平台上不存在："
                "启动会停在紧急模式。",
            ),
            str(entry),
            remedy=_comment_out(entry),
        )


@rule(
    "linux.fstab.data-disk",
    Text("Data disks in fstab", "fstab 中的数据盘"),
    severity=Severity.ERROR,
    source="ref 06, 13",
    family="linux",
    requires=("disk.root",),
    fixable=True,
)
def data_disk(image: Image) -> Iterator[Outcome]:
    """fstab names no disk but this one.

    Only the system disk is imported. A line such as `/dev/vdb1 /data ext4 defaults 0 0` makes systemd wait
    for a disk that a new instance does not have, and stop the boot in emergency mode (ref 13). With
    `nofail`, or not mounted at boot at all, the line does no harm until a disk of that name comes: a
    warning. So does swap. By UUID or label, too, such a line for what is not on this disk is a warning; one
    that the boot waits for is an error of linux.fstab.

    Evidence: the line, with its number. Example: `/etc/fstab:4: /dev/vdb1 /data ext4 defaults 0 0`. The fix
    comments the line out.
    """
    guest = image.linux
    if not guest.tree.exists(PATH):
        yield not_judged(Text("There is no /etc/fstab.", "没有 /etc/fstab。"))
        return
    found = of_other_disks(guest)[:MOST_FAULTS]
    for entry in found:
        harmless = not entry.mandatory
        yield broken(
            Text(
                f"fstab mounts {_said(entry)}, a disk that is not imported, at {_place(entry)}"
                + ("." if harmless else ": the boot stops in emergency mode."),
                f"fstab 将不会被导入的磁盘 {_said(entry)} 挂载到 {_place(entry)}"
                + ("。" if harmless else "：启动会停在紧急模式。"),
            ),
            str(entry),
            severity=Severity.WARNING if harmless else None,
            remedy=_comment_out(entry),
        )
    if not found:
        yield kept(Text("fstab names no other disk.", "fstab 未引用其他磁盘。"))


@rule(
    "linux.fstab.device-names",
    Text("Device names in fstab", "fstab 中的设备名"),
    severity=Severity.ERROR,
    source="ref 06",
    family="linux",
    requires=("disk.root",),
    fixable=True,
)
def device_names(image: Image) -> Iterator[Outcome]:
    """fstab names this disk's volumes by UUID, label or logical volume, not by a name that changes.

    The disk is a virtio disk after the import, `/dev/vda`: `/dev/sda1`, `/dev/xvda1` and `/dev/hda1` are no
    longer there, and neither are links by controller or serial number (`/dev/disk/by-path`, most of `by-id`;
    `by-id/dm-uuid-LVM-...` is a logical volume, and stays). The boot stops in emergency mode. Lines that the
    boot does not wait for, swap, and `/dev/vda1` itself (right here, wrong as soon as a disk is added before
    it) are warnings.

    Evidence: the line, with its number. Example: `/etc/fstab:1: /dev/sda1 / ext4 defaults 0 1`. The fix
    writes the UUID of that very volume.
    """
    from imgtool.guest.devices import best_name, kernel_name

    guest = image.linux
    if not guest.tree.exists(PATH):
        yield not_judged(Text("There is no /etc/fstab.", "没有 /etc/fstab。"))
        return
    found = [entry for entry in guest.fstab if not entry.problems and by_passing_name(guest, entry)]
    found = found[:MOST_FAULTS]
    for entry in found:
        there = guest.root.volume if entry.mount_point == "/" else resolved(guest, entry)
        lasting = best_name(there) if there is not None else None
        name = kernel_name(entry.spec)
        stays = name is not None and name.disk == PLATFORM_DISK and there is not None
        harmless = stays or not (entry.mandatory or entry.mount_point == "/")
        yield broken(
            Text(
                f"fstab mounts {_place(entry)} by {_said(entry)}"
                + (
                    ", which depends on the order of disks."
                    if stays
                    else ", a name that changes on the platform."
                ),
                f"fstab 以 {_said(entry)} 挂载 {_place(entry)}，"
                + ("该名称取决于磁盘顺序。" if stays else "该名称在平台上会改变。"),
            ),
            str(entry),
            severity=Severity.WARNING if harmless else None,
            remedy=_rewrite(entry, line_of(entry, lasting)) if lasting else _name_it(entry),
            fixable=lasting is not None,
        )
    if not found:
        yield kept(
            Text("fstab uses names that stay the same on the platform.", "fstab 使用的名称在平台上保持不变。")
        )


def _untold(entry: FstabEntry) -> Outcome:
    return undecided(
        Text(
            f"Whether {_said(entry)} is on this image can't be told: a part of the disk can't be read.",
            f"无法判断 {_said(entry)} 是否在此镜像中：磁盘有一部分无法读取。",
        ),
        str(entry),
    )


def _instead(guest: LinuxGuest, entry: FstabEntry) -> Text:
    """The line with the one volume that it can have meant; else the line commented out."""
    return _rewrite_or_comment(entry, line_instead(guest, entry))


def _rewrite_or_comment(entry: FstabEntry, line: str | None) -> Text:
    return _comment_out(entry) if line is None else _rewrite(entry, line)


def _comment_out(*entries: FstabEntry) -> Text:
    command = "\n".join(f"sed -i '{entry.line}s|^|# |' {PATH}" for entry in entries)
    return Text(f"Comment the line out:\n{command}", f"请注释掉该行：\n{command}")


def _rewrite(entry: FstabEntry, line: str) -> Text:
    if not line.isprintable():
        return _comment_out(entry)
    replaced = re.sub(r"([\\&|])", r"\\\1", line).replace("'", "'\\''")
    command = f"sed -i '{entry.line}s|.*|{replaced}|' {PATH}"
    return Text(f"Make the line read `{line}`:\n{command}", f"请将该行改为 `{line}`：\n{command}")


def _name_it(entry: FstabEntry) -> Text:
    return Text(
        f"On the source, take the UUID from `blkid {_said(entry)}` and write it in place of the name on line"
        f" {entry.line} of {PATH}: UUID=<that UUID>. Where the volume is not wanted, comment the line out:\n"
        f"sed -i '{entry.line}s|^|# |' {PATH}",
        f"请在源机器上用 `blkid {_said(entry)}` 查得 UUID，并将 {PATH} 第 {entry.line} 行的设备名"
        "改为 UUID=<该 UUID>。"
        f"若不需要该卷，请注释掉该行：\nsed -i '{entry.line}s|^|# |' {PATH}",
    )


def _said(entry: FstabEntry) -> str:
    """The device as it may be shown."""
    from imgtool.guest.tree import shown

    return shown(entry.spec)[:120]


def _place(entry: FstabEntry) -> str:
    from imgtool.guest.tree import shown

    return "swap" if entry.is_swap else shown(entry.mount_point)[:120]


def _shell(line: str | None) -> str:
    return "'" + (line or "").replace("'", "'\\''") + "'"
