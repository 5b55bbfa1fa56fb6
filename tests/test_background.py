"""Work in the background: what it gives is what the function gives."""

from __future__ import annotations

import threading

import pytest

from imgtool.background import Background


def test_it_is_at_work_while_others_are_and_is_waited_for() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        assert go_on.wait(60)
        return 42

    background = Background(work, "test")
    assert begun.wait(60)
    go_on.set()
    assert [background.result(), background.result()] == [42, 42]


def test_what_it_raises_is_raised_where_it_is_asked_for() -> None:
    background = Background(lambda: 1 // 0, "test")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            background.result()
