"""Pictures of the guest's screen."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

from imgtool.rehearsal.qmp import EmulatorFailed, Qmp

PNG = b"\x89PNG\r\n\x1a\n"
SHUTTER = 10.0  # seconds: of a guest that resets just then, QEMU may never take the picture
LARGEST = 64 * 1024 * 1024  # bytes of a PPM: a screen of 4096 x 4096 and more


def screenshot(qmp: Qmp, folder: Path) -> bytes:
    """The screen now, as PNG: by QEMU 7.1 and newer itself, from PPM before. Raises EmulatorFailed."""
    path = folder / "screen"
    try:
        try:
            qmp.execute("screendump", SHUTTER, filename=str(path), format="png")
        except EmulatorFailed:
            qmp.execute("screendump", SHUTTER, filename=str(path))
        if path.stat().st_size > LARGEST:
            raise EmulatorFailed.said("its screen is too large")
        data = path.read_bytes()
    except OSError as error:
        raise EmulatorFailed.said(f"no screenshot: {error.strerror}") from error
    finally:
        path.unlink(missing_ok=True)
    return data if data.startswith(PNG) else png_of_ppm(data)


def png_of_ppm(data: bytes) -> bytes:
    """A PNG of a binary PPM (netpbm's ppm(5), `P6`, 8 bits a sample). Raises ValueError for anything else."""
    fields = data[:64].split(None, 4)
    if len(fields) < 4 or fields[0] != b"P6" or fields[3] != b"255":
        raise ValueError("not a binary PPM with 8 bits a sample")
    width, height = int(fields[1]), int(fields[2])
    start = data.index(b"255") + 4
    row = 3 * width
    if len(data) - start != row * height:
        raise ValueError("the PPM is cut short")
    lines = b"".join(b"\0" + data[at : at + row] for at in range(start, len(data), row))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        (PNG, _chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(lines, 6)), _chunk(b"IEND", b""))
    )


def size(png: bytes) -> tuple[int, int]:
    """Width and height of a PNG, in pixels."""
    width, height = struct.unpack_from(">II", png, len(PNG) + 8)
    return width, height


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def text_mode(png: bytes) -> bool:
    """Whether the screen shows VGA text: its 80 columns by 25 rows are 720 or 640 by 400 pixels."""
    return size(png) in ((720, 400), (640, 400))


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
