"""Good systems come up on the platform's hardware, take what the platform hands them, and shut down.

One boot proves all of it; the second boot is shown for one system.
"""

from __future__ import annotations

import pytest

from fixtures import images
from imgtool.report.model import ImageReport
from imgtool.report.text import layout, plain
from tests.rehearsal.rehearsing import not_passed, of, passed, rehearse

GROUPS = {
    "debian12-bios": "rehearsal-1",
    "debian12-uefi": "rehearsal-1",
    "debian12-lvm-xfs": "rehearsal-2",
    "debian12-dracut": "rehearsal-2",
}
TWICE = "debian12-bios"
ALL = {
    *("firmware", "loader", "kernel", "root", "login", "first-boot", "devices", "network", "hostname"),
    *("password", "key", "services", "shutdown"),
}
pytestmark = pytest.mark.slow
_reports: dict[str, ImageReport] = {}


def rehearsal_of(name: str) -> ImageReport:
    """One for all tests of this process."""
    if name not in _reports:
        _reports[name] = rehearse(images.path(name), second_boot=name == TWICE)
    return _reports[name]


def grouped(*names: str) -> list[object]:
    return [pytest.param(name, marks=pytest.mark.xdist_group(GROUPS[name])) for name in names]


@pytest.mark.parametrize("name", grouped(*GROUPS))
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
