"""Text files where an image was expected."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgtool.disk.probe import probe


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("<!DOCTYPE html>\n<html><body>403 Forbidden</body></html>", "html"),
        ("\ufeff\n  <HTML>moved</HTML>", "html"),
        ('<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "xml"),
        (
            '<?xml version="1.0"?>\n<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"></Envelope>',
            "ovf",
        ),
        ('{"Response": {"Error": {"Code": "AuthFailure"}}}', "json"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n", "git-lfs pointer"),
        ("访问被拒绝\n", "plain"),
        ("访问被拒绝" * 5000, "plain"),
        ("#!/bin/sh\necho version=1\n", "plain"),
    ],
)
def test_text_is_named_by_what_it_is(tmp_path: Path, text: str, variant: str) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_text(text)
    file = probe(path)
    assert (file.format, file.variant, file.qemu_format) == ("text", variant, None)


def test_the_beginning_is_shown_escaped(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_text("\x1b[31mAccess denied\nmore")
    assert probe(path).features == ("begins=\\x1b[31mAccess denied",)


@pytest.mark.parametrize("data", [b"text\0text", b"caf\xe9 au lait", b"text \x01"])
def test_binary_is_not_text(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(data)
    assert probe(path).format == "raw"


def test_a_disk_whose_first_sector_is_text_is_raw(tmp_path: Path) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(b"hello\n" * 100 + bytes(8192))
    assert probe(path).format == "raw"
