"""How a disk starts: by BIOS from its boot code, by UEFI from the loaders in its EFI system partition, or
both.

Sources: GRUB's boot/i386/pc/boot.S and GRUB legacy's stage1.S for the offsets in boot code; UEFI
specification 2.10, 3.5.1.1 (\\EFI\\BOOT\\BOOT{machine}.EFI) and 13.3 (the partition's types); ref 06 and 09
for what the platform starts.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Literal

from imgtool.disk.blocks import ReadFailed
from imgtool.errors import CannotRead
from imgtool.records import dataclass, field
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.disk.partitions import Partition
    from imgtool.disk.volumes import Volume
    from imgtool.guest.tree import Tree

Mode = Literal["bios", "uefi", "bios+uefi", "unknown"]
BootCode = Literal["none", "grub2", "grub-legacy", "syslinux", "windows", "other"]

SECTOR = 512
ESP_TYPES = ("c12a7328-f81f-11d2-ba4b-00a0c93ec93b", "ef")
BIOS_GRUB = "21686148-6449-6e6f-744e-656564454649"
KERNEL_SECTOR = 0x5C  # GRUB 2: u64, the sector that boot.img loads
STAGE2_SECTOR = 0x44  # GRUB legacy: u32, the sector that stage1 loads
MOST_LOADERS = 200

MACHINES = {0x8664: "x86_64", 0xAA64: "arm64", 0x014C: "i386", 0x5064: "riscv64", 0x6264: "loongarch64"}
FALLBACKS = {
    "BOOTX64.EFI": "x86_64",
    "BOOTAA64.EFI": "arm64",
    "BOOTIA32.EFI": "i386",
    "BOOTRISCV64.EFI": "riscv64",
    "BOOTLOONGARCH64.EFI": "loongarch64",
}
_TOOLS = ("mm", "fb", "fwup", "memtest", "mt86", "shell", "bootmgr.efi.mui", "memmgr")


@dataclass(frozen=True)
class Loader:
    """A program in the ESP that starts a system. path: \\EFI\\... as it is there; machine: "" for an unknown
    one."""

    path: str
    machine: str
    volume: str

    @property
    def fallback(self) -> bool:
        """Whether firmware without variables of its own finds it."""
        *folders, name = self.path.upper().strip("\\").split("\\")
        return folders == ["EFI", "BOOT"] and FALLBACKS.get(name) == self.machine


@dataclass(frozen=True)
class BootMode:
    """mode "unknown": neither was found. boot_code: what sector 0 holds.

    evidence: what was found, for reports; lacking: why boot code or an ESP that is there starts nothing;
    unreadable: ESPs that can't be read, so that the answer may be incomplete.
    """

    mode: Mode
    boot_code: BootCode
    loaders: tuple[Loader, ...] = ()
    evidence: tuple[str, ...] = ()
    lacking: tuple[Text, ...] = ()
    unreadable: tuple[Text, ...] = ()


@dataclass
class _Found:
    evidence: list[str] = field(default_factory=list)
    lacking: list[Text] = field(default_factory=list)
    unreadable: list[Text] = field(default_factory=list)


def boot_mode(disk: Disk) -> Mode:
    """How the disk starts, in one word."""
    return read_boot_mode(disk).mode


def read_boot_mode(disk: Disk) -> BootMode:
    """How the disk starts, with what shows it. Raises ReadFailed when sector 0 can't be read."""
    found = _Found()
    code = identify_boot_code(disk.table.boot_code_bytes)
    bios = _starts_by_bios(disk, code, found)
    loaders = _loaders(disk, found)
    mode: Mode = "unknown"
    if bios:
        mode = "bios+uefi" if loaders else "bios"
    elif loaders:
        mode = "uefi"
    return BootMode(mode, code, loaders, tuple(found.evidence), tuple(found.lacking), tuple(found.unreadable))


def identify_boot_code(code: bytes) -> BootCode:
    """Whose the first 440 bytes of a disk are."""
    if not any(code):
        return "none"
    if b"GRUB" in code and b"Geom" in code:
        return "grub-legacy" if code[:2] == b"\xeb\x48" and code[0x3E:0x40] == b"\x03\x02" else "grub2"
    if b"Invalid partition table" in code or b"Error loading operating system" in code:
        return "windows"
    if b"Missing operating system" in code or b"Boot error" in code or b"isolinux" in code.lower():
        return "syslinux"
    return "other"


def _starts_by_bios(disk: Disk, code: BootCode, found: _Found) -> bool:
    data = disk.table.boot_code_bytes
    if code == "none":
        found.lacking.append(Text(en="Sector 0 has no boot code.", zh="0 号扇区没有引导代码。"))
        return False
    if code == "grub2":
        (sector,) = struct.unpack_from("<Q", data, KERNEL_SECTOR)
        return _core_image(disk, "GRUB 2", sector, found)
    if code == "grub-legacy":
        (sector,) = struct.unpack_from("<I", data, STAGE2_SECTOR)
        return _core_image(disk, "GRUB legacy", sector, found)
    if code == "other":
        found.evidence.append("sector 0: boot code of an unknown boot loader")
        return True
    return _active_partition(disk, code, found)


def _core_image(disk: Disk, name: str, sector: int, found: _Found) -> bool:
    """The rest of GRUB, which the first sector loads: behind the MBR, in a bios_grub partition, or in a
    file."""
    offset = sector * SECTOR
    where = _where(disk, offset)
    if sector == 0 or offset + SECTOR > disk.blocks.size:
        found.lacking.append(
            Text(
                en=f"Sector 0 has {name}'s boot code, but it continues at sector {sector}, outside the disk.",
                zh=f"0 号扇区有 {name} 引导代码，但其后续位于磁盘之外的扇区 {sector}。",
            )
        )
        return False
    if not any(disk.blocks.read(offset, SECTOR)):
        found.lacking.append(
            Text(
                en=f"Sector 0 has {name}'s boot code, but sector {sector} ({where}), the next, is empty.",
                zh=f"0 号扇区有 {name} 引导代码，但其后续所在的扇区 {sector}（{where}）是空的。",
            )
        )
        return False
    found.evidence.append(f"sector 0: boot code of {name}, continued at sector {sector} ({where})")
    return True


def _where(disk: Disk, offset: int) -> str:
    for partition in disk.table.partitions:
        if partition.start <= offset < partition.start + partition.length and not partition.extended:
            kind = "bios_grub partition" if partition.type == BIOS_GRUB else "partition"
            return f"{kind} {partition.number}"
    return "before the first partition"


def _active_partition(disk: Disk, code: BootCode, found: _Found) -> bool:
    """Boot code that starts whatever the active partition begins with."""
    name = {"windows": "Windows/DOS", "syslinux": "Syslinux"}[code]
    if disk.table.kind == "gpt" and code == "syslinux":
        found.evidence.append("sector 0: boot code of Syslinux for GPT")
        return True
    active = [partition for partition in disk.table.partitions if partition.active]
    if not active:
        found.lacking.append(
            Text(
                en=f"Sector 0 has {name} boot code, which needs an active partition; none is.",
                zh=f"0 号扇区是 {name} 引导代码，需要活动分区，但没有任何分区处于活动状态。",
            )
        )
        return False
    if not _starts(disk, active[0]):
        found.lacking.append(
            Text(
                en=f"Partition {active[0].number} is active, but it does not begin with boot code.",
                zh=f"分区 {active[0].number} 为活动分区，但其开头没有引导代码。",
            )
        )
        return False
    number = active[0].number
    found.evidence.append(f"sector 0: {name} boot code; active partition {number} has boot code")
    return True


def _starts(disk: Disk, partition: Partition) -> bool:
    try:
        sector = disk.blocks.read(partition.start, SECTOR)
    except ReadFailed:
        return False
    return sector[510:512] == b"\x55\xaa" and any(sector[:3])


def _loaders(disk: Disk, found: _Found) -> tuple[Loader, ...]:
    loaders: list[Loader] = []
    for volume in disk.volumes:
        typed = volume.partition is not None and volume.partition.type in ESP_TYPES
        if volume.signature.type != "vfat":
            if typed:
                found.lacking.append(
                    Text(
                        en=f"The EFI system partition ({volume.name}) has no FAT filesystem.",
                        zh=f"EFI 系统分区（{volume.name_zh}）上没有 FAT 文件系统。",
                    )
                )
            continue
        try:
            here = _loaders_of(volume)
        except CannotRead as error:
            why = error.statement()
            found.unreadable.append(Text(en=f"{volume.name}: {why.en}", zh=f"{volume.name}：{why.zh}"))
            continue
        if typed and not here:
            found.lacking.append(
                Text(
                    en=f"The EFI system partition ({volume.name}) has no boot loader.",
                    zh=f"EFI 系统分区（{volume.name_zh}）中没有引导程序。",
                )
            )
        loaders += here
        found.evidence += [f"{volume.name}: {it.path} ({it.machine or 'unknown machine'})" for it in here]
    return tuple(loaders)


def _loaders_of(volume: Volume) -> list[Loader]:
    from imgtool.guest.filesystem import open_filesystem
    from imgtool.guest.tree import Tree

    tree = Tree(open_filesystem(volume), volume)
    loaders = []
    for path in tree.glob("/EFI/*/*.EFI")[:MOST_LOADERS]:
        name = path.rsplit("/", 1)[-1].lower()
        if name.startswith(_TOOLS) or not tree.is_file(path):
            continue
        loaders.append(Loader(path.replace("/", "\\"), _machine(tree, path), volume.name))
    for path in tree.glob("/EFI/Microsoft/Boot/bootmgfw.efi"):
        loaders.append(Loader(path.replace("/", "\\"), _machine(tree, path), volume.name))
    return [loader for loader in loaders if loader.machine != "no program"]


def _machine(tree: Tree, path: str) -> str:
    """The machine a PE program is for; "no program" for a file that is none."""
    with tree.open(path) as stream:
        head = stream.read(4096)
    if head[:2] != b"MZ" or len(head) < 0x40:
        return "no program"
    (at,) = struct.unpack_from("<I", head, 0x3C)
    if at + 6 > len(head) or head[at : at + 4] != b"PE\0\0":
        return "no program"
    return MACHINES.get(struct.unpack_from("<H", head, at + 4)[0], "")
