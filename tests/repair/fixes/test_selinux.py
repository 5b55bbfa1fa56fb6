from __future__ import annotations

from pathlib import Path

from tests.guest.stand_in import ROOT_UUID
from tests.repair.folder_guest import FolderGuest

CENTOS = {
    "/etc/os-release": 'ID="centos"\nVERSION_ID="7"\n',
    "/etc/debian_version": None,
    "/etc/selinux/config": "SELINUX=enforcing\nSELINUXTYPE=targeted\n",
    "/etc/selinux/targeted/policy/policy.31": "x",
}
NEW_FILE = {"/etc/dracut.conf.d/x.conf": ""}
EDITED = {"/etc/fstab": f"UUID={ROOT_UUID} / ext4 defaults 0 1\n/dev/vdb1 /data ext4 defaults 0 0\n"}


def test_files_that_a_repair_makes_are_labelled_by_the_next_boot(tmp_path: Path) -> None:
    guest = FolderGuest(tmp_path, {**CENTOS, "/etc/init.d/network": "#!"}, force_import=True)
    plan, _ = guest.mend("linux.force-import.script")
    assert plan.steps[-1].target.startswith("/.autorelabel")
    assert plan.steps[-1].mends == "linux.selinux"


def test_an_edited_file_keeps_its_label_and_nothing_is_scheduled(tmp_path: Path) -> None:
    plan = FolderGuest(tmp_path, {**CENTOS, **EDITED}).plan("linux.fstab.data-disk")
    assert [step.target for step in plan.steps] == ["/etc/fstab"]


def test_where_selinux_is_off_or_left_alone_nothing_is_scheduled(tmp_path: Path) -> None:
    off = {**CENTOS, "/etc/selinux/config": "SELINUX=disabled\n"}
    for number, (changes, skipped) in enumerate([(off, []), (CENTOS, ["linux.selinux"])]):
        folder = tmp_path / str(number)
        folder.mkdir()
        guest = FolderGuest(folder, {**changes}, force_import=True)
        plan = guest.plan("linux.force-import.script", skipped=frozenset(skipped))
        assert not any("autorelabel" in step.target for step in plan.steps)
