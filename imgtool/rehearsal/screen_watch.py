"""The screen of a running machine, looked at now and then: what it says, and whether it still changes."""

from __future__ import annotations

from collections import deque

from imgtool.rehearsal.emulator import Emulator
from imgtool.rehearsal.picture import Screen
from imgtool.rehearsal.qmp import EmulatorFailed
from imgtool.rehearsal.reading import words
from imgtool.rehearsal.watch import Watch

CURSOR = 64  # pixels: what a blinking cursor changes
CLOCK = 0.03  # of a screen: what a clock changes, and a spinner
A_CHANGE_EVERY = 20.0  # seconds: a clock changes seldom, a spinner all the time
READ_ANYWAY = 10  # looks at a screen that keeps changing


class ScreenWatch:
    """Takes one look at a time; what it reads goes to a Watch.

    said: the last words, rows of a text screen or lines read off a graphical one; shown: the graphical
    screen, None in text mode.
    """

    def __init__(self, emulator: Emulator, watch: Watch) -> None:
        self.said: list[str] = []
        self.shown: Screen | None = None
        self._emulator = emulator
        self._watch = watch
        self._looked = 0.0
        self._since: float | None = None
        self._small_changes: deque[float] = deque(maxlen=100)
        self._unread = 0

    def look(self, age: float, *, read_after: float) -> None:
        """Look at the screen. read_after: how long a graphical one must have stood still, in seconds, before
        its words are read, which takes a good part of a second."""
        try:
            screen = self._emulator.screen()
            rows = self._emulator.screen_text() if screen.in_text_mode else None
        except EmulatorFailed:
            return  # a board without VGA; and QEMU's end shows in the next turn
        self._looked = age
        if rows is not None:
            self._take_text([row for row in rows if row], age)
        else:
            self._take_picture(screen, age, read_after)

    def still(self, seconds: float) -> bool:
        """Whether nothing but a cursor and a clock changed for so long before the last look."""
        if self._since is None or self._looked - self._since < seconds:
            return False
        changes = sum(when > self._looked - seconds for when in self._small_changes)
        return changes <= seconds / A_CHANGE_EVERY

    def read(self, age: float) -> None:
        """Read the words of the graphical screen that was looked at last."""
        if self.shown is not None:
            self._unread = 0
            self.said = words(self.shown)
            self._watch.screen(self.said, age)

    def _take_text(self, rows: list[str], age: float) -> None:
        if self.shown is not None or rows != self.said:
            self.said, self.shown, self._since = rows, None, age
            self._small_changes.clear()
        self._watch.lines(rows[:-1], rows[-1] if rows else "", age, screen=True)

    def _take_picture(self, screen: Screen, age: float, read_after: float) -> None:
        pixels = screen.width * screen.height
        before = self.shown
        changed = pixels if before is None else screen.differs(before, int(pixels * CLOCK))
        if changed <= CURSOR:
            if self._unread and age - (self._since or age) >= read_after:
                self.read(age)
            return
        self.shown = screen
        self._unread += 1
        if changed > pixels * CLOCK:
            self._since = age
            self._small_changes.clear()
        else:
            self._small_changes.append(age)
        if self._unread > READ_ANYWAY:
            self.read(age)
