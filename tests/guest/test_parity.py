"""Both engines say the same of every image: facts and findings, word for word, but for what is written here.

All images are drives of two appliances, so that the whole takes two starts. docs/decisions.md tells of the
differences.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from fixtures import cache, images
from imgtool.appliance import appliance, drive_of
from imgtool.disk.probe import probe
from imgtool.facts import facts_of
from imgtool.guest.engine import Engine
from imgtool.guest.libguestfs import Appliance
from imgtool.image import Image, Options
from imgtool.lazy import fact
from imgtool.profiles import load_profile
from imgtool.rules import discover, run
from tests.disk.made import MIB, tool, write
from tests.guest.made_btrfs import made
from tests.guest.made_disks import UUIDS, Part, disk_file, system

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("parity")]

REAL = (
    "debian12-bios",
    "debian12-uefi",
    "debian12-lvm-xfs",
    "debian12-dracut",
    "debian11",
    "debian13",
)
SYNTHETIC = (
    "debian12-bios/filesystem-dirty",
    "debian12-bios/filesystem-errors",
    "debian12-bios/links-leave-the-root",
    "debian12-bios/folder-link-loop",
    "debian12-bios/os-release-huge",
    "layout/mbr-logical",
    "layout/gpt-hybrid",
    "layout/data-disk",
    "layout/boot-only",
    "layout/whole-disk-ext4",
    "layout/lvm-two-pvs",
    "layout/md-raid-member",
    "layout/luks-partition",
    "layout/fat-volumes",
    "layout/ntfs",
)
BLOCK = 1024  # of an ext4 as small as that
BTRFS = ("suse.img", "ubuntu.img", "compressed.img")


@pytest.fixture(scope="module")
def drives() -> Iterator[dict[str, tuple[Path, Appliance]]]:
    """Every image, with the appliance that has it."""
    with ExitStack() as ending:
        folder = ending.enter_context(cache.scratch())
        paths = {name: images.path(name) for name in REAL}
        paths |= {name: images.make(name, folder) for name in SYNTHETIC}
        paths |= {name: made() / name for name in BTRFS}
        paths |= {name: damage(folder / name.replace(" ", "-")) for name, damage in DAMAGED.items()}
        handle = ending.enter_context(appliance([drive_of(probe(path)) for path in paths.values()]))
        yield {
            name: (path, Appliance(handle, _device(number), number))
            for number, (name, path) in enumerate(paths.items())
        }


def _device(number: int) -> str:
    first, last = divmod(number, 26)
    return "/dev/sd" + (chr(ord("a") + first - 1) if first else "") + chr(ord("a") + last)


class Through(Image):
    """An image that is read through an appliance which has it already."""

    appliance: Appliance

    @fact
    def _engine(self) -> Engine:
        return Engine(self.file, self.disk, "libguestfs", self._open, started=self.appliance)


def said_of(image: Image) -> dict[str, Any]:
    """All that is reported: facts by name, findings by rule in their order."""
    findings = run(image, discover())
    facts, unread = facts_of(image, whole=True)
    told: dict[str, Any] = {f"fact {name}": value for name, value in facts.items()}
    told |= {f"unread {name}": why for name, why in unread.items()}
    for finding in findings:
        told.setdefault(finding.id, []).append(
            (finding.status, finding.severity, finding.message, finding.evidence, finding.remedy)
        )
    return told


def damaged_ext4(folder: Path) -> Path:
    """A system whose /etc is overwritten."""
    folder.mkdir()
    disk = disk_file(
        folder, Part(system(f"UUID={UUIDS[0]} / ext4 defaults 0 1\n"), options=("-O", "^has_journal"))
    )
    volume = folder / "volume"
    volume.write_bytes(disk.read_bytes()[MIB:])
    said = tool("debugfs", "-R", "blocks /etc", volume)
    block = int(said.split()[0])
    write(disk, MIB + block * BLOCK, b"\x5a" * BLOCK)
    return disk


def damaged_btrfs(folder: Path) -> Path:
    """A btrfs both copies of whose root tree are overwritten."""
    from imgtool.disk.blocks import RawBlocks
    from imgtool.guest.btrfs import Btrfs

    folder.mkdir()
    disk = folder / "damaged.img"
    shutil.copyfile(made() / "dup-1.img", disk)
    with RawBlocks(disk) as blocks:
        store = Btrfs(blocks)._store
        root, size = store.superblock.root, store.superblock.node_size
        places = [place for mirror in (0, 1) for place in store.chunks._places(root, size, mirror)]
    for _, _, offset, length in places:
        write(disk, offset, bytes(length))
    return disk


DAMAGED = {"damaged ext4": damaged_ext4, "damaged btrfs": damaged_btrfs}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_leaves_both_undecided_each_in_its_own_words(
    name: str, drives: dict[str, tuple[Path, Appliance]]
) -> None:
    path, there = drives[name]
    with Image(path, load_profile("tce"), Options(engine="native")) as image:
        native = image.search
    with Through(path, load_profile("tce"), Options(engine="libguestfs")) as image:
        image.appliance = there
        other = image.search
    for search in (native, other):
        assert search.root is None
        ((volume, why),) = search.unreadable
        assert volume.signature.type == name.split()[1]
        assert why.en != why.zh


@pytest.mark.parametrize("name", [*REAL, *SYNTHETIC, *BTRFS])
def test_both_engines_say_the_same(name: str, drives: dict[str, tuple[Path, Appliance]]) -> None:
    path, there = drives[name]
    with Image(path, load_profile("tce"), Options(engine="native")) as image:
        native = said_of(image)
    with Through(path, load_profile("tce"), Options(engine="libguestfs")) as image:
        image.appliance = there
        other = said_of(image)
    assert native.keys() == other.keys()
    differing = [key for key in native if native[key] != other[key]]
    assert {key: (native[key], other[key]) for key in differing} == {}
