"""The hardware clock taken for UTC."""

from __future__ import annotations

import re

from imgtool.repair.registration import Work, fix


@fix("linux.clock")
def read_as_utc(work: Work) -> None:
    """The word for UTC in the file that says otherwise."""
    from imgtool.guest.clock import ADJTIME, read_clock

    clock = read_clock(work.guest.tree)
    if clock.source == ADJTIME:
        work.draft.edit(ADJTIME, lambda text: re.sub(r"(?m)^LOCAL[ \t]*$", "UTC", text))
    elif "HWCLOCK" in clock.said:
        work.draft.edit(
            clock.source, lambda text: re.sub(r"(?m)^[ \t]*HWCLOCK[ \t]*=.*$", 'HWCLOCK="-u"', text)
        )
    else:
        word = "yes" if clock.source.endswith("rcS") else "true"
        work.draft.edit(clock.source, lambda text: re.sub(r"(?m)^[ \t]*UTC[ \t]*=.*$", f"UTC={word}", text))
