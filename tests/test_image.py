"""One image under judgement: what it reads, when, and that it lets go of everything."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imgtool.errors import CannotRead
from imgtool.image import Image, Options
from imgtool.profiles import load_profile
from imgtool.text import Text


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened to the disk of an image whose root is a Linux."""
    events: list[str] = []

    @contextmanager
    def open_disk(file: Any) -> Any:
        events.append("opened")
        yield SimpleNamespace(volumes=(), groups=())
        events.append("closed")

    monkeypatch.setattr("imgtool.disk.probe.probe", lambda path: SimpleNamespace(path=path))
    monkeypatch.setattr("imgtool.disk.disk.open_disk", open_disk)
    found = SimpleNamespace(root=SimpleNamespace(family="linux", unreadable_mounts=()))
    monkeypatch.setattr("imgtool.guest.root.find_roots", lambda disk, opener: found)
    return events


def an_image(path: Path = Path("none.img")) -> Image:
    return Image(path, load_profile("tce"))


def test_nothing_is_opened_before_it_is_asked_for(opened: list[str]) -> None:
    with an_image() as image:
        assert image.target == "import"
        assert image.family_if_known == "unknown"
    assert opened == []


def test_a_disk_is_opened_once_and_closed_with_the_image(opened: list[str]) -> None:
    with an_image() as image:
        assert image.family == image.family == "linux"
        assert image.family_if_known == "linux"
        assert opened == ["opened"]
    assert opened == ["opened", "closed"]


def test_a_disk_is_closed_also_when_judging_it_fails(opened: list[str]) -> None:
    def judge_badly() -> None:
        with an_image() as image:
            assert image.disk
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        judge_badly()
    assert opened == ["opened", "closed"]


def test_the_system_of_an_image_that_cannot_be_read_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise CannotRead(Text("no", "否"))

    monkeypatch.setattr("imgtool.disk.probe.probe", refuse)
    with an_image() as image:
        assert image.family == "unknown"
        with pytest.raises(CannotRead):
            _ = image.linux


def test_a_disk_without_linux_has_no_linux_facts(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgtool.guest.root.find_roots", lambda disk, opener: SimpleNamespace(root=None))
    with an_image() as image, pytest.raises(CannotRead, match="No Linux"):
        _ = image.linux


def test_options_say_what_the_image_is_for() -> None:
    assert Image(Path("x"), load_profile("tce"), Options(target="migrate")).target == "migrate"
