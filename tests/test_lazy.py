"""Facts are read once, and their failures too."""

from __future__ import annotations

import pytest

from imgtool.errors import CannotRead
from imgtool.lazy import fact, failures
from imgtool.text import Text


class Guest:
    def __init__(self) -> None:
        self.reads = 0

    @fact
    def hostname(self) -> str:
        """The name."""
        self.reads += 1
        return "vm-1"

    @fact
    def disk(self) -> str:
        self.reads += 1
        raise CannotRead(Text("no", "否"))

    @fact
    def broken(self) -> str:
        self.reads += 1
        raise ZeroDivisionError


def test_a_fact_is_read_when_first_asked_for_and_then_kept() -> None:
    guest = Guest()
    assert guest.reads == 0
    assert (guest.hostname, guest.hostname, guest.reads) == ("vm-1", "vm-1", 1)


def test_what_could_not_be_read_is_tried_once_and_raised_each_time() -> None:
    guest = Guest()
    raised = []
    for _ in range(2):
        with pytest.raises(CannotRead) as caught:
            _ = guest.disk
        raised.append(caught.value)
    assert guest.reads == 1
    assert raised[0] is raised[1]


def test_a_fault_of_the_program_is_not_kept() -> None:
    guest = Guest()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            _ = guest.broken
    assert guest.reads == 2


def test_each_object_has_its_own_facts() -> None:
    one, other = Guest(), Guest()
    assert one.hostname == other.hostname
    assert (one.reads, other.reads) == (1, 1)


def test_a_fact_of_the_class_is_its_description() -> None:
    assert Guest.hostname.__doc__ == "The name."


def test_failures_lists_what_was_asked_for_and_could_not_be_read() -> None:
    guest = Guest()
    assert failures(guest) == []
    assert guest.hostname
    with pytest.raises(CannotRead) as caught:
        _ = guest.disk
    assert failures(guest) == [caught.value]
