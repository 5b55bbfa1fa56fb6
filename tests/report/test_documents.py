"""JUnit, SARIF, Markdown and HTML: right for the programs that read them, harmless from a hostile image."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from imgtool.report import html, junit, markdown, sarif
from imgtool.rules import Severity
from tests.report.made_up import (
    EVERYTHING,
    FAILED,
    HOSTILE,
    KEPT,
    OPEN,
    WARNED,
    hostile_report,
    image,
    report,
)

CONTROLS = {"\x1b", "\x07", "\x9b", "\r", "\x00", "\u202e", "\udcff"}


@pytest.mark.parametrize("module", [junit, sarif, markdown, html])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_hostile_image_puts_no_control_character_into_a_document(module: Any, language: str) -> None:
    document = module.render(hostile_report(), language)
    assert not set(document) & CONTROLS
    document.encode("utf-8")


# JUnit


def suite(*findings: Any, **given: Any) -> Xml.Element:
    root = Xml.fromstring(junit.render(report(image(*findings, **given)), "en").partition("\n")[2])  # noqa: S314
    found = root.find("testsuite")
    assert found is not None
    return found


def test_junit_counts_what_ci_systems_count() -> None:
    it = suite(*EVERYTHING)
    assert {key: it.get(key) for key in ("name", "tests", "failures", "errors", "skipped")} == {
        "name": "golden/image.qcow2",
        "tests": "6",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }


def test_junit_says_why_a_case_failed() -> None:
    failure = suite(*EVERYTHING).find(".//failure")
    assert failure is not None
    assert failure.get("type") == "VirtioNotInstall"
    assert failure.get("message") == "The initramfs lacks virtio_blk."
    assert "update-initramfs -u -k 6.1.0-28-amd64" in (failure.text or "")


def test_junit_fails_a_warning_only_where_warnings_fail() -> None:
    assert suite(WARNED).get("failures") == "0"
    assert suite(WARNED, fail_on=Severity.WARNING).get("failures") == "1"


def test_junit_names_every_case_once() -> None:
    names = [case.get("name") for case in suite(WARNED, WARNED, OPEN).iter("testcase")]
    assert len(set(names)) == 3


# SARIF


def run() -> dict[str, Any]:
    log = json.loads(sarif.render(report(), "en"))
    assert (log["version"], log["$schema"]) == ("2.1.0", "https://json.schemastore.org/sarif-2.1.0.json")
    only: dict[str, Any] = log["runs"][0]
    return only


def test_sarif_results_name_their_rules() -> None:
    only = run()
    rules = only["tool"]["driver"]["rules"]
    assert [rules[it["ruleIndex"]]["id"] for it in only["results"]] == [
        it["ruleId"] for it in only["results"]
    ]
    assert rules[only["results"][0]["ruleIndex"]]["shortDescription"]["text"]


def test_sarif_levels_follow_the_specification() -> None:
    results = {it["ruleId"]: (it["kind"], it["level"]) for it in run()["results"]}
    assert results == {
        "linux.virtio.initramfs": ("fail", "error"),
        "disk.filesystem.clean": ("open", "none"),
        "image.snapshots": ("fail", "warning"),
        "disk.root.last": ("fail", "note"),
    }


def test_sarif_says_that_a_run_with_unknowns_and_no_failure_did_not_succeed() -> None:
    log = json.loads(sarif.render(report(image(OPEN)), "en"))
    assert log["runs"][0]["invocations"] == [{"executionSuccessful": False}]


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("golden/image.qcow2", "golden/image.qcow2"),
        ("/srv/my images/a#1.raw", "file:///srv/my%20images/a%231.raw"),
        ("镜像.raw", "%E9%95%9C%E5%83%8F.raw"),
        ("c:d/image.raw", "./c%3Ad/image.raw"),
    ],
)
def test_sarif_locations_are_uris(path: str, uri: str) -> None:
    log = json.loads(sarif.render(report(image(WARNED, path=path)), "en"))
    location = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert location["artifactLocation"] == {"uri": uri, "index": 0}


def test_sarif_knows_a_finding_again() -> None:
    def fingerprint(path: str) -> str:
        log = json.loads(sarif.render(report(image(WARNED, path=path)), "zh"))
        return str(log["runs"][0]["results"][0]["partialFingerprints"]["imgtool/v1"])

    assert fingerprint("a") == fingerprint("a") != fingerprint("b")


# Markdown


def test_markdown_has_commands_in_code_blocks() -> None:
    assert "```text\nupdate-initramfs -u -k 6.1.0-28-amd64\n```" in markdown.render(report(), "zh")


def test_markdown_from_a_hostile_image_stays_text() -> None:
    document = markdown.render(hostile_report(), "en")
    fences = [row for row in document.splitlines() if row.startswith("```")]
    assert fences
    assert all(row.startswith("````") for row in fences), "a fence is longer than the backticks inside"
    inside = False
    for row in document.splitlines():
        if row.startswith("````"):
            inside = not inside
        elif not inside and not row.startswith("## "):
            assert "<script>" not in row.replace("\\<", "")
            assert not row.startswith("# ")


# HTML


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_one_whole_page_that_loads_nothing() -> None:
    page = Page(html.render(report(), "zh"))
    assert page.open == []
    assert ("lang", "zh-CN") in page.attributes
    assert not {name for name, _ in page.attributes} & {"src", "href", "onload", "style"}
    assert not set(page.tags) & {"script", "link", "img", "iframe"}


def test_html_of_several_images_begins_with_the_verdict_on_each() -> None:
    several = report(image(KEPT, path="good <1>.raw"), image(FAILED, path="bad.raw"))
    page = html.render(several, "en")
    overview = page[: page.index("<section")]
    assert "2 images: 1 failed, 0 could not be judged, 1 passed" in overview
    for number, path in ((1, "good &lt;1&gt;.raw"), (2, "bad.raw")):
        assert f'<a href="#image-{number}"><code>{path}</code></a>' in overview
        assert f'<section id="image-{number}">' in page
    assert "<table>" not in html.render(report(image(FAILED)), "en")


def test_html_from_a_hostile_image_has_no_script() -> None:
    document = html.render(hostile_report(), "en")
    assert "script" not in Page(document).tags
    assert "&lt;script&gt;" in document
    assert HOSTILE not in document


def test_html_has_what_the_helpdesk_needs() -> None:
    document = html.render(report(), "zh")
    for words in ("不通过", "VirtioNotInstall", "缺少 virtio_blk", "update-initramfs -u -k 6.1.0-28-amd64"):
        assert words in document
