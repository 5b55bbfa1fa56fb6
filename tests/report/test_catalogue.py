"""docs/checks.md is what the code says."""

from __future__ import annotations

from pathlib import Path

from imgtool.rehearsal.stages import STAGES
from imgtool.report.catalogue import page, paragraphs
from imgtool.rules import discover

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_the_checks_is_current() -> None:
    written = (DOCS / "checks.md").read_text(encoding="utf-8")
    assert written == page(discover()), "run: python -m imgtool.report.catalogue -o docs/checks.md"


def test_every_rule_has_its_section_and_every_link_its_target() -> None:
    rules = discover()
    text = page(rules)
    anchors = {row[4:].replace(".", "") for row in text.splitlines() if row.startswith("### ")}
    stages = {stage.id for stage in STAGES.values()}
    assert anchors == {name.replace(".", "") for name in rules.keys() | stages}
    import re

    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def test_paragraphs_are_joined_and_lists_are_not() -> None:
    assert paragraphs("One\n    two.\n\n    - a\n    - b\n    ") == ["One two.", "- a\n- b"]
