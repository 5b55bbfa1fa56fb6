"""A measured number beside the bar it is to reach."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Bar:
    """What the design asks for: at most, or at least, so much."""

    relation: Literal["<=", ">="]
    value: float


@dataclass(frozen=True)
class Figure:
    """One line of the results: samples of one quantity, in `unit` ("s", "MiB", "x"). The median is judged."""

    name: str
    unit: str
    samples: tuple[float, ...]
    bar: Bar | None = None
    note: str = ""

    @property
    def median(self) -> float:
        """What the figure stands for."""
        return statistics.median(self.samples)

    @property
    def met(self) -> bool | None:
        """Does the median reach the bar? None where there is none."""
        if self.bar is None:
            return None
        return self.median <= self.bar.value if self.bar.relation == "<=" else self.median >= self.bar.value


def ratio(name: str, over: Sequence[float], under: Sequence[float], bar: Bar, note: str = "") -> Figure:
    """The ratio of two medians."""
    return Figure(name, "x", (statistics.median(over) / statistics.median(under),), bar, note)
