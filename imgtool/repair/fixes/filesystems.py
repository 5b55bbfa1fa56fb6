"""Filesystems that were not unmounted: their journals replayed, those with an error flag checked."""

from __future__ import annotations

from contextlib import suppress

from imgtool.checks import filesystems as rules
from imgtool.errors import CannotRead
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.text import Text


@fix("disk.filesystem.clean")
def replay_or_check(work: Work) -> None:
    """A clean mount where a journal waits, the filesystem's own tool where it was marked damaged."""
    found = []
    for volume in work.image.disk.volumes:
        with suppress(CannotRead):
            fault = rules.fault_of(volume) if volume.signature.type in rules.JUDGED else None
            if fault is not None and fault.repair:
                found.append(volume)
                work.draft.check_filesystem(volume, replay_only=fault.journal)
    if not found:
        raise CannotMend(
            Text(en="Only its own system can mend this filesystem.", zh="该文件系统只能由其所属系统修复。")
        )
