"""The hardware clock: UTC, as the platform gives it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.remedy import in_guest
from imgtool.rules import Outcome, Severity, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.image import Image


@rule(
    "linux.clock",
    Text("Hardware clock", "硬件时钟"),
    severity=Severity.INFO,
    source="field",
    family="linux",
    requires=("disk.root",),
    fixable=True,
)
def hardware_clock(image: Image) -> Iterator[Outcome]:
    """The guest takes the hardware clock's time for UTC.

    The platform gives a Linux machine a hardware clock in UTC. A guest that reads it as local time is off by
    its time zone from power-on until NTP corrects it: logs, certificates and scheduled jobs of the first
    minutes are wrong. The third line of /etc/adjtime says which (`UTC` or `LOCAL`); older distributions keep
    it in /etc/sysconfig/clock or /etc/default/rcS.

    Evidence: the file, its line and what stands there. Example: `/etc/adjtime:3: LOCAL`. The fix writes UTC
    there.
    """
    from imgtool.guest.clock import ADJTIME, read_clock

    clock = read_clock(image.linux.tree)
    if not clock.local:
        said = f"{clock.source}:{clock.line}: {clock.said}" if clock.source else f"{ADJTIME}: nothing said"
        yield kept(Text("The hardware clock is read as UTC.", "硬件时钟按 UTC 读取。"), said)
        return
    if clock.source == ADJTIME:
        command = f"sed -i '3s/.*/UTC/' {ADJTIME}"
    elif "HWCLOCK" in clock.said:
        command = f"sed -i 's/^ *HWCLOCK=.*/HWCLOCK=\"-u\"/' {clock.source}"
    else:
        word = "yes" if clock.source.endswith("rcS") else "true"
        command = f"sed -i 's/^ *UTC=.*/UTC={word}/' {clock.source}"
    yield broken(
        Text(
            "The hardware clock is read as local time; the platform's is in UTC, so the guest starts with the"
            " wrong time.",
            "系统将硬件时钟当作本地时间，而平台的硬件时钟为 UTC，因此启动后的时间有误。",
        ),
        f"{clock.source}:{clock.line}: {clock.said}",
        remedy=in_guest(command),
    )
