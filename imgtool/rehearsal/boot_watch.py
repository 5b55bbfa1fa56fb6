"""One power-on, watched until it is up, has failed for certain, or had its time."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imgtool.rehearsal.console import Console
from imgtool.rehearsal.emulator import Emulator, Said
from imgtool.rehearsal.guest_script import MARK, parse
from imgtool.rehearsal.instance import Instance
from imgtool.rehearsal.metadata import MetadataService
from imgtool.rehearsal.screen_watch import ScreenWatch
from imgtool.rehearsal.screens import NO_WINDOWS
from imgtool.rehearsal.setting import NoRoom
from imgtool.rehearsal.sign import Sign
from imgtool.rehearsal.signs import SIGNS, SILENT_AFTER
from imgtool.rehearsal.watch import Sighting, Watch
from imgtool.text import Text

Kind = Literal["up", "failed", "timeout", "off", "loop", "menu", "silent", "no first boot", "screen"]
CAME_UP = ("up", "no first boot")  # and stays so
RESETS = 3  # a guest may restart itself once or twice on its first boot (SELinux relabel, shim's fallback)
RESETS_OF_WINDOWS = 6  # its setup, a new host name and new drivers take one each
LARGEST_OVERLAY = 16 * 1024**3  # bytes that a guest may write
TURN = 0.5  # seconds
EXPECTED_IN = 20  # lines
LOOK = 3.0  # seconds between looks at the screen, while the console says nothing
READ_AFTER = 10.0  # seconds: of a guest with a console, screens are read that show a boot which is stuck
_PARTITION = re.compile(r"^\s*\d+\s+\d+\s+\d+\s+(\S+)$")  # /proc/partitions


@dataclass(frozen=True)
class Patience:
    """Seconds. boot: from power-on until up; silence: of a boot that the static check holds for broken;
    menu: at a boot menu without a countdown; settled: of a screen that no longer changes, three times that
    of one without a word that tells what it is;
    first_boot: of a silence behind the login prompt, in which the guest may still report (three times that,
    when it is not silent), and `agreed` the same where the static check says that it will not."""

    boot: float
    silence: float
    menu: float
    settled: float
    first_boot: float
    agreed: float

    @classmethod
    def of(cls, timeout: float | None, kvm: bool, windows: bool = False) -> Patience:
        """A machine without KVM takes ten times as long, one with much to do another three times; the first
        boot of a Windows as long as several of a Linux."""
        slow = 1.0 if kvm else 3.0
        boot = timeout or (180.0 if kvm else 900.0) * (3 if windows else 1)
        silence = min(10 * slow, boot / 2)
        first_boot = min((300 if windows else 60) * slow, boot / 3)
        return cls(boot, silence, silence, min(20 * slow, boot / 5), first_boot, min(7 * slow, boot / 3))


@dataclass(frozen=True)
class Ending:
    """How a boot ended, after how many seconds, and the sign that told."""

    kind: Kind
    age: float
    sighting: Sighting | None = None


class BootWatch:
    """Watches one machine from power-on. broken: whether the static check finds a rule broken."""

    def __init__(
        self,
        emulator: Emulator,
        console: Console,
        *,
        patience: Patience,
        broken: Callable[[str], bool],
        instance: Instance,
        overlay: Path,
        service: MetadataService | None = None,
        tick: Callable[[int], None] = lambda seconds: None,
        by_screen: bool = False,
    ) -> None:
        """by_screen: the guest is not expected to say anything on a console; it is up when its graphical
        screen has settled, as far as that can be told."""
        self.emulator = emulator
        self.console = console
        self.watch = Watch(f"{MARK}-{instance.token} ")
        self.seen_partitions: tuple[str, ...] | None = None
        self.eye = ScreenWatch(emulator, self.watch)
        self._patience = patience
        self._broken = broken
        self._service = service
        self._tick = tick
        self._by_screen = by_screen
        self._overlay = overlay
        self._firmware = Console()
        self._resets = 0
        self._off = False
        self._silent_since = 0.0
        self._looked = self._measured = 0.0
        self._reported: float | None = None

    def until_up(self, first_boot: bool) -> Ending:
        """Watch until the guest is up: it asks for a login and, on a first boot, has reported. On a later
        one, either shows it.

        Raises EmulatorFailed, NoRoom.
        """
        while True:
            self.turn(TURN)
            ending = self._ending(first_boot)
            if ending is not None:
                self.turn(0.1)  # what came with it
                late = ending.kind == "no first boot" and bool(self.report)
                return Ending("up", self.emulator.age) if late else ending

    def until_off(self, limit: float) -> float | None:
        """Watch until the guest has powered off; after how many seconds from now, None when it does not."""
        began = self.emulator.age
        while self.emulator.age - began < limit:
            if self._off:
                return self.emulator.age - began
            self.turn(TURN)
        return None

    def turn(self, seconds: float) -> list[str]:
        """Take what the machine says in a while; the lines of its console."""
        lines: list[str] = []
        said = self.emulator.wait(seconds)
        age = self.emulator.age
        self._tick(int(age))
        if said.console:
            self._silent_since = age
            lines = self.console.take(said.console)
            self.watch.lines(lines, self.console.partial, age)
        if said.firmware:
            self.watch.firmware(self._firmware.take(said.firmware), age)
        self._note_events(said)
        if age - self._measured >= LOOK:
            self._measured = age
            self._look_at_overlay()
        if age - max(0.0 if self._by_screen else self._silent_since, self._looked) >= LOOK:
            self._looked = age
            self.eye.look(age, read_after=0 if self._by_screen else READ_AFTER)
        return lines

    def expect(self, pattern: re.Pattern[str], seconds: float) -> re.Match[str] | None:
        """Wait until what the console says from now on matches, or the prompt that stands there, at most so
        long. What it said before is an answer to something else."""
        until = self.emulator.age + seconds
        lines: list[str] = []
        while self.emulator.age < until and not self._off:
            lines = [*lines, *self.turn(TURN)][-EXPECTED_IN:]
            found = pattern.search("\n".join([*lines, self.console.partial]))
            if found:
                return found
        return None

    @property
    def by_network(self) -> bool:
        """Whether the guest reported over the metadata address."""
        return self._service is not None and self._service.report is not None

    @property
    def report(self) -> dict[str, str]:
        """What the guest's script told, by the metadata address or the serial port; empty when nothing."""
        if self._service is not None and self._service.report is not None:
            return parse(self._service.report)
        told = parse(self.watch.told)
        return told if "end" in told else {}

    def _note_events(self, said: Said) -> None:
        for event in said.events:
            if event.name == "RESET" and event.data.get("guest"):
                self._resets += 1
                self.watch.restart()
            elif event.name == "SHUTDOWN":
                self._off = True
            elif event.name == "BLOCK_IO_ERROR" and event.data.get("nospace"):
                raise NoRoom(
                    Text(
                        en=f"The storage of {self._overlay.parent} is full. Set TMPDIR to a folder with some "
                        "GiB of room.",
                        zh=f"{self._overlay.parent} 所在存储已满。请将 TMPDIR 设为有数 GiB 可用空间的目录。",
                    )
                )

    def _look_at_overlay(self) -> None:
        if self._overlay.exists() and self._overlay.stat().st_blocks * 512 > LARGEST_OVERLAY:
            raise NoRoom(
                Text(
                    en=f"The guest wrote more than {LARGEST_OVERLAY >> 30} GiB; the rehearsal was stopped.",
                    zh=f"虚拟机写入超过 {LARGEST_OVERLAY >> 30} GiB，预演已停止。",
                )
            )

    def _ending(self, first_boot: bool) -> Ending | None:
        age, watch = self.emulator.age, self.watch
        # What was read off one screen came at one time: the sign that says more stands first in the table.
        for sighting in sorted(watch.sightings.values(), key=lambda it: (it.age, SIGNS.index(it.sign))):
            if self._is_the_end(sighting.sign):
                if sighting.sign.asks:
                    self._ask(sighting.sign.asks)
                return Ending("failed", sighting.age, sighting)
        if self._off:
            return Ending("off", age)
        if self._resets > (RESETS_OF_WINDOWS if self._by_screen else RESETS):
            return Ending("loop", age)
        login = watch.reached.get("login")
        if first_boot and self.report:
            self._reported = age if self._reported is None else self._reported
            # The report over the network comes behind that over the serial port, the login prompt about now.
            done = self.by_network or "sent" in parse(self.watch.told)
            patience = self._patience.agreed if done else self._patience.first_boot
            if (login and done) or age - self._reported > patience:
                return Ending("up", self._reported)
        elif not first_boot and (login or self.report):
            return Ending("up", login.age if login else age)
        elif login and self._no_first_boot(age - max(login.age, self._silent_since), age - login.age):
            return Ending("no first boot", age)
        if self._by_screen:
            return self._ending_by_screen(age, first_boot)
        silence = age - self._silent_since
        at_loader = watch.furthest in ("", "firmware", "loader")
        if at_loader and silence > self._patience.menu and watch.menu is not None:
            return Ending("menu", watch.menu)
        if silence > self._patience.silence and any(map(self._broken, self._explaining_silence())):
            return Ending("silent", age)
        return Ending("timeout", age) if age > self._patience.boot else None

    def _ending_by_screen(self, age: float, first_boot: bool) -> Ending | None:
        """Of a guest that shows itself on the screen only."""
        patience, logon = self._patience, self.watch.logon
        if logon is not None:
            waits = first_boot and not any(map(self._broken, _NO_REPORT))
            report_due = waits and age - logon.age < patience.first_boot
            if self.eye.still(patience.settled) and (not report_due or age > patience.boot):
                return Ending("screen", age)
        elif self.eye.still(patience.silence) and any(map(self._broken, NO_WINDOWS)):
            return Ending("silent", age)
        elif self.eye.still(3 * patience.settled):
            return Ending("screen", age)
        if age <= patience.boot:
            return None
        self.eye.read(age)
        return Ending("timeout", age)

    def _is_the_end(self, sign: Sign) -> bool:
        return sign.weight == "end" or (sign.weight == "hint" and any(map(self._broken, sign.rules)))

    def _no_first_boot(self, silence: float, since_login: float) -> bool:
        """Whether a guest that asks for a login will not report any more."""
        if "no data source" in self.watch.sightings:
            return True
        agreed = any(self._broken(rule) for rule in _NO_FIRST_BOOT)
        patience = self._patience.agreed if agreed else self._patience.first_boot
        return silence > patience or since_login > 3 * self._patience.first_boot

    def _explaining_silence(self) -> tuple[str, ...]:
        """The rules that explain why nothing comes after the stage that was reached last."""
        return SILENT_AFTER.get(self.watch.furthest, ())

    def _ask(self, question: str) -> None:
        """Ask a shell that stands open what the guest sees of its disks."""
        self.expect(re.compile(r"[#>)] *$"), 5)
        self.emulator.type(f"\n{question}\n")
        before = self.console.received
        self.expect(re.compile(r"(?!)"), 3)
        if self.console.received > before:
            rows = map(_PARTITION.match, self.console.tail(30))
            self.seen_partitions = tuple(row.group(1) for row in rows if row)


# What keeps a Windows from running its user data.
_NO_REPORT = (
    "windows.cloudbase-init.installed",
    "windows.cloudbase-init.service",
    "windows.cloudbase-init.config",
    "windows.cdrom",
)
_NO_FIRST_BOOT = (
    "linux.cloud-init.installed",
    "linux.cloud-init.enabled",
    "linux.cloud-init.datasource",
    "linux.force-import.script",
)
