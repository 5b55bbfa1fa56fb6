from __future__ import annotations

import pytest

from imgtool.guest.windows.paths import guest_path, program_of


@pytest.mark.parametrize(
    "path",
    [
        "\\SystemRoot\\System32\\drivers\\viostor.sys",
        "%SystemRoot%\\System32\\drivers\\viostor.sys",
        "System32\\drivers\\viostor.sys",
        "\\??\\C:\\Windows\\System32\\drivers\\viostor.sys",
        "C:/Windows/System32/drivers/viostor.sys",
    ],
)
def test_all_ways_to_write_a_driver_path_lead_to_one_place(path: str) -> None:
    assert guest_path(path) == "/Windows/System32/drivers/viostor.sys"


def test_a_path_is_read_against_the_drive_that_windows_is_on() -> None:
    assert guest_path("D:\\Program Files\\x.exe", "D") == "/Program Files/x.exe"
    assert guest_path("%ProgramFiles%\\x.exe", "D") == "/Program Files/x.exe"
    assert guest_path("%SystemDrive%\\x.exe", "D") == "/x.exe"
    assert guest_path("%programdata%\\x.exe") == "/ProgramData/x.exe"
    assert guest_path("C:\\x.exe", "D") is None


@pytest.mark.parametrize(
    "path",
    [
        "\\Device\\HarddiskVolume2\\Windows\\x.sys",
        "\\??\\Volume{5a1f2c00-0000-0000-0000-100000000000}\\x.sys",
        "%APPDATA%\\x.exe",
    ],
)
def test_a_path_whose_volume_or_folder_is_not_known_leads_nowhere(path: str) -> None:
    assert guest_path(path) is None


@pytest.mark.parametrize("path", ["", "D:\\x.sys", "\\\\server\\share\\x.exe"])
def test_other_drives_and_servers_are_not_in_the_guest(path: str) -> None:
    assert guest_path(path) is None


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ('"C:\\Program Files\\a b.exe" -x "y z"', "C:\\Program Files\\a b.exe"),
        ("C:\\Program Files\\a b.exe -x", "C:\\Program Files\\a b.exe"),
        ("%SystemRoot%\\system32\\svchost.exe -k netsvcs", "%SystemRoot%\\system32\\svchost.exe"),
        ("program --option", "program"),
    ],
)
def test_the_program_of_a_command_line(command: str, program: str) -> None:
    assert program_of(command) == program
