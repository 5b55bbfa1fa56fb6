"""A benchmark that was killed leaves nothing for ever."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from bench.scratch import PREFIX, remove_stale, scratch


def test_the_folder_of_a_dead_run_goes_and_a_living_one_s_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / f"{PREFIX}{dead.pid}-x" / "sandbox").mkdir(parents=True)
    for name in (f"{PREFIX}{os.getppid()}-y", "imgtool-benchmark", f"{PREFIX}z"):
        (tmp_path / name).mkdir()
    with scratch() as ours:
        remove_stale()
        assert ours.is_dir()
        left = {path.name for path in tmp_path.iterdir()}
        assert left == {ours.name, f"{PREFIX}{os.getppid()}-y", "imgtool-benchmark", f"{PREFIX}z"}
    assert not ours.exists()
