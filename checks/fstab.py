"""The guest's /etc/fstab: every line can be read, and every device the boot waits for is on this image."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from imgtool.checks.btrfs import absent_subvolume

from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.disk.volumes import Volume
    from imgtool.guest.fstab import FstabEntry
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

PATH = "/etc/fstab"
MOST_FAULTS = 64  # named one by one; a hostile table could have thousands
NOT_STORAGE = re.compile(
    r"/dev/(cdrom|cdrw|dvd|dvdrw|sr|scd|fd|floppy|loop|zram|ram|shm|fuse|nbd|pmem)[0-9]*"
)
HIDING = ("crypto_LUKS", "BitLocker", "zfs_member", "bcache", "VMFS_volume_member", "drbd")
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


def mended_line(guest: LinuxGuest, entry: FstabEntry) -> str | None:
    """A line that is not read as it was meant, as it should be; None: it is to be commented out."""
    if entry.raw.startswith("\ufeff"):
        return entry.raw.removeprefix("\ufeff")
    if not entry.problems:
        return line_of(entry, entry.spec)
    there = resolved(guest, entry)
    right = right_root_line(guest) if entry.mount_point == "/" else None
    if right and (there is None or there.name != guest.root.volume.name):
        return right
    if there is None or not entry.mount_point.startswith("/"):
        return None
    return line_of(entry, entry.spec, entry.type or there.signature.type or "auto")


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
            if _is_untold_root(guest, entry):
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
                f"fstab 将 {_said(entry)} 挂载为 /，而它{where.zh}；根文件系统是 {guest.root.volume.name}。",
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


def wrong_root_lines(guest: LinuxGuest) -> tuple[list[FstabEntry], list[FstabEntry]]:
    """The lines for / that name another device than the root; where none does, those that are too many."""
    entries = [entry for entry in guest.fstab if entry.mount_point == "/" and not entry.problems]
    wrong = []
    for entry in entries:
        if not entry.needs_device or by_passing_name(guest, entry) or _is_untold_root(guest, entry):
            continue
        there = resolved(guest, entry)
        if there is None or there.name != guest.root.volume.name:
            wrong.append(entry)
    return wrong, [] if wrong else entries[1:]


def _is_untold_root(guest: LinuxGuest, entry: FstabEntry) -> bool:
    if not entry.needs_device or by_passing_name(guest, entry) or resolved(guest, entry) is not None:
        return False
    return _cannot_tell(guest, entry)


def lacks_root_line(guest: LinuxGuest) -> bool:
    """No line is for /, and the kernel does not mount it writable by itself."""
    if any(entry.mount_point == "/" for entry in guest.fstab) or guest.release.family in ("coreos", "arch"):
        return False
    return _read_or_write(guest)[-1:] != ["rw"]


def _read_or_write(guest: LinuxGuest) -> list[str]:
    return [word for word in (guest.kernel_arguments or "").split() if word in ("ro", "rw")]


def _no_root_line(guest: LinuxGuest, right: str | None) -> Iterator[Outcome]:
    """Without a line for /, the kernel's own `ro` or `rw` stays in force."""
    if not lacks_root_line(guest):
        return
    words = _read_or_write(guest)
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


def absent(guest: LinuxGuest) -> list[FstabEntry]:
    """The lines that the boot waits for and whose device is not on this image, for certain."""
    return [entry for entry in _unresolved(guest) if not _cannot_tell(guest, entry)]


def _unresolved(guest: LinuxGuest) -> Iterator[FstabEntry]:
    for entry in guest.fstab:
        if entry.problems or entry.mount_point == "/" or not (entry.mandatory or _swap_at_boot(entry)):
            continue
        if by_passing_name(guest, entry) or of_other_disk(guest, entry) or NOT_STORAGE.fullmatch(entry.spec):
            continue
        if resolved(guest, entry) is None and not _in_broken_group(guest.disk, entry.spec):
            yield entry


def _absent_devices(guest: LinuxGuest) -> Iterator[Outcome]:
    """Lines whose device is not on this image, and that the boot waits for."""
    for entry in _unresolved(guest):
        if _cannot_tell(guest, entry):
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


def host_shares(guest: LinuxGuest) -> list[FstabEntry]:
    """The lines that the boot waits for and that mount a folder of the old machine's host."""
    return [
        entry
        for entry in guest.fstab
        if not entry.problems and entry.is_host_share and entry.at_boot and not entry.nofail
    ]


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
    warning. So does swap.

    Evidence: the line, with its number. Example: `/etc/fstab:4: /dev/vdb1 /data ext4 defaults 0 0`. The fix
    comments the line out.
    """
    guest = image.linux
    if not guest.tree.exists(PATH):
        yield not_judged(Text("There is no /etc/fstab.", "没有 /etc/fstab。"))
        return
    found = [entry for entry in guest.fstab if not entry.problems and of_other_disk(guest, entry)]
    found = found[:MOST_FAULTS]
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


def of_other_disk(guest: LinuxGuest, entry: FstabEntry) -> bool:
    """The line names another disk by the kernel's name for it (/dev/vdb1)."""
    from imgtool.guest.devices import kernel_name

    name = kernel_name(entry.spec)
    return entry.needs_device and name is not None and name.disk not in guest.own_disks


def by_passing_name(guest: LinuxGuest, entry: FstabEntry) -> bool:
    """The line names this disk by the kernel's name for it, or any disk by where it is attached."""
    from imgtool.guest.devices import is_passing_link, kernel_name

    if not entry.needs_device or of_other_disk(guest, entry):
        return False
    return kernel_name(entry.spec) is not None or is_passing_link(entry.spec)


def line_of(entry: FstabEntry, spec: str, kind: str | None = None) -> str:
    """The entry as a line of fstab, with another device."""
    words = (
        _escaped(spec),
        _escaped(entry.mount_point),
        kind or entry.type,
        ",".join(entry.options) or "defaults",
        str(entry.freq),
        str(entry.passno),
    )
    return " ".join(words)


def resolved(guest: LinuxGuest, entry: FstabEntry) -> Volume | None:
    """The volume of this disk that the line names; None where there is none."""
    from imgtool.guest.devices import resolve

    found = resolve(entry.spec, guest.disk, guest.own_disks)
    return None if isinstance(found, str) else found


def right_root_line(guest: LinuxGuest) -> str | None:
    """The line for / that this guest should have; None where its root has no lasting name."""
    from imgtool.guest.devices import best_name

    name = best_name(guest.root.volume)
    if name is None:
        return None
    held = next((entry for entry in guest.fstab if entry.mount_point == "/" and entry.type), None)
    options = ",".join(held.options) if held else ""
    return f"{name} / {guest.root.volume.signature.type or 'auto'} {options or 'defaults'} 0 1"


def _swap_at_boot(entry: FstabEntry) -> bool:
    return entry.is_swap and entry.needs_device and entry.at_boot and not entry.nofail


def _in_broken_group(disk: Disk, spec: str) -> bool:
    """The line names a logical volume of a group that lacks a disk: disk.other-disks says so."""
    for group in disk.groups:
        mapped = f"/dev/mapper/{group.name.replace('-', '--')}-"
        if not group.complete and spec.startswith((f"/dev/{group.name}/", mapped)):
            return True
    return False


def _cannot_tell(guest: LinuxGuest, entry: FstabEntry) -> bool:
    """Something on this disk can't be looked into, and the device may be in there."""
    from imgtool.guest.devices import tag

    meant = tag(entry.spec)
    if meant is not None and meant[0] in ("PARTUUID", "PARTLABEL"):
        return False
    types = {volume.signature.type for volume in guest.disk.volumes}
    if types & set(HIDING) or any(volume.unreadable for volume in guest.disk.volumes):
        return True
    if not all(group.complete for group in guest.disk.groups) and meant is not None:
        return True
    return "linux_raid_member" in types and (
        meant is not None or entry.spec.startswith(("/dev/md", "/dev/disk/by-id/md-"))
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


def line_instead(guest: LinuxGuest, entry: FstabEntry) -> str | None:
    """The line with the one volume that it can have meant; None where there is none."""
    from imgtool.guest.devices import best_name

    used = [resolved(guest, other) for other in guest.fstab]
    names = {volume.name for volume in used if volume is not None} | {guest.root.volume.name}
    free = [
        volume
        for volume in guest.disk.volumes
        if volume.name not in names and volume.signature.type == entry.type
    ]
    if len(free) == 1 and entry.mount_point in (
        "/boot",
        "/boot/efi",
        "/usr",
        "/var",
        "/home",
        "none",
        "swap",
    ):
        name = best_name(free[0])
        if name:
            return line_of(entry, name)
    return None


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


def _escaped(field: str) -> str:
    return re.sub(r"[ \t\n\\]", lambda found: f"\\{ord(found[0]):03o}", field)


def _shell(line: str | None) -> str:
    return "'" + (line or "").replace("'", "'\\''") + "'"
