from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from imgtool.checks.shutdown import clean_shutdown

from tests.checks.linux_guest import REDHAT, image, levels, only, remedy
from tests.guest.owned_tree import Link

LOGIND: dict[str, Any] = {
    "/lib/systemd/system/systemd-logind.service": "[Service]\n",
    "/lib/systemd/system/multi-user.target.wants/systemd-logind.service": Link("../systemd-logind.service"),
}
EVENT = "event=button[ /]power.*\naction=/etc/acpi/power.sh\n"
ACPID: dict[str, Any] = {
    "/sbin/init": "\x7fELF",
    "/etc/inittab": "id:3:initdefault:\n",
    "/etc/init.d/acpid": "#!/bin/sh\n",
    "/etc/rc3.d/S26acpid": Link("../init.d/acpid"),
    "/etc/acpi/events/power.conf": EVENT,
}
SYSV = {"without": ["/lib/systemd/systemd"]}


def test_logind_acts_on_the_button() -> None:
    assert levels(clean_shutdown, image(LOGIND)) == ["kept"]


def test_logind_that_is_told_to_ignore_the_button_does_not() -> None:
    files = {
        **LOGIND,
        "/etc/systemd/logind.conf": "[Login]\n#HandlePowerKey=poweroff\nHandlePowerKey=ignore\n",
    }
    outcome = only(clean_shutdown, image(files))
    assert levels(clean_shutdown, image(files)) == ["warning"]
    assert "/etc/systemd/logind.conf:3: HandlePowerKey=ignore" in outcome.evidence[0]
    assert remedy(outcome).endswith("HandlePowerKey=poweroff/' /etc/systemd/logind.conf")
    files["/etc/systemd/logind.conf.d/90-button.conf"] = "[Login]\nHandlePowerKey=poweroff\n"
    assert levels(clean_shutdown, image(files)) == ["kept"]


def test_acpid_with_a_rule_for_the_button_does_on_a_system_with_init_scripts() -> None:
    assert levels(clean_shutdown, image(ACPID, **SYSV)) == ["kept"]


@pytest.mark.parametrize("event", ["button/sleep.*", "battery.*", "(", ""])
def test_acpid_without_a_rule_for_the_button_does_not(event: str) -> None:
    files = {**ACPID, "/etc/acpi/events/power.conf": f"event={event}\n"}
    outcome = only(clean_shutdown, image(files, **SYSV))
    assert "no rule for button/power" in outcome.evidence[0]
    assert "> /etc/acpi/events/power" in remedy(outcome)


@pytest.mark.parametrize("event", [".*" * 60 + "Z", "[a-z/ ]*" * 24 + "Z"])
def test_a_rule_that_would_take_for_ever_to_match_is_not_tried(event: str) -> None:
    judge = "from imgtool.guest.power_button import _fits; import sys; _fits(sys.argv[1])"
    subprocess.run([sys.executable, "-c", judge, event], check=True, timeout=60)


def test_acpid_that_is_off_is_switched_on_and_one_that_is_absent_installed() -> None:
    off = only(clean_shutdown, image(ACPID, without=["/lib/systemd/systemd", "/etc/rc3.d/S26acpid"]))
    assert "update-rc.d acpid" in remedy(off)
    gone = only(
        clean_shutdown,
        image({**REDHAT, **ACPID}, without=[*SYSV["without"], *list(ACPID)[2:], "/usr/bin/apt-get"]),
    )
    assert "yum install -y acpid" in remedy(gone)


def test_acpi_off_is_taken_from_the_kernel_command_line() -> None:
    files = {**LOGIND, "/etc/default/grub": 'GRUB_CMDLINE_LINUX="acpi=off"\n'}
    outcome = only(clean_shutdown, image(files, arguments="ro acpi=off"))
    assert "update-grub" in remedy(outcome)
    assert levels(clean_shutdown, image(files, arguments="ro acpi=off")) == ["warning"]


def test_coreos_needs_nothing() -> None:
    coreos = {"/etc/os-release": "ID=coreos\nVERSION_ID=2512.3.0\n"}
    assert levels(clean_shutdown, image(coreos)) == ["not judged"]


def test_an_unknown_init_is_undecided() -> None:
    assert levels(clean_shutdown, image(without=["/sbin/init", "/lib/systemd/systemd"])) == ["undecided"]
