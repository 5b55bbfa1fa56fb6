"""A running machine: QEMU as a child process, with what it says and what it can be told."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from imgtool.process import end, spawn_bound
from imgtool.rehearsal import machine as hardware
from imgtool.rehearsal import picture
from imgtool.rehearsal.machine import Lines, Machine
from imgtool.rehearsal.picture import Screen
from imgtool.rehearsal.qmp import ENDED, EmulatorFailed, Event, Qmp
from imgtool.text import Text

PIECE = 256 * 1024
HELD = 4 * PIECE
LAST_WORDS = 1000


@dataclass(frozen=True)
class Said:
    """What came in one turn: bytes of the serial console and of the firmware's log, QEMU's events."""

    console: bytes = b""
    firmware: bytes = b""
    events: tuple[Event, ...] = ()
    ended: bool = False


class Emulator:
    """One machine. A context manager: entering starts QEMU, the machine still off; leaving ends it, at once.

    Of QEMU's process nothing is left however we end: the kernel kills it with us (imgtool.process).
    """

    def __init__(self, machine: Machine, folder: Path) -> None:
        """folder: private and short-lived, for screenshots and the like."""
        self._machine = machine
        self._folder = folder
        self._powered: float | None = None

    def __enter__(self) -> Emulator:
        """Raises MachineLacks without the emulator, EmulatorFailed when it does not start."""
        with contextlib.ExitStack() as opened:
            pairs = [socket.socketpair() for _ in range(3)]
            for ours, theirs in pairs:
                opened.enter_context(ours)
                opened.enter_context(theirs)
            theirs_of = [theirs.fileno() for _, theirs in pairs]
            self._words = opened.enter_context((self._folder / "qemu.err").open("w+b"))
            command = hardware.command_line(self._machine, Lines(*theirs_of))
            self._child = spawn_bound(
                command,
                stderr=self._words,
                pass_fds=(*theirs_of, *self._machine.disk.descriptors),
            )
            opened.callback(self._see_off)
            for _, theirs in pairs:
                theirs.close()
            (qmp, _), (self._console, _), (self._firmware, _) = pairs
            self._held = {self._console: b"", self._firmware: b""}
            self._qmp = Qmp(qmp, self._hold)
            self._selector = opened.enter_context(selectors.DefaultSelector())
            for ours in (qmp, self._console, self._firmware):
                self._selector.register(ours, selectors.EVENT_READ)
            try:
                self._qmp.greet()
            except EmulatorFailed as failure:
                raise self._failure(failure) from failure
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def _see_off(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._child.pid

    def power_on(self) -> None:
        """Start the machine; `age` counts from here."""
        self._powered = time.monotonic()
        self._execute("cont")

    @property
    def age(self) -> float:
        """Seconds since power-on."""
        return 0.0 if self._powered is None else time.monotonic() - self._powered

    def wait(self, seconds: float) -> Said:
        """What the machine says next, at most `seconds` later; empty when it says nothing.

        Raises EmulatorFailed when QEMU ended on its own.
        """
        self._selector.select(0 if any(self._held.values()) else max(seconds, 0))
        self._hold()
        console, firmware = self._held[self._console], self._held[self._firmware]
        self._held = dict.fromkeys(self._held, b"")
        events = tuple(self._qmp.events())
        if self._qmp.closed and not events:
            raise self._failure(EmulatorFailed.said(ENDED))
        return Said(console, firmware, events)

    def _hold(self) -> None:
        """Take in what the guest has written. QEMU does nothing else while it writes some of that, so it must
        be read also while we wait for QEMU's answer."""
        for key, _ in self._selector.select(0):
            line = key.fileobj
            if isinstance(line, socket.socket) and line in self._held:
                self._held[line] = (self._held[line] + self._read(line))[-HELD:]

    def _read(self, line: socket.socket) -> bytes:
        try:
            part = line.recv(PIECE)
        except ConnectionResetError:
            part = b""
        if not part:
            self._selector.unregister(line)
        return part

    def type(self, text: str) -> None:
        """Send text to the serial console, as a person at a terminal would."""
        with contextlib.suppress(OSError):
            self._console.sendall(text.encode())

    def pause(self) -> None:
        """Stop the machine where it is."""
        self._execute("stop")

    def press_power_button(self) -> None:
        """ACPI's power button."""
        self._execute("system_powerdown")

    def end_in_order(self, patience: float) -> None:
        """Let QEMU write what it holds of the overlay, and end."""
        with contextlib.suppress(EmulatorFailed):
            self._qmp.execute("quit")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(patience)
        end(self._child)

    def screen(self) -> Screen:
        """The screen now. Raises EmulatorFailed."""
        return picture.screen(self._qmp, self._folder)

    def screen_text(self) -> list[str]:
        """The rows of a VGA text screen. Raises EmulatorFailed."""
        return picture.screen_text(self._qmp, self._folder)

    def _execute(self, command: str) -> None:
        try:
            self._qmp.execute(command)
        except EmulatorFailed as failure:
            raise self._failure(failure) from failure

    def _failure(self, failure: EmulatorFailed) -> EmulatorFailed:
        """The failure with QEMU's last words, which say more than that it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(1.0)
        self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, self._words.tell() - LAST_WORDS))
        words = self._words.read().decode(errors="replace").strip()
        code = self._child.returncode
        why = Text.same(words) if words else failure.why
        if code is None:
            return EmulatorFailed.said(why)
        if code < 0:
            return EmulatorFailed.said(
                Text(f"{why.en} (killed by signal {-code})", f"{why.zh}（被信号 {-code} 终止）")
            )
        return EmulatorFailed.said(Text(f"{why.en} (exit code {code})", f"{why.zh}（退出码 {code}）"))
