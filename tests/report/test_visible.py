"""Text from strangers is shown, never obeyed; and it fits the terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgtool.report.visible import cells, one_line, visible, wrapped


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb", "a\\x0db"),
        ("a\x00b\x7f", "a\\x00b\\x7f"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u2028b", "a\\u2028b"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
        ("a\tb", "a b"),
        ("a\r\nb", "a\nb"),
        ("镜像 ✓ é", "镜像 ✓ é"),
    ],
)
def test_what_a_terminal_would_obey_is_spelled_out(hostile: str, shown: str) -> None:
    assert visible(hostile) == shown


def test_one_line_spells_line_ends_out() -> None:
    assert one_line("a\nb") == "a\\nb"


@given(st.text())
def test_visible_text_has_no_control_characters(text: str) -> None:
    assert not any(unicodedata.category(it) in ("Cc", "Cs") for it in visible(text) if it != "\n")


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("镜像", 4), ("e\u0301", 1), ("，", 2), ("", 0)])
def test_wide_characters_take_two_columns_and_combining_ones_none(text: str, columns: int) -> None:
    assert cells(text) == columns


def test_english_wraps_at_spaces() -> None:
    assert wrapped("one two three", 7) == ["one two", "three"]


def test_chinese_wraps_between_characters_and_keeps_its_marks_off_the_line_start() -> None:
    assert wrapped("磁盘镜像，无法读取", 8) == ["磁盘镜", "像，无法", "读取"]


def test_a_word_longer_than_the_line_stays_whole() -> None:
    path = "/boot/initrd.img-6.1.0-28-cloud-amd64"
    assert wrapped(f"See {path} now", 10) == ["See", path, "now"]


def test_chinese_around_a_path_wraps_without_breaking_the_path() -> None:
    lines = wrapped("默认内核的 initramfs（/boot/initrd.img-6.1.0）中缺少模块", 24)
    assert any("/boot/initrd.img-6.1.0" in line for line in lines)
    assert all(cells(line) <= 28 for line in lines)


@given(st.text(alphabet=st.sampled_from("ab 镜像，。（/-\n"), max_size=80), st.integers(4, 40))
def test_wrapping_loses_nothing_but_spaces(text: str, width: int) -> None:
    assert "".join("".join(wrapped(text, width)).split()) == "".join(text.split())
