"""What `imgtool rehearse` refuses before it starts a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.running import imgtool, qcow2


@pytest.mark.parametrize("option", ["--console", "--screenshot", "--report", "-o"])
def test_a_file_that_exists_is_not_written_over(tmp_path: Path, option: str) -> None:
    there = tmp_path / "there.html"
    there.write_text("precious")
    said = imgtool("rehearse", option, there, qcow2(tmp_path / "disk.qcow2"))
    assert said.returncode == 2
    assert "exists" in said.stderr
    assert there.read_text() == "precious"


def test_a_report_whose_form_is_not_known_is_refused(tmp_path: Path) -> None:
    said = imgtool("rehearse", "--report", tmp_path / "boot.pdf", qcow2(tmp_path / "disk.qcow2"))
    assert said.returncode == 2
    assert ".html" in said.stderr


@pytest.mark.parametrize("value", ["0", "-5", "soon"])
def test_a_time_limit_that_is_none_is_refused(tmp_path: Path, value: str) -> None:
    assert imgtool("rehearse", "--timeout", value, qcow2(tmp_path / "disk.qcow2")).returncode == 2


def test_an_image_that_is_not_there_can_not_be_read(tmp_path: Path) -> None:
    said = imgtool("rehearse", tmp_path / "nothing.qcow2")
    assert said.returncode == 3
    assert "does not exist" in said.stderr


def test_a_data_disk_is_not_rehearsed(tmp_path: Path) -> None:
    said = imgtool("check", "--rehearse", "--target", "data-disk", qcow2(tmp_path / "disk.qcow2"))
    assert said.returncode == 2
