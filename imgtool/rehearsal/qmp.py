"""A client of QMP, QEMU's machine protocol: JSON objects, one a line, over a connected socket.

Of our own, and blocking: PyPI's qemu.qmp is asyncio throughout, and asyncio swallows the exception by which a
signal unwinds us (imgtool.cli.ending) whenever a signal comes in the middle of one of its callbacks.
Source: QEMU's docs/interop/qmp-spec.rst.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from imgtool.errors import Stated
from imgtool.text import Text

ANSWER_TIMEOUT = 60.0  # seconds; the slowest answer is that of a QEMU that is starved of CPU
BEAT = 0.05  # seconds
READS_AT_ONCE = 4
EVENTS_KEPT = 1000
LONGEST_LINE = 16 * 1024 * 1024
ENDED = Text("it ended", "它已退出")


class EmulatorFailed(Stated):
    """QEMU refused a command, or does not answer, or ended: the image could not be rehearsed."""

    why = ENDED

    @classmethod
    def said(cls, why: str | Text) -> EmulatorFailed:
        """why: QEMU's own words, or ours."""
        text = Text.same(why) if isinstance(why, str) else why
        made = cls(Text(en=f"QEMU could not run the image: {text.en}", zh=f"QEMU 无法运行该镜像：{text.zh}"))
        made.why = text
        return made


@dataclass(frozen=True)
class Event:
    """What QEMU tells of its own accord: RESET, SHUTDOWN, STOP, BLOCK_IO_ERROR, ..."""

    name: str
    data: dict[str, Any]


class Qmp:
    """One connection. `greet` first; then `execute`, and `events` whenever the socket is readable."""

    def __init__(self, connection: socket.socket, meanwhile: Callable[[], None] = lambda: None) -> None:
        """meanwhile: called again and again while an answer is waited for."""
        self._socket = connection
        self._meanwhile = meanwhile
        self._number = 0
        self._received = b""
        self._events: list[Event] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._closed = False

    def fileno(self) -> int:
        """For select(2)."""
        return self._socket.fileno()

    def greet(self) -> None:
        """Wait for QEMU's greeting and leave negotiation mode. Raises EmulatorFailed."""
        self.execute("qmp_capabilities")

    def execute(self, command: str, within: float = 0, **arguments: Any) -> Any:
        """Run a command; what it returns, at most `within` seconds later. Raises EmulatorFailed.

        A command that is given up may be answered later; that answer is then dropped.
        """
        self._number += 1
        words: dict[str, Any] = {"execute": command, "id": self._number}
        if arguments:
            words["arguments"] = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            self._socket.sendall(json.dumps(words).encode() + b"\n")
        except OSError as error:
            raise EmulatorFailed.said(ENDED) from error
        until = time.monotonic() + (within or ANSWER_TIMEOUT)
        self._answers.clear()
        while self._number not in self._answers:
            left = until - time.monotonic()
            if left <= 0:
                raise EmulatorFailed.said(Text(f"it does not answer to {command}", f"它没有应答 {command}"))
            self._meanwhile()
            if select.select([self._socket], [], [], min(left, BEAT))[0] and not self._receive():
                raise EmulatorFailed.said(ENDED)
        answer = self._answers.pop(self._number)
        if "error" in answer:
            raise EmulatorFailed.said(str(answer["error"].get("desc", answer["error"])))
        return answer["return"]

    def events(self) -> list[Event]:
        """What came since the last call; never waits. A guest that resets without end makes events without
        end, so that only so much is read at a time."""
        for _ in range(READS_AT_ONCE):
            if self._closed or not select.select([self._socket], [], [], 0)[0] or not self._receive():
                break
        events, self._events = self._events, []
        return events

    @property
    def closed(self) -> bool:
        """Whether QEMU's end is closed."""
        return self._closed

    def _receive(self) -> bool:
        try:
            part = self._socket.recv(65536)
        except ConnectionResetError:
            part = b""
        if not part:
            self._closed = True
            return False
        self._received += part
        *lines, self._received = self._received.split(b"\n")
        if len(self._received) > LONGEST_LINE:
            raise EmulatorFailed.said("its answer is endless")
        for line in lines:
            if line.strip():
                self._sort(json.loads(line))
        return True

    def _sort(self, message: dict[str, Any]) -> None:
        if "event" in message:
            if len(self._events) < EVENTS_KEPT:
                self._events.append(Event(message["event"], message.get("data", {})))
        elif "return" in message or "error" in message:
            self._answers[message.get("id", self._number)] = message
