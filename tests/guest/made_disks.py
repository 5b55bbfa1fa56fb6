"""Disks with several small filesystems on them, partitioned and filled by the real tools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imgtool.disk.blocks import RawBlocks
from imgtool.disk.disk import Disk
from tests.disk.made import MIB, gpt, mbr, tool, write

PART = 24 * MIB
UUIDS = tuple(f"{number:08x}-0000-4000-8000-000000000000" for number in range(1, 9))


@dataclass(frozen=True)
class Part:
    """A partition: its files by path (a str starting with "-> " is a link), and how they are kept.

    The n-th partition of a disk has the filesystem UUID UUIDS[n - 1].
    """

    files: dict[str, str]
    type: str = "ext4"
    label: str = ""
    options: tuple[str, ...] = ()


SYSTEM = {
    "etc/os-release": "-> ../usr/lib/os-release",
    "usr/lib/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
    "usr/bin/sh": "#!",
    "sbin": "-> usr/sbin",
    "bin": "-> usr/bin",
    "usr/sbin/init": "#!",
    "var/lib/x": "",
    "root/x": "",
    "boot/vmlinuz-6.1.0-1-amd64": "kernel",
}


def system(fstab: str | None = None, without: tuple[str, ...] = (), **more: str) -> dict[str, str]:
    """The files of a small Debian, with this fstab."""
    files = {path: content for path, content in SYSTEM.items() if not path.startswith(without or ("\0",))}
    if fstab is not None:
        files["etc/fstab"] = fstab
    return {**files, **more}


def folder_of(files: dict[str, str], folder: Path) -> Path:
    folder.mkdir()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            path.symlink_to(content[3:])
        elif name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_text(content)
    return folder


def disk_file(tmp_path: Path, *parts: Part, table: str = "mbr") -> Path:
    """An image file of these partitions, in this order."""
    path = tmp_path / "disk.img"
    code = {"swap": "82", "vfat": "c"} if table == "mbr" else {}
    lines = [
        f"start={2048 + 49152 * index}, size=49152"
        + (f", type={code.get(part.type, '83')}" if table == "mbr" else f', name="part-{index + 1}"')
        for index, part in enumerate(parts)
    ]
    make = mbr if table == "mbr" else gpt
    make(path, "\n".join(lines) + "\n", size=PART * len(parts) + 4 * MIB)
    for index, part in enumerate(parts):
        offset = MIB + PART * index
        folder = folder_of(part.files, tmp_path / f"part{index + 1}")
        volume = tmp_path / f"volume{index + 1}"
        with volume.open("wb") as file:
            file.truncate(PART)
        label = ("-L", part.label) if part.label else ()
        if part.type in ("ext2", "ext3", "ext4"):
            uuid = UUIDS[index]
            tool(
                "mke2fs", "-q", "-F", "-t", part.type, "-U", uuid, *label, *part.options, "-d", folder, volume
            )
        elif part.type == "vfat":
            tool("mkfs.vfat", "-i", UUIDS[index][:8], volume)
            names = [folder / name for name in sorted({path.split("/")[0] for path in part.files})]
            if names:
                tool("mcopy", "-s", "-i", volume, *names, "::")
        elif part.type == "swap":
            tool("mkswap", "-U", UUIDS[index], volume)
        elif part.type != "nothing":
            tool(*part.type.split(), volume)
        write(path, offset, volume.read_bytes())
        volume.unlink()
    return path


def disk_of(tmp_path: Path, *parts: Part, table: str = "mbr") -> Disk:
    """The same, opened."""
    return Disk(RawBlocks(disk_file(tmp_path, *parts, table=table)))
