"""What `imgtool inspect` shows people of a Windows."""

from __future__ import annotations

from typing import Any

import pytest

from imgtool.report.facts import layout
from imgtool.report.text import plain
from imgtool.text import Language

NOTHING: dict[str, Any] = {
    "format": "raw",
    "virtual_size": None,
    "actual_size": None,
    "partition_table": "mbr",
    "boot_mode": "bios",
    "os": {
        "distro": "windows",
        "version": "2016",
        "arch": "x86_64",
        "import_os_type": "Windows",
        "import_os_version": "2016",
    },
}
NONE = {"partition": None, "disk_signature": None, "partition_guid": None, "path": None}
LETTERS = [
    {**NONE, "letter": "C", "kind": "mbr", "partition": 2, "disk_signature": "6a2d1f0e"},
    {**NONE, "letter": "D", "kind": "mbr", "disk_signature": "1a2b3c4d"},
    {**NONE, "letter": "E", "kind": "path", "path": "\\??\\IDE#CdRomQEMU_DVD-ROM#5&3a&0#{53f5630d-b6bf}"},
    {**NONE, "letter": "F", "kind": "unknown"},
]


def shown(language: Language, **windows: Any) -> str:
    return plain(list(layout("x", {**NOTHING, "windows": windows}, {}, language, 200)))


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "C: partition 2, D: another disk (1a2b3c4d), E: IDE CdRomQEMU_DVD-ROM, F: ?"),
        ("zh", "C: 分区 2, D: 其他磁盘 (1a2b3c4d), E: IDE CdRomQEMU_DVD-ROM, F: ?"),
    ],
)
def test_each_drive_letter_is_shown_with_what_it_stands_for(language: Language, said: str) -> None:
    assert said in shown(language, root="partition 2", drive_letters=LETTERS)


def test_a_version_that_the_name_has_is_not_said_twice() -> None:
    programs = [
        {"name": "7-Zip 19.00", "version": "19.00", "publisher": None},
        {"name": "Agent", "version": "1.0", "publisher": None},
        {"name": "Tool", "version": None, "publisher": None},
    ]
    assert "7-Zip 19.00, Agent 1.0, Tool" in shown("en", programs=programs)


def test_the_systems_own_volume_is_named_in_the_readers_language() -> None:
    assert "分区 2" in shown("zh", root="partition 2")
    assert "partition 2" in shown("en", root="partition 2")
