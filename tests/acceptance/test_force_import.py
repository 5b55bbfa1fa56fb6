"""A forced import of a real disk: cloud-init is not asked for, a script of the guest's own is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import cache, images
from fixtures.sparse import copy
from fixtures.variants.guest import ROOTS, Guest
from imgtool.image import Options
from imgtool.judging import Request, judge
from imgtool.profiles import load_profile
from imgtool.report.model import ImageReport
from imgtool.rules import Status, discover

pytestmark = pytest.mark.slow

SCRIPT = """\
#!/bin/sh
mkdir -p /run/config-2 && mount -o ro /dev/disk/by-label/config-2 /run/config-2
. /run/config-2/qcloud_action/os.conf
echo "root:$password" | chpasswd -e
hostname "$hostname"
printf 'nameserver %s\\n' $dns_nameserver > /etc/resolv.conf
ip addr add "$eth0_ip_addr/18" dev eth0
"""
UNIT = "[Service]\nType=oneshot\nExecStart=/usr/local/sbin/os-config\n[Install]\nWantedBy=multi-user.target\n"


def without_script(guest: Guest) -> None:
    """cloud-init's program is gone."""
    edit = guest.edit()
    edit.remove("/usr/bin/cloud-init")
    edit.apply()


def with_script(guest: Guest) -> None:
    """In its place, the set-up script."""
    edit = guest.edit()
    edit.remove("/usr/bin/cloud-init")
    edit.write("/usr/local/sbin/os-config", SCRIPT.encode(), mode=0o755)
    edit.write("/etc/systemd/system/os-config.service", UNIT.encode())
    edit.symlink("/etc/systemd/system/multi-user.target.wants/os-config.service", "../os-config.service")
    edit.apply()


def judged(path: Path) -> ImageReport:
    options = Options(force_import=True)
    return judge(path, Request(load_profile("tce"), discover(), options=options))


@pytest.mark.parametrize(
    ("change", "expected"),
    [(without_script, {"linux.force-import.script"}), (with_script, set())],
    ids=["without a script", "with one"],
)
def test_a_disk_without_cloud_init_needs_the_script(
    change: Callable[[Guest], None], expected: set[str]
) -> None:
    source = images.path("debian12-bios")
    with cache.scratch() as folder:
        copy(source, folder / "disk.raw")
        change(Guest(folder / "disk.raw", {}, ROOTS["debian12-bios"]))
        report = judged(folder / "disk.raw")
    assert {it.id for it in report.findings if it.status is Status.FAIL} == expected
    skipped = {it.id for it in report.findings if it.status is Status.SKIP}
    assert {
        "linux.cloud-init.installed",
        "linux.cloud-init.enabled",
        "linux.cloud-init.datasource",
    } <= skipped
