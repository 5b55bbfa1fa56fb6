"""Container Linux's GRUB configuration: no file of its own, but in a tar archive that is GRUB's memdisk.

core.img was made with the archive that lies in the EFI system partition (coreos/scripts, grub_install.sh).
"""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING

from imgtool.guest.filesystem import damaged

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

ARCHIVE = "/boot/coreos/grub/grub.cfg.tar"
MEMBER = "grub.cfg"
LARGEST = 1 << 20


def configuration(tree: Tree) -> str:
    """The text of grub.cfg in ARCHIVE. Raises GuestReadFailed where there is none in it, TooLarge."""
    data = tree.read(ARCHIVE, LARGEST)
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                if member.name.removeprefix("./") == MEMBER and member.isfile():
                    file = archive.extractfile(member)
                    return "" if file is None else file.read(LARGEST).decode("utf-8", "replace")
    except (tarfile.TarError, EOFError) as error:
        raise damaged(ARCHIVE, str(error)[:100]) from error
    raise damaged(ARCHIVE, f"it holds no {MEMBER}")
