"""A Windows is judged by its screen: passed for the words of a logon, failed for those of a failure, and
`unknown` for anything else. The guests are stand-ins, GRUB behind a Windows' disk layout."""

from __future__ import annotations

import shutil

import pytest

from fixtures.pytest_plugin import ImageByName
from fixtures.screens import FONT, GRUB
from imgtool.rehearsal.boot_watch import Patience
from imgtool.report.model import ImageReport
from imgtool.report.text import layout, plain
from imgtool.rules import Finding, Status
from tests.rehearsal.rehearsing import failed, of, passed, rehearse

needed = all(map(shutil.which, ("tesseract", "grub-mkimage", "grub-mkfont")))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("rehearsal-1"),
    pytest.mark.skipif(
        not (needed and GRUB.is_dir() and FONT.is_file()), reason="GRUB, DejaVu or Tesseract is not installed"
    ),
]


def rehearsed(image: ImageByName, name: str, boot: float = 200) -> ImageReport:
    """With less patience for what stands still than a real system is given, and enough for a busy machine."""
    patience = Patience(boot=boot, silence=60, menu=60, settled=3, first_boot=4, agreed=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Patience, "of", lambda *_: patience)
        report = rehearse(image(f"screen/{name}"))
    print(plain(layout(report, "en", 110, verbose=True)))
    assert report.boot is not None
    assert report.boot.pictures
    return report


def login(report: ImageReport) -> Finding:
    finding = of(report, "rehearsal.login")
    assert finding.status is Status.UNKNOWN
    assert finding.remedy is not None
    assert report.verdict == "unknown"
    return finding


def test_the_words_of_a_logon_and_the_power_button_show_that_it_is_up(image: ImageByName) -> None:
    report = rehearsed(image, "logon")
    assert failed(report) == []
    assert passed(report) == {"firmware", "login", "shutdown", "second-boot"}
    assert "Ctrl+Alt+Delete to unlock" in of(report, "rehearsal.login").evidence[0]
    assert "Ctrl+Alt+Delete to unlock" in of(report, "rehearsal.second-boot").evidence[0]
    assert of(report, "rehearsal.first-boot").status is Status.UNKNOWN, "the guest said nothing from inside"
    assert report.verdict == "unknown"


@pytest.mark.parametrize(
    ("name", "rule", "words"),
    [
        ("stop", "windows.virtio.storage", "INACCESSIBLE BOOT DEVICE"),
        ("recovery", "rehearsal.login", "be repaired"),
        ("bootmgr-missing", "windows.boot", "BOOTMGR is missing"),
    ],
)
def test_a_screen_that_names_a_failure_fails(image: ImageByName, name: str, rule: str, words: str) -> None:
    report = rehearsed(image, name)
    assert failed(report) == [rule]
    assert words in of(report, rule).evidence[0]


def test_a_black_screen_is_unknown_though_it_obeys_the_power_button(image: ImageByName) -> None:
    report = rehearsed(image, "black")
    assert "a black screen stands still" in login(report).message.en
    assert "it obeys the power button" in login(report).message.en


def test_a_screen_that_never_comes_to_rest_is_unknown(image: ImageByName) -> None:
    assert "the screen still changes" in login(rehearsed(image, "spinner", boot=15)).message.en
