from __future__ import annotations

from typing import Any

import pytest
from imgtool.checks.force_import import script

from tests.checks.linux_guest import REDHAT, image, level, levels, only, remedy
from tests.checks.test_cloud_init import GOOD as CLOUD_INIT
from tests.guest.owned_tree import Link

# After the example of ref 02, shortened
SCRIPT = """\
#!/bin/bash
mount_path=$(mktemp -d /mnt/tmp.XXXX)
mount /dev/cdrom $mount_path
. $mount_path/qcloud_action/os.conf
echo "root:$password" | chpasswd -e
hostname "$hostname"
echo "nameserver $dns_nameserver" > /etc/resolv.conf
ip addr add "$eth0_ip_addr/24" dev eth0
"""
SYSV: dict[str, Any] = {
    **REDHAT,
    "/sbin/init": "\x7fELF",
    "/etc/inittab": "id:3:initdefault:\n",
    "/etc/init.d/os_config": SCRIPT,
}
LINK = {"/etc/rc3.d/S50os_config": Link("../init.d/os_config")}
OLD = {"without": ["/lib/systemd/systemd", "/usr/bin/apt-get"], "force_import": True}
PROGRAM = "/usr/local/sbin/os-config"
UNIT = {
    PROGRAM: SCRIPT,
    "/etc/systemd/system/os-config.service": f"[Service]\nType=oneshot\nExecStart={PROGRAM} start\n",
}
WANTED = {"/etc/systemd/system/multi-user.target.wants/os-config.service": Link("../os-config.service")}


def test_it_is_not_judged_unless_the_import_is_forced() -> None:
    assert levels(script, image()) == ["not judged"]


def test_without_a_script_the_import_would_give_a_dead_machine() -> None:
    outcome = only(script, image(force_import=True))
    assert level(script, outcome) == "error"
    assert "systemctl enable os_config.service" in remedy(outcome)
    assert "chkconfig --add os_config" in remedy(
        only(script, image(SYSV, **{**OLD, "without": [*OLD["without"], "/etc/init.d/os_config"]}))
    )


def test_an_init_script_that_is_started_is_right() -> None:
    outcome = only(script, image({**SYSV, **LINK}, **OLD))
    assert outcome.kind == "kept"
    assert outcome.evidence == ("/etc/init.d/os_config", "started by /etc/rc3.d/S50os_config")


def test_an_init_script_that_is_not_started_is_enabled() -> None:
    outcome = only(script, image(SYSV, **OLD))
    assert level(script, outcome) == "error"
    assert outcome.evidence == ("/etc/init.d/os_config: disabled",)
    assert remedy(outcome).endswith("chkconfig --add os_config && chkconfig os_config on")


def test_a_script_that_is_not_executable_is_made_so() -> None:
    owned = {"/etc/init.d/os_config": (0o644, 0, 0)}
    outcome = only(script, image({**SYSV, **LINK}, owned=owned, **OLD))
    assert "chmod +x /etc/init.d/os_config" in remedy(outcome)


def test_a_units_program_is_looked_at() -> None:
    assert levels(script, image({**UNIT, **WANTED}, force_import=True)) == ["kept"]
    outcome = only(script, image(UNIT, force_import=True))
    assert remedy(outcome).endswith("systemctl enable os-config.service")


@pytest.mark.parametrize(
    "files",
    [
        {"/etc/rc.local": SCRIPT, "/lib/systemd/system/rc-local.service": "[Unit]\n"},
        {
            "/etc/rc.local": "#!/bin/sh\n/opt/os-config.sh\n",
            "/opt/os-config.sh": SCRIPT,
            "/lib/systemd/system/rc-local.service": "[Unit]\n",
        },
        {"/etc/crontab": "@reboot root /opt/os-config.sh\n", "/opt/os-config.sh": SCRIPT},
    ],
    ids=["rc.local", "called by rc.local", "cron"],
)
def test_other_ways_of_running_at_boot_count(files: dict[str, Any]) -> None:
    assert levels(script, image(files, force_import=True)) == ["kept"]


def test_an_upstart_job_counts() -> None:
    files = {
        **SYSV,
        "/sbin/initctl": "\x7fELF",
        "/etc/init/os-config.conf": "start on runlevel [2345]\nscript\n" + SCRIPT + "end script\n",
    }
    assert levels(script, image(files, **OLD)) == ["kept"]


def test_a_comment_in_rc_local_runs_nothing() -> None:
    commented = "#!/bin/sh\n" + "".join(f"# {line}\n" for line in SCRIPT.splitlines())
    assert levels(script, image({"/etc/rc.local": commented}, force_import=True)) == ["error"]


@pytest.mark.parametrize(
    ("gone", "what"),
    [("chpasswd", "the password"), ("eth0_ip_addr", "the address"), ("dns_nameserver", "the DNS servers")],
)
def test_a_part_that_is_left_out_is_a_warning(gone: str, what: str) -> None:
    text = "\n".join(line for line in SCRIPT.splitlines() if gone not in line)
    outcome = only(script, image({**UNIT, PROGRAM: text, **WANTED}, force_import=True))
    assert level(script, outcome) == "warning"
    assert what in outcome.message.en


def test_a_script_that_reads_os_conf_from_elsewhere_is_no_such_script() -> None:
    text = "#!/bin/sh\n. /etc/os.conf\n"
    outcome = only(script, image({**UNIT, PROGRAM: text, **WANTED}, force_import=True))
    assert level(script, outcome) == "error"
    assert any("mounts no CD" in line for line in outcome.evidence)


def test_a_complete_cloud_init_does_instead() -> None:
    cloud = {**CLOUD_INIT, "/etc/cloud/cloud.cfg": "users: []\n"}
    assert levels(script, image(cloud, force_import=True)) == ["kept"]
    wrong = {**cloud, "/etc/cloud/cloud.cfg.d/90_dpkg.cfg": "datasource_list: [Azure]\n"}
    wrong["/etc/cloud/cloud.cfg.d/95.cfg"] = "datasource_list: [Azure]\n"
    assert levels(script, image(wrong, force_import=True)) == ["error"]


def test_an_unknown_init_is_undecided() -> None:
    given = image(without=["/sbin/init", "/lib/systemd/systemd"], force_import=True)
    assert levels(script, given) == ["undecided"]
