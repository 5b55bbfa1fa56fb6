"""Container Linux's GRUB configuration, in the archive that is GRUB's memdisk."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

from imgtool.errors import CannotRead
from imgtool.guest.bootloader import read_bootloader
from imgtool.guest.memdisk import ARCHIVE
from tests.guest.stand_in import ESP, ROOT, disk, guest_tree

CONFIG = """\
set default="coreos"
search --no-floppy --set oem --part-label OEM --hint "$root"
menuentry "CoreOS USR-B" --id=coreos-b { linux /coreos/vmlinuz-b mount.usr=PARTLABEL=USR-B }
menuentry "CoreOS default" --id=coreos { linux /coreos/vmlinuz-a mount.usr=PARTUUID=1 root=LABEL=ROOT }
"""


def packed(name: str, text: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text.encode()))
    return made.getvalue()


def loader(archive: bytes) -> Any:
    files: dict[str, Any] = {ARCHIVE: archive, "/boot/coreos/vmlinuz-a": b"x", "/boot/coreos/vmlinuz-b": b"x"}
    return read_bootloader(guest_tree(files, boot=ESP), disk(ROOT, ESP, kind="gpt"))  # type: ignore[arg-type]


def test_its_default_entry_starts_the_kernel_in_the_efi_system_partition() -> None:
    found = loader(packed("grub.cfg", CONFIG))
    assert found.kind == "grub2"
    assert found.default.kernel == "/boot/coreos/vmlinuz-a"
    assert found.default.arguments == "mount.usr=PARTUUID=1 root=LABEL=ROOT"
    assert not found.problems


@pytest.mark.parametrize(
    "archive", [b"no archive" * 100, packed("other.cfg", CONFIG), packed("grub.cfg", CONFIG)[:600]]
)
def test_an_archive_without_it_can_not_be_read(archive: bytes) -> None:
    with pytest.raises(CannotRead):
        loader(archive)
