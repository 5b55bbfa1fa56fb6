"""What the benchmarks' page says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.figure import Bar, Figure, ratio
from bench.record import as_json, for_terminal, save


def result(*figures: Figure) -> dict[str, Any]:
    return {
        "title": "Something",
        "method": "How.",
        "date": "2026-01-01",
        "imgtool": "0",
        "machine": {"processor": "one"},
        "figures": [as_json(figure) for figure in figures],
    }


@pytest.mark.parametrize(("value", "met"), [(0.35, True), (0.36, False)])
def test_a_bar_is_reached_up_to_its_value(value: float, met: bool) -> None:
    assert Figure("check", "s", (value,), Bar("<=", 0.35)).met is met


def test_the_median_is_judged() -> None:
    assert Figure("check", "s", (0.1, 0.2, 9.0), Bar("<=", 0.35)).met


def test_a_ratio_is_of_medians() -> None:
    assert ratio("faster", [29, 30, 90], [0.3, 0.2, 0.3], Bar(">=", 80)).median == 100


def test_a_missed_bar_is_shown_as_missed(tmp_path: Path) -> None:
    missed = Figure("check", "s", (0.5, 0.6, 0.7), Bar("<=", 0.35))
    save("check", result(missed), tmp_path)
    assert (
        "| check | 0.600 s | 0.500 to 0.700 | 3 | ≤ 0.35 s | **missed** |"
        in (tmp_path / "benchmarks.md").read_text()
    )
    assert "missed" in for_terminal([as_json(missed)])


def test_measuring_one_subject_keeps_the_results_of_the_others(tmp_path: Path) -> None:
    save("check", result(Figure("check", "s", (0.1,))), tmp_path)
    save("convert", result(Figure("convert", "s", (1.0,))), tmp_path)
    save("check", result(Figure("check", "s", (0.2,))), tmp_path)
    record = json.loads((tmp_path / "benchmarks.json").read_text())
    assert {name: each["figures"][0]["median"] for name, each in record.items()} == {
        "check": 0.2,
        "convert": 1.0,
    }
    assert (tmp_path / "benchmarks.md").read_text().count("## Something") == 2
