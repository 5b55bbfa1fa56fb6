"""What a boot showed so far: how far it came, and which known failures it named."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from imgtool.rehearsal.screens import LOGON
from imgtool.rehearsal.sign import Sign
from imgtool.rehearsal.signs import GOES_ON, MENU, MILESTONES, SIGNS, TALKED_OVER

ORDER = tuple(name for name, _ in MILESTONES)
_ANY = re.compile("|".join(f"(?:{it.pattern.pattern})" for it in SIGNS if it.where != "firmware"))
MOST_FAULTS = 20


@dataclass(frozen=True)
class Seen:
    """A stage that was reached: after how many seconds, and the line that shows it."""

    age: float
    line: str
    name: str = ""


@dataclass(frozen=True)
class Sighting:
    """A known failure that was named: after how many seconds, and the line that does."""

    sign: Sign
    age: float
    line: str


@dataclass
class Watch:
    """Takes what comes, keeps what it means. mark: how lines of the guest's own report begin."""

    mark: str
    reached: dict[str, Seen] = field(default_factory=dict)
    sightings: dict[str, Sighting] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    menu: float | None = None
    login_host: str = ""
    logon: Seen | None = None
    """The words of a Windows logon or desktop, on a graphical screen."""

    def lines(self, lines: list[str], partial: str, age: float, *, screen: bool = False) -> None:
        """Lines of the console (or of the screen), and what stands after the last one."""
        for line in lines:
            self._line(line, age, screen=screen)
        if partial.strip():
            self._line(partial.rstrip(" ") + " ", age, waiting=True, screen=screen)

    def screen(self, words: list[str], age: float) -> None:
        """Words read off a graphical screen: all that it says now. Letters of a name may be misread."""
        asked = "login" in self.reached
        self.lines(words[:-1], words[-1] if words else "", age, screen=True)
        self.login_host = self.login_host if asked else ""
        found = next(filter(LOGON.search, words), None)
        self.logon = (self.logon or Seen(age, found)) if found else None

    def firmware(self, lines: list[str], age: float) -> None:
        """Lines of the firmware's log."""
        for line in lines:
            for sign in SIGNS:
                if sign.where == "firmware" and sign.pattern.search(line):
                    self._sight(sign, age, line)
            if MILESTONES[0][1].search(line):
                self.reached.setdefault("firmware", Seen(age, line))

    def restart(self) -> None:
        """The machine was reset: it asks for no login any more."""
        self.reached.pop("login", None)
        self.login_host, self.logon, self.menu = "", None, None

    @property
    def furthest(self) -> str:
        """The last stage that was reached, "" for none."""
        return next((name for name in reversed(ORDER) if name in self.reached), "")

    def when(self, stage: str) -> Seen | None:
        """When a stage was reached; a later one shows that it was, at the latest then."""
        for name in ORDER[ORDER.index(stage) :]:
            if name in self.reached:
                return self.reached[name]
        return None

    def _line(self, line: str, age: float, *, waiting: bool = False, screen: bool) -> None:
        if line.startswith(self.mark):
            if not waiting:
                self.told.append(line[len(self.mark) :].strip())
            return
        for name, pattern in MILESTONES:
            if name in self.reached:
                continue
            if name == "login":
                found = pattern.search(line) if waiting else TALKED_OVER.search(line)
            else:
                found = None if waiting else pattern.search(line)
            if found and not (name == "root" and ("Initramfs" in line or "dracut" in line)):
                self.reached[name] = Seen(age, line.strip(), next(filter(None, found.groups()), ""))
                if name == "login":
                    self.login_host = found.group(1)
        if GOES_ON.search(line):
            self.menu = None
        elif MENU.search(line) and self.menu is None:
            self.menu = age
        if _ANY.search(line):
            places = ("text", "screen") if screen else ("text",)
            for sign in SIGNS:
                if sign.where in places and sign.pattern.search(line if waiting else line.rstrip()):
                    self._sight(sign, age, line)

    def _sight(self, sign: Sign, age: float, line: str) -> None:
        if sign.name not in self.sightings and len(self.sightings) < MOST_FAULTS:
            self.sightings[sign.name] = Sighting(sign, age, line.strip())
