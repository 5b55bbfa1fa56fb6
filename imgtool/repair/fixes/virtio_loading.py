"""What keeps the virtio drivers from being loaded: taken out of the kernel command line and modprobe.d; in
the initramfs by an archive behind it."""

from __future__ import annotations

import re

from imgtool.checks import virtio_loading as rules
from imgtool.guest.compression import Budget
from imgtool.guest.initramfs import MOST_BYTES, read_initramfs
from imgtool.guest.module_blocks import in_text, of_root
from imgtool.repair.initramfs_archive import Member, put_behind
from imgtool.repair.kernel_arguments import replace_argument
from imgtool.repair.registration import Work, fix

SECONDS = 20.0


@fix("linux.virtio.loading")
def let_them_be_loaded(work: Work) -> None:
    """Arguments without the drivers' names; lines made comments, in the system and in the initramfs."""
    guest, draft = work.guest, work.draft
    kernel = guest.default_kernel
    if kernel is None:
        return
    found = rules.blocks(guest, kernel, work.image.profile.linux.virtio_modules_initramfs)
    blocks = (*found.disk, *found.network)
    names = {it.module for it in blocks}
    for word in dict.fromkeys(it.source for it in blocks if not it.path):
        key, _, value = word.partition("=")
        left = [it for it in value.split(",") if it.replace("-", "_") not in names]
        replace_argument(guest, draft, word, f"{key}={','.join(left)}" if left else "")
    for path in dict.fromkeys(it.path for it in of_root(guest.tree) if it.module in names):
        draft.edit(path, lambda text: without(text, names))
    for path in kernel.initrds:
        if any(it.path.startswith(f"{path}: ") for it in blocks):
            _lay_over(work, path, names)


def _lay_over(work: Work, path: str, names: set[str]) -> None:
    """The files of the initramfs' modprobe.d once more, without those lines: the later ones count."""
    listed = read_initramfs(work.guest.tree, path, Budget(MOST_BYTES, SECONDS))
    members = []
    for name, data in listed.settings.items():
        text = data.decode("utf-8", "surrogateescape")
        if "modprobe" in name and without(text, names) != text:
            members.append(Member(name, without(text, names).encode("utf-8", "surrogateescape")))
    put_behind(work.draft, path, listed, members)


def without(text: str, names: set[str]) -> str:
    """A file of modprobe.d with the lines that keep these modules back made comments."""
    lines = text.split("\n")
    for block in in_text(text, ""):
        number = int(re.sub(r"^:([0-9]+):.*$", r"\1", block.source, flags=re.DOTALL))
        if block.module in names:
            lines[number - 1] = f"# {lines[number - 1]}"
    return "\n".join(lines)
