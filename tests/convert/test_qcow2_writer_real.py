"""A real Debian, written compressed from raw and from QEMU's own compressed qcow2.

That one starts from it is shown in tests/rehearsal/test_good_systems.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures.pytest_plugin import ImageByName
from tests.convert.made_disks import convert, found_clean, found_same
from tests.disk.made import tool


@pytest.mark.slow
def test_a_real_system_comes_out_identical_whatever_it_came_in(image: ImageByName, tmp_path: Path) -> None:
    raw = image("debian12-bios")
    written = convert(raw, tmp_path / "from-raw")
    found_clean(tmp_path / "from-raw")
    found_same(raw, tmp_path / "from-raw")
    old = convert(raw, tmp_path / "old", compat="0.10")
    found_clean(tmp_path / "old")
    found_same(raw, tmp_path / "old")
    assert old.size == written.size
    theirs = tmp_path / "theirs"
    tool("qemu-img", "convert", "-c", "-W", "-m", "16", "-f", "raw", "-O", "qcow2", raw, theirs)
    assert written.size <= 1.1 * theirs.stat().st_size
    assert convert(theirs, tmp_path / "from-qcow2") == written
