"""The words on a graphical screen, read by Tesseract (Apache-2.0) where it is installed.

Pictures of a guest that says nothing on a serial console, such as Windows, have no other words.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache

from imgtool.errors import ImgtoolError
from imgtool.rehearsal.picture import Screen
from imgtool.text import Text

LANGUAGES = ("eng", "chi_sim")
PATIENCE = 60.0  # seconds
MOST_LINES = 100
LARGEST = 4096 * 2304  # pixels that are read
_BETWEEN_HAN = re.compile(r"(?<=[\u3000-\u9fff]) +(?=[\u3000-\u9fff])")
INSTALL = Text(
    en="Install tesseract-ocr and tesseract-ocr-chi-sim, so that the screen's words are read, or look at the "
    "screenshot.",
    zh="请安装 tesseract-ocr 与 tesseract-ocr-chi-sim 以识别屏幕文字，或直接查看截图。",
)


@lru_cache(maxsize=1)
def languages() -> tuple[str, ...]:
    """The languages that can be read on this machine; none without Tesseract."""
    from imgtool.process import run

    try:
        said = run(["tesseract", "--list-langs"], timeout=PATIENCE).stdout.decode(errors="replace").split()
    except ImgtoolError:
        return ()
    return tuple(name for name in LANGUAGES if name in said)


def words(screen: Screen) -> list[str]:
    """The lines of text on a screen, from above; none where there is no text or it can't be read."""
    from imgtool.process import run

    if not languages() or screen.width * screen.height > LARGEST:
        return []
    # Twice as large, as it is trained on print; one thread, since the guest needs the processors.
    command = ["tesseract", "-", "-", "-l", "+".join(languages()), "--psm", "3"]
    try:
        said = run(
            command, timeout=PATIENCE, input=_twice(screen), env={**os.environ, "OMP_THREAD_LIMIT": "1"}
        )
    except ImgtoolError:
        return []
    lines = (_BETWEEN_HAN.sub("", line.strip()) for line in said.stdout.decode(errors="replace").splitlines())
    return [line for line in lines if line][:MOST_LINES]


def _twice(screen: Screen) -> bytes:
    """The screen's green, of which brightness mostly consists, as a PGM (netpbm's pgm(5)) of double size."""
    rows = []
    for row in screen.rows():
        green, doubled = row[1::3], bytearray(2 * screen.width)
        doubled[::2] = doubled[1::2] = green
        rows.append(bytes(doubled) * 2)
    return b"P5\n%d %d\n255\n" % (2 * screen.width, 2 * screen.height) + b"".join(rows)
