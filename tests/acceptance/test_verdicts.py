"""What the whole of `check` says of real disks: the good ones pass, one change gives one error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import cache, formats, images
from fixtures.recipe import Recipe
from imgtool.judging import Request, judge
from imgtool.profiles import load_profile
from imgtool.report.model import ImageReport
from imgtool.rules import Finding, Status, discover

pytestmark = pytest.mark.slow

GOLDEN = ("debian12-bios", "debian12-uefi", "debian12-lvm-xfs")
CHANGED = [  # each a group, so that one worker makes the image for all tests of it
    pytest.param(recipe, id=recipe.name, marks=pytest.mark.xdist_group(recipe.name))
    for recipe in images.RECIPES.values()
    if recipe.expected
]
OF_THE_FILE = {"format", "variant", "actual_size", "file_size", "features", "snapshots"}


def judged(path: Path) -> ImageReport:
    """The report of `imgtool check` on an image."""
    return judge(path, Request(load_profile("tce"), discover()))


def said(finding: Finding) -> tuple[object, ...]:
    """What a finding says of the disk; its remedy may name the file."""
    return finding.id, finding.status, finding.severity, finding.message, finding.evidence


@pytest.fixture(scope="module", params=CHANGED)
def changed(request: pytest.FixtureRequest) -> Iterator[tuple[Recipe, ImageReport]]:
    """An image with one change, and the report on it."""
    recipe: Recipe = request.param
    with cache.scratch() as folder:
        yield recipe, judged(images.make(recipe.name, folder))


@pytest.mark.parametrize("name", GOLDEN)
def test_a_good_image_passes_with_nothing_to_say(name: str) -> None:
    report = judged(images.path(name))
    assert report.verdict == "pass"
    assert [said(it) for it in report.findings if it.status not in (Status.PASS, Status.SKIP)] == []


def test_a_change_gives_exactly_its_own_findings(changed: tuple[Recipe, ImageReport]) -> None:
    recipe, report = changed
    expected = {(it.rule, it.platform_code, it.severity) for it in recipe.expected}
    warned = {it.rule for it in recipe.expected if it.severity != "error"}
    found = {
        (it.id, it.platform_code or "", it.severity.value)
        for it in report.findings
        if it.status is Status.FAIL or (it.status is Status.WARN and it.id in warned)
    }
    assert found == expected


def test_an_error_has_evidence_and_a_remedy_in_both_languages(changed: tuple[Recipe, ImageReport]) -> None:
    for finding in changed[1].findings:
        if finding.status is Status.FAIL:
            assert finding.evidence, finding.id
            assert finding.remedy is not None, finding.id
            assert all((finding.message.en, finding.message.zh, finding.remedy.en, finding.remedy.zh))


@pytest.mark.parametrize("format_", [name for name in formats.NAMES if name != "raw"])
def test_a_disk_is_judged_the_same_in_every_format(format_: str) -> None:
    raw, other = judged(images.path("debian12-bios")), judged(images.path("debian12-bios", format_))
    assert {k: v for k, v in other.facts.items() if k not in OF_THE_FILE} == {
        k: v for k, v in raw.facts.items() if k not in OF_THE_FILE
    }
    of_disk = [said(it) for it in other.findings if not it.id.startswith("image.")]
    assert of_disk == [said(it) for it in raw.findings if not it.id.startswith("image.")]
    assert other.verdict == "pass"
