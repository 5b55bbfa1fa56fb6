from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from imgtool.checks.identity import identity

from tests.checks.linux_guest import image, judge, level, levels, only, remedy
from tests.checks.test_cloud_init import GOOD
from tests.guest.owned_tree import Link

ID = "3f0c9d1e2b4a5968778695a4b3c2d1e0"
KEY = "/etc/ssh/ssh_host_ed25519_key"
CLOUD = {**GOOD, "/etc/cloud/cloud.cfg": "cloud_init_modules: [ssh]\n"}


def test_an_image_without_an_identity_is_right() -> None:
    assert levels(identity, image()) == ["kept"]


@pytest.mark.parametrize("text", ["", "uninitialized\n", "0" * 32])
def test_an_empty_machine_id_is_none(text: str) -> None:
    assert levels(identity, image({"/etc/machine-id": text})) == ["kept"]


def test_a_machine_id_is_emptied_and_its_copy_removed() -> None:
    files = {"/etc/machine-id": ID + "\n", "/var/lib/dbus/machine-id": ID + "\n"}
    outcome = only(identity, image(files))
    assert level(identity, outcome) == "warning"
    assert outcome.evidence == ("/etc/machine-id: 3f0c9d1e…", "/var/lib/dbus/machine-id: 3f0c9d1e…")
    assert remedy(outcome).endswith("truncate -s 0 /etc/machine-id\nrm -f /var/lib/dbus/machine-id")
    files["/var/lib/dbus/machine-id"] = Link("/etc/machine-id")
    assert "dbus" not in remedy(only(identity, image(files)))


def test_host_keys_are_shared_unless_cloud_init_makes_new_ones() -> None:
    outcome = only(identity, image({KEY: "-----BEGIN"}, force_import=True))
    assert (level(identity, outcome), outcome.evidence) == ("warning", (KEY,))
    assert "ssh-keygen -A" in remedy(outcome)
    assert levels(identity, image({KEY: "-----BEGIN"})) == ["kept"]  # no cloud-init: told by itself
    assert levels(identity, image({**CLOUD, KEY: "-----BEGIN"})) == ["kept", "kept"]
    kept = {**CLOUD, "/etc/cloud/cloud.cfg.d/99.cfg": "ssh_deletekeys: 0\n", KEY: "-----BEGIN"}
    outcome = only(identity, image(kept))
    assert remedy(outcome).endswith("rm -f /etc/ssh/ssh_host_*")


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/var/lib/dhcp/dhclient.eth0.leases", "warning"),
        ("/var/lib/NetworkManager/internal-3f0c-eth0.lease", "warning"),
        ("/var/lib/wicked/lease-eth0-dhcp-ipv4.xml", "warning"),
        ("/var/lib/systemd/random-seed", "info"),
        ("/root/.bash_history", "info"),
        ("/home/ubuntu/.bash_history", "info"),
        ("/var/log/auth.log.1", "info"),
        ("/var/log/journal/3f0c/system.journal", "info"),
    ],
)
def test_what_is_left_is_told_by_its_file(path: str, wanted: str) -> None:
    (outcome, *_) = judge(identity, image({path: "x"}))
    assert (level(identity, outcome), outcome.evidence) == (wanted, (path,))
    assert remedy(outcome)
    assert levels(identity, image({path: ""})) == ["kept"]


@pytest.mark.parametrize("count", [3, 12, 40, 41, 300])
def test_the_remedy_removes_all_however_many_there_are(count: int, tmp_path: Path) -> None:
    names = [f"/var/lib/dhcp/dhclient.{number}.leases" for number in range(count)]
    other = "/var/lib/dhcp/keep.conf"
    outcome = only(identity, image({**dict.fromkeys(names, "x"), other: "x"}))
    for path in (*names, other):
        (tmp_path / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path[1:]).write_text("x")
    command = remedy(outcome).splitlines()[-1].replace("/var/lib", f"{tmp_path}/var/lib")
    subprocess.run(["sh", "-ec", command], check=True)
    assert [it.name for it in (tmp_path / "var/lib/dhcp").iterdir()] == ["keep.conf"]
    assert outcome.evidence[-1] == (names[2] if count == 3 else f"and {count - 8} more")


def test_a_name_with_a_newline_is_shown_and_removed_safely() -> None:
    files: dict[str, Any] = {"/root/.bash_history": "x", "/var/lib/dhcp/a\n$(reboot).leases": "x"}
    for outcome in judge(identity, image(files)):
        assert "\n$(" not in "".join(outcome.evidence)
        assert "$(" not in remedy(outcome).replace("?'$(reboot).leases'", "")
