"""A file that did not stay as it was while it was read: what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgtool.convert.unchanged import InputChanged, Moment


def test_a_file_that_was_removed_is_not_called_a_mixture(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"x")
    moment = Moment.of([path])
    moment.check()
    path.write_bytes(b"xy")
    with pytest.raises(InputChanged, match="a mixture of two states"):
        moment.check()
    path.unlink()
    with pytest.raises(InputChanged, match="was removed or renamed while it was read") as raised:
        moment.check()
    assert "被删除或改名" in raised.value.statement().zh
