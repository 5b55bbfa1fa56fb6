"""What an image is for decides what is judged: import, migration, data disk; forced; a declared boot mode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from fixtures import cache, golden, images
from fixtures.sparse import copy
from imgtool.image import Options
from imgtool.judging import Request, judge
from imgtool.profiles import load_profile
from imgtool.report.model import ImageReport
from imgtool.rules import Severity, Status, discover

pytestmark = pytest.mark.slow

OF_FILE_AND_DISK = ("image.", "disk.")
WARNED = (Status.FAIL, Status.WARN)


def judged(name: str, **options: Any) -> ImageReport:
    return judge(images.path(name), Request(load_profile("tce"), discover(), options=Options(**options)))


def said(report: ImageReport) -> Mapping[str, Severity]:
    return {it.id: it.severity for it in report.findings if it.status in WARNED}


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("debian12-bios", {"target": "migrate"}, {}),
        ("debian12-bios", {"target": "migrate", "boot_mode": "bios"}, {}),
        ("debian12-bios", {"target": "migrate", "boot_mode": "uefi"}, {"disk.boot-mode": "error"}),
        ("debian12-uefi", {"target": "migrate"}, {"disk.partition-table.allowed": "error"}),
        ("debian12-bios", {"boot_mode": "bios"}, {}),
        ("debian12-bios", {"boot_mode": "uefi"}, {"disk.boot-mode": "error"}),
        ("debian12-uefi", {"boot_mode": "uefi"}, {}),
        ("debian12-uefi", {"boot_mode": "bios"}, {"disk.boot-mode": "error"}),
        ("debian12-lvm-xfs", {"boot_mode": "bios"}, {}),
        ("debian12-bios", {"target": "data-disk"}, {"disk.root": "warning"}),
        ("layout/data-disk", {"target": "data-disk"}, {}),
        ("layout/gpt", {"target": "data-disk"}, {}),
        ("layout/whole-disk-ext4", {"target": "data-disk"}, {}),
        ("layout/lvm-two-pvs", {"target": "data-disk"}, {}),
        ("layout/luks-partition", {"target": "data-disk"}, {}),
        ("layout/md-raid-member", {"target": "data-disk"}, {"disk.other-disks": "warning"}),
        ("layout/data-disk", {"target": "migrate"}, {"disk.root": "error"}),
    ],
    ids=lambda value: (
        " ".join(map(str, value.values())) or "nothing" if isinstance(value, dict) else str(value)
    ),
)
def test_what_is_found_depends_on_what_the_image_is_for(
    name: str, options: dict[str, Any], expected: dict[str, str]
) -> None:
    report = judged(name, **options)
    assert {rule: level.value for rule, level in said(report).items()} == expected
    assert report.verdict == ("fail" if "error" in expected.values() else "pass")


def test_a_migration_of_a_disk_that_starts_by_uefi_wants_an_instance_that_does() -> None:
    """Only on an MBR, which a migration takes; what a GPT needs another rule says."""
    with cache.scratch() as folder:
        disk = folder / "disk.raw"
        copy(images.path("debian12-uefi"), disk)
        esp, root = golden.START // 512, golden.UEFI_ROOT // 512
        golden.sfdisk(
            disk, "label: dos", f"start={esp}, size={root - esp}, type=ef", f"start={root}, type=83"
        )
        request = Request(load_profile("tce"), discover(), options=Options(target="migrate"))
        assert said(judge(disk, request)) == {"disk.boot-mode": Severity.WARNING}
        request = Request(
            load_profile("tce"), discover(), options=Options(target="migrate", boot_mode="uefi")
        )
        assert said(judge(disk, request)) == {}


def test_of_a_data_disk_only_the_file_and_the_disk_are_judged() -> None:
    ids = {finding.id for finding in judged("debian12-bios", target="data-disk").findings}
    assert ids
    assert all(it.startswith(OF_FILE_AND_DISK) for it in ids)
    assert {"disk.boot-mode", "disk.encrypted", "disk.root.last", "disk.filesystem.space"}.isdisjoint(ids)


def test_a_migration_keeps_the_machines_identity() -> None:
    assert "linux.identity" not in {it.id for it in judged("debian12-bios", target="migrate").findings}


def test_a_system_on_a_data_disk_is_no_missing_root() -> None:
    (finding,) = [it for it in judged("debian12-bios", target="data-disk").findings if it.status in WARNED]
    assert finding.platform_code is None
