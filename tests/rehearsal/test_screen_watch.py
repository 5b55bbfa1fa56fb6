"""A screen that stands still and one that does not, as looks at it tell; and what it looks like."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgtool.rehearsal import reading, screen_watch
from imgtool.rehearsal.picture import Screen
from imgtool.rehearsal.qmp import EmulatorFailed
from imgtool.rehearsal.screen_watch import ScreenWatch
from imgtool.rehearsal.watch import Watch

WIDTH, HEIGHT = 400, 300
BLUE = b"\x00\x78\xd7"


def screen(colour: bytes = BLUE, spots: int = 0, at: int = 0) -> Screen:
    """Of one colour, with a number of white pixels from one on."""
    pixels = bytearray(colour * (WIDTH * HEIGHT))
    pixels[3 * at : 3 * (at + spots)] = b"\xff\xff\xff" * spots
    return Screen(WIDTH, HEIGHT, bytes(pixels))


class Seen:
    """An emulator whose screen is what it is told to be; None where it has none."""

    def __init__(self) -> None:
        self.now: Screen | None = screen()

    def screen(self) -> Screen:
        if self.now is None:
            raise EmulatorFailed.said("no screen")
        return self.now

    def screen_text(self) -> list[str]:
        return []


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Screen]:
    """The screens whose words are read, as they are."""
    found: list[Screen] = []
    monkeypatch.setattr(screen_watch, "words", lambda it: found.append(it) or ["words"])
    return found


def watched(*screens: Screen, every: float = 3.0) -> ScreenWatch:
    seen = Seen()
    watch = ScreenWatch(seen, Watch("mark "))  # type: ignore[arg-type]
    for number, each in enumerate(screens):
        seen.now = each
        watch.look(number * every, read_after=0)
    return watch


def test_a_screen_that_does_not_change_stands_still_and_is_read_once(read: list[Screen]) -> None:
    watch = watched(*[screen()] * 21)
    assert watch.still(60)
    assert len(read) == 1
    assert watch.said == ["words"]


def test_a_cursor_that_blinks_is_no_change(read: list[Screen]) -> None:
    watch = watched(*[screen(spots=each % 2 * 20) for each in range(21)])
    assert watch.still(60)
    assert len(read) == 1


def test_a_clock_that_goes_on_once_a_minute_leaves_it_still(read: list[Screen]) -> None:
    watch = watched(*[screen(spots=300 * (each // 20)) for each in range(1, 42)])
    assert watch.still(60)


def test_something_small_that_turns_keeps_it_from_standing_still(read: list[Screen]) -> None:
    watch = watched(*[screen(spots=150, at=400 * (each % 5)) for each in range(41)])
    assert not watch.still(60)
    assert read, "its words are read all the same, now and then"


def test_another_picture_begins_anew(read: list[Screen]) -> None:
    watch = watched(*[screen()] * 10, *[screen(b"\0\0\0")] * 5)
    assert not watch.still(30)
    assert watch.still(12)


def test_another_resolution_is_another_picture(read: list[Screen]) -> None:
    other = Screen(80, 60, bytes(3 * 80 * 60))
    assert not watched(screen(), other).still(3)


def test_a_machine_whose_screen_can_not_be_had_does_not_stand_still() -> None:
    seen = Seen()
    watch = ScreenWatch(seen, Watch("mark "))  # type: ignore[arg-type]
    watch.look(1.0, read_after=0)
    seen.now = None
    watch.look(1000.0, read_after=0)
    assert not watch.still(60)


@pytest.mark.parametrize(
    ("shown", "look"),
    [
        (screen(b"\0\0\0"), "black"),
        (screen(b"\0\0\0", spots=60), "black"),
        (screen(b"\0\0\0", spots=5000), "plain"),
        (screen(), "plain"),
        (Screen(256, 256, bytes(v for y in range(256) for x in range(256) for v in (x, y, 128))), "picture"),
    ],
)
def test_a_screen_looks_black_plain_or_like_a_picture(shown: Screen, look: str) -> None:
    assert shown.look == look


def test_without_the_program_nothing_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    reading.languages.cache_clear()
    try:
        assert reading.words(screen()) == []
    finally:
        reading.languages.cache_clear()


def test_what_is_read_is_the_green_at_double_size() -> None:
    two = Screen(2, 1, b"\x01\x02\x03\x04\x05\x06")
    assert reading._twice(two) == b"P5\n4 2\n255\n" + b"\x02\x02\x05\x05" * 2
