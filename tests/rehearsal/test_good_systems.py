"""Good systems come up on the platform's hardware, take what the platform hands them, and shut down.

One boot proves all of it, also of what our own writer compressed and of what `imgtool fix` put into a dracut
initramfs; the second boot is shown for one system.
"""

from __future__ import annotations

import pytest

from fixtures import cache, images
from imgtool.convert.engine import Request, convert
from imgtool.profiles import load_profile
from imgtool.report.model import ImageReport
from imgtool.report.text import layout, plain
from tests.rehearsal.rehearsing import ALL, not_passed, of, passed, rehearse
from tests.repair import lz4_dracut

SYSTEMS = ("debian12-bios", "debian12-uefi", "debian12-lvm-xfs", "debian12-dracut")
TWICE = "debian12-bios"
PACKED = "debian12-lvm-xfs"
MENDED = "debian12-dracut"
pytestmark = pytest.mark.slow
_reports: dict[str, ImageReport] = {}


def rehearsal_of(name: str) -> ImageReport:
    """One for all tests of this process."""
    if name not in _reports:
        with cache.scratch() as folder:
            if name == PACKED:
                path = folder / "packed.qcow2"
                convert(images.path(name), path, Request(to="qcow2", compress=True), load_profile("tce"))
            else:
                path = lz4_dracut.mended(folder) if name == MENDED else images.path(name)
            _reports[name] = rehearse(path, second_boot=name == TWICE, as_is=name == TWICE)
    return _reports[name]


def grouped(*names: str) -> list[object]:
    """A group for each system, whose tests share a boot."""
    return [pytest.param(name, marks=pytest.mark.xdist_group(f"rehearsal {name}")) for name in names]


@pytest.mark.parametrize("name", grouped(*SYSTEMS))
def test_a_good_system_rehearses_to_all_pass(name: str) -> None:
    report = rehearsal_of(name)
    print(plain(layout(report, "en", 110, verbose=True)))
    assert not_passed(report) == []
    assert report.verdict == "pass"
    assert passed(report) >= ALL


@pytest.mark.parametrize("name", grouped(TWICE))
def test_what_was_handed_over_is_told_from_inside(name: str) -> None:
    report = rehearsal_of(name)
    assert of(report, "rehearsal.devices").evidence == ("/sys/block: vda", "/sys/class/net: eth0")
    assert "172.16.0.15" in of(report, "rehearsal.network").evidence[0]
    assert "ConfigDrive" in of(report, "rehearsal.first-boot").evidence[0]
    (hostname,) = of(report, "rehearsal.hostname").evidence
    assert hostname in of(report, "rehearsal.second-boot").evidence[0]
    kernel, login = of(report, "rehearsal.kernel"), of(report, "rehearsal.login")
    assert "cloud-amd64" in kernel.message.en
    assert kernel.time_s is not None
    assert login.time_s is not None
    assert 0 < kernel.time_s < login.time_s


@pytest.mark.parametrize("name", grouped(TWICE))
def test_the_record_has_both_screens_and_the_consoles_end(name: str) -> None:
    record = rehearsal_of(name).boot
    assert record is not None
    assert record.boots == 2
    assert [picture.png[:4] for picture in record.pictures] == [b"\x89PNG"] * 2
    assert record.console


@pytest.mark.parametrize("name", grouped(PACKED))
def test_a_system_starts_from_what_was_written_compressed(name: str) -> None:
    report = rehearsal_of(name)
    assert report.facts["format"] == "qcow2"
    assert passed(report) >= {"loader", "root", "login"}


@pytest.mark.parametrize("name", grouped(MENDED))
def test_dracuts_initramfs_in_lz4_boots_with_the_drivers_in_one_more_block(name: str) -> None:
    assert passed(rehearsal_of(name)) >= {"kernel", "root", "login"}
