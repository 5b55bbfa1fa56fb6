"""A remedy taken apart into sentences, and commands to be copied whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

from imgtool.records import replace
from imgtool.report.visible import visible
from imgtool.rules import Finding
from imgtool.text import Text

_SENTENCE_END = re.compile(r"[.:;,!?。：；，！？]$")
_CHINESE = re.compile(r"[\u4e00-\u9fff，。；：]")
# "Rebuild it: update-initramfs -u", "请重建：update-initramfs -u": the command stands last. The colon of a
# Windows drive leads nothing in: "bcdboot C:\Windows /s S: /f BIOS".
_LEAD_IN = re.compile(r"^(.*?(?<!\b[A-Z])(?:: |：\s*))((?:[A-Z_]+=\S+ )*[a-z./][\w./+-]* \S.*)$", re.DOTALL)


# One word is a command where it can be nothing else: update-grub, /usr/bin/vmware-uninstall-tools.pl.
_ONE_WORD = re.compile(r"[a-z/][a-z0-9]*(?:[-/._][a-z0-9]+)+")
_PLACE = re.compile(r"\b(?:guest|source|Windows|image|copy|rescue)\b", re.IGNORECASE)
_OF_THIS_MACHINE = ("imgtool ", "qemu-img ", "guestfish ", "virt-", "ls ", "cp ")
_RUN_THERE = Text("In the guest, as root:", "请在系统内以 root 执行：")
_DO_THERE = Text("What follows is done in the guest, as root.", "以下操作请在系统内以 root 执行。")


def placed(finding: Finding) -> Finding:
    """The finding with a remedy that says where its commands are to be run.

    Rules on a Linux name files as the guest has them. A reader who ran `sed -i … /etc/fstab` on the machine
    that imgtool runs on would change that one.
    """
    remedy = finding.remedy
    if remedy is None or not finding.id.startswith("linux."):
        return finding
    lines = list(remedy_lines(remedy.en))
    commands = [text for text, is_command in lines if is_command]
    if not commands or commands[0].startswith(_OF_THIS_MACHINE):
        return finding
    if any(_PLACE.search(text) for text, is_command in lines if not is_command):
        return finding
    lead = _RUN_THERE if lines[0][1] else _DO_THERE
    return replace(finding, remedy=Text(f"{lead.en}\n{remedy.en}", f"{lead.zh}\n{remedy.zh}"))


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
            is_command = " " in text or _ONE_WORD.fullmatch(text) is not None
            yield text, is_command and not _CHINESE.search(text)
