"""docs/checks.md is what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imgtool.rehearsal.stages import STAGES
from imgtool.report.catalogue import page, paragraphs
from imgtool.rules import Rule, discover

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_the_checks_is_current() -> None:
    written = (DOCS / "checks.md").read_text(encoding="utf-8")
    assert written == page(discover()), "run: python -m imgtool.report.catalogue -o docs/checks.md"


@pytest.mark.parametrize("rule", discover().values(), ids=lambda rule: rule.id)
def test_every_rule_says_what_why_evidence_an_example_and_the_fix(rule: Rule) -> None:
    what, *rest = paragraphs(rule.judge.__doc__ or "")
    assert what.endswith((".", ")."))
    assert len(what) < 200
    assert rest, "why it matters"
    text = " ".join(rest)
    assert "Evidence: " in text
    assert "Example: " in text
    assert "The fix" in text


@pytest.mark.parametrize("rule", discover().values(), ids=lambda rule: rule.id)
def test_a_title_names_what_is_judged_not_that_it_is_well(rule: Rule) -> None:
    """It stands beside ERROR as well as beside PASS: `ERROR cloud-init installed` says the opposite."""
    said = re.compile(r"^(No|Not|Nothing|Needs)\b|\b(is|are|was|installed|enabled|lets|load|come|clean)\b")
    assert not said.search(rule.title.en)
    assert not re.search(r"^(无|不|未|没有|已)|已|完整且|可登录", rule.title.zh)


def test_every_rule_has_its_section_and_every_link_its_target() -> None:
    rules = discover()
    text = page(rules)
    anchors = {row[4:].replace(".", "") for row in text.splitlines() if row.startswith("### ")}
    stages = {stage.id for stage in STAGES.values()}
    assert anchors == {name.replace(".", "") for name in rules.keys() | stages}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_paragraphs_are_joined_and_lists_are_not() -> None:
    assert paragraphs("One\n    two.\n\n    - a\n    - b\n    ") == ["One two.", "- a\n- b"]
