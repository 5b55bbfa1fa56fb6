from __future__ import annotations

from pathlib import Path

import pytest

from tests.repair.folder_guest import FolderGuest, mends

CENTOS = 'ID="centos"\nVERSION_ID="7"\n'


@pytest.mark.parametrize(
    ("path", "owner", "right", "release"),
    [
        ("/etc/fstab", (0o666, 0, 0), (0o644, 0, 0), None),
        ("/etc/passwd", (0o644, 1000, 1000), (0o644, 0, 0), None),
        ("/etc/shadow", (0o644, 0, 0), (0o640, 0, 42), None),
        ("/etc/shadow", (0o644, 0, 0), (0o000, 0, 0), CENTOS),
        ("/boot/grub/grub.cfg", (0o622, 0, 0), (0o600, 0, 0), None),
    ],
)
def test_owner_and_mode_become_what_the_distribution_ships(
    tmp_path: Path, path: str, owner: tuple[int, int, int], right: tuple[int, int, int], release: str | None
) -> None:
    changes = {"/etc/os-release": release, "/etc/debian_version": None} if release else {}
    guest = FolderGuest(tmp_path, changes, {path: owner})
    plan = mends(guest, "linux.key-files")
    assert guest.filesystem.owned[path] == right
    assert [step.action for step in plan.steps] == ["chmod"]
