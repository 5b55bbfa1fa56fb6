"""No link of a guest leads a repair out of it: whatever kind of link stands where a repair would write."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.repair.apply import apply_steps
from imgtool.repair.directory import DirectoryEditor, DirectoryFilesystem
from tests.checks import test_shutdown as shutdown
from tests.checks import test_sshd as sshd
from tests.checks.boot_guest import MODULES, grub_cfg, initramfs
from tests.checks.test_identity import ID, KEY
from tests.guest.memory_tree import Link
from tests.repair.fixes.test_cloud_init import CLOUD_INIT
from tests.repair.fixes.test_cloud_init import MODULES as CLOUD_MODULES
from tests.repair.fixes.test_virtio import INITRD
from tests.repair.folder_guest import FolderGuest

GRUB = "/boot/grub/grub.cfg"
LOGIND = "/etc/systemd/logind.conf"
FAULTY: dict[str, Any] = {
    **CLOUD_INIT,
    **sshd.SSHD,
    **shutdown.LOGIND,
    "/etc/fstab": "/dev/sda1 / ext4 defaults 0 1\n/dev/vdb1 /data ext4 defaults 0 2\n",
    "/etc/machine-id": f"{ID}\n",
    "/var/lib/dbus/machine-id": f"{ID}\n",
    KEY: "-----BEGIN",
    "/root/.bash_history": "rm -rf\n",
    "/var/log/auth.log": "x\n",
    "/var/lib/dhcp/dhclient.eth0.leases": "lease {}\n",
    GRUB: grub_cfg("root=/dev/sda1 ro acpi=off cloud-init=disabled modprobe.blacklist=virtio_blk"),
    "/etc/default/grub": 'GRUB_CMDLINE_LINUX="root=/dev/sda1"\nGRUB_DISABLE_UUID=true\n',
    INITRD: initramfs(without=tuple(MODULES)),
    "/etc/initramfs-tools/modules": "# mine\n",
    "/etc/modprobe.d/old.conf": "blacklist virtio_net\n",
    "/etc/cloud/cloud.cfg": CLOUD_MODULES + "datasource_list: [ NoCloud ]\n",
    "/etc/cloud/ds-identify.cfg": "policy: disabled\n",
    "/etc/cloud/cloud.cfg.d/zz-datasource.cfg": "datasource_list: [ NoCloud ]\n",
    "/etc/ssh/sshd_config.d/10-platform.conf": "PermitRootLogin yes\nPasswordAuthentication no\n",
    "/etc/network/interfaces": "auto eth0\niface eth0 inet static\n address 192.168.1.5/24\n",
    "/etc/udev/rules.d/70-persistent-net.rules": 'ATTR{address}=="00:0c:29:aa:bb:cc", NAME="eth0"\n',
    "/etc/adjtime": "0.0 0 0.0\n0\nLOCAL\n",
    LOGIND: "[Login]\nHandlePowerKey=ignore\n",
}
LAID_DOWN = (
    "/usr/local/sbin/os-config",
    "/etc/systemd/system/os-config.service",
    "/etc/systemd/system/ssh-host-keys.service",
    "/etc/ssh/sshd_config.d/00-platform.conf",
    "/etc/udev/rules.d/80-net-setup-link.rules",
)
KINDS = ("absolute", "climbing", "chained", "dangling", "kernel's", "itself", "folder")


@cache
def paths() -> list[str]:
    """Every path that the repairs of the faulty guest change, found by planning them."""
    with TemporaryDirectory() as name:
        found: set[str] = set()
        for forced in (False, True):
            guest = FolderGuest(Path(name) / str(forced), FAULTY, force_import=forced)
            every = sorted({it.id for it in guest.findings()})
            found |= {step.path for step in guest.plan(*every).steps if hasattr(step, "path")}
        return sorted({*found, *LAID_DOWN})


def with_links(folder: Path, links: dict[str, str], outside: Path, *, forced: bool) -> FolderGuest:
    """The faulty guest with links in place of what repairs change. What they lead to, as this machine follows
    links, is a file or a folder outside."""
    guest = FolderGuest(folder, FAULTY, force_import=forced)
    for number, (path, kind) in enumerate(links.items()):
        host = folder / path.lstrip("/")
        if kind == "folder":
            host = host.parent
            if host in (folder, folder / "etc", folder / "boot"):
                continue
        target = outside if kind == "folder" else outside / f"file{number}"
        if kind == "absolute" and host.is_file() and not host.is_symlink():  # there in the guest as well
            own = folder / str(target).lstrip("/")
            own.parent.mkdir(parents=True, exist_ok=True)
            own.write_bytes(host.read_bytes())
        to = {
            "climbing": "../" * 30 + str(target).lstrip("/"),
            "chained": f"{host.name}.2",
            "dangling": "/nowhere/at/all",
            "kernel's": "/proc/self/oom_score_adj",
            "itself": host.name,
        }.get(kind, str(target))
        if host.is_symlink() or host.is_file():
            host.unlink()
        elif host.is_dir():
            host.rename(host.with_name(f"{host.name}.was"))
        host.parent.mkdir(parents=True, exist_ok=True)
        if host.parent.is_symlink() or folder not in host.parent.resolve().parents:
            continue  # an earlier link leads there
        host.symlink_to(to)
        if kind == "chained":
            host.with_name(to).symlink_to(target)
    return guest


def held(outside: Path) -> dict[str, bytes]:
    return {str(it.relative_to(outside)): it.read_bytes() for it in outside.rglob("*") if it.is_file()}


@pytest.mark.parametrize("forced", [False, True], ids=["import", "forced import"])
@settings(max_examples=15)
@given(data=st.data())
def test_what_is_outside_stays_whatever_links_stand_where_repairs_write(
    forced: bool, data: st.DataObject
) -> None:
    links = data.draw(
        st.dictionaries(st.sampled_from(paths()), st.sampled_from(KINDS), min_size=1, max_size=8)
    )
    with TemporaryDirectory() as name:
        outside = Path(name) / "outside"
        outside.mkdir()
        for number in range(len(links)):
            (outside / f"file{number}").write_text("PermitRootLogin no\n/dev/sda1 / ext4 defaults 0 1\n")
        guest = with_links(Path(name) / "guest", links, outside, forced=forced)
        before = held(outside)
        every = sorted({it.id for it in guest.findings()})
        plan = guest.plan(*every)
        apply_steps(DirectoryEditor(DirectoryFilesystem(guest.folder)), plan.steps)
        assert held(outside) == before
        for step in plan.steps:  # the appliance's editor follows links of folders: there are none
            host = guest.folder / getattr(step, "path", "/x").lstrip("/")
            assert guest.folder.resolve() in host.parent.resolve().parents or host.parent == guest.folder
            assert host.parent.resolve() == guest.folder.resolve() / host.parent.relative_to(guest.folder)


def test_there_are_many_such_paths() -> None:
    assert {"/etc/fstab", GRUB, INITRD, "/etc/machine-id", LOGIND, *LAID_DOWN} <= set(paths())
    assert len(paths()) > 20


@pytest.mark.parametrize("to", ["/etc/hostname", "../../../etc/hostname", "hostname"])
def test_an_fstab_that_is_a_link_to_another_file_is_left_to_a_person(tmp_path: Path, to: str) -> None:
    changes = {"/etc/fstab": Link(to), "/etc/hostname": "/dev/sda1 / ext4 defaults 0 1\n"}
    guest = FolderGuest(tmp_path, changes)
    plan = guest.plan("linux.fstab.device-names")
    assert plan.steps == ()
    assert "/etc/hostname" in plan.unmended[0].why.en


def test_a_new_file_is_not_written_through_a_link_that_leads_nowhere(tmp_path: Path) -> None:
    script = "/usr/local/sbin/os-config"
    guest = FolderGuest(tmp_path, {script: Link("/run/elsewhere")}, force_import=True)
    plan = guest.plan("linux.force-import.script")
    assert plan.steps == ()
    assert script in plan.unmended[0].why.en
