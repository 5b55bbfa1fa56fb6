from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from imgtool.guest.initramfs import list_members
from tests.checks.boot_guest import grub_cfg
from tests.checks.test_virtio_loading import CFG, DEBIAN, DRACUT, INITRD, conf, initrd
from tests.guest.stand_in import ROOT_UUID
from tests.repair.folder_guest import FolderGuest, mends

RULE = "linux.virtio.loading"
OWN = "/etc/modprobe.d/x.conf"


def guest(folder: Path, arguments: str, *members: tuple[str, bytes], **files: Any) -> FolderGuest:
    return FolderGuest(
        folder, {**initrd(*members), CFG: grub_cfg(f"root=UUID={ROOT_UUID} {arguments}"), **files}
    )


@pytest.mark.parametrize(
    ("word", "left"),
    [
        ("module_blacklist=virtio_blk", ""),
        ("module_blacklist=floppy,virtio_net,virtio_blk", " module_blacklist=floppy"),
        ("modprobe.blacklist=virtio-blk", ""),
    ],
)
def test_an_argument_keeps_what_is_no_driver_of_the_platform(tmp_path: Path, word: str, left: str) -> None:
    broken = guest(tmp_path, f"{word} quiet", DEBIAN)
    mends(broken, RULE)
    assert f"root=UUID={ROOT_UUID}{left} quiet" in broken.text(CFG)


@pytest.mark.parametrize("maker", [DEBIAN, DRACUT])
def test_lines_become_comments_in_the_initramfs_and_in_the_system(tmp_path: Path, maker: Any) -> None:
    text = "blacklist pcspkr\nblacklist virtio_blk\ninstall virtio-net \\\n /bin/false\n"
    broken = guest(tmp_path, "quiet", maker, conf(text), **{OWN: text})
    mends(broken, RULE)
    assert broken.text(OWN) == text.replace("blacklist virtio", "# blacklist virtio").replace(
        "install", "# install"
    )
    data = (tmp_path / INITRD[1:]).read_bytes()
    found = list_members(io.BytesIO(data), INITRD)
    assert found.settings[OWN[1:]].decode() == broken.text(OWN)
