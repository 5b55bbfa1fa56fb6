"""How a Windows is made to start again: with commands that its release has, on the volume that is meant."""

from __future__ import annotations

import pytest
from imgtool.checks.boot_mode import boot_mode
from imgtool.checks.partitions import allowed

from fixtures.windows import bcd, boot_faults
from fixtures.windows.disk import SYSTEM_AT, Windows
from fixtures.windows.hive import multi, sz
from imgtool.lazy import preset
from imgtool.rules import Outcome
from tests.checks.windows_guest import image, image_of, levels, lines, remedy
from tests.guest.windows.test_commands import cmd_arguments

BOOT = "windows.boot"
ASSIGN = "(echo select disk 0& echo select partition 1& echo assign letter=S) | diskpart"
GUID = '"{7a5e2b1c-4d3f-11e2-8b7a-c3e0f3d9a1b2}"'


def broken(rule: object, given: object) -> Outcome:
    return next(it for it in rule.judge(given) if it.kind == "broken")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("2008r2", ["bootsect /nt60 S: /mbr", "bcdboot C:\\Windows /s S:"]),
        ("2012", ["bootsect /nt60 S: /mbr", "bcdboot C:\\Windows /s S: /f BIOS"]),
        ("2022", ["bootsect /nt60 S: /mbr", "bcdboot C:\\Windows /s S: /f BIOS"]),
    ],
)
def test_the_firmware_is_named_to_a_bcdboot_that_knows_it(release: str, expected: list[str]) -> None:
    assert lines(BOOT, image(release, boot_faults.no_bootmgr)) == [ASSIGN, *expected]


def test_server_2008_has_bootrec_and_no_bcdboot() -> None:
    found = lines(BOOT, image("2008", boot_faults.no_bootmgr))
    assert found[:3] == [ASSIGN, "bootrec /fixmbr", "bootrec /fixboot"]
    assert found[-1] == "bootrec /rebuildbcd"
    assert "if not exist S:\\bootmgr copy C:\\Windows\\Boot\\PCAT\\bootmgr S:\\bootmgr" in found
    assert not any("bcdboot" in it or "bootsect" in it for it in found)


def test_one_partition_with_everything_needs_no_letter() -> None:
    def without_bootmgr(made: Windows) -> None:
        boot_faults.one_partition(made)
        del made.reserved["bootmgr"]

    found = lines(BOOT, image("2016", without_bootmgr))
    assert found == ["bootsect /nt60 C: /mbr", "bcdboot C:\\Windows /s C: /f BIOS"]


@pytest.mark.parametrize("change", [boot_faults.bcd_of_another_disk, boot_faults.bcd_of_another_place])
def test_an_entry_is_named_in_quotes_in_the_store_of_the_active_partition(change: object) -> None:
    found = lines(BOOT, image("2008r2", change))  # type: ignore[arg-type]
    assert found == [
        ASSIGN,
        f"bcdedit /store S:\\Boot\\BCD /set {GUID} device partition=C:",
        f"bcdedit /store S:\\Boot\\BCD /set {GUID} osdevice partition=C:",
    ]


def test_an_entry_for_uefi_is_given_the_loader_for_bios() -> None:
    found = lines(BOOT, image("2012r2", boot_faults.bcd_for_uefi))
    assert found[-1] == f"bcdedit /store S:\\Boot\\BCD /set {GUID} path \\Windows\\system32\\winload.exe"


def test_safe_mode_is_left_in_windows_itself() -> None:
    given = image("2016", boot_faults.safe_mode)
    assert lines(BOOT, given) == [f"bcdedit /deletevalue {GUID} safeboot"]
    assert "Command Prompt as administrator" in remedy(BOOT, given)


def test_an_entry_whose_id_is_a_stranger_s_text_is_in_no_command() -> None:
    evil = "{x}& calc &{y}"

    def hostile(made: Windows) -> None:
        device = bcd.partition_device(0x11223344, SYSTEM_AT)
        made.boot = bcd.boot_data(device, manager=device, default="")
        made.boot[f"Objects\\{bcd.BOOT_MANAGER}\\Elements\\24000001"] = {"Element": multi(evil)}
        for path in [it for it in made.boot if bcd.LOADER in it]:
            made.boot[path.replace(bcd.LOADER, evil)] = made.boot.pop(path)

    given = image("2016", hostile)
    assert levels(BOOT, given) == ["error"]
    assert "calc" not in remedy(BOOT, given)
    assert lines(BOOT, given)[-1] == "bcdboot C:\\Windows /s S: /f BIOS"


def kernel_gone(made: Windows) -> None:
    del made.files["Windows/System32/ntoskrnl.exe"]


def hive_gone(made: Windows) -> None:
    made.software = {}


def test_programs_are_restored_by_sfc_in_the_recovery_environment() -> None:
    given = image("2019", kernel_gone)
    assert lines(BOOT, given) == ["sfc /scannow /offbootdir=C:\\ /offwindir=C:\\Windows"]
    assert "At the Command Prompt" in remedy(BOOT, given)


def test_a_hive_is_restored_from_regback_only_where_that_has_a_copy() -> None:
    def with_copy(made: Windows) -> None:
        made.files["Windows/System32/config/RegBack/SOFTWARE"] = b"regf" + bytes(4092)

    def with_empty_copy(made: Windows) -> None:  # as Windows has left it since version 1803
        made.files["Windows/System32/config/RegBack/SOFTWARE"] = b""

    config = "C:\\Windows\\System32\\config"
    copied = [f"copy /y {config}\\RegBack\\SOFTWARE {config}\\SOFTWARE"]
    assert lines(BOOT, image("2016", hive_gone, with_copy)) == copied
    for change in (with_empty_copy, lambda made: None):
        told = remedy(BOOT, image("2019", hive_gone, change))
        assert "RegBack on this disk has no copy" in told
        assert "restore point" not in told
        assert "copy /y" not in told


def nothing_active(made: Windows) -> None:
    made.active = False


def test_where_nothing_is_active_the_partition_with_boot_files_becomes_it() -> None:
    given = image("2012r2", nothing_active)
    outcome = broken(boot_mode, given)
    assert outcome.remedy is not None
    assert outcome.remedy.en.splitlines()[1:] == [
        "(echo select disk 0& echo select partition 1& echo active& echo assign letter=S) | diskpart",
        "bootsect /nt60 S: /mbr",
        "bcdboot C:\\Windows /s S: /f BIOS",
    ]
    assert "导出" in outcome.remedy.zh


def test_a_windows_for_uefi_on_an_mbr_disk_is_made_to_start_from_its_own_active_partition() -> None:
    def no_store(made: Windows) -> None:
        made.boot = {}

    given = image("2012r2", no_store, mode="uefi")
    preset(given.windows, boot=given.windows.boot)
    from imgtool.checks import windows_boot

    outcome = windows_boot._uefi_only(given.windows, "partition 1: \\EFI\\Boot\\bootx64.efi")
    assert outcome.remedy is not None
    assert outcome.remedy.en.splitlines()[1:] == [
        "(echo select volume C& echo active) | diskpart",
        "bootsect /nt60 C: /mbr",
        "bcdboot C:\\Windows /s C: /f BIOS",
    ]


def test_a_logical_partition_is_never_made_active() -> None:
    from fixtures.windows.disk import windows
    from fixtures.windows.releases import RELEASES
    from imgtool.guest.windows.boot_commands import to_activate

    made = windows(RELEASES["2012r2"], more_services=0)
    made.boot = {}
    made.active = False
    assert to_activate(image_of(made, logical=True).windows) is None


def test_gpt_is_left_by_commands_that_exist() -> None:
    given = image("2016")
    object.__setattr__(given.disk.table, "kind", "gpt")
    outcome = broken(allowed, given)
    assert outcome.remedy is not None
    for word in ("dism /Capture-Image", "convert mbr", "active", "dism /Apply-Image", "bcdboot"):
        assert word in outcome.remedy.en
        assert word in outcome.remedy.zh


def test_a_windows_of_ntldr_is_left_to_the_rule_on_versions() -> None:
    def too_old(made: Windows) -> None:
        made.boot_sector = b"NTLDR"
        version = made.software["Microsoft\\Windows NT\\CurrentVersion"]
        version.update(CurrentBuildNumber=sz("3790"), CurrentVersion=sz("5.2"), EditionID=sz(""))
        version["ProductName"] = sz("Microsoft Windows Server 2003 R2")

    given = image("2008", too_old)
    assert levels(BOOT, given) == ["not judged"]
    assert levels("windows.version", given) == ["error"]


@pytest.mark.parametrize("release", ["2008", "2008r2", "2012", "2016", "2022"])
def test_every_line_is_one_that_cmd_takes_as_it_is(release: str) -> None:
    for change in (
        boot_faults.no_bootmgr,
        boot_faults.boot_sector_of_mkntfs,
        boot_faults.bcd_of_another_disk,
    ):
        for line in lines(BOOT, image(release, change)):
            if not line.endswith("| diskpart"):
                cmd_arguments(line)
