"""The bar that a person sees."""

from __future__ import annotations

import io
import sys

import pytest

from imgtool.convert.progress import Bar
from imgtool.text import Text


def test_a_step_that_only_takes_time_shows_its_time_and_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    with Bar("en") as bar:
        bar.begin(Text("First boot", "首次启动"), None, "s")
        bar.at(3)
    assert "First boot  00:00" in shown.getvalue()
    assert "/s" not in shown.getvalue()
