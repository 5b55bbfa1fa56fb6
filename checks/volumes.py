"""What the disk's volumes need beyond the disk: other disks, or a key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.records import replace
from imgtool.rules import Outcome, Severity, broken, kept, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.disk.volumes import Volume, VolumeGroup
    from imgtool.guest.root import Root
    from imgtool.image import Image

DYNAMIC_MBR = "42"
DYNAMIC_GPT = ("5808c8aa-7e8f-42e0-85d2-e1e90434cfb3", "af9b60a0-1431-4f62-bc68-3311714a69ad")
STORAGE_SPACES = "e75caf8f-f680-4cee-afa3-b001e56efc2d"


@rule(
    "disk.other-disks",
    Text("Other disks that it needs", "依赖的其他磁盘"),
    severity=Severity.ERROR,
    source="ref 06",
    targets=("import", "migrate", "data-disk"),
    requires=("disk.partition-table",),
)
def other_disks(image: Image) -> Iterator[Outcome]:
    """Nothing on this disk is a part of something that also lies on disks outside the image.

    Only one disk is imported. An LVM group with a missing physical volume is not activated at boot, md
    arrays of level 0, 4, 5, 6 and 10 do not start without their members, a Windows dynamic disk belongs to a
    group of disks, a btrfs of several devices and a journal on another disk keep a filesystem from being
    mounted. An md mirror with a member missing starts, degraded, hence a warning. Of a data disk everything
    is a warning: the others may be migrated as well.

    A Windows that has its page file, its profiles or services that start by themselves on the drive letter of
    a partition that is not here (HKLM\\SYSTEM\\MountedDevices) starts without them: a warning. So is a letter
    of its own volume that it keeps for another partition, as after cloning onto a disk with another
    signature: it then comes up as another drive.

    Evidence: the group, array or filesystem, what is missing and what lies on it. Example: `volume group vg0
    lacks pv1 (/dev/sdb1)`. The fix is to move the data onto this disk on the source (`pvmove`, `mdadm`,
    `btrfs device remove`) and to export it again.
    """
    disk = image.disk
    found = [
        *(_group(group) for group in disk.groups if not group.complete),
        *_arrays(disk),
        *_dynamic(disk),
        *_filesystems(disk),
        *_drives(image),
    ]
    yield from map(_of_data_disk, found) if image.target == "data-disk" else found
    if not found:
        seen = [f"volume group {group.name}: complete" for group in disk.groups]
        yield kept(
            Text("Everything on this disk lies on this disk alone.", "磁盘内容不依赖其他磁盘。"), *seen
        )


def _drives(image: Image) -> Iterator[Outcome]:
    """What a Windows keeps letters for that are not of this disk."""
    if image.target == "data-disk" or image.family != "windows":
        return
    from imgtool.checks.windows_drives import letters

    yield from letters(image.windows)


def _of_data_disk(outcome: Outcome) -> Outcome:
    """No system starts from it, and the disks that it needs may come as data disks, too."""
    remedy = outcome.remedy or Text.same("")
    return replace(
        outcome,
        severity=Severity.WARNING,
        remedy=Text(
            f"Migrate the other disks as well, and attach all of them to one instance. Or: {remedy.en}",
            f"请将其他磁盘一并迁移，并挂载到同一台实例。或者：{remedy.zh}",
        ),
    )


def _group(group: VolumeGroup) -> Outcome:
    commands = f"vgs -o +pv_name {group.name}\npvmove /dev/sdb1\nvgreduce {group.name} /dev/sdb1"
    return broken(
        Text(
            f"The volume group {group.name} needs physical volumes that this image does not hold.",
            f"卷组 {group.name} 需要本镜像中没有的物理卷。",
        ),
        *(f"missing: {missing}" for missing in group.missing),
        f"logical volumes: {', '.join(group.logical_volumes)}",
        remedy=Text(
            "On the source, move the group onto the system disk (here from /dev/sdb1), then export it again;"
            " where"
            f" the missing volume is lost or empty, `vgreduce --removemissing {group.name}`:\n{commands}",
            "请在源机器上将卷组数据移到系统盘（以下以 /dev/sdb1 为例），再重新导出；若缺失的卷已丢失或为空，"
            f"执行 `vgreduce --removemissing {group.name}`：\n{commands}",
        ),
    )


def _arrays(disk: Disk) -> Iterator[Outcome]:
    """One outcome for each md array that has fewer members here than it was made of."""
    members: dict[str, list[Volume]] = {}
    for volume in disk.volumes:
        if volume.signature.type == "linux_raid_member":
            members.setdefault(volume.signature.uuid, []).append(volume)
    for uuid, volumes in members.items():
        details = volumes[0].signature.details
        level, disks, here = details["level"], details["disks"], len(volumes)
        if here >= disks:
            continue
        needed = {1: 1, 4: disks - 1, 5: disks - 1, 6: disks - 2, 10: (disks + 1) // 2}.get(level, disks)
        starts = here >= needed
        name = f"raid{level}" if level >= 0 else "linear"
        yield broken(
            Text(
                f"An md array ({name}) of {disks} disks has {here} of them here: it"
                + (" will start degraded." if starts else " can't start."),
                f"md 阵列（{name}）由 {disks} 个成员组成，本镜像中只有 {here} 个："
                + ("将以降级方式启动。" if starts else "无法启动。"),
            ),
            f"array {uuid} {details['name']!a}",
            *(f"member: {volume.name}" for volume in volumes),
            severity=Severity.WARNING if starts else None,
            remedy=Text(
                "On the source, shrink the mirror to one member, or copy the system onto a plain partition,"
                " then"
                " export it again:\nmdadm --grow /dev/md0 --force --raid-devices=1"
                if level == 1
                else "On the source, copy the system onto plain partitions of one disk, and export that.",
                "请在源机器上将镜像阵列缩减为一个成员，或将系统复制到普通分区，再重新导出：\n"
                "mdadm --grow /dev/md0 --force --raid-devices=1"
                if level == 1
                else "请在源机器上将系统复制到单块磁盘的普通分区，再导出该磁盘。",
            ),
        )


def _dynamic(disk: Disk) -> Iterator[Outcome]:
    types = {partition.type for partition in disk.table.partitions}
    kind = ""
    if types & {DYNAMIC_MBR, *DYNAMIC_GPT}:
        kind = "dynamic disk"
    elif STORAGE_SPACES in types:
        kind = "storage pool"
    if kind:
        yield broken(
            Text(
                f"This is a Windows {kind}, which belongs to a group of disks; the platform takes basic"
                " disks.",
                f"这是 Windows {'动态磁盘' if kind == 'dynamic disk' else '存储池'}，属于一组磁盘；"
                "平台只接受基本磁盘。",
            ),
            f"partition types: {', '.join(sorted(types))}",
            remedy=Text(
                "Back the system up on the source and restore it onto a basic disk: Windows itself can't"
                " turn a"
                " dynamic disk back without deleting its volumes.",
                "请在源机器上备份系统，并还原到基本磁盘：Windows"
                " 自身无法在不删除卷的情况下将动态磁盘转换回来。",
            ),
        )


def _missing(disk: Disk, volume: Volume) -> Iterator[str]:
    """The devices of a btrfs that are not here: by number and UUID where the superblock names them."""
    same = [it for it in disk.volumes if it.signature.type == "btrfs"]
    here = {it.signature.details["device_uuid"] for it in same if it.signature.uuid == volume.signature.uuid}
    for number, uuid in sorted(volume.signature.details["named_devices"].items()):
        if uuid not in here:
            yield f"missing: device {number}, uuid {uuid}"


def _filesystems(disk: Disk) -> Iterator[Outcome]:
    """btrfs of several devices, and journals that lie elsewhere."""
    devices: dict[str, set[object]] = {}
    for volume in disk.volumes:
        if volume.signature.type == "btrfs":
            held = devices.setdefault(volume.signature.uuid, set())
            held.add(volume.signature.details["device_uuid"])
    for volume in disk.volumes:
        details = volume.signature.details
        if volume.signature.type == "btrfs" and details["devices"] > len(devices[volume.signature.uuid]):
            here, all_ = len(devices.pop(volume.signature.uuid)), details["devices"]
            devices[volume.signature.uuid] = set(range(all_))  # said once
            yield broken(
                Text(
                    f"A btrfs of {all_} devices has {here} of them here: it can't be mounted.",
                    f"btrfs 文件系统由 {all_} 个设备组成，本镜像中只有 {here} 个：无法挂载。",
                ),
                f"{volume.name}: btrfs {volume.signature.uuid}, device {details['device_number']}",
                *_missing(disk, volume),
                remedy=Text(
                    "On the source, `btrfs device remove /dev/sdb1 /` for each device of another disk, then"
                    " export"
                    " the system disk again.",
                    "请在源机器上对位于其他磁盘的每个设备执行 `btrfs device remove /dev/sdb1 /`，"
                    "再重新导出系统盘。",
                ),
            )
        if details.get("external_journal"):
            ext = volume.signature.type.startswith("ext")
            command = (
                "tune2fs -O ^has_journal DEVICE && tune2fs -j DEVICE"
                if ext
                else "xfsdump, mkfs.xfs, xfsrestore"
            )
            yield broken(
                Text(
                    f"The journal of {volume.name} ({volume.signature.type}) lies on another device.",
                    f"{volume.name_zh}（{volume.signature.type}）的日志位于其他设备上。",
                ),
                f"{volume.name}: {volume.signature.type} {volume.signature.uuid}",
                remedy=Text(
                    f"On the source, bring the journal into the filesystem ({command}), then export it"
                    " again.",
                    f"请在源机器上将日志移回文件系统内（{command}），再重新导出。",
                ),
            )


@rule(
    "disk.encrypted",
    Text("Encryption", "加密"),
    severity=Severity.ERROR,
    source="field",
    requires=("disk.partition-table",),
)
def encrypted(image: Image) -> Iterator[Outcome]:
    """No volume that the system needs is encrypted with LUKS or BitLocker.

    The platform cannot look into an encrypted root to initialise it, and nobody types a passphrase at an
    instance's first boot. A volume beside a readable system is judged by what opens it: an error when
    /etc/crypttab has it opened at boot with a passphrase, a warning when a key file of the system opens it,
    when it is `noauto` or `nofail`, or when nothing opens it at all, because imgtool can't look inside.

    Evidence: the volume, how it is encrypted, and the line of crypttab. Example: `partition 5: crypto_LUKS
    version 2`. The fix is to decrypt on the source (`cryptsetup reencrypt --decrypt`, `manage-bde -off`) or
    to copy the data onto a plain volume.
    """
    locked = [
        volume for volume in image.disk.volumes if volume.signature.type in ("crypto_LUKS", "BitLocker")
    ]
    if not locked:
        yield kept(Text("No volume is encrypted.", "没有加密的卷。"))
        return
    search = image.search
    if search.root is None and _may_hide_a_root(image, locked):
        yield undecided(
            Text(
                "There are encrypted volumes, and whether the system needs them is not known: no system was"
                " found,"
                " and not every other volume could be read.",
                "存在加密的卷，但无法确定系统是否需要它们：未找到系统，且其他卷并非都可读取。",
            ),
            *(_described(volume) for volume in locked),
        )
        return
    for volume in locked:
        yield _judged(image, volume, search.root)


def _may_hide_a_root(image: Image, locked: list[Volume]) -> bool:
    names = {volume.name for volume in locked}
    return any(volume.name not in names for volume, _ in image.search.unreadable)


def _judged(image: Image, volume: Volume, root: Root | None) -> Outcome:
    kind = "BitLocker" if volume.signature.type == "BitLocker" else "LUKS"
    line = _crypttab_line(image, volume, root)
    if root is None:
        severity = Severity.ERROR
        why = Text("the system can't be read or initialised", "无法读取和初始化系统")
    elif line is None:
        severity = Severity.WARNING
        why = Text(
            "what is in it was not checked; the system starts without it", "其内容未经检查；系统启动不依赖它"
        )
    else:
        fields = line.split()
        options = fields[3].split(",") if len(fields) > 3 else []
        by_key = len(fields) > 2 and fields[2] not in ("none", "-")
        optional = bool({"noauto", "nofail"} & set(options))
        severity = Severity.WARNING if by_key or optional else Severity.ERROR
        why = (
            Text(
                "the system opens it with a key file; what is in it was not checked",
                "系统使用密钥文件打开它；其内容未经检查",
            )
            if by_key
            else Text("the system can start without it", "系统可以在没有它的情况下启动")
            if optional
            else Text("the system waits for its passphrase at every boot", "系统每次启动都会等待输入其口令")
        )
    return broken(
        Text(
            f"{volume.name} is encrypted with {kind}: {why.en}.",
            f"{volume.name_zh} 已用 {kind} 加密：{why.zh}。",
        ),
        _described(volume),
        *([f"/etc/crypttab: {line}"] if line else []),
        severity=severity,
        remedy=_decrypt(kind),
    )


def _described(volume: Volume) -> str:
    signature = volume.signature
    version = f" version {signature.details['version']}" if "version" in signature.details else ""
    return f"{volume.name}: {signature.type}{version} {signature.uuid}".rstrip()


def _crypttab_line(image: Image, volume: Volume, root: Root | None) -> str | None:
    """The line of /etc/crypttab that opens a volume."""
    if root is None or root.family != "linux":
        return None
    from imgtool.guest.devices import resolve

    for line in (root.tree.text_if_there("/etc/crypttab") or "").splitlines():
        fields = line.split("#")[0].split()
        if len(fields) < 2:
            continue
        found = resolve(fields[1], image.disk)
        if found is volume or (volume.signature.uuid and volume.signature.uuid.lower() in fields[1].lower()):
            return " ".join(fields)
    return None


def _decrypt(kind: str) -> Text:
    if kind == "BitLocker":
        return Text(
            "On the source, in an administrator's prompt: `manage-bde -off C:` (and each other drive), wait"
            " until"
            " `manage-bde -status` shows 0 %, then export again.",
            "请在源机器的管理员命令行中执行 `manage-bde -off C:`（其他驱动器同样），待 `manage-bde -status`"
            " 显示 0% 后"
            "重新导出。",
        )
    return Text(
        "On the source, copy the data onto a plain volume, or decrypt LUKS 2 in place with a live system:"
        " `cryptsetup reencrypt --decrypt --header luks.header /dev/sdaN`; take its lines out of"
        " /etc/crypttab, make the"
        " initramfs anew, then export again.",
        "请在源机器上将数据复制到普通卷，或在救援系统中就地解密 LUKS 2："
        "`cryptsetup reencrypt --decrypt --header luks.header /dev/sdaN`；删除 /etc/crypttab 中相应的行，"
        "重新生成 initramfs，再重新导出。",
    )
