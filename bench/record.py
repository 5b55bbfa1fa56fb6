"""The results: a table on the terminal, docs/benchmarks.json for machines, docs/benchmarks.md for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.figure import Figure

DOCS = Path(__file__).parents[1] / "docs"
HEAD = """\
# Benchmarks

`make bench` measures, in one run on one machine, and writes this page and [benchmarks.json](benchmarks.json).
What counts is the median beside its bar, and the ratios; what falls short of its bar is shown as it was
measured. One file in `bench/subjects/` is one section here; `make bench ARGS=check` measures one of them.
"""


def as_json(figure: Figure) -> dict[str, Any]:
    """A figure with its samples."""
    bar = None if figure.bar is None else f"{figure.bar.relation} {figure.bar.value:g}"
    return {
        "name": figure.name,
        "unit": figure.unit,
        "median": round(figure.median, 4),
        "min": round(min(figure.samples), 4),
        "max": round(max(figure.samples), 4),
        "runs": len(figure.samples),
        "bar": bar,
        "met": figure.met,
        "samples": [round(sample, 4) for sample in figure.samples],
        "note": figure.note,
    }


def table(figures: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Heading and rows, as words."""
    rows: list[tuple[str, ...]] = [("what", "median", "min to max", "runs", "bar", "")]
    for figure in figures:
        unit = figure["unit"]
        spread = f"{_number(figure['min'], unit)} to {_number(figure['max'], unit)}"
        bar = figure["bar"].replace("<=", "≤").replace(">=", "≥") + f" {_sign(unit)}" if figure["bar"] else ""
        met = {True: "reached", False: "**missed**", None: ""}[figure["met"]]
        median = f"{_number(figure['median'], unit)} {_sign(unit)}"
        several = figure["runs"] > 1
        rows.append(
            (
                figure["name"],
                median,
                spread if several else "",
                str(figure["runs"] if several else ""),
                bar,
                met,
            )
        )
    return rows


def for_terminal(figures: Sequence[Mapping[str, Any]]) -> str:
    """The table in columns."""
    rows = [tuple(cell.replace("*", "") for cell in row) for row in table(figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def save(subject: str, result: Mapping[str, Any], docs: Path = DOCS) -> None:
    """Put one subject's result beside those of the others, and write the page anew."""
    record = docs / "benchmarks.json"
    results = json.loads(record.read_text()) if record.exists() else {}
    results[subject] = result
    record.write_text(json.dumps(results, indent=2, ensure_ascii=False, sort_keys=True) + "\n")
    (docs / "benchmarks.md").write_text(page(results))


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/benchmarks.md."""
    parts = [HEAD]
    for _, result in sorted(results.items()):
        heading, *rows = table(result["figures"])
        lines = [_row(heading), _row(["---"] * len(heading)), *map(_row, rows)]
        machine = [f"- {name}: {fact}" for name, fact in result["machine"].items()]
        parts += [
            f"## {result['title']}\n\n{result['method']}\n",
            f"Measured on {result['date']}, imgtool {result['imgtool']}:\n",
            "\n".join(lines) + "\n",
            "The machine:\n",
            "\n".join(machine) + "\n",
        ]
    return "\n".join(parts)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float, unit: str) -> str:
    if unit == "s":
        return f"{value:.3f}" if value < 1 else f"{value:.1f}"
    return f"{value:.2f}" if unit == "x" and value < 10 else f"{value:.0f}"


def _sign(unit: str) -> str:
    return "×" if unit == "x" else unit
