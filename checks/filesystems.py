"""The filesystems: shut down cleanly, and with room left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.disk.commands import shell_name
from imgtool.errors import CannotRead
from imgtool.guest.filesystem import MeasuresSpace
from imgtool.records import dataclass
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.volumes import Volume
    from imgtool.image import Image

EXT = ("ext2", "ext3", "ext4")
JUDGED = (*EXT, "xfs", "btrfs", "vfat", "exfat", "ntfs")
MIB = 1 << 20


@dataclass(frozen=True)
class Fault:
    """Why a filesystem is not clean. repair: what mends it, in guestfish's words, "" for none; journal: it
    is only that its journal was not replayed."""

    message: Text
    evidence: str
    severity: Severity
    repair: str = ""
    journal: bool = False


@rule(
    "disk.filesystem.clean",
    Text("State of the filesystems", "文件系统状态"),
    severity=Severity.WARNING,
    source="ref 06, 07",
    targets=("import", "migrate", "data-disk"),
    requires=("disk.partition-table",),
    fixable=True,
)
def clean(image: Image) -> Iterator[Outcome]:
    """Every filesystem was unmounted, or its machine shut down, before the image was made.

    A copy of a running disk has a journal that waits to be replayed: what was last written may be missing
    from it, and what imgtool reads is the state before the replay. The next boot replays it, so this is a
    warning. An error flag in ext2, ext3 or ext4, or XFS that asks for repair, is an error: the guest stops in
    an emergency shell, or mounts the filesystem read-only. XFS says so by its log, which is clean when its
    last record is that of an unmount; FAT and NTFS by a flag. An NTFS whose $MFTMirr is not as its $MFT is
    damaged: Windows repairs it, other systems refuse to mount it.

    Evidence: the volume and the flag. Example: `partition 1: ext4, needs_recovery`. The fix is to shut the
    source machine down and export again, or to have the filesystem checked on a copy of the image.
    """
    good: list[str] = []
    for volume in image.disk.volumes:
        type_ = volume.signature.type
        if type_ not in JUDGED:
            continue
        try:
            fault = fault_of(volume)
        except CannotRead as error:
            why = error.statement()
            yield undecided(Text(f"{volume.name}: {why.en}", f"{volume.name_zh}：{why.zh}"), volume.name)
            continue
        if fault is None:
            good.append(f"{volume.name}: {type_}, clean")
        else:
            evidence = f"{volume.name}: {type_}, {fault.evidence}"
            yield broken(
                fault.message,
                evidence,
                severity=fault.severity,
                remedy=_remedy(image, volume, fault),
                fixable=bool(fault.repair),
            )
    if good:
        yield kept(Text("Cleanly unmounted.", "已正常卸载。"), *good)


@rule(
    "disk.filesystem.space",
    Text("Room on the root", "根文件系统剩余空间"),
    severity=Severity.WARNING,
    source="ref 02",
    family="linux",
    requires=("disk.root",),
)
def space(image: Image) -> Iterator[Outcome]:
    """The root filesystem is not full, neither in bytes nor in inodes.

    The platform refuses to import a full system partition by force (ref 02), and the first boot of any image
    has to write: host keys, cloud-init's state, logs. The profile says how much must be free
    (`root_min_free`, `root_min_free_inodes`). XFS and btrfs make inodes as they need them, so only their
    bytes count.

    Evidence: what is free and how large the whole is. Example: `partition 1: 12 MiB free of 20466 MiB`. With
    `--force-import` it is an error. The fix is to
    remove what can be fetched again (package caches, old logs) in the source machine, and export again.
    """
    found = image.search.root
    if found is None:
        return
    volume, details = found.volume, found.volume.signature.details
    if volume.signature.type == "btrfs" and isinstance(found.tree.filesystem, MeasuresSpace):
        space = found.tree.filesystem.space()
        yield _room(image, volume, space.free, space.total)
        return
    if volume.signature.type not in (*EXT, "xfs"):
        yield not_judged(
            Text(
                f"The free space of {volume.signature.type} is not judged.",
                f"不判断 {volume.signature.type} 的剩余空间。",
            )
        )
        return
    if volume.signature.type == "xfs" and fault_of(volume) is not None:
        yield undecided(
            Text(
                "XFS writes its counts when it is unmounted, and this one was not.",
                "XFS 在卸载时才写入计数，而该文件系统未正常卸载。",
            ),
            volume.name,
        )
        return
    free = details["free_blocks"] * details["block_size"]
    total = details["total_blocks"] * details["block_size"]
    inodes = (details["free_inodes"], details["total_inodes"]) if volume.signature.type in EXT else None
    yield _room(image, volume, free, total, inodes)


def _room(
    image: Image, volume: Volume, free: int, total: int, inodes: tuple[int, int] | None = None
) -> Outcome:
    """Whether what is free is enough: bytes, and inodes (free, all) where they are counted."""
    limits = image.profile.disk
    evidence = [f"{volume.name}: {free // MIB} MiB free of {total // MIB} MiB"]
    lacking = free < limits.root_min_free
    few = False
    if inodes is not None:
        evidence.append(f"{volume.name}: {inodes[0]} inodes free of {inodes[1]}")
        few = inodes[0] < limits.root_min_free_inodes
    if not lacking and not few:
        return kept(Text("There is room.", "空间充足。"), *evidence)
    need = f"{limits.root_min_free // MIB} MiB" if lacking else f"{limits.root_min_free_inodes} inodes"
    return broken(
        Text(
            f"The root filesystem is nearly full: less than {need} free.",
            f"根文件系统几乎已满：剩余不足 {need}。",
        ),
        *evidence,
        severity=Severity.ERROR if image.options.force_import else None,
        remedy=_make_room(few and not lacking),
    )


def fault_of(volume: Volume) -> Fault | None:
    """What is not clean about a filesystem. Raises CannotRead where that can't be told."""
    type_, details = volume.signature.type, volume.signature.details
    if type_ in EXT:
        return _ext_fault(volume)
    if type_ == "xfs":
        return _xfs_fault(volume)
    if type_ == "btrfs" and details.get("log_tree"):
        return Fault(_unreplayed(volume), "log tree", Severity.WARNING, _mounting(volume), journal=True)
    if type_ in ("vfat", "exfat", "ntfs") and "dirty" not in details:
        raise CannotRead(Text("Its dirty flag can't be read.", "无法读取其脏标志。"))
    if type_ in ("vfat", "exfat", "ntfs") and details["dirty"]:
        message = Text(
            f"{volume.name} ({type_}) was not unmounted cleanly.",
            f"{volume.name_zh}（{type_}）未正常卸载。",
        )
        repair = f"fsck vfat {_device(volume)}" if type_ == "vfat" else ""
        return Fault(message, "dirty flag", Severity.WARNING, repair if _device(volume) else "")
    if type_ == "ntfs" and details.get("mirror") is False:
        message = Text(
            f"The copy of the first records of {volume.name}'s file table ($MFTMirr) is not as these are.",
            f"{volume.name_zh} 的主文件表镜像（$MFTMirr）与主文件表不一致。",
        )
        return Fault(message, "$MFTMirr differs from $MFT", Severity.WARNING)
    return None


def _ext_fault(volume: Volume) -> Fault | None:
    details = volume.signature.details
    device = _device(volume)
    check = f"e2fsck {device} forceall:true" if device else ""
    if details["state"] == "errors":
        message = Text(
            f"The kernel found errors in {volume.name} ({volume.signature.type}) and marked it so.",
            f"内核在 {volume.name_zh}（{volume.signature.type}）中发现过错误并做了标记。",
        )
        return Fault(message, "state: errors", Severity.ERROR, check)
    if details["state"] == "not clean":
        message = Text(
            f"{volume.name} ({volume.signature.type}) was not unmounted and has no journal to mend it.",
            f"{volume.name_zh}（{volume.signature.type}）未正常卸载，且没有可用于恢复的日志。",
        )
        if not details["needs_recovery"]:
            return Fault(message, "state: not clean", Severity.ERROR, check)
    if details["needs_recovery"]:
        return Fault(_unreplayed(volume), "needs_recovery", Severity.WARNING, check, journal=True)
    return None


def _xfs_fault(volume: Volume) -> Fault | None:
    from imgtool.guest.xfs_log import log_state
    from imgtool.guest.xfs_superblock import read_superblock

    if "needsrepair" in volume.signature.details["incompat"]:
        message = Text(
            f"{volume.name} (xfs) asks for xfs_repair and can't be mounted before.",
            f"{volume.name_zh}（xfs）要求先执行 xfs_repair，否则无法挂载。",
        )
        device = _device(volume)
        return Fault(message, "needsrepair", Severity.ERROR, f"xfs-repair {device}" if device else "")
    if log_state(volume.blocks, read_superblock(volume.blocks)) == "dirty":
        return Fault(_unreplayed(volume), "dirty log", Severity.WARNING, _mounting(volume), journal=True)
    return None


def _unreplayed(volume: Volume) -> Text:
    type_ = volume.signature.type
    return Text(
        f"{volume.name} ({type_}) was in use when the image was made: its journal waits to be replayed.",
        f"制作镜像时 {volume.name_zh}（{type_}）正在使用：其日志尚未回放。",
    )


def _mounting(volume: Volume) -> str:
    """Mounting it read-write once replays its journal."""
    device = _device(volume)
    return f"mount {device} / : umount /" if device else ""


def _device(volume: Volume) -> str:
    """What guestfish calls the volume when the image is its first disk; "" where that is not certain."""
    if volume.kind == "partition" and volume.partition is not None:
        return f"/dev/sda{volume.partition.number}"
    if volume.kind == "disk":
        return "/dev/sda"
    return f"/dev/{volume.name}" if volume.kind == "lv" else ""


def _remedy(image: Image, volume: Volume, fault: Fault) -> Text:
    again = Text(
        "Shut the source machine down (not suspended, not running) and export the disk again.",
        "请将源机器正常关机（而非挂起或运行中）后重新导出磁盘。",
    )
    if volume.signature.type == "ntfs":
        return Text(
            "In Windows, in a Command Prompt as administrator: `chkdsk C: /f` (Y: it runs at the next start),"
            " `shutdown /r /t 0`, and when that is done `shutdown /s /t 0`; then export the disk again.",
            "请在 Windows 中以管理员身份打开命令提示符（cmd），执行 `chkdsk C: /f`（选 Y，下次启动时运行）和"
            " `shutdown /r /t 0`，完成后执行 `shutdown /s /t 0`，然后重新导出磁盘。",
        )
    if not fault.repair:
        return again
    copy = shell_name(image.path.with_name(f"{image.path.stem}-copy{image.path.suffix}"))
    form = image.file.qemu_format or image.file.format
    command = (
        f"cp --sparse=always {shell_name(image.path)} {copy} && "
        f"guestfish --rw --format={form} -a {copy} run : {fault.repair}"
    )
    return Text(f"{again.en} Or mend a copy:\n{command}", f"{again.zh}也可修复镜像副本：\n{command}")


def _make_room(inodes: bool) -> Text:
    if inodes:
        return Text(
            "In the source machine, find the directories with the most files "
            "(`du --inodes -x / | sort -n | tail`), remove what is not needed, and export again.",
            "在源机器中找出文件最多的目录（`du --inodes -x / | sort -n | tail`），"
            "删除不需要的文件后重新导出。",
        )
    return Text(
        "In the source machine, make room (`journalctl --vacuum-size=50M`, the package manager's `clean`; "
        "`du -x / | sort -n | tail` shows what is large), and export again.",
        "在源机器中清理空间（`journalctl --vacuum-size=50M`、包管理器的 `clean`；`du -x / | sort -n | tail` "
        "可查看占用较大的目录）后重新导出。",
    )
