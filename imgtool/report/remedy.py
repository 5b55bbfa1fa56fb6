"""A remedy taken apart into sentences, and commands to be copied whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imgtool.report.visible import visible

_SENTENCE_END = re.compile(r"[.:;,!?。：；，！？]$")
_CHINESE = re.compile(r"[\u4e00-\u9fff，。；：]")
# "Rebuild it: update-initramfs -u", "请重建：update-initramfs -u": the command stands last. The colon of a
# Windows drive leads nothing in: "bcdboot C:\Windows /s S: /f BIOS".
_LEAD_IN = re.compile(r"^(.*?(?<!\b[A-Z])(?:: |：\s*))((?:[A-Z_]+=\S+ )*[a-z./][\w./+-]* \S.*)$", re.DOTALL)


def remedy_lines(remedy: str) -> Iterator[tuple[str, bool]]:
    """The lines of a remedy, each with whether it is a command, or an edit, to be copied as it is.

    A sentence ends in punctuation, or is Chinese. What follows a colon and does not end so is a command of
    its own; what is set off by spaces is one in any case.
    """
    for row in visible(remedy).strip("\n").splitlines():
        text = row.strip()
        if not text:
            continue
        if row.startswith("  "):
            yield text, True
        elif _SENTENCE_END.search(text):
            yield text, False
        elif led_in := _LEAD_IN.match(text):
            yield led_in.group(1).rstrip(), False
            yield led_in.group(2), True
        else:
            yield text, " " in text and not _CHINESE.search(text)
