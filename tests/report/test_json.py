"""The JSON reports hold to their schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from imgtool.report import json as as_json
from imgtool.text import Language
from tests.report.made_up import EVERYTHING, HOSTILE, hostile_report, image, report

DOCS = Path(__file__).parents[2] / "docs"


def schema(name: str = "report-v1.schema.json") -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DOCS / name).read_text())
    return loaded


def check(document: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(document)
    Draft202012Validator(schema()).validate(content)
    return content


@pytest.mark.parametrize("name", ["report-v1.schema.json", "inspect-v1.schema.json"])
def test_the_schemas_are_schemas(name: str) -> None:
    Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_report_of_everything_holds_to_the_schema(language: Language) -> None:
    content = check(as_json.render(report(), language))
    (only,) = content["images"]
    assert only["verdict"] == "fail"
    assert only["duration_s"] == 0.215
    assert [it["status"] for it in only["findings"]] == ["pass", "warn", "warn", "fail", "unknown", "skip"]
    assert only["findings"][3]["platform_code"] == "VirtioNotInstall"


def test_chinese_is_readable_as_it_stands() -> None:
    assert "缺少 virtio_blk" in as_json.render(report(), "zh")


def test_several_images_keep_their_order() -> None:
    several = report(image(path="b"), image(path="a"))
    assert [it["path"] for it in check(as_json.render(several, "en"))["images"]] == ["b", "a"]


def test_a_hostile_image_gives_valid_json_that_a_terminal_can_show() -> None:
    document = as_json.render(hostile_report(), "en")
    assert not set(document) & {"\x1b", "\x07", "\x9b", "\r", "\x00", "\u202e", "\udcff"}
    assert check(document)["images"][0]["findings"][0]["evidence"][0] == HOSTILE


@pytest.mark.parametrize("change", ["status", "verdict", "extra"])
def test_the_schema_refuses_what_no_report_says(change: str) -> None:
    content = json.loads(as_json.render(report(image(*EVERYTHING)), "en"))
    if change == "status":
        content["images"][0]["findings"][0]["status"] = "ok"
    elif change == "verdict":
        content["images"][0]["verdict"] = "maybe"
    else:
        content["images"][0]["findings"][0]["extra"] = 1
    assert not Draft202012Validator(schema()).is_valid(content)
