"""QEMU's side of QMP as it may be: chatty, silent, gone."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from imgtool.rehearsal import qmp
from imgtool.rehearsal.qmp import EVENTS_KEPT, EmulatorFailed, Qmp

Pair = tuple[Qmp, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Qmp(ours), theirs


def say(theirs: socket.socket, *messages: object) -> None:
    theirs.sendall(b"".join(json.dumps(it).encode() + b"\r\n" for it in messages))


def test_events_between_a_command_and_its_answer_are_kept(pair: Pair) -> None:
    client, theirs = pair
    reset = {"event": "RESET", "data": {"guest": True}}
    say(theirs, {"QMP": {"version": {}}}, reset, {"return": {"a": 1}, "id": 1})
    assert client.execute("query-status") == {"a": 1}
    (event,) = client.events()
    assert (event.name, event.data) == ("RESET", {"guest": True})


def test_an_error_is_qemus_own_words(pair: Pair) -> None:
    client, theirs = pair
    say(theirs, {"error": {"class": "GenericError", "desc": "no such device"}, "id": 1})
    with pytest.raises(EmulatorFailed, match="no such device"):
        client.execute("device_del", id="x")


def test_an_emulator_that_is_gone_is_told(pair: Pair) -> None:
    client, theirs = pair
    theirs.close()
    with pytest.raises(EmulatorFailed, match="ended"):
        client.execute("cont")


def test_an_emulator_that_does_not_answer_is_not_waited_for_without_end(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qmp, "ANSWER_TIMEOUT", 0.05)
    with pytest.raises(EmulatorFailed, match="does not answer to cont"):
        pair[0].execute("cont")


def test_the_late_answer_to_a_command_that_was_given_up_is_dropped(pair: Pair) -> None:
    client, theirs = pair
    with pytest.raises(EmulatorFailed, match="screendump"):
        client.execute("screendump", 0.05, filename="x")
    say(theirs, {"return": "late", "id": 1}, {"return": "right", "id": 2})
    assert client.execute("query-name") == "right"


def test_what_the_guest_writes_is_taken_in_while_an_answer_is_waited_for() -> None:
    ours, theirs = socket.socketpair()
    seen: list[int] = []
    with ours, theirs:
        client = Qmp(ours, lambda: seen.append(1))
        with pytest.raises(EmulatorFailed):
            client.execute("cont", 0.2)
    assert len(seen) > 1


def test_events_without_end_take_bounded_room(pair: Pair) -> None:
    client, theirs = pair
    theirs.setblocking(False)
    line = json.dumps({"event": "RESET", "data": {}}).encode() + b"\n"
    for _ in range(200):
        try:
            theirs.sendall(line * 100)
        except BlockingIOError:
            assert len(client.events()) <= EVENTS_KEPT
