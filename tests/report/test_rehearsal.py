"""What a rehearsal adds to the reports: pictures, the console's last lines, times."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from imgtool.report import html, markdown
from imgtool.report import json as json_report
from imgtool.report.model import BootRecord, ImageReport, Picture
from imgtool.report.text import layout, plain
from imgtool.rules import Severity, Status
from imgtool.text import Text
from tests.report.made_up import HOSTILE, finding, image, report

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
SCHEMA = Path(__file__).parents[2] / "docs" / "report-v1.schema.json"
LOGIN = finding("rehearsal.login", Status.PASS, Severity.ERROR, time_s=61.26)
LOST = finding("linux.bootloader.root", Status.FAIL, time_s=19.1)


def booted(*findings: object, console: tuple[str, ...] = ("vm login:",)) -> ImageReport:
    picture = Picture(Text("The first boot, at its end", "首次启动结束时的屏幕"), PNG)
    return replace(
        image(*findings),
        boot=BootRecord("tcg", "bios", "x86_64", 2, (picture,), console),
    )


@pytest.mark.parametrize("module", [html, markdown])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_document_holds_the_picture_and_the_console_itself(module: object, language: str) -> None:
    text = module.render(report(booted(LOST)), language)  # type: ignore[attr-defined]
    assert base64.b64encode(PNG).decode() in text
    assert "vm login:" in text
    assert {"en": "The first boot, at its end", "zh": "首次启动结束时的屏幕"}[language] in text


def test_the_page_may_show_pictures_it_holds_and_nothing_else() -> None:
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in html.render(report(), "en")


@pytest.mark.parametrize("module", [html, markdown])
def test_a_hostile_console_puts_no_control_character_and_no_tag_into_a_document(module: object) -> None:
    text = module.render(report(booted(LOST, console=(HOSTILE,))), "en")  # type: ignore[attr-defined]
    assert not set(text) & {"\x1b", "\x07", "\x9b", "\u202e"}
    if module is html:
        assert "<script>" not in text


def test_json_has_times_and_console_by_the_schema() -> None:
    document = json.loads(json_report.render(report(booted(LOGIN, LOST)), "en"))
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    (one,) = document["images"]
    assert one["rehearsal"]["console"] == ["vm login:"]
    assert [it["time_s"] for it in one["findings"]] == [61.3, 19.1]


def test_each_stage_of_a_boot_is_told_also_when_it_passed() -> None:
    text = plain(layout(booted(LOGIN), "en", 100))
    assert "rehearsal.login" in text
    assert "-v" not in text
    assert "<details open><summary>1 passed" in html.render(report(booted(LOGIN)), "en")
    beside = booted(LOGIN, finding("linux.acpi", Status.PASS))
    assert "rehearsal.login" not in plain(layout(beside, "en", 100))


def test_the_text_shows_the_console_of_a_boot_that_failed() -> None:
    assert "vm login:" in plain(layout(booted(LOST), "en", 100))
    assert "vm login:" not in plain(layout(booted(LOGIN), "en", 100))
