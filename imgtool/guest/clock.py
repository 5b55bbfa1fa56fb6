"""What the guest takes the hardware clock's time for: UTC, or the time of its own zone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

ADJTIME = "/etc/adjtime"
_LIMIT = 64 << 10
# Where old distributions say it, and the words for local time: Red Hat up to 5, SUSE up to 11, Debian up to 6
_OLDER = (
    ("/etc/sysconfig/clock", r"^[ \t]*UTC[ \t]*=[ \t]*[\"']?(?P<said>\w+)", ("false", "no", "0")),
    ("/etc/sysconfig/clock", r"^[ \t]*HWCLOCK[ \t]*=[ \t]*[\"']?(?P<said>[\w-]+)", ("--localtime", "-l")),
    ("/etc/default/rcS", r"^[ \t]*UTC[ \t]*=[ \t]*[\"']?(?P<said>\w+)", ("no",)),
)


@dataclass(frozen=True)
class Clock:
    """local: the clock is read as local time. source: the file that says so, "" where none does (UTC then).

    line: of that file, from 1; said: what stands there.
    """

    local: bool
    source: str = ""
    line: int = 0
    said: str = ""


def read_clock(tree: Tree) -> Clock:
    """How the guest reads its hardware clock (hwclock(8), systemd's timedated). Raises GuestReadFailed.

    The third line of /etc/adjtime counts, where there is one; systemd knows no other place.
    """
    lines = (tree.text_if_there(ADJTIME, _LIMIT) or "").split("\n")
    if len(lines) > 2 and lines[2].strip():
        return Clock(lines[2].strip() == "LOCAL", ADJTIME, 3, lines[2].strip()[:40])
    for path, pattern, local in _OLDER:
        text = tree.text_if_there(path, _LIMIT) or ""
        found = re.search(pattern, text, re.MULTILINE | re.IGNORECASE)
        if found:
            line = text.count("\n", 0, found.start("said")) + 1
            return Clock(found["said"].lower() in local, path, line, found[0].strip()[:80])
    return Clock(False)
