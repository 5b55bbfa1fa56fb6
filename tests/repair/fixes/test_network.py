from __future__ import annotations

from pathlib import Path

import pytest

from tests.checks import test_network as rule_tests
from tests.checks.test_cloud_init import GOOD as CLOUD_INIT
from tests.repair.folder_guest import FolderGuest, mends

RULE = "linux.network"


@pytest.mark.parametrize("kind", rule_tests.STATIC)
@pytest.mark.parametrize("how", ["by DHCP", "by cloud-init"])
def test_a_static_address_goes_and_the_platforms_comes(tmp_path: Path, kind: str, how: str) -> None:
    base, path, text = rule_tests.STATIC[kind]
    cloud_init = CLOUD_INIT if how == "by cloud-init" else {}
    guest = FolderGuest(tmp_path, {**cloud_init, **base, path: text}, rule_tests.SECRET)
    mends(guest, RULE)
    assert "192.168.1.5" not in "".join(
        it.read_text(errors="replace") for it in (tmp_path / "etc").rglob("*") if it.is_file()
    )


def test_a_rule_that_gives_the_old_card_its_name_goes(tmp_path: Path) -> None:
    rules = "/etc/udev/rules.d/70-persistent-net.rules"
    line = f'SUBSYSTEM=="net", ATTR{{address}}=="{rule_tests.MAC}", NAME="eth0"\n'
    base, path, text = rule_tests.DHCP["ifcfg"]
    guest = FolderGuest(tmp_path, {**base, path: text, rules: line})
    mends(guest, RULE)
    assert not (tmp_path / rules.lstrip("/")).exists()
    assert guest.text(path) == text


def test_where_nobody_brings_the_network_up_a_file_asks_for_an_address(tmp_path: Path) -> None:
    guest = FolderGuest(tmp_path, {**rule_tests.NETPLAN}, force_import=True)
    mends(guest, RULE)
    assert "dhcp4: true" in guest.text("/etc/netplan/01-dhcp.yaml")


def test_network_settings_that_an_installer_left_to_cloud_init_go(tmp_path: Path) -> None:
    text, _ = rule_tests.LEFT["version 1, static"]
    runs = {"/usr/bin/cloud-init": (0o755, 0, 0)}
    guest = FolderGuest(tmp_path, {**CLOUD_INIT, rule_tests.CURTIN: text}, runs)
    mends(guest, RULE)
    assert not (tmp_path / rule_tests.CURTIN.lstrip("/")).exists()
