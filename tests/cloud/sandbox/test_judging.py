"""What the sandbox's import service makes of an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgtool.cloud.sandbox.imports import _check


def test_it_judges_with_the_imgtool_that_it_belongs_to_wherever_it_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "source" / "imgtool"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise SystemExit('another imgtool')")
    (tmp_path / "image").write_bytes(b"QFI\xfb" + bytes(5000))
    monkeypatch.chdir(tmp_path / "source")
    code, _, _ = _check(tmp_path / "image", {})
    assert code == "InvalidFormatSize"
