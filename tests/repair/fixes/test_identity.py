from __future__ import annotations

from pathlib import Path

from tests.checks.test_identity import ID, KEY
from tests.checks.test_sshd import SSHD
from tests.repair.folder_guest import FolderGuest, mends

RULE = "linux.identity"
HISTORY = "/root/.bash_history"
LEASE = "/var/lib/dhcp/dhclient.eth0.leases"


def test_machine_id_leases_and_keys_go_and_what_is_needed_is_made_anew(tmp_path: Path) -> None:
    changes = {
        **SSHD,
        "/etc/machine-id": f"{ID}\n",
        "/var/lib/dbus/machine-id": f"{ID}\n",
        LEASE: "lease {}\n",
        KEY: "-----BEGIN",
        f"{KEY}.pub": "ssh-ed25519 AAAA",
    }
    guest = FolderGuest(tmp_path, changes)
    plan = mends(guest, RULE)
    assert guest.text("/etc/machine-id") == ""
    gone = (LEASE, KEY, f"{KEY}.pub", "/var/lib/dbus/machine-id")
    assert not any((tmp_path / path.lstrip("/")).exists() for path in gone)
    assert "ssh-keygen -A" in guest.text("/etc/systemd/system/ssh-host-keys.service")
    assert "linux.sshd" not in {it.id for it in plan.expected if it.status.value in ("fail", "warn")}


def test_all_leases_go_however_many_there_are(tmp_path: Path) -> None:
    leases = {f"/var/lib/dhcp/dhclient.{number}.leases": "x" for number in range(260)}
    guest = FolderGuest(tmp_path, leases)
    mends(guest, RULE)
    assert not list((tmp_path / "var/lib/dhcp").iterdir())


def test_histories_and_logs_stay_unless_the_rule_itself_was_asked_for(tmp_path: Path) -> None:
    changes = {"/etc/machine-id": f"{ID}\n", HISTORY: "rm -rf\n", "/var/log/auth.log": "x\n"}
    guest = FolderGuest(tmp_path, changes)
    everything = guest.plan()
    assert HISTORY not in {step.target for step in everything.steps}
    guest.mend(RULE)
    assert not (tmp_path / HISTORY.lstrip("/")).exists()
    assert guest.text("/var/log/auth.log") == ""
