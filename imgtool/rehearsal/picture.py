"""Pictures of the guest's screen."""

from __future__ import annotations

import re
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imgtool.rehearsal.qmp import EmulatorFailed, Qmp

PNG = b"\x89PNG\r\n\x1a\n"
SHUTTER = 10.0  # seconds: of a guest that resets just then, QEMU may never take the picture
DARK = 32  # of 255: below, black is meant
BLACK = 0.001  # of a black screen that may be bright: a cursor
PLAIN = 0.75  # of a screen that is of one colour
LARGEST = 64 * 1024 * 1024  # bytes of a PPM: a screen of 4096 x 4096 and more


@dataclass(frozen=True)
class Screen:
    """A screen's pixels, three bytes each: red, green, blue."""

    width: int
    height: int
    pixels: bytes

    @classmethod
    def of_ppm(cls, data: bytes) -> Screen:
        """From a binary PPM (netpbm's ppm(5), `P6`, 8 bits a sample). Raises ValueError for anything else."""
        header = re.match(rb"P6\s+(\d{1,6})\s+(\d{1,6})\s+255\s", data)
        if header is None:
            raise ValueError("not a binary PPM with 8 bits a sample")
        width, height = map(int, header.groups())
        pixels = data[header.end() :]
        if len(pixels) != 3 * width * height:
            raise ValueError("the PPM is cut short")
        return cls(width, height, pixels)

    @property
    def in_text_mode(self) -> bool:
        """Whether it shows VGA text: its 80 columns by 25 rows are 720 or 640 by 400 pixels."""
        return (self.width, self.height) in ((720, 400), (640, 400))

    def rows(self) -> Iterator[bytes]:
        """Its rows, from above."""
        length = 3 * self.width
        return (self.pixels[at : at + length] for at in range(0, len(self.pixels), length))

    def differs(self, other: Screen, most: int) -> int:
        """How many pixels are not those of the other screen, all of them in another resolution; counting
        stops above `most`."""
        if (self.width, self.height) != (other.width, other.height):
            return self.width * self.height
        found = 0
        for ours, theirs in zip(self.rows(), other.rows(), strict=True):
            if ours != theirs:
                samples = (row[at::3] for row in (ours, theirs) for at in range(3))
                found += sum(a != d or b != e or c != f for a, b, c, d, e, f in zip(*samples, strict=True))
                if found > most:
                    break
        return found

    @property
    def look(self) -> Literal["black", "plain", "picture"]:
        """Black, or of one colour with little on it, or more than that; one pixel in seven is looked at."""
        counts = Counter(zip(self.pixels[::21], self.pixels[1::21], self.pixels[2::21], strict=False))
        looked = counts.total()
        if sum(count for colour, count in counts.items() if max(colour) >= DARK) <= BLACK * looked:
            return "black"
        return "plain" if counts.most_common(1)[0][1] > PLAIN * looked else "picture"

    def png(self) -> bytes:
        """As PNG."""
        lines = b"".join(b"\0" + row for row in self.rows())
        header = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        return b"".join(
            (PNG, _chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(lines, 6)), _chunk(b"IEND", b""))
        )


def screen(qmp: Qmp, folder: Path) -> Screen:
    """The screen now. Raises EmulatorFailed."""
    path = folder / "screen"
    try:
        qmp.execute("screendump", SHUTTER, filename=str(path))
        if path.stat().st_size > LARGEST:
            raise EmulatorFailed.said("its screen is too large")
        return Screen.of_ppm(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EmulatorFailed.said(f"no screenshot: {error}") from error
    finally:
        path.unlink(missing_ok=True)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def screen_text(qmp: Qmp, folder: Path) -> list[str]:
    """The rows of a VGA text screen, from its memory (0xB8000: character and attribute by turns).

    Means something only in text mode. Raises EmulatorFailed.
    """
    path = folder / "text"
    try:
        qmp.execute("pmemsave", val=0xB8000, size=80 * 25 * 2, filename=str(path))
        cells = path.read_bytes()[::2]
    except OSError as error:
        raise EmulatorFailed.said(f"no screen text: {error.strerror}") from error
    finally:
        path.unlink(missing_ok=True)
    rows = (cells[at : at + 80].replace(b"\0", b" ").decode("cp437") for at in range(0, len(cells), 80))
    return [row.rstrip() for row in rows]
