"""When a boot is over, as what the machine says by and by tells; here, it is a list of what it says."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from imgtool.rehearsal.boot_watch import BootWatch, Ending, Patience
from imgtool.rehearsal.console import Console
from imgtool.rehearsal.emulator import Said
from imgtool.rehearsal.instance import new_instance
from imgtool.rehearsal.picture import Screen
from imgtool.rehearsal.qmp import EmulatorFailed, Event

RESET = Event("RESET", {"guest": True})
KERNEL = "Linux version 6.1.0\r\nWelcome to Debian GNU/Linux 12 (bookworm)!\r\n"
MENU = "GNU GRUB  version 2.06\r\nUse the ^ and v keys to select which entry is highlighted.\r\n"
COUNTING = "The highlighted entry will be executed automatically in 1s.\r\n"


class Played:
    """Says one thing a second, from power-on on; then nothing more. Typing is kept."""

    def __init__(self, says: Iterable[str | Event]) -> None:
        self.age = 0.0
        self.typed = ""
        self._says = iter(says)

    def wait(self, seconds: float) -> Said:
        self.age += 1.0
        said = next(self._says, "")
        return Said(events=(said,)) if isinstance(said, Event) else Said(console=said.encode())

    def type(self, text: str) -> None:
        self.typed += text

    def screen(self) -> Screen:
        raise EmulatorFailed.said("no screen")


def watched(*says: str | Event, broken: str = "") -> BootWatch:
    """What comes of a guest that says this. broken: the rule that the static check finds broken."""
    return BootWatch(
        Played(says),  # type: ignore[arg-type]
        Console(),
        patience=Patience(boot=400, silence=30, menu=30, settled=20, first_boot=180, agreed=7),
        broken=lambda rule: rule == broken,
        instance=new_instance(),
        overlay=Path("/nonexistent"),
    )


def ending(*says: str | Event, broken: str = "", first_boot: bool = False) -> Ending:
    return watched(*says, broken=broken).until_up(first_boot)


def test_a_login_prompt_ends_a_boot_that_nothing_was_handed_to() -> None:
    assert ending(KERNEL, "\r\nvm login: ").kind == "up"


@pytest.mark.parametrize("over", ["[   50.271] cloud-init[611]: finished", "[    9.9] EXT4-fs: remounted"])
def test_a_login_prompt_counts_that_the_kernels_next_words_stand_behind(over: str) -> None:
    found = watched(KERNEL + f"\r\nvm login: {over}\r\n")
    assert found.until_up(first_boot=False).kind == "up"
    assert found.watch.login_host == "vm"


def test_a_report_shows_that_a_guest_is_up_again_which_asks_for_no_login_here() -> None:
    found = watched()
    mark = found.watch.mark
    found.emulator = Played([f"\r\n{mark}hostname=vm\r\n", f"\r\n{mark}end=1\r\n"])  # type: ignore[assignment]
    assert found.until_up(first_boot=False).kind == "up"
    assert found.report == {"hostname": "vm", "end": "1"}


def test_words_about_a_login_are_no_prompt() -> None:
    assert ending(KERNEL, "Last login: [unknown]\r\nvm login: root\r\n").kind == "timeout"


def test_a_login_before_the_guest_restarts_itself_is_not_up() -> None:
    found = watched(KERNEL, "\r\nvm login: ", RESET, KERNEL)
    assert found.until_up(first_boot=True).kind == "timeout"
    assert found.watch.furthest == "root"


def test_time_for_the_first_boot_begins_anew_when_the_guest_restarts_itself() -> None:
    again = [*([""] * 170), RESET, *([""] * 20), KERNEL, "\r\nvm login: "]
    found = ending(KERNEL, "\r\nvm login: ", *again, first_boot=True)
    assert (found.kind, found.age > 350) == ("no first boot", True)


def test_a_guest_that_restarts_itself_at_every_login_is_in_a_loop() -> None:
    assert ending(*[KERNEL, "\r\nvm login: ", RESET] * 5, first_boot=True).kind == "loop"


@pytest.mark.parametrize(
    ("says", "kind"),
    [
        ([MENU], "menu"),
        ([MENU, COUNTING], "timeout"),
        ([COUNTING, MENU, "Loading Linux 6.1.0 ...\r\n"], "timeout"),
        ([MENU, "Loading Linux 6.1.0 ...\r\n", MENU], "menu"),
    ],
)
def test_a_menu_waits_unless_it_counts_or_has_gone_on(says: list[str], kind: str) -> None:
    assert ending(*says).kind == kind


def test_a_quiet_boot_behind_a_menu_has_its_time() -> None:
    says = [MENU, "Loading Linux 6.1.0 ...\r\n", *([""] * 60), "vm login: "]
    assert ending(*says).kind == "up"


@pytest.mark.parametrize(("sent", "patient"), [("no", False), ("", True)])
def test_a_report_over_the_network_is_waited_for_until_the_guest_says_that_there_is_none(
    sent: str, patient: bool
) -> None:
    found = watched()
    mark = found.watch.mark
    says = [KERNEL, "\r\nvm login: ", f"\r\n{mark}end=1\r\n", f"\r\n{mark}sent={sent}\r\n" if sent else ""]
    found.emulator = Played(says)  # type: ignore[assignment]
    assert found.until_up(first_boot=True).kind == "up"
    assert (found.emulator.age > 180) == patient


def test_a_guest_that_is_busy_behind_its_login_prompt_has_more_time_for_its_first_boot() -> None:
    busy = ["[   50.0] cloud-init[611]: at work\r\n" if each % 100 == 0 else "" for each in range(300)]
    found = ending(KERNEL, "\r\nvm login: ", *busy, first_boot=True)
    assert (found.kind, found.age > 380) == ("no first boot", True)


def test_a_silence_is_only_cut_short_before_the_login() -> None:
    assert ending(KERNEL, broken="linux.fstab").kind == "silent"
    found = ending(KERNEL, "\r\nvm login: ", broken="disk.boot-mode", first_boot=True)
    assert (found.kind, found.age > 180) == ("no first boot", True)


def test_an_answer_is_looked_for_in_what_comes_after_the_question() -> None:
    found = watched("Login incorrect\r\nvm login: ", "Password: ", "\r\nWelcome\r\nroot@vm:~# ")
    incorrect = re.compile("Login incorrect|# *$")
    assert found.expect(re.compile("login: $"), 5) is not None
    assert found.expect(re.compile("Password: $"), 5) is not None
    match = found.expect(incorrect, 5)
    assert match is not None
    assert match.group().startswith("#")
