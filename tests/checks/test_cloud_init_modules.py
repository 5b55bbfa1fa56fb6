from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from imgtool.checks.cloud_init_modules import ACTIONS, modules

from imgtool.guest.cloud_config import parse_mapping
from tests.checks.linux_guest import image, judge, level, levels, only, remedy
from tests.checks.test_cloud_init import GOOD

CFG = "/etc/cloud/cloud.cfg"
WHOLE = """\
users: [default]
unverified_modules: [resolv_conf]
cloud_init_modules:
 - bootcmd
 - write-files
 - resolv_conf
 - users-groups
 - ssh
cloud_config_modules:
 - [set-passwords, always]
 - ntp
 - runcmd
cloud_final_modules:
   - scripts-user
"""


def cloud(text: str = WHOLE, more: dict[str, Any] | None = None, **how: Any) -> Any:
    return image({**GOOD, CFG: text, **(more or {})}, **how)


def test_with_every_module_listed_all_is_done() -> None:
    assert levels(modules, cloud()) == ["kept"]
    assert levels(modules, cloud(WHOLE.replace("set-passwords", "cc_set_passwords"))) == ["kept"]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.module)
def test_a_module_that_is_turned_off_is_told_and_put_back(action: Any, tmp_path: Path) -> None:
    text = "\n".join(line for line in WHOLE.splitlines() if action.module not in line) + "\n"
    outcome = only(modules, cloud(text))
    assert level(modules, outcome) == "warning"
    assert action.what.en in outcome.message.en
    assert action.what.zh in outcome.message.zh
    assert f"{action.stage}: no {action.module}" in outcome.evidence[0]
    file = tmp_path / "cloud.cfg"
    file.write_text(text)
    command = remedy(outcome).splitlines()[-1].replace(CFG, str(file))
    subprocess.run(["sh", "-ec", command], check=True)
    assert levels(modules, cloud(file.read_text())) == ["kept"]


def test_a_list_on_one_line_is_mended_on_its_line(tmp_path: Path) -> None:
    text = WHOLE.replace(
        "cloud_config_modules:\n - [set-passwords, always]\n - ntp\n - runcmd\n",
        "cloud_config_modules: [ntp, runcmd]\n",
    )
    file = tmp_path / "cloud.cfg"
    file.write_text(text)
    command = remedy(only(modules, cloud(text))).splitlines()[-1].replace(CFG, str(file))
    subprocess.run(["sh", "-ec", command], check=True)
    assert parse_mapping(file.read_text())[0]["cloud_config_modules"] == ["set-passwords", "ntp", "runcmd"]


def test_a_comment_that_names_the_list_is_not_taken_for_it(tmp_path: Path) -> None:
    text = WHOLE.replace("cloud_final_modules:\n   - scripts-user\n", "# the cloud_final_modules: are gone\n")
    file = tmp_path / "cloud.cfg"
    file.write_text(text)
    command = remedy(only(modules, cloud(text))).splitlines()[-1].replace(CFG, str(file))
    subprocess.run(["sh", "-ec", command], check=True)
    assert parse_mapping(file.read_text())[0]["cloud_final_modules"] == ["scripts-user"]


def test_a_later_file_counts_and_is_named() -> None:
    later = {"/etc/cloud/cloud.cfg.d/99-less.cfg": "cloud_final_modules: [final-message]\n"}
    outcome = only(modules, cloud(more=later))
    assert outcome.evidence == ("/etc/cloud/cloud.cfg.d/99-less.cfg:1: cloud_final_modules: no scripts-user",)


def test_the_host_name_and_the_network_can_be_kept_from_it() -> None:
    outcome = only(modules, cloud(WHOLE + "preserve_hostname: true\n"))
    assert "host name" in outcome.message.en
    off = {"/etc/cloud/cloud.cfg.d/99-net.cfg": "network: {config: disabled}\n"}
    outcome = only(modules, cloud(more=off))
    assert remedy(outcome).endswith("rm /etc/cloud/cloud.cfg.d/99-net.cfg")
    assert levels(modules, cloud(arguments="ro network-config=disabled")) == ["warning"]


def test_a_file_that_an_upgrade_left_keeps_the_network_from_it_whatever_is_configured() -> None:
    left = {"/var/lib/cloud/data/upgraded-network": ""}
    outcome = only(modules, cloud(more=left))
    assert outcome.evidence == tuple(left)
    assert remedy(outcome).endswith("rm /var/lib/cloud/data/upgraded-network")


OFF = "network: {config: disabled}\n"


def test_dns_is_told_only_where_cloud_init_leaves_the_network_alone() -> None:
    for text in (" - resolv_conf\n", "unverified_modules: [resolv_conf]\n"):
        assert levels(modules, cloud(WHOLE.replace(text, ""))) == ["kept"]
        assert levels(modules, cloud(WHOLE.replace(text, "") + OFF)) == ["warning", "info"]
    assert levels(modules, cloud(WHOLE + OFF)) == ["warning"]


@pytest.mark.parametrize("indent", ["", " ", "  ", "    "])
def test_the_remedy_for_dns_leaves_the_list_a_list_whatever_its_indent(indent: str, tmp_path: Path) -> None:
    names = ["bootcmd", "write-files", "users-groups", "ssh"]
    text = "cloud_init_modules:\n" + "".join(f"{indent}- {name}\n" for name in names)
    text += WHOLE[WHOLE.index("cloud_config_modules") :] + OFF
    redhat = {"/etc/os-release": 'ID="rocky"\nVERSION_ID="9.4"\nID_LIKE="rhel centos fedora"\n'}
    (_, outcome) = judge(modules, cloud(text, redhat))
    file = tmp_path / "cloud.cfg"
    file.write_text(text)
    command = remedy(outcome).splitlines()[-1].replace(CFG, str(file))
    subprocess.run(["sh", "-ec", command], check=True)
    assert parse_mapping(file.read_text())[0]["cloud_init_modules"] == ["resolv_conf", *names]


def test_what_red_hat_does_not_list_itself_nobody_turned_off() -> None:
    redhat = {"/etc/os-release": 'ID="centos"\nVERSION_ID="7"\nID_LIKE="rhel"\n'}
    assert levels(modules, cloud(WHOLE.replace(" - ntp\n", ""), redhat)) == ["kept"]
    assert levels(modules, cloud(WHOLE.replace(" - ntp\n", ""))) == ["warning"]


def test_a_module_that_this_version_does_not_have_can_not_be_listed() -> None:
    package = "/usr/lib/python3/dist-packages/cloudinit/config"
    names = [action.module.replace("-", "_") for action in ACTIONS if action.module != "ntp"]
    files = {f"{package}/cc_{name}.py": "" for name in names}
    (outcome, *_) = judge(modules, cloud(WHOLE.replace(" - ntp\n", ""), files))
    assert "has no module ntp" in outcome.message.en
    assert level(modules, outcome) == "info"


def test_without_any_list_and_in_a_forced_import_it_has_nothing_to_judge() -> None:
    assert levels(modules, cloud("users: [default]\n")) == ["not judged"]
    assert levels(modules, cloud(force_import=True)) == ["not judged"]
