from __future__ import annotations

from pathlib import Path

import imgtool.checks.root as checks
import pytest

from imgtool.image import Image, Options
from imgtool.profiles import load_profile
from imgtool.rules import Finding, Severity, Status, run
from tests.disk.made import MIB, sparse, tool, write
from tests.guest.made_disks import UUIDS, Part, disk_file, system

OWN = f"UUID={UUIDS[0]} / ext4 defaults 0 1\n"
RULES = {rule.id: rule for rule in (checks.root, checks.root_last)}


def judge(path: Path, rule: str = "disk.root") -> Finding:
    with Image(path, load_profile("tce"), Options(engine="native")) as image:
        (finding,) = run(image, RULES, [rule])
    return finding


def test_a_disk_with_a_system_passes_and_says_where_it_is(tmp_path: Path) -> None:
    found = judge(disk_file(tmp_path, Part(system(OWN)), Part({}, "swap")))
    assert (found.status, found.message.en) == (Status.PASS, "A Linux system is on partition 1 (ext4).")
    assert found.evidence == ("partition 1: ext4, a Linux system", "partition 2: swap")


def test_a_second_system_is_a_warning_that_says_which_one_is_judged(tmp_path: Path) -> None:
    found = judge(disk_file(tmp_path, Part(system(OWN)), Part(system())))
    assert (found.status, found.severity, found.platform_code) == (Status.WARN, Severity.WARNING, None)
    assert "A Linux system is on partition 1 (ext4); it is the one" in found.message.en
    assert "Other systems: partition 2 (Linux)" in found.message.en


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Part({"data/x": "x"}), "looks like a data disk"),
        (Part({"vmlinuz-6.1": "x", "grub/grub.cfg": "x"}), "Only a boot partition"),
        (Part({"LiveOS/squashfs.img": "x"}), "installation medium"),
        (Part({}, "nothing"), "is empty"),
    ],
)
def test_a_disk_without_a_system_fails_and_says_which_mistake_it_looks_like(
    part: Part, words: str, tmp_path: Path
) -> None:
    found = judge(disk_file(tmp_path, part))
    assert (found.status, found.platform_code) == (Status.FAIL, "RootPartitionNotFound")
    assert words in found.message.en
    assert found.remedy is not None


def test_a_root_that_may_be_on_a_volume_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    path = disk_file(tmp_path, Part({"vmlinuz-6.1": "x", "grub/grub.cfg": "x"}), Part({}, "nothing"))
    tool("mkfs.f2fs", "-q", "-f", volume := sparse(tmp_path / "f2fs", 64 * MIB))
    write(path, 25 * MIB, volume.read_bytes()[: 4 * MIB])
    found = judge(path)
    assert found.status is Status.UNKNOWN
    assert "no reader for f2fs" in found.message.en


def test_a_damaged_superblock_makes_it_unknown_and_not_absent(tmp_path: Path) -> None:
    path = disk_file(tmp_path, Part(system(OWN), options=("-O", "metadata_csum")))
    write(path, MIB + 1024 + 0x78, b"flipped")
    found = judge(path)
    assert found.status is Status.UNKNOWN
    assert "checksum" in found.message.en


def test_a_root_with_growpart_at_the_end_of_the_disk_can_grow(tmp_path: Path) -> None:
    found = judge(disk_file(tmp_path, Part(system(OWN, **{"usr/bin/growpart": "#!"}))), "disk.root.last")
    assert found.status is Status.PASS


def test_a_swap_partition_behind_the_root_stops_it_from_growing(tmp_path: Path) -> None:
    path = disk_file(tmp_path, Part(system(OWN, **{"usr/bin/growpart": "#!"})), Part({}, "swap"))
    found = judge(path, "disk.root.last")
    assert (found.status, found.severity) == (Status.WARN, Severity.INFO)
    assert "partition 2 lies behind the root (partition 1)" in found.message.en
    assert found.remedy is not None
    assert f"--format=raw -a {path} run : part-del /dev/sda 2" in found.remedy.en


def test_without_growpart_the_package_of_this_distribution_is_named(tmp_path: Path) -> None:
    found = judge(disk_file(tmp_path, Part(system(OWN, **{"usr/bin/apt-get": "#!"}))), "disk.root.last")
    assert (found.status, found.severity) == (Status.WARN, Severity.INFO)
    assert found.remedy is not None
    assert "cloud-guest-utils" in found.remedy.en
