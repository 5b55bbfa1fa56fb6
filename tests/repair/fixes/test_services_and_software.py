"""SSH, the power button, and software of other platforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.checks import test_shutdown as shutdown
from tests.checks import test_sshd as sshd
from tests.guest.memory_tree import Link
from tests.repair.folder_guest import FolderGuest, mends

MAIN = sshd.MAIN
WANTS = "/etc/systemd/system/multi-user.target.wants"
PLATFORM = "/etc/ssh/sshd_config.d/10-platform.conf"


@pytest.mark.parametrize(
    "changes",
    [
        {f"{WANTS}/ssh.service": None},
        {"/etc/systemd/system/ssh.service": Link("/dev/null")},
        {PLATFORM: "PermitRootLogin yes\nPasswordAuthentication no\n"},
        {PLATFORM: None, MAIN: "PermitRootLogin no\nPasswordAuthentication yes\n"},
        {
            MAIN: "ListenAddress 192.168.1.5\nListenAddress 192.168.1.6:22\nPermitRootLogin yes\n",
            PLATFORM: None,
        },
        {"/etc/ssh/ssh_host_ed25519_key": None},
        {PLATFORM: "PermitRootLogin yes\nAllowUsers deploy\n"},
        {PLATFORM: "PermitRootLogin yes\nDenyGroups ssh-users\n"},
    ],
    ids=[
        *("not enabled", "masked", "no passwords", "no root", "old addresses", "no host keys"),
        *("others allowed", "a group denied"),
    ],
)
def test_sshd_lets_people_in_again(tmp_path: Path, changes: dict[str, Any]) -> None:
    mends(FolderGuest(tmp_path, {**sshd.SSHD, **changes}, force_import=True), "linux.sshd")


@pytest.mark.parametrize(
    "changes",
    [
        {**shutdown.LOGIND, "/etc/systemd/logind.conf": "[Login]\n HandlePowerKey = ignore\n"},
        {**shutdown.LOGIND, "/etc/systemd/system/systemd-logind.service": Link("/dev/null")},
        {
            **shutdown.ACPID,
            "/lib/systemd/systemd": None,
            "/sbin/init": b"\x7fELF",
            "/etc/acpi/events/power.conf": "event=battery.*\n",
        },
        {
            **shutdown.ACPID,
            "/lib/systemd/systemd": None,
            "/sbin/init": b"\x7fELF",
            "/etc/rc3.d/S26acpid": None,
            "/etc/rc3.d/S10other": "",
        },
    ],
    ids=["key ignored", "logind masked", "no rule", "acpid off"],
)
def test_the_power_button_is_acted_on_again(tmp_path: Path, changes: dict[str, Any]) -> None:
    mends(FolderGuest(tmp_path, changes), "linux.acpi")


def test_a_foreign_agent_is_kept_from_starting(tmp_path: Path) -> None:
    unit = "/lib/systemd/system/walinuxagent.service"
    changes = {
        "/usr/sbin/waagent": "#!/usr/bin/python3\n",
        unit: "[Unit]\n",
        f"{WANTS}/walinuxagent.service": Link(unit),
    }
    guest = FolderGuest(tmp_path, changes)
    mends(guest, "linux.conflicting-software")
    assert (tmp_path / "etc/systemd/system/walinuxagent.service").readlink() == Path("/dev/null")
