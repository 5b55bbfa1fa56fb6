"""The script of a forced import, run by real shells in a folder that stands for a guest, with stand-ins for
the commands that would change this machine."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

SCRIPT = Path(str(files("imgtool.repair.force_import") / "os-config"))
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]
PASSWORD = "$6$salt$a/b.`id`$(id)\"'&|c"
MAC = "52:54:00:e1:96:eb"
SETTINGS = f"""hostname=VM_10_20_30
password={PASSWORD}
eth0_ip_addr=10.104.62.201
eth0_mac_addr=52:54:00:E1:96:EB
eth0_netmask=255.255.192.0
eth0_gateway=10.104.0.1
dns_nameserver="10.138.224.65 10.182.20.26"
"""
# Each notes how it was called; `mount` fills the mount point from the drive's folder.
STANDINS = {
    "blkid": 'case "$*" in "-L config-2") [ -d "$DRIVE" ] && echo "$DRIVE" ;; *) exit 2 ;; esac',
    "mount": 'for last; do :; done; [ "$1" = -r ] || exit 9; cp -r "$DRIVE"/. "$last"',
    "umount": 'for last; do :; done; find "$last" -mindepth 1 -delete',
    "chpasswd": 'cat > "$NOTES/password"; [ "$1" = -e ]',
    "hostname": "",
    "modprobe": "",
    "logger": "",
    "ip": 'case "$*" in "-4 addr show"*) [ -e "$NOTES/up" ] && echo "inet 192.0.2.1/24" ;; esac; exit 0',
    **dict.fromkeys(
        ("netplan", "nmcli", "wicked", "netconfig", "ifup", "ifdown", "systemctl", "restorecon"), ""
    ),
}


class Guest:
    def __init__(self, folder: Path, shell: str = "dash") -> None:
        self.shell = shell
        self.root, self.notes = folder / "root", folder / "notes"
        self.drive, self.commands = folder / "drive", folder / "commands"
        for made in (self.root / "run", self.root / "etc", self.notes, self.commands):
            made.mkdir(parents=True)
        self.file("sys/class/net/lo/address", "00:00:00:00:00:00\n")
        self.file("sys/class/net/ens3/address", f"{MAC}\n")
        self.file("etc/hosts", "127.0.0.1 localhost\n")
        for name, body in STANDINS.items():
            command = self.commands / name
            command.write_text(f'#!/bin/sh\necho "{name} $*" >> "$NOTES/calls"\n{body}\n')
            command.chmod(0o755)
        self.settings(SETTINGS)

    def settings(self, text: str, folder: str = "qcloud_action") -> None:
        shutil.rmtree(self.drive, ignore_errors=True)
        (self.drive / folder).mkdir(parents=True)
        (self.drive / folder / "os.conf").write_text(text)

    def file(self, path: str, text: str = "", mode: int = 0o644) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def run(self, word: str = "start", code: int = 0) -> str:
        environment = {
            "OS_CONFIG_ROOT": str(self.root),
            "OS_CONFIG_PATH": str(self.commands),
            "OS_CONFIG_PATIENCE": "0",
            "NOTES": str(self.notes),
            "DRIVE": str(self.drive),
        }
        shell = [self.shell, "sh"] if self.shell == "busybox" else [self.shell]
        done = subprocess.run(
            [*shell, SCRIPT, word], env=environment, capture_output=True, text=True, check=False, timeout=30
        )
        assert done.returncode == code, done.stderr
        return done.stderr

    def text(self, path: str) -> str:
        return (self.root / path).read_text()

    @property
    def calls(self) -> list[str]:
        notes = self.notes / "calls"
        return notes.read_text().splitlines() if notes.exists() else []


KINDS: dict[str, dict[str, int]] = {
    "netplan": {"etc/netplan/01.yaml": 0o600, "usr/sbin/netplan": 0o755},
    "wicked": {"etc/sysconfig/network/ifcfg-lo": 0o644, "etc/sysconfig/network/config": 0o644},
    "ifcfg": {"etc/sysconfig/network-scripts/ifcfg-lo": 0o644, "etc/sysconfig/network": 0o644},
    "networkmanager": {"usr/sbin/NetworkManager": 0o755, "etc/NetworkManager/NetworkManager.conf": 0o644},
    "ifupdown": {"etc/network/interfaces": 0o644, "usr/sbin/ifup": 0o755},
    "networkd": {"etc/systemd/network/x.network": 0o644},
}
UNITS = {"networkmanager": "NetworkManager", "networkd": "systemd-networkd"}
FILES = {
    "netplan": "etc/netplan/99-os-config.yaml",
    "wicked": "etc/sysconfig/network/ifcfg-ens3",
    "ifcfg": "etc/sysconfig/network-scripts/ifcfg-ens3",
    "networkmanager": "etc/NetworkManager/system-connections/os-config.nmconnection",
    "ifupdown": "etc/network/interfaces",
    "networkd": "etc/systemd/network/05-os-config.network",
}


def with_network(folder: Path, kind: str, shell: str = "dash") -> Guest:
    guest = Guest(folder, shell)
    for path, mode in KINDS[kind].items():
        guest.file(path, 'NETCONFIG_DNS_STATIC_SERVERS=""\n' if path.endswith("/config") else "", mode)
    if kind in UNITS:
        link = guest.root / f"etc/systemd/system/multi-user.target.wants/{UNITS[kind]}.service"
        link.parent.mkdir(parents=True)
        link.symlink_to("/lib/x")
    return guest


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_network_gets_address_gateway_and_dns(tmp_path: Path, kind: str, shell: str) -> None:
    guest = with_network(tmp_path, kind, shell)
    said = guest.run()
    assert f"by {kind}" in said
    text = guest.text(FILES[kind])
    assert "10.104.62.201" in text
    assert "255.255.192.0" in text or "/18" in text
    everything = "".join(it.read_text() for it in (guest.root / "etc").rglob("*") if it.is_file())
    assert "10.104.0.1" in everything.replace("10.104.0.1\n", "10.104.0.1 ")
    assert "10.138.224.65" in everything
    assert (guest.notes / "password").read_text() == f"root:{PASSWORD}\n"
    assert guest.text("etc/hostname") == "VM_10_20_30\n"
    assert "10.104.62.201 VM_10_20_30" in guest.text("etc/hosts")


def test_netplan_takes_the_file_for_what_it_is(tmp_path: Path) -> None:
    import yaml

    guest = with_network(tmp_path, "netplan")
    guest.run()
    card = yaml.safe_load(guest.text(FILES["netplan"]))["network"]["ethernets"]["ens3"]
    assert card["addresses"] == ["10.104.62.201/18"]
    assert card["match"]["macaddress"] == MAC
    assert card["nameservers"]["addresses"] == ["10.138.224.65", "10.182.20.26"]
    assert stat.S_IMODE((guest.root / FILES["netplan"]).stat().st_mode) == 0o600
    assert "netplan generate" in guest.calls


def test_the_password_is_left_in_no_file_of_the_guest(tmp_path: Path) -> None:
    guest = with_network(tmp_path, "ifcfg")
    guest.run()
    for path in guest.root.rglob("*"):
        assert not path.is_file() or PASSWORD not in path.read_text()
    assert not any(PASSWORD in call for call in guest.calls)
    assert list((guest.root / "run").iterdir()) == []


def test_the_same_settings_are_applied_once_and_others_again(tmp_path: Path) -> None:
    guest = with_network(tmp_path, "ifcfg")
    guest.run()
    guest.file(FILES["ifcfg"], "changed by hand\n")
    guest.run()
    assert guest.text(FILES["ifcfg"]) == "changed by hand\n"
    guest.settings(SETTINGS.replace("62.201", "62.202"))
    guest.run()
    assert "IPADDR=10.104.62.202" in guest.text(FILES["ifcfg"])
    assert guest.text("etc/hosts").count("VM_10_20_30") == 1
    guest.file(FILES["ifcfg"], "")
    guest.run("force")
    assert "IPADDR" in guest.text(FILES["ifcfg"])


@pytest.mark.parametrize("folder", ["qcloud_action", "os_action"])
def test_both_paths_of_the_platforms_documents_are_read(tmp_path: Path, folder: str) -> None:
    guest = with_network(tmp_path, "ifcfg")
    guest.settings(SETTINGS, folder)
    guest.run()
    assert "IPADDR=10.104.62.201" in guest.text(FILES["ifcfg"])


def test_settings_are_text_and_never_run(tmp_path: Path) -> None:
    guest = with_network(tmp_path, "ifcfg")
    trap = tmp_path / "ran"
    lines = f"hostname=$(touch {trap})\neth0_ip_addr=`touch {trap}`\ntouch {trap}\n"
    guest.settings(f"{lines}password=$1$x$y\n")
    guest.run()
    assert not trap.exists()
    assert not (guest.root / "etc/hostname").exists()
    assert not (guest.root / FILES["ifcfg"]).exists()
    assert (guest.notes / "password").read_text() == "root:$1$x$y\n"


def test_lines_of_windows_are_read(tmp_path: Path) -> None:
    guest = with_network(tmp_path, "ifcfg")
    guest.settings(SETTINGS.replace("\n", "\r\n"))
    guest.run()
    assert "IPADDR=10.104.62.201\n" in guest.text(FILES["ifcfg"])
    assert (guest.notes / "password").read_text() == f"root:{PASSWORD}\n"


def test_without_the_drive_nothing_is_changed(tmp_path: Path) -> None:
    guest = with_network(tmp_path, "ifcfg")
    shutil.rmtree(guest.drive)
    assert "no config drive" in guest.run()
    assert not (guest.root / "etc/hostname").exists()


def test_what_fails_is_tried_again_at_the_next_boot(tmp_path: Path) -> None:
    guest = with_network(tmp_path, "ifcfg")
    (guest.commands / "chpasswd").write_text("#!/bin/sh\nexit 1\n")
    assert "next boot" in guest.run(code=1)
    assert not (guest.root / "var/lib/os-config/applied").exists()


def test_a_file_for_the_same_card_steps_aside_and_is_kept(tmp_path: Path) -> None:
    guest = with_network(tmp_path, "ifcfg")
    folder = guest.root / "etc/sysconfig/network-scripts"
    guest.file("etc/sysconfig/network-scripts/ifcfg-eth0", f'DEVICE=eth0\nHWADDR="{MAC.upper()}"\n')
    guest.file("etc/sysconfig/network-scripts/ifcfg-eth1", "DEVICE=eth1\n")
    guest.run()
    assert sorted(it.name for it in folder.iterdir()) == [
        "ifcfg-ens3",
        "ifcfg-eth1",
        "ifcfg-lo",
        "off-ifcfg-eth0.os-config-off",
    ]


def test_what_a_person_wrote_is_kept_beside(tmp_path: Path) -> None:
    guest = with_network(tmp_path, "ifupdown")
    guest.file("etc/network/interfaces", "auto eth0\niface eth0 inet dhcp\n")
    guest.run()
    guest.settings(SETTINGS.replace("62.201", "62.202"))
    guest.run()
    assert guest.text("etc/network/interfaces.before-os-config") == "auto eth0\niface eth0 inet dhcp\n"
    assert "62.202" in guest.text("etc/network/interfaces")


@pytest.mark.parametrize(("kind", "call"), [("ifupdown", "ifup ens3"), ("netplan", "netplan apply")])
def test_a_network_that_is_up_already_is_renewed(tmp_path: Path, kind: str, call: str) -> None:
    guest = with_network(tmp_path, kind)
    guest.run()
    assert call not in guest.calls
    (guest.notes / "up").touch()
    guest.run("force")
    assert call in guest.calls


def test_resolv_conf_of_resolved_is_left_alone_and_a_plain_one_written(tmp_path: Path) -> None:
    guest = with_network(tmp_path, "networkd")
    guest.file("etc/resolv.conf", "search example\nnameserver 192.0.2.1\n")
    guest.run()
    assert guest.text("etc/resolv.conf") == (
        "nameserver 10.138.224.65\nnameserver 10.182.20.26\nsearch example\n"
    )
    (guest.root / "etc/resolv.conf").unlink()
    os.symlink("../run/systemd/resolve/stub-resolv.conf", guest.root / "etc/resolv.conf")
    guest.run("force")
    assert (guest.root / "etc/resolv.conf").is_symlink()


def test_shellcheck_has_nothing_to_say() -> None:
    subprocess.run(["shellcheck", "-s", "sh", SCRIPT], check=True)
