"""A disk of 48 MiB with just enough of a Debian for every rule that is an error: made in half a second.

It does not boot; it is for tests of what happens to images, not of what is in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fixtures import ext4, tables
from fixtures.command import run
from fixtures.layouts import MIB, SECTOR, write
from fixtures.sparse import empty
from fixtures.tables import Entry
from tests.checks.boot_guest import GRUB_CODE, good, grub_cfg
from tests.checks.linux_guest import DEBIAN
from tests.checks.test_cloud_init import GOOD as CLOUD
from tests.guest.owned_tree import Link

UUID = "6a2d1f0e-5b1c-4d56-9c1e-2f60b4a1d201"
SIZE = 48 * MIB


def files() -> dict[str, Any]:
    found = {**DEBIAN, **CLOUD, **good()}
    found["/boot/grub/grub.cfg"] = grub_cfg(f"root=UUID={UUID} ro")
    found["/etc/fstab"] = f"UUID={UUID} / ext4 errors=remount-ro 0 1\n"
    found["/sbin/init"] = Link("/lib/systemd/systemd")
    return found


def make(
    disk: Path, without: tuple[str, ...] = (), filler: bytes = b"", more: dict[str, Any] | None = None
) -> Path:
    """without: paths, or beginnings of paths, that are left out. filler: a file's content, for size.
    more: further files.
    """
    empty(disk, SIZE)
    write(disk, 0, tables.mbr(Entry(2048, SIZE // SECTOR - 2048, 0x83, active=True)))
    write(disk, 0, GRUB_CODE)
    write(disk, SECTOR, b"core image".ljust(SECTOR, b"\x90"))
    run(ext4.mke2fs(disk, UUID, offset=MIB, size=SIZE - MIB))
    edit = ext4.Ext4Edit(disk, MIB)
    folders: set[str] = set()
    found = {**files(), "/srv/filler": filler, **(more or {})}
    for path, content in sorted(found.items()):
        if any(path.startswith(start) for start in without):
            continue
        parts = path.strip("/").split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/" + "/".join(parts[:depth])
            if folder not in folders:
                folders.add(folder)
                edit.folder(folder)
        if isinstance(content, Link):
            edit.symlink(path, str(content))
            continue
        data = content.encode() if isinstance(content, str) else bytes(content)
        shadow = path in ("/etc/shadow", "/etc/gshadow")
        program = data.startswith((b"#!", b"\x7fELF"))
        mode = 0o640 if shadow else 0o600 if path.endswith("grub.cfg") else 0o755 if program else 0o644
        edit.write(path, data, mode=mode, gid=42 if shadow else 0)
    edit.apply()
    return disk
