"""The state that a Windows was left in: what a shutdown leaves behind, and whether CDs can be read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.windows import services, state_faults
from fixtures.windows.boot_faults import client
from fixtures.windows.disk import Windows
from fixtures.windows.hive import binary, dword, multi, sz, typed
from tests.checks.windows_guest import first, image, judge, levels, lines, remedy

VOLUME, PENDING, CDROM = "windows.volume", "windows.pending", "windows.cdrom"
SERVICING = "Microsoft\\Windows\\CurrentVersion\\Component Based Servicing"
DENIED = "Policies\\Microsoft\\Windows\\RemovableStorageDevices"
CDS = "{53f56308-b6bf-11d0-94f2-00a0c91efb8b}"
CDROM_CLASS = "{4d36e965-e325-11ce-bfc1-08002be10318}"
Change = Callable[[Windows], None]


def test_fast_start_up_is_a_client_s_with_its_file() -> None:
    def on(made: Windows) -> None:
        made.system[f"{made.here}\\Control\\Power"]["HibernateEnabled"] = dword(1)

    def with_file(made: Windows) -> None:
        made.files["hiberfil.sys"] = bytes(4096)

    assert levels(VOLUME, image("2016", client, on, with_file)) == ["warning"]
    assert levels(VOLUME, image("2016", client, on)) == ["kept"]
    assert levels(VOLUME, image("2016", on, with_file)) == ["kept"]
    assert lines(VOLUME, image("2016", client, on, with_file)) == [
        "powercfg /hibernate off",
        "shutdown /s /t 0",
    ]


def software(path: str, **values: str) -> Change:
    return lambda made: made.software.update({f"{SERVICING}\\{path}": values})


def session(**values: str) -> Change:
    return lambda made: made.system[f"{made.here}\\Control\\Session Manager"].update(values)


def pairs(*names: str) -> str:
    """PendingFileRenameOperations: pairs of names, the second one empty for a file to be deleted."""
    return typed(7, ("\0".join(names) + "\0\0").encode("utf-16-le"))


@pytest.mark.parametrize(
    ("change", "evidence"),
    [
        (
            software("PackagesPending\\Package_for_KB5001342~31bf"),
            "PackagesPending: Package_for_KB5001342~31bf",
        ),
        (software("SessionsPending", Exclusive=dword(4)), "SessionsPending: Exclusive=4"),
        (software("RebootInProgress"), "RebootInProgress: there"),
        (session(SetupExecute=multi("C:\\Windows\\System32\\poqexec.exe /x")), "SetupExecute=C:"),
        (session(PendingFileRenameOperations=pairs("\\??\\C:\\a.new", "!\\??\\C:\\a.dll")), "C:\\a.new"),
        (
            session(PendingFileRenameOperations2=pairs("\\??\\C:\\t", "", "\\??\\C:\\n", "!\\??\\C:\\o")),
            "C:\\n",
        ),
    ],
)
def test_what_stays_in_an_image_that_waits_for_a_restart(change: Change, evidence: str) -> None:
    given = image("2019", change)
    assert levels(PENDING, given) == ["warning"]
    assert any(evidence in line for line in first(PENDING, given).evidence)
    assert "shutdown /r /t 0" in remedy(PENDING, given)


@pytest.mark.parametrize(
    "change",
    [
        session(
            PendingFileRenameOperations=pairs("\\??\\C:\\Windows\\Temp\\a.tmp", "", "\\??\\C:\\b.tmp", "")
        ),
        session(PendingFileRenameOperations=sz("")),
        session(PendingFileRenameOperations=binary(b"\0\0\xd8")),
        software("SessionsPending", Exclusive=dword(0), TotalSessionPhases=dword(0)),
        software("PackagesPending"),
        software("SessionsPending\\30912345_123"),
        session(SetupExecute=multi()),
    ],
)
def test_what_every_system_has_waits_for_nothing(change: Change) -> None:
    assert levels(PENDING, image("2019", change)) == ["kept"]


def test_after_sysprep_what_it_takes_away_is_to_be_checked_again() -> None:
    told = remedy(PENDING, image("2016", state_faults.sysprep))
    assert "cloudbase-init" in told
    assert "without Sysprep" in told
    assert "Restart-Computer" not in told


def override(start: int) -> Change:
    return lambda made: made.system.update(
        {f"{made.here}\\Services\\cdrom\\StartOverride": {"0": dword(start)}}
    )


def test_a_cdrom_driver_that_is_gone_is_made_anew() -> None:
    given = image("2016", lambda made: made.remove("system", f"{made.here}\\Services\\cdrom"))
    assert lines(CDROM, given)[0].startswith("sc.exe create cdrom type= kernel start= system ")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([state_faults.cdrom_disabled], ["sc.exe config cdrom start= system"]),
        (
            [override(4)],
            [
                "sc.exe config cdrom start= system",
                'reg delete "HKLM\\SYSTEM\\CurrentControlSet\\Services\\cdrom\\StartOverride" /f',
            ],
        ),
        (
            [state_faults.cdrom_disabled, override(1)],
            [
                "sc.exe config cdrom start= system",
                'reg delete "HKLM\\SYSTEM\\CurrentControlSet\\Services\\cdrom\\StartOverride" /f',
            ],
        ),
    ],
)
def test_a_cdrom_driver_is_started_and_its_override_removed(
    changes: list[Change], expected: list[str]
) -> None:
    given = image("2016", *changes)
    assert levels(CDROM, given) == ["error"]
    assert lines(CDROM, given) == expected


def test_only_the_values_that_deny_are_deleted() -> None:
    def denied(made: Windows) -> None:
        made.software[DENIED] = {"Deny_All": dword(1)}
        made.software[f"{DENIED}\\{CDS}"] = {"Deny_Read": dword(1), "Deny_Write": dword(1)}

    assert lines(CDROM, image("2016", denied)) == [
        f'reg delete "HKLM\\SOFTWARE\\{DENIED}" /v Deny_All /f',
        f'reg delete "HKLM\\SOFTWARE\\{DENIED}\\{CDS}" /v Deny_Read /f',
    ]
    only_read = image("2012r2", state_faults.cdrom_denied)
    assert lines(CDROM, only_read) == [f'reg delete "HKLM\\SOFTWARE\\{DENIED}\\{CDS}" /v Deny_Read /f']


def test_a_policy_against_writing_alone_is_none_against_reading() -> None:
    def no_writing(made: Windows) -> None:
        made.software[f"{DENIED}\\{CDS}"] = {"Deny_Write": dword(1), "Deny_Read": dword(0)}

    assert levels(CDROM, image("2016", no_writing)) == ["kept"]


def test_a_burning_program_s_filter_that_was_left_behind_stops_the_drive() -> None:
    def left(made: Windows) -> None:
        made.system[f"{made.here}\\Control\\Class\\{CDROM_CLASS}"] = {
            "UpperFilters": multi("GEARAspiWDM", "ok")
        }
        made.system[f"{made.here}\\Services\\ok"] = services.driver("ok", 3)

    given = image("2012", left)
    assert levels(CDROM, given) == ["error"]
    key = f"HKLM\\SYSTEM\\CurrentControlSet\\Control\\Class\\{CDROM_CLASS}"
    assert lines(CDROM, given) == [f'reg add "{key}" /v UpperFilters /t REG_MULTI_SZ /d "ok" /f']


def test_one_fault_of_the_cdrom_is_told_at_a_time() -> None:
    assert [it.kind for it in judge(CDROM, image("2022", state_faults.cdrom_disabled))] == ["broken"]
