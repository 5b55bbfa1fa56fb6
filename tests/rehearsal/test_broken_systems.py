"""A system that does not boot, or is not set up, fails with the rule that the static check names."""

from __future__ import annotations

import subprocess

import pytest

from fixtures import cache, images
from fixtures.pytest_plugin import ImageByName
from imgtool.report.text import layout, plain
from tests.cli.running import IMGTOOL, environment
from tests.rehearsal.rehearsing import failed, not_passed, of, passed, rehearse

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        "debian12-bios/no-virtio-initramfs",
        "debian12-bios/root-dev-sda1",
        "debian12-dracut/no-virtio-in-dracuts-initramfs",
        "debian12-bios/fstab-vdb1",
        "debian12-bios/not-bootable",
        "debian12-bios/initramfs-missing",
        "debian12-bios/kernel-missing",
        "debian12-bios/grub-cfg-missing",
        "debian12-bios/datasource-no-configdrive",
    ],
)
def test_a_boot_fails_under_the_name_of_the_static_check(image: ImageByName, name: str) -> None:
    (expected,) = images.recipe(name).expected or ()
    report = rehearse(image(name), timeout=20 if name.endswith("not-bootable") else 600)
    print(plain(layout(report, "en", 110, verbose=True)))
    assert failed(report) == [expected.rule]
    finding = of(report, expected.rule)
    assert (finding.platform_code or "") == expected.platform_code
    assert finding.evidence
    assert finding.remedy is not None
    assert finding.time_s is not None
    assert report.boot is not None
    assert report.boot.pictures, "a screenshot of the failure"


def test_a_forced_import_is_set_up_by_the_script_that_fix_lays_down() -> None:
    with cache.scratch() as folder:
        disk = images.make("debian12-bios/cloud-init-removed", folder)
        mended = folder / "mended.qcow2"
        command = [*IMGTOOL, "fix", "--force-import", str(disk), "-o", str(mended)]
        subprocess.run(command, timeout=800, check=True, env=environment())
        report = rehearse(mended, force_import=True, second_boot=False)
    print(plain(layout(report, "en", 110, verbose=True)))
    assert not_passed(report) == []
    assert passed(report) >= {"login", "first-boot", "hostname", "password", "network"}
    assert "172.16.0.15" in of(report, "rehearsal.network").evidence[0]
