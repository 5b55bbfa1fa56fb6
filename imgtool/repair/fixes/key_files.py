"""Owner and mode of the files that the boot and every login need."""

from __future__ import annotations

from imgtool.checks import key_files as rules
from imgtool.repair.registration import Work, fix


@fix("linux.key-files")
def give_to_root(work: Work) -> None:
    """Each file that others may write or read gets what its distribution ships."""
    guest = work.guest
    for file in rules.files_of(guest):
        if not rules.is_open(guest, file):
            continue
        mode, group = rules.right_mode(guest, file)
        work.draft.chmod(file.path, mode, 0, group)
