"""The console: lines as a person would read them, within bounds."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgtool.errors import UsageError
from imgtool.rehearsal.console import FLOOD, KEPT_LINES, LONGEST_LINE, LONGEST_LOG, Console
from imgtool.rehearsal.setting import NoRoom

COLOURED = b"[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mcron\x1b[0m.\r\n"


def test_colours_and_carriage_returns_are_taken_out() -> None:
    assert Console().take(COLOURED) == ["[  OK  ] Started cron."]


def test_a_progress_display_ends_as_its_last_state() -> None:
    assert Console().take(b"[*   ] job (5s)\r[ *  ] job (6s)\r\n") == ["[ *  ] job (6s)"]


def test_a_prompt_stands_behind_the_last_line() -> None:
    console = Console()
    console.take(b"Debian GNU/Linux 12 debian ttyS0\r\n\r\ndebian login: ")
    assert console.partial == "debian login: "
    assert console.tail(1) == ["debian login:"]


def test_a_menu_drawn_with_cursor_movements_comes_as_lines() -> None:
    drawn = b"\x1b[1;1H\x1b[2JGNU GRUB  version 2.06\x1b[5;2H*Debian GNU/Linux\x1b[23;1H"
    assert Console().take(drawn) == ["GNU GRUB  version 2.06", "*Debian GNU/Linux"]


@given(
    st.lists(st.sampled_from([COLOURED, "错误：失败\r\n".encode(), b"a\r\n", b"\x1b[31mred\x1b[0m\n"])),
    st.data(),
)
def test_where_the_bytes_are_cut_changes_nothing(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    console = Console()
    assert [line for piece in pieces for line in console.take(piece)] == Console().take(whole)


@given(st.binary(max_size=2000))
def test_any_bytes_are_taken(data: bytes) -> None:
    console = Console()
    assert all("\x1b" not in line and "\n" not in line for line in console.take(data))


def test_a_flood_of_100_mb_is_kept_small(tmp_path: Path) -> None:
    console = Console(tmp_path / "log")
    line = b"x" * 1000 + b"\r\n"
    for _ in range(100):
        console.take(line * 1000)
    console.close()
    assert console.flooded
    assert console.received > 100_000_000 > FLOOD
    assert len(console.tail(10_000)) <= KEPT_LINES + 1
    assert max(map(len, console.tail(10_000))) <= LONGEST_LINE
    assert LONGEST_LOG <= (tmp_path / "log").stat().st_size < LONGEST_LOG + 1000


def test_one_endless_line_is_kept_small() -> None:
    console = Console()
    for _ in range(1000):
        console.take(b"y" * 10_000)
    assert len(console.partial) <= LONGEST_LINE


def test_a_log_that_can_not_be_written_any_more_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    console = Console(log)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        console.take(b"0123456789")
        with pytest.raises(NoRoom, match=r"log can't be written"):
            console.take(b"more")
    finally:
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        console.close()


def test_a_log_that_exists_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("precious")
    with pytest.raises(UsageError, match="log"):
        Console(tmp_path / "log")
    assert (tmp_path / "log").read_text() == "precious"
