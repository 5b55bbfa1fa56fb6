"""What every remedy of the Windows rules is like, on every fault that the fixtures have."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator

import pytest

from fixtures.windows import boot_faults, cloudbase_faults, driver_faults, listed, state_faults
from fixtures.windows.disk import Windows
from imgtool.errors import CannotRead
from imgtool.report.remedy import remedy_lines
from imgtool.rules import Outcome
from tests.checks import test_windows_boot, test_windows_software, test_windows_version
from tests.checks import test_windows_remote_desktop as remote_desktop
from tests.checks.windows_guest import RULES, image, judge
from tests.guest.windows.test_commands import cmd_arguments

MADE_OF_BYTES = (
    "hive_",
    "software_truncated",
    "bcd_damaged",
    "no_system_hive",
    "on_fat",
    "uefi",
    "two_systems",
)
CHANGES = {
    f"{release}/{change.__name__}": (release, change)
    for release, change, _ in listed._CHANGES
    if change.__module__.endswith(("boot_faults", "cloudbase_faults", "driver_faults", "state_faults"))
    and not change.__name__.startswith(MADE_OF_BYTES)
}
ALLOW, DISK = remote_desktop.ALLOW, test_windows_software.DISK_CLASS
SOME = ALLOW + "RA4=10.0.0.0/255.0.0.0|RA4=LocalSubnet|"


def without(service: str) -> Callable[[Windows], None]:
    return lambda made: made.remove("system", f"{made.here}\\Services\\{service}")


OTHERS: list[tuple[str, Callable[[Windows], None]]] = [
    ("2016", test_windows_boot.hive_gone),
    ("2016", test_windows_boot.kernel_gone),
    ("2008", boot_faults.no_bcd),
    ("2012r2", remote_desktop.rules(a=SOME)),
    ("2012r2", remote_desktop.rules(a=ALLOW.replace("Allow", "Block"))),
    ("2012r2", remote_desktop.public(DoNotAllowExceptions=1)),
    ("2012r2", remote_desktop.policy("PublicProfile", DoNotAllowExceptions="dword:1")),
    ("2008r2", remote_desktop.station(LanAdapter=1, fEnableWinStation=0)),
    ("2016", without("TermService")),
    ("2016", without("cdrom")),
    ("2016", test_windows_software.filters(DISK, "gone", "partmgr")),  # type: ignore[list-item]
    ("2008", cloudbase_faults.config_in_utf16),
    ("2008r2", cloudbase_faults.downloaded_script),
    ("2022", test_windows_version.version(EditionID="ServerTurbine")),
    ("2022", test_windows_version.version(EditionID="EnterpriseEval")),
]
CHANGES |= {f"{release}/other-{number}": (release, it) for number, (release, it) in enumerate(OTHERS)}
assert all((boot_faults, cloudbase_faults, driver_faults, state_faults))
SHELLS = ("Command Prompt", "Windows PowerShell", "imgtool fix")
PROGRAMS = (  # noqa: SIM905
    "bcdboot bcdedit bootrec bootsect convert copy dism if imgtool msiexec netsh notepad pnputil powercfg reg"
    " sc.exe sfc shutdown slmgr.vbs"
).split()


def broken(name: str) -> Iterator[tuple[str, Outcome]]:
    release, change = CHANGES[name]
    given = image(release, change)
    for rule in RULES:
        with contextlib.suppress(CannotRead):  # where a hive is gone
            for outcome in judge(rule, given):
                if outcome.kind == "broken":
                    yield rule, outcome


@pytest.mark.parametrize("name", CHANGES)
def test_a_fault_is_told_whole_in_both_languages_and_says_where_to_type_what(name: str) -> None:
    found = list(broken(name))
    for rule, outcome in found:
        assert outcome.evidence, rule
        assert outcome.remedy is not None, rule
        told = outcome.remedy.en
        commands = [text for text, is_command in remedy_lines(told) if is_command]
        settings = [text for text in commands if text.startswith("[") or re.match(r"[a-z0-9_]+=", text)]
        if len(commands) > len(settings):
            assert any(shell in told for shell in SHELLS), told
            assert "administrator" in told or "At the Command Prompt" in told or "imgtool fix" in told, told
        for line in commands:
            _is_a_command(line, told, settings)
        assert [text for text, is_command in remedy_lines(outcome.remedy.zh) if is_command] == commands, rule
        _is_told_whole(rule, outcome)


def _is_a_command(line: str, told: str, settings: list[str]) -> None:
    if line in settings:
        return
    if "Windows PowerShell" in told:
        assert line.startswith(("(Get-Content -LiteralPath '", "Unblock-File -LiteralPath '")), line
    elif line.startswith("type nul > "):
        cmd_arguments(line.removeprefix("type nul > "))
    elif line.endswith("| diskpart"):
        assert re.fullmatch(r"\(?(echo [a-zA-Z0-9 =]+(& )?)+\)?\s?\| diskpart", line), line
    else:
        words = cmd_arguments(line)
        assert words[0] in PROGRAMS, line
        assert not re.search(r'(?<![\\"]){[0-9a-f]{8}-', line), "PowerShell takes it for a script block"


def _is_told_whole(rule: str, outcome: Outcome) -> None:
    assert outcome.remedy is not None
    for text in (outcome.message.zh, *_prose(outcome.remedy.zh)):
        assert re.search("[\u4e00-\u9fff]", text), (rule, text)
        assert not re.search("[\u4e00-\u9fff][,;:!?]", text), (rule, text)
        assert not re.search("partition [0-9]", text), (rule, text)
        assert not re.search(r"  |，，|。。|：：|（）|, [\u4e00-\u9fff]", text), (rule, text)
    for text in (outcome.message.en, *_prose(outcome.remedy.en)):
        assert not re.search("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]", text), (rule, text)
        assert not re.search(r"  |,,|\.\.(?!\.)|\(\)", text), (rule, text)


def _prose(remedy: str) -> list[str]:
    return [text for text, is_command in remedy_lines(remedy) if not is_command]
