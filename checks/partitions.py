"""The partition table: there, whole, allowed by the platform, and true to the disk."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from imgtool.disk.commands import shell_name
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.partitions import Partition, PartitionTable, Problem
    from imgtool.image import Image

OF_BOUNDS = ("overlap", "past_end", "zero_length", "logical_unreadable")
# What Linux reads over (block/partitions/efi.c, msdos.c), with a message at most
READ_OVER = ("gpt_backup", "hybrid_mismatch", "logical_too_many", "protective_mbr_start_zero")
SGDISK_MENDS = ("gpt_primary", "gpt_backup", "protective_mbr")
SHOWN_PARTITIONS = 24


@rule(
    "disk.partition-table",
    Text("Partition table", "分区表"),
    severity=Severity.ERROR,
    source="ref 01, 06",
    targets=("import", "migrate", "data-disk"),
    platform_code="PartitionNotPresent",
    requires=("image.integrity",),
)
def partition_table(image: Image) -> Iterator[Outcome]:
    """The disk has a partition table that Linux, Windows and the firmware can use.

    The platform refuses an image without one (PartitionNotPresent), most often because a partition
    (`/dev/sda1`) was exported in place of the disk (`/dev/sda`): such an image has no boot sector and cannot
    start. A GPT counts when its primary header and entries pass their checksums and a protective MBR
    announces it, since Linux ignores it otherwise; a GPT laid out for 4096-byte sectors is not found on the
    platform's disks. A broken or misplaced backup GPT, which a resized disk has, and a hybrid MBR that
    differs from its GPT are warnings. A data disk may go without a table.

    Evidence: the table's kind, its size in partitions, and each fault found. Example: `sector 0: vfat boot
    sector`. The fix is `sgdisk -e` for a GPT with one good copy, else a new export of the whole disk.
    """
    table = image.disk.table
    wrong = [problem for problem in table.problems if problem.check not in OF_BOUNDS]
    if table.kind == "none" and not _gpt_faults(wrong) and image.target == "data-disk":
        yield kept(Text("No partition table; a data disk needs none.", "没有分区表；数据盘可以没有分区表。"))
        return
    errors = [problem for problem in wrong if not problem.check.startswith(READ_OVER)]
    warnings = [problem for problem in wrong if problem.check.startswith(READ_OVER)]
    if errors:
        evidence = _summary(table) if table.partitions else _what_it_is(image, table)
        yield broken(_joined(errors), *evidence, remedy=_table_remedy(image, table, errors))
        return
    if warnings:
        remedy = _table_remedy(image, table, warnings)
        yield broken(_joined(warnings), *_summary(table), severity=Severity.WARNING, remedy=remedy)
        return
    name = {"mbr": "MBR", "gpt": "GPT"}[table.kind]
    hybrid = (" with a hybrid MBR", "（含混合 MBR）") if table.hybrid else ("", "")
    yield kept(Text(f"Valid {name}{hybrid[0]}.", f"{name} 有效{hybrid[1]}。"), *_summary(table))


@rule(
    "disk.partition-table.allowed",
    Text("Kind of partition table", "分区表类型"),
    severity=Severity.ERROR,
    source="ref 01, 06, 07",
    targets=("import", "migrate", "data-disk"),
    requires=("disk.partition-table",),
)
def allowed(image: Image) -> Iterator[Outcome]:
    """The platform takes this kind of partition table for this system and target.

    A Linux import may be MBR or GPT; Windows must be MBR, and offline migration takes MBR only. The profile
    says which (`[disk.partition_tables]`). Where the system is not known, only what no system may have is
    refused.

    Evidence: the kind found and the kinds allowed. Example: `gpt; allowed: mbr`. The fix for GPT on Windows
    is Microsoft's way back: a new MBR disk and the volumes copied onto it; for Linux in migration, `sgdisk
    -m`, where at most four partitions need it, and GRUB installed anew.
    """
    table = image.disk.table
    family = image.family
    kinds = image.profile.disk.allowed(family, image.target)
    seen = f"{table.kind}; allowed: {', '.join(kinds)}"
    if table.kind in kinds:
        yield kept(
            Text(f"{table.kind.upper()} is allowed here.", f"此处允许使用 {table.kind.upper()}。"), seen
        )
        return
    if table.kind == "none":
        yield not_judged(Text("There is no partition table.", "没有分区表。"), seen)
        return
    system, system_zh = {"linux": ("Linux", "Linux"), "windows": ("Windows", "Windows")}.get(
        family, ("this", "该")
    )
    yield broken(
        Text(
            f"The platform does not take a {table.kind.upper()} disk with a {system} system"
            f" (--target {image.target}).",
            f"平台不接受以 {table.kind.upper()} 分区的 {system_zh} 系统镜像（--target {image.target}）。",
        ),
        seen,
        remedy=_kind_remedy(image, table, family),
    )


@rule(
    "disk.partitions.bounds",
    Text("Bounds of the partitions", "分区边界"),
    severity=Severity.ERROR,
    source="ref 06",
    targets=("import", "migrate", "data-disk"),
    platform_code="PartitionNotPresent",
    requires=("disk.partition-table",),
)
def bounds(image: Image) -> Iterator[Outcome]:
    """No partition runs past the end of the disk or over another one.

    A partition past the end is what `dd count=` leaves when it stops too early: the rest of the data is not
    in the image, whatever the table says. Overlapping partitions overwrite each other. A partition without
    any length is only a warning: every system reads over it.

    Evidence: each partition's first and last byte, the size of the disk and how much is missing. Example:
    `partition 1: bytes 1048576 to 21474836480`, on a disk of 16106127360 bytes. The fix is
    a new export, without `count` or with the whole disk's.
    """
    disk = image.disk
    table = disk.table
    if not table.partitions:
        yield not_judged(Text("There are no partitions.", "没有分区。"))
        return
    wrong = [problem for problem in table.problems if problem.check in OF_BOUNDS]
    beyond = [problem for problem in wrong if problem.check in ("past_end", "logical_unreadable")]
    over = [problem for problem in wrong if problem.check == "overlap"]
    empty = [problem for problem in wrong if problem.check == "zero_length"]
    size = f"disk: {disk.blocks.size} bytes"
    if beyond:
        end = max(partition.end for partition in table.partitions)
        yield broken(_joined(beyond), size, *_summary(table), remedy=_export_remedy(image, end))
    if over:
        yield broken(_joined(over), size, *_summary(table), remedy=_overlap_remedy(image))
    if empty and not beyond and not over:
        yield broken(_joined(empty), *_summary(table), severity=Severity.WARNING)
    if not wrong:
        yield kept(
            Text(
                "Every partition lies within the disk, apart from the others.",
                "各分区均在磁盘范围内且互不重叠。",
            ),
            size,
            *_summary(table),
        )


def _gpt_faults(problems: list[Problem]) -> bool:
    return any(problem.check.startswith("gpt") for problem in problems)


def _joined(problems: list[Problem]) -> Text:
    statements = [problem.statement for problem in problems]
    return Text(" ".join(said.en for said in statements), "".join(said.zh for said in statements))


def _summary(table: PartitionTable) -> tuple[str, ...]:
    """The table in lines of evidence."""
    unit = "" if table.sector_size == 512 else f", {table.sector_size}-byte sectors"
    head = f"{table.kind} {table.disk_id or 'without identifier'}{unit}"
    lines = [_line(partition) for partition in table.partitions[:SHOWN_PARTITIONS]]
    left = len(table.partitions) - len(lines)
    return (head, *lines, *([f"and {left} more"] if left else []))


def _line(partition: Partition) -> str:
    marks = f"{', active' if partition.active else ''}{', logical' if partition.logical else ''}"
    name = f" {partition.name!a}" if partition.name else ""
    return (
        f"partition {partition.number}{name}: bytes {partition.start} to {partition.end},"
        f" type {partition.type}{marks}"
    )


def _what_it_is(image: Image, table: PartitionTable) -> tuple[str, ...]:
    """What lies on a disk that has no partitions."""
    first = image.disk.blocks.read(0, min(512, image.disk.blocks.size))
    lines = [f"sector 0: {first[:16].hex(' ')} ... {first[496:].hex(' ')}"]
    if not any(first):
        lines = ["sector 0: all zero"]
    for volume in image.disk.volumes:
        if volume.kind == "disk":
            signature = volume.signature
            label = f", label {signature.label!a}" if signature.label else ""
            lines.append(f"whole disk: {signature.type} filesystem or container{label}, {signature.uuid}")
    return tuple(lines)


def _table_remedy(image: Image, table: PartitionTable, problems: list[Problem]) -> Text:
    if any(problem.check == "gpt_sector_size" for problem in problems):
        command = _rewritten(table)
        return _edit(
            image, command, "Write the same partitions for 512-byte sectors", "按 512 字节扇区重写相同的分区"
        )
    if table.partitions and all(problem.check.startswith(SGDISK_MENDS) for problem in problems):
        return _edit(
            image, "sgdisk -e {}", "Let sgdisk write both copies anew", "用 sgdisk 重写主、备两份 GPT"
        )
    if all(problem.check == "hybrid_mismatch" for problem in problems):
        return _edit(image, "sgdisk -e {}", "Where the GPT is right, write", "若以 GPT 为准，请重写")
    return _export_remedy(image, None)


def _rewritten(table: PartitionTable) -> str:
    """The sgdisk command that makes the same partitions, counted in 512-byte sectors."""
    parts = [f"-U {table.disk_id}" if table.disk_id else ""]
    for partition in table.partitions[:SHOWN_PARTITIONS]:
        number, first, last = partition.number, partition.start // 512, partition.end // 512 - 1
        parts.append(f"-n {number}:{first}:{last} -t {number}:{partition.type} -u {number}:{partition.uuid}")
        if partition.name.isprintable() and partition.name:
            parts.append(f"-c {number}:{shlex.quote(partition.name)}")
    return f"sgdisk -Z {{}}; sgdisk -a 1 {' '.join(part for part in parts if part)} {{}}"


def _edit(image: Image, command: str, why: str, why_zh: str) -> Text:
    """Commands that change the disk inside a copy of this image. `{}` in the command is the raw disk."""
    path, form = shell_name(image.path), image.file.qemu_format or "raw"
    raw = "disk.raw"
    lines = [f"qemu-img convert -f {form} -O raw {path} {raw}", command.replace("{}", raw)]
    if form != "raw":
        mended = shell_name(Path(f"{image.path.stem}-mended{image.path.suffix or '.' + form}"))
        size = "-o force_size=on " if form == "vpc" else ""  # else the disk grows to whole cylinders
        lines.append(f"qemu-img convert -f raw -O {form} {size}{raw} {mended}")
    said = "\n".join(lines)
    return Text(f"{why}, in a copy:\n{said}", f"{why_zh}（在副本上操作）：\n{said}")


def _export_remedy(image: Image, end: int | None) -> Text:
    """How to export the disk again. end: how many bytes the partitions need, if that is known."""
    new = shell_name(Path(f"{image.path.stem}.qcow2"))
    convert = f"qemu-img convert -f raw -O qcow2 /dev/sda {new}"
    copy = f"dd if=/dev/sda of={shell_name(Path(image.path.stem + '.raw'))} bs=1M conv=sparse"
    need = (f" It must hold at least {end} bytes.", f"导出结果至少应有 {end} 字节。") if end else ("", "")
    return Text(
        "Export the whole disk again, from the disk (/dev/sda) and not from a partition of it (/dev/sda1),"
        f" and with dd without count.{need[0]} On the source, as root:\n{convert}\nor\n{copy}",
        "请重新导出整块磁盘：从磁盘（/dev/sda）而不是分区（/dev/sda1）导出，使用 dd 时不要指定 count。"
        f"{need[1]}在源机器上以 root 执行：\n"
        f"{convert}\n或\n{copy}",
    )


def _overlap_remedy(image: Image) -> Text:
    form = image.file.qemu_format or "raw"
    convert = f"qemu-img convert -f {form} -O raw {shell_name(image.path)} disk.raw"
    commands = f"{convert}\nsfdisk -d disk.raw > table.txt\nsfdisk disk.raw < table.txt"
    return Text(
        "Compare with the source's own table (`sfdisk -d /dev/sda`) and correct the entry that is wrong in"
        f" table.txt, between these commands:\n{commands}",
        "请与源机器的分区表（`sfdisk -d /dev/sda`）比较，在以下命令之间改正 table.txt 中错误的条目："
        f"\n{commands}",
    )


def _kind_remedy(image: Image, table: PartitionTable, family: str) -> Text:
    if table.kind == "gpt" and family == "windows":
        return Text(
            "Move the system to an MBR disk: start the source from an installation disk of Windows Server"
            " 2012 or"
            " later, at its Command Prompt capture the system (`dism /Capture-Image`), make a disk with"
            " `convert mbr` and an `active` partition in diskpart, apply the image (`dism /Apply-Image`), run"
            " `bcdboot C:\\Windows /s S: /f BIOS` with S: for the active partition, and export that disk.",
            "请将系统迁移到 MBR 磁盘：用 Windows Server 2012 或更新版本的安装光盘启动源机器，"
            "在其命令提示符中捕获系统"
            "（`dism /Capture-Image`），用 diskpart 的 `convert mbr` 和 `active` 建立磁盘与活动分区，还原映像"
            "（`dism /Apply-Image`），执行 `bcdboot C:\\Windows /s S: /f BIOS`（S: 为活动分区），"
            "再导出该磁盘。",
        )
    if table.kind == "gpt" and len(table.partitions) <= 4:
        numbers = ":".join(str(partition.number) for partition in table.partitions)
        return _edit(
            image,
            f"sgdisk -m {numbers} {{}}",
            "Import this image (GPT is allowed there), or turn the table into an MBR and install GRUB for"
            " BIOS in"
            " the system (grub-install --target=i386-pc)",
            "改用导入镜像的方式（允许 GPT），或将分区表转换为 MBR 并在系统内重装 BIOS 版 GRUB"
            "（grub-install --target=i386-pc）",
        )
    return Text(
        "Copy the system onto a disk with an allowed partition table, and export that.",
        "请将系统复制到使用允许的分区表的磁盘上，再导出该磁盘。",
    )
