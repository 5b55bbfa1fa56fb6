"""Where its evidence can't be read, a rule is unknown: one place of a good guest's filesystem is damaged.

Together with test_distributions (a good image passes, a change fails) each rule for Linux is shown all three.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import cache
from fixtures.distributions.all import DISTRIBUTIONS
from fixtures.distributions.build import build
from imgtool.image import Options
from imgtool.judging import Request, judge
from imgtool.profiles import load_profile
from imgtool.report.model import ImageReport
from imgtool.rules import Status, discover

RULES = discover()
LINUX = sorted(rule.id for rule in RULES.values() if rule.id.startswith("linux."))
REQUEST = Request(load_profile("tce"), RULES)
FORCED = Request(load_profile("tce"), RULES, options=Options(force_import=True))
NAME = "debian-10"  # ext4 with checksums, one partition
START = 2048 * 512
# What to damage, a folder's names or a file's inode, and the rules that are to be unknown then.
DAMAGE = {
    "/boot/grub": {"linux.bootloader", "linux.bootloader.root", "linux.bootloader.console"},
    "/lib/modules": {"linux.kernel", "linux.virtio.kernel", "linux.virtio.initramfs", "linux.virtio.loading"},
    "/usr/lib": {"linux.distribution", "linux.architecture"},
    "/usr/bin": {"linux.cloud-init.installed", "linux.selinux"},
    "/etc/cloud": {"linux.cloud-init.enabled", "linux.cloud-init.datasource", "linux.cloud-init.modules"},
    "/etc/systemd": {"linux.acpi", "linux.init", "linux.network", "linux.cloud-init.enabled"},
    "/etc/ssh": {"linux.sshd", "linux.identity"},
    "/var/lib": {"linux.cloud-init.cache", "linux.conflicting-software"},
    "/etc/fstab": {"linux.fstab", "linux.fstab.data-disk", "linux.fstab.device-names"},
    "/etc/shadow": {"linux.key-files"},
    "/etc/adjtime": {"linux.clock"},
}
BEYOND = {"linux.lvm"}  # unknown for a filter that is not understood: tests/checks/test_lvm.py
DAMAGE_FORCED = {"/etc/systemd": {"linux.force-import.script"}}


def asked(filesystem: Path, command: str) -> str:
    done = subprocess.run(["debugfs", "-R", command, filesystem], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def good() -> Iterator[Path]:
    """A good disk, and beside it its filesystem alone, which debugfs reads."""
    with cache.scratch() as folder:
        disk, filesystem = folder / "good.raw", folder / "filesystem"
        build(disk, DISTRIBUTIONS[NAME], lambda tree, _: tree.write("/etc/adjtime", "0 0 0\n0\nUTC\n"))
        with disk.open("rb") as source, filesystem.open("wb") as target:
            source.seek(START)
            shutil.copyfileobj(source, target)
        yield disk


def damaged(good: Path, path: str) -> Path:
    """The disk with a folder's names, or a file's inode, overwritten."""
    filesystem, disk = good.with_name("filesystem"), good.with_name("damaged.raw")
    shutil.copy(good, disk)
    size = int(asked(filesystem, "stats -h").split("Block size:")[1].split()[0])
    if "Type: directory" in asked(filesystem, f"stat {path}"):
        places = [(int(block) * size, size) for block in asked(filesystem, f"blocks {path}").split()]
    else:  # "Inode 123 is part of block group 0 / located at block 77, offset 0x0a00"
        words = asked(filesystem, f"imap {path}").replace(",", "").split()
        block, offset = int(words[words.index("block", 8) + 1]), int(words[-1], 16)
        places = [(block * size + offset + 40, 24)]  # where its data is
    with disk.open("r+b") as file:
        for at, length in places:
            file.seek(START + at)
            file.write(b"\xff" * length)
    return disk


def unknown(report: ImageReport) -> set[str]:
    return {it.id for it in report.findings if it.status is Status.UNKNOWN}


@pytest.mark.parametrize(
    ("path", "rules", "request_"),
    [(path, rules, REQUEST) for path, rules in DAMAGE.items()]
    + [(path, rules, FORCED) for path, rules in DAMAGE_FORCED.items()],
    ids=[*DAMAGE, *(f"{path}-forced" for path in DAMAGE_FORCED)],
)
def test_what_cannot_be_read_is_unknown_and_never_a_fault(
    good: Path, path: str, rules: set[str], request_: Request
) -> None:
    report = judge(damaged(good, path), request_)
    assert rules <= unknown(report)
    assert [(it.id, it.message.en) for it in report.findings if it.status is Status.FAIL] == []


@pytest.fixture(scope="module")
def reports(good: Path) -> list[ImageReport]:
    """On the good disk, by an ordinary and by a forced import, and on one with SELinux and LVM."""
    other = good.with_name("centos-7.raw")
    build(other, DISTRIBUTIONS["centos-7"])
    return [judge(good, REQUEST), judge(good, FORCED), judge(other, REQUEST)]


@pytest.mark.parametrize("rule", LINUX)
def test_every_rule_for_linux_passes_and_is_left_open(reports: list[ImageReport], rule: str) -> None:
    """That each fails somewhere is test_distributions' to say."""
    assert Status.PASS in {it.status for report in reports for it in report.findings if it.id == rule}
    assert rule in BEYOND.union(*DAMAGE.values(), *DAMAGE_FORCED.values())
