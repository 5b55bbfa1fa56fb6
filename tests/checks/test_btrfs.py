"""linux.fstab and linux.bootloader.root where the root is a subvolume of a btrfs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from imgtool.checks.bootloader_root import root
from imgtool.checks.fstab import fstab

from imgtool.guest.filesystem import Subvolume
from tests.checks import boot_guest, linux_guest
from tests.guest.stand_in import ROOT_UUID, volume

CFG = "/boot/grub/grub.cfg"
BTRFS = volume(1, "btrfs", ROOT_UUID)
GOOD = f"UUID={ROOT_UUID} / btrfs subvol=@ 0 0\nUUID={ROOT_UUID} /home btrfs subvol=/@home 0 0\n"


class Subvolumes:
    """The top, which is the default, /@ with the system, and /@home."""

    subvolume = 256

    def default_subvolume(self) -> int:
        return 5

    def subvolumes(self) -> list[Subvolume]:
        named = {5: "/", 256: "/@", 257: "/@home"}
        return [Subvolume(number, path, False, False) for number, path in named.items()]

    def at(self, subvolume: int) -> Any:
        raise AssertionError(subvolume)


def table(text: str) -> Any:
    given = linux_guest.image({"/etc/fstab": text}, volumes=(BTRFS,))
    given.linux.tree.filesystem = Subvolumes()
    return given


def started(arguments: str, files: dict[str, Any] | None = None) -> Any:
    text = boot_guest.grub_cfg(f"root=UUID={ROOT_UUID} ro {arguments}")
    given = boot_guest.guest_image({CFG: text, **(files or {})}, volumes=(BTRFS,), root=BTRFS)
    given.linux.tree.filesystem = Subvolumes()
    return given


def test_subvolumes_that_are_there_are_kept() -> None:
    assert linux_guest.levels(fstab, table(GOOD)) == ["kept"]
    by_number = GOOD.replace("subvol=/@home", "subvolid=257").replace("subvol=@ ", "subvolid=0x100 ")
    assert linux_guest.levels(fstab, table(by_number)) == ["kept"]


@pytest.mark.parametrize("options", ["subvol=@srv", "subvolid=300", "subvol=@home/x", "subvolid=five"])
def test_a_mount_of_a_subvolume_that_is_not_there_stops_the_boot(options: str) -> None:
    line = f"UUID={ROOT_UUID} /srv btrfs {options}"
    outcome = linux_guest.only(fstab, table(f"{GOOD}{line} 0 0\n"))
    assert linux_guest.level(fstab, outcome) == "error"
    assert "emergency mode" in outcome.message.en
    assert "紧急模式" in outcome.message.zh
    assert outcome.evidence[-1] == "subvolumes: / (5), /@ (256), /@home (257)"
    assert "sed -i '3s/^/#/' /etc/fstab" in linux_guest.remedy(outcome)
    outcome = linux_guest.only(fstab, table(f"{GOOD}{line},nofail 0 0\n"))
    assert linux_guest.level(fstab, outcome) == "warning"


def test_rootflags_that_name_the_systems_subvolume_are_kept() -> None:
    for flags in ("rootflags=subvol=@", "rootflags=compress=zstd,subvol=/@", "rootflags=subvolid=256"):
        assert boot_guest.levels(root, started(flags)) == ["kept"]


@pytest.mark.parametrize(
    ("arguments", "level", "words"),
    [
        ("rootflags=subvol=@root", "error", "names subvolume /@root"),
        ("rootflags=subvol=@ rootflags=subvolid=300", "error", "names subvolume 300"),
        ("", "error", "the default one (/)"),
        ("rootflags=subvol=@home", "warning", "starts subvolume /@home"),
    ],
)
def test_rootflags_that_lead_elsewhere_are_told(arguments: str, level: str, words: str) -> None:
    given = started(arguments, {"/usr/sbin/mkinitramfs": b"x"})
    assert boot_guest.levels(root, given) == ["kept", level]
    assert words in boot_guest.judge(root, given)[1].message.en


def test_the_remedy_leaves_no_other_rootflags_to_win(tmp_path: Path) -> None:
    """The kernel's last rootflags= counts, and the line in /etc/default/grub had the wrong one."""
    outcome = boot_guest.judge(root, started("rootflags=compress=lzo,subvol=@root"))[1]
    assert outcome.remedy is not None
    (file := tmp_path / "grub").write_text(
        'GRUB_CMDLINE_LINUX_DEFAULT="quiet rootflags=subvol=@root"\n'
        'GRUB_CMDLINE_LINUX="rootflags=compress=lzo,subvol=@root net.ifnames=0"\n'
    )
    command = outcome.remedy.en.partition(" && ")[0].replace("/etc/default/grub", str(file))
    subprocess.run(["sh", "-ec", command], check=True)
    assert file.read_text() == (
        'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\n'
        'GRUB_CMDLINE_LINUX="rootflags=compress=lzo,subvol=@  net.ifnames=0"\n'
    )
