"""The boot loader of a Linux guest: which configuration it reads, what its menu has, what it starts by
default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from imgtool.records import dataclass
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.guest.boot_mode import BootMode
    from imgtool.guest.tree import Tree

Kind = Literal["grub2", "grub-legacy", "systemd-boot", "extlinux", "none"]

GRUB2 = ("/boot/grub2/grub.cfg", "/boot/grub/grub.cfg", "/grub2/grub.cfg", "/grub/grub.cfg")
LEGACY = ("/boot/grub/menu.lst", "/boot/grub/grub.conf")
ESP = ("/boot/efi", "/efi", "/boot")


@dataclass(frozen=True)
class BootEntry:
    """One entry of the menu.

    kernel, initrds: paths in the guest's tree, be the files there or not; kernel None for what starts no
    Linux kernel. arguments: the kernel's, in one line. source: file and line, as evidence.
    """

    title: str
    kernel: str | None
    initrds: tuple[str, ...]
    arguments: str
    id: str = ""
    source: str = ""


@dataclass(frozen=True)
class BootLoader:
    """kind "none": no configuration was found. default: None where nothing can be started.

    problems: what the boot loader itself would stumble over, though it may go on.
    """

    kind: Kind
    config_path: str | None
    entries: tuple[BootEntry, ...]
    default: BootEntry | None
    problems: tuple[Text, ...] = ()


def read_bootloader(tree: Tree, disk: Disk) -> BootLoader:
    """The configuration that the disk's own boot loader reads. Raises CannotRead where it is there and
    damaged.

    Which one it is: on a disk that starts only by UEFI, the one beside the loader in the ESP; else, if the
    boot code is GRUB legacy's, menu.lst; else GRUB 2's, systemd-boot's, GRUB legacy's, extlinux's, as they
    are found.
    """
    from imgtool.guest import extlinux, grub, grub_legacy, memdisk, systemd_boot
    from imgtool.guest.boot_mode import read_boot_mode

    if tree.is_file(memdisk.ARCHIVE):
        return grub.read(tree, disk, memdisk.ARCHIVE, memdisk.configuration(tree))
    mode = read_boot_mode(disk)
    legacy = next((path for path in LEGACY if _has_entries(tree, path)), None)
    if legacy:  # RHEL's menu.lst is a link, which an edit in place would replace
        legacy = tree.realpath(legacy)
    if legacy and mode.boot_code == "grub-legacy":
        return grub_legacy.read(tree, disk, legacy)
    main = next((path for path in GRUB2 if tree.is_file(path)), None)
    beside = _beside_loader(tree)
    systemd = next((esp for esp in ESP if tree.is_dir(f"{esp}/loader/entries")), None)
    if mode.mode == "uefi" and beside:
        return grub.read(tree, disk, beside)
    if mode.mode == "uefi" and systemd and any("systemd" in loader.path.lower() for loader in mode.loaders):
        return systemd_boot.read(tree, systemd)
    if main or beside:
        return grub.read(tree, disk, main or beside or "")
    if systemd and tree.is_file(f"{systemd}/loader/loader.conf"):
        return systemd_boot.read(tree, systemd)
    if legacy:
        return grub_legacy.read(tree, disk, legacy)
    config = next((path for path in extlinux.CONFIGS if tree.is_file(path)), None)
    if config:
        return extlinux.read(tree, config)
    if systemd and not _starts_grub(mode):
        return systemd_boot.read(tree, systemd)
    return BootLoader("none", None, (), None)


def _starts_grub(mode: BootMode) -> bool:
    """Whether what the firmware starts is GRUB, which reads no entry without a grub.cfg that says so."""
    names = [loader.path.lower() for loader in mode.loaders]
    return mode.boot_code in ("grub2", "grub-legacy") or any("grub" in it or "shim" in it for it in names)


def _beside_loader(tree: Tree) -> str | None:
    """The grub.cfg in the ESP: the vendor's own before the fallback's."""
    for esp in ESP[:2]:
        found = tree.glob(f"{esp}/EFI/*/grub.cfg") or tree.glob(f"{esp}/efi/*/grub.cfg")
        if found:
            return min(found, key=lambda path: ("/boot/grub" in path.lower(), path))
    return None


def _has_entries(tree: Tree, path: str) -> bool:
    text = tree.text_if_there(path)
    return bool(text) and any(line.strip().startswith("title") for line in (text or "").splitlines())
