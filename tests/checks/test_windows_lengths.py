"""However long a stranger's texts and lists are, what the rules of Windows say of them stays readable."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from fixtures.windows import bcd, boot_faults, cloudbase_faults, software
from fixtures.windows.disk import Windows
from fixtures.windows.hive import multi, sz
from imgtool.errors import CannotRead
from tests.checks import test_windows_remote_desktop as remote_desktop
from tests.checks.windows_guest import RULES, image, judge

LONG = "长" * 32_000
MANY = [f"driver{number}" for number in range(20_000)]
DISKS = "{4d36e967-e325-11ce-bfc1-08002be10318}"
Change = Callable[[Windows], None]


def long_release(made: Windows) -> None:
    boot_faults.client(made)
    made.software[software.VERSION].update(
        ProductName=sz(LONG), EditionID=sz(LONG), CSDVersion=sz(LONG), InstallationType=sz(LONG)
    )


def long_services(made: Windows) -> None:
    for name in ("viostor", "netkvm", "cdrom", "cloudbase-init"):
        made.service(name).update(ImagePath=sz(LONG), ObjectName=sz(LONG), DisplayName=sz(LONG))


def long_loader(made: Windows) -> None:
    elements = f"Objects\\{bcd.LOADER}\\Elements"
    for number in ("12000002", "12000004"):
        made.boot[f"{elements}\\{number}"] = {"Element": sz(LONG)}


def many_filters(made: Windows) -> None:
    for class_guid in (DISKS, "{4d36e965-e325-11ce-bfc1-08002be10318}"):
        made.system[f"{made.here}\\Control\\Class\\{class_guid}"] = {"UpperFilters": multi(*MANY)}


def many_kept_filters(made: Windows) -> None:
    key = f"{made.here}\\Control\\Class\\{DISKS}"
    made.system[key] = {"UpperFilters": multi("gone", *["partmgr"] * 20_000)}


def long_settings(made: Windows) -> None:
    made.software["Microsoft\\Windows\\CurrentVersion\\Setup\\State"]["ImageState"] = sz(LONG)
    made.software["Microsoft\\Windows NT\\CurrentVersion\\SoftwareProtectionPlatform"] = {
        "KeyManagementServiceName": sz("kms.core.windows.net" + LONG)
    }
    made.system[f"{made.here}\\Control\\TimeZoneInformation"].update(
        TimeZoneKeyName=sz(LONG), RealTimeIsUniversal="dword:1"
    )


def long_config(made: Windows) -> None:
    names = ",".join(f"cloudbaseinit.x.{name}" for name in MANY)
    cloudbase_faults.configure(made, "username=Administrator", f"username={LONG}\r\n{LONG}=1")
    cloudbase_faults.configure(made, "plugins=cloudbaseinit.plugins.windows.extend", f"plugins={names},cloud")


def block(number: int) -> str:
    return remote_desktop.ALLOW.replace("Allow", "Block") + f"Name={number}|"


CHANGES: list[Change] = [
    long_release,
    long_services,
    long_loader,
    many_filters,
    many_kept_filters,
    long_settings,
    long_config,
    remote_desktop.rules(**{f"rule{number}": block(number) for number in range(2000)}),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda it: it.__name__)
def test_what_is_said_of_it_is_short(change: Change) -> None:
    given = image("2016", change)
    said = 0
    for rule in RULES:
        with contextlib.suppress(CannotRead):
            for outcome in judge(rule, given):
                said += outcome.kind == "broken"
                assert len(outcome.message.en) < 2000, rule
                assert len(outcome.message.zh) < 2000, rule
                assert len(outcome.evidence) < 50, rule
                assert all(len(line) < 2000 for line in outcome.evidence), rule
                assert outcome.remedy is None or len(outcome.remedy.en) < 12_000, rule
    assert said
