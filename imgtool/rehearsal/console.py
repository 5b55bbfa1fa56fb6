"""What the guest writes to its serial console: text, kept within bounds however much it is."""

from __future__ import annotations

import re
from collections import deque
from io import FileIO
from pathlib import Path

from imgtool.errors import UsageError
from imgtool.rehearsal.setting import NoRoom
from imgtool.text import Text

KEPT_LINES = 400
LONGEST_LINE = 500  # characters of a line that are kept
LONGEST_LOG = 32 * 1024 * 1024  # bytes
FLOOD = 16 * 1024 * 1024  # bytes after which a console is no longer read for what it says
_TAIL_BYTES = 16 * 1024
# Colours, cursor movements, and what GRUB and firmware draw their menus with (ECMA-48, VT100).
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-9;?=]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-Za-z]|[@-Z\\^_=>])"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MOVES = re.compile(r"\x1b\[(?:[0-9]*;[0-9]*)?[Hf]")  # to a place on the screen: as good as a new line


class Console:
    """Lines as they come, and what stands after the last one."""

    def __init__(self, log: Path | None = None) -> None:
        """log: also written there, as it comes, up to LONGEST_LOG. Raises UsageError when it can't be."""
        self.received = 0  # bytes
        self._open = ""
        self._kept: deque[str] = deque(maxlen=KEPT_LINES)
        self._log = _open(log) if log else None
        self._logged = 0
        self._rest = b""

    def take(self, part: bytes) -> list[str]:
        """Take what the guest wrote; the lines that it completed, without colours and blanks at their end."""
        self._to_log(part)
        self.received += len(part)
        if self.flooded:
            part = part[-_TAIL_BYTES:]  # only so that its end can be shown
        text, self._rest = _decoded(self._rest + part)
        text = _CONTROLS.sub("", _ESCAPES.sub("", _MOVES.sub("\n", text)))
        *lines, self._open = (self._open + text.replace("\r\n", "\n")).split("\n")
        self._open = self._open[-LONGEST_LINE:]
        shown = [clean for line in lines if (clean := _overwritten(line)) != ""]
        self._kept.extend(shown)
        return shown

    def restart(self) -> None:
        """Begin anew with another power-on; the log goes on."""
        self.received, self._open, self._rest = 0, "", b""
        self._kept.clear()

    @property
    def flooded(self) -> bool:
        """Whether it said more than any boot has to say."""
        return self.received > FLOOD

    @property
    def partial(self) -> str:
        """What stands after the end of the last line: where a prompt waits, or a progress display goes on."""
        return self._open.rstrip("\r").rsplit("\r", 1)[-1]

    def tail(self, count: int) -> list[str]:
        """The last lines, what stands after them included."""
        lines = [*self._kept, *([_overwritten(self.partial)] if self.partial.strip() else [])]
        return lines[-count:]

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def _to_log(self, part: bytes) -> None:
        room = LONGEST_LOG - self._logged
        if self._log is None or room <= 0:
            return
        self._logged += len(part)
        try:
            self._log.write(part[:room])
            if len(part) >= room:
                self._log.write(b"\n[imgtool: the console said more; the rest is left out]\n")
        except OSError as error:
            raise NoRoom(_unwritten(self._log.name, error)) from error


def _decoded(data: bytes) -> tuple[str, bytes]:
    """Text, and the bytes of an escape sequence or a character that is not complete yet."""
    keep = 0
    at = data.rfind(b"\x1b", max(0, len(data) - 32))
    if at >= 0 and not _ESCAPES.match(data[at:].decode("latin-1")):
        keep = len(data) - at
    for length in range(1, min(4, len(data)) + 1):
        lead = data[-length]
        if keep == 0 and lead >= 0xC0:
            needed = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            keep = length if length < needed else 0
            break
        if lead < 0x80:
            break
    body = data[: len(data) - keep]
    return body.decode("utf-8", "replace"), data[len(data) - keep :]


def _overwritten(line: str) -> str:
    """A line as it stands after its carriage returns: a progress display ends as its last state."""
    return line.rstrip().rsplit("\r", 1)[-1].rstrip()[:LONGEST_LINE]


def _open(path: Path) -> FileIO:
    try:
        return path.open("xb", buffering=0)
    except OSError as error:
        raise UsageError(_unwritten(path, error)) from error


def _unwritten(path: Path | str, error: OSError) -> Text:
    why = error.strerror or str(error)
    return Text(
        en=f"The console log {path} can't be written: {why}.",
        zh=f"无法写入控制台日志 {path}：{why}。",
    )
