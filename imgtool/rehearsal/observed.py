"""All that one rehearsal showed, before it is judged."""

from __future__ import annotations

from dataclasses import dataclass, field

from imgtool.rehearsal.boot_watch import Ending
from imgtool.rehearsal.instance import Instance
from imgtool.rehearsal.watch import Seen, Watch


@dataclass(frozen=True)
class FirstBoot:
    """The first power-on.

    report: what the guest told of itself (imgtool.rehearsal.guest_script); by_network: it did so over the
    metadata address; partitions: what an emergency shell listed, None where none was asked; refused: the
    password of os.conf did not log in; silent_console, flooded: the serial console said nothing, or said
    too much; screen: the last words on the screen; shown: its look when it is graphical
    (imgtool.rehearsal.picture), else ""; logon: the words of a Windows logon or desktop, read off it.
    """

    watch: Watch
    ending: Ending
    report: dict[str, str]
    by_network: bool
    partitions: tuple[str, ...] | None
    refused: bool
    silent_console: bool
    flooded: bool
    screen: tuple[str, ...]
    shown: str = ""
    logon: Seen | None = None


@dataclass(frozen=True)
class Observed:
    """windows: the guest shows itself on the screen only; pressed: the power button, after how many seconds,
    None when it was not; shutdown: seconds from there to off, None when it did nothing; second: how the
    second boot ended, None for none; second_report: what the guest told then, as far as it was waited for;
    emulated: not by KVM, and so ten times as slow."""

    instance: Instance
    force_import: bool
    mode: str
    first: FirstBoot
    windows: bool = False
    pressed: float | None = None
    shutdown: float | None = None
    second: Ending | None = None
    second_watch: Watch | None = None
    second_report: dict[str, str] = field(default_factory=dict)
    emulated: bool = False
