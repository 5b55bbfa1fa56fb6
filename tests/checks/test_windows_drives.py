"""disk.other-disks, of a Windows: what it keeps behind drive letters that are not of this disk."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.windows import services
from fixtures.windows.disk import RESERVED_AT, SYSTEM_AT, Windows
from fixtures.windows.hive import binary, multi, sz
from fixtures.windows.state_faults import OTHER_DISK, page_file_elsewhere
from imgtool.rules import Outcome, Severity, discover
from tests.checks.windows_guest import image

Change = Callable[[Windows], None]
RULE = discover()["disk.other-disks"]


def said(*changes: Change) -> list[Outcome]:
    return list(RULE.judge(image("2016", *changes)))


def files_on(letter: str) -> Change:
    """Page file, profiles and a service of their own on a letter."""

    def change(made: Windows) -> None:
        key = f"{made.here}\\Control\\Session Manager\\Memory Management"
        made.system[key]["PagingFiles"] = multi(f"{letter}:\\pagefile.sys 0 0")
        made.system[f"{made.here}\\Services\\Contoso"] = services.service(2, command=f"{letter}:\\a\\run.exe")
        path = "Microsoft\\Windows NT\\CurrentVersion\\ProfileList"
        made.software[path] = {"ProfilesDirectory": sz(f"{letter}:\\Users")}

    return change


def mounted(letter: str, start: int, *signature: int) -> Change:
    return lambda made: made.mount(letter, start, *signature)


def test_a_windows_whose_letters_are_all_of_this_disk_needs_no_other() -> None:
    assert [it.kind for it in said()] == ["kept"]
    assert [it.kind for it in said(files_on("C"))] == ["kept"]
    assert [it.kind for it in said(mounted("D", RESERVED_AT), files_on("D"))] == ["kept"]


def test_letters_of_other_disks_that_nothing_needs_are_no_fault() -> None:
    assert [it.kind for it in said(mounted("E", 1 << 20, OTHER_DISK))] == ["kept"]


def test_what_lies_on_another_disk_is_named_each_with_its_letter() -> None:
    found = said(mounted("E", 1 << 20, OTHER_DISK), files_on("E"))
    assert [(it.kind, it.severity) for it in found] == [("broken", Severity.WARNING)] * 3
    text = "\n".join(line for it in found for line in it.evidence)
    for word in ("PagingFiles=E:", "ProfilesDirectory=E:", "Services\\Contoso: ImagePath=E:", "1a2b3c4d"):
        assert word in text
    assert all(it.remedy is not None and it.remedy.zh and it.remedy.en for it in found)


def test_the_disk_of_the_fixture_lacks_its_page_file_and_a_service() -> None:
    assert len(said(page_file_elsewhere)) == 2


def test_a_page_file_on_an_optical_drive_or_on_an_unknown_letter_proves_nothing() -> None:
    assert [it.kind for it in said(files_on("D"))] == ["kept"]
    assert [it.kind for it in said(files_on("X"))] == ["kept"]


def test_services_that_nobody_starts_may_be_elsewhere() -> None:
    def by_demand(made: Windows) -> None:
        key = made.system[f"{made.here}\\Services\\Contoso"] = services.service(3)
        key["ImagePath"] = sz("E:\\run.exe")

    assert [it.kind for it in said(mounted("E", 1 << 20, OTHER_DISK), by_demand)] == ["kept"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (mounted("C", SYSTEM_AT, OTHER_DISK), "a partition that this disk does not have"),
        (mounted("C", SYSTEM_AT + 512), "a partition that this disk does not have"),
        (mounted("C", RESERVED_AT), "partition 1"),
    ],
)
def test_a_system_whose_letter_is_kept_for_another_partition_may_come_up_as_another(
    change: Change, word: str
) -> None:
    (found,) = said(change)
    assert word in found.message.en
    assert found.severity is Severity.WARNING
    assert found.remedy is not None
    assert "\\DosDevices\\C:" in found.remedy.en


def test_a_system_without_letters_gets_them_at_its_next_start() -> None:
    def none(made: Windows) -> None:
        made.system["MountedDevices"] = {"\\DosDevices\\C:": binary(b"??")}

    assert [it.kind for it in said(none)] == ["kept"]


def test_the_letter_is_that_which_the_system_itself_has() -> None:
    def on_d(made: Windows) -> None:
        made.software["Microsoft\\Windows NT\\CurrentVersion"]["SystemRoot"] = sz("D:\\Windows")
        made.mount("D", SYSTEM_AT)
        made.mount("C", 1 << 20, OTHER_DISK)

    (found,) = said(on_d)
    assert "Services" in found.message.en  # cloudbase-init's own path still says C:
    guest = image("2016", on_d).windows
    assert guest.system_drive == "D"
    assert guest.cloudbase_init.windows_folder.startswith("D:\\")
