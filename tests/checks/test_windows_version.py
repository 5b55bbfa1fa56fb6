"""Which Windows the platform takes, what is to be done about another, and whether it stays activated."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.windows import software, state_faults
from fixtures.windows.boot_faults import client, too_new
from fixtures.windows.disk import Windows
from fixtures.windows.hive import sz
from tests.checks.windows_guest import first, image, levels, lines, remedy

VERSION, ACTIVATION = "windows.version", "windows.activation"
Change = Callable[[Windows], None]


def version(**values: str) -> Change:
    def change(made: Windows) -> None:
        if "build" in values:
            values["CurrentBuildNumber"] = values["CurrentBuild"] = values.pop("build")
        made.software[software.VERSION].update({name: sz(value) for name, value in values.items()})

    return change


def type_(kind: str) -> Change:
    return lambda made: made.system[f"{made.here}\\Control\\ProductOptions"].update(ProductType=sz(kind))


CASES: list[tuple[str, list[Change], str, str]] = [
    ("2008", [], "kept", "Windows Server 2008 is"),
    ("2008r2", [], "kept", "Windows Server 2008 R2 is"),
    ("2012r2", [version(InstallationType="Server Core")], "kept", "Windows Server 2012 R2 is"),
    ("2016", [version(InstallationType="Nano Server")], "kept", "Windows Server 2016 is"),
    ("2016", [type_("LanmanNT")], "kept", "Windows Server 2016 is"),
    ("2019", [], "warning", "Windows Server 2019"),
    ("2022", [], "warning", "Windows Server 2022"),
    ("2022", [too_new], "error", "Windows Server 2025"),
    ("2016", [client], "error", "Windows 10"),
    ("2022", [type_("WinNT"), version(build="22631", InstallationType="Client")], "error", "Windows 11"),
    ("2012r2", [type_("WinNT")], "error", "Windows 8.1"),
    ("2008r2", [type_("WinNT")], "error", "Windows 7"),
    ("2008", [type_("WinNT")], "error", "Windows Vista"),
    ("2008", [version(build="3790", CurrentVersion="5.2")], "error", "Windows Server 2003"),
    ("2008", [type_("WinNT"), version(build="2600", CurrentVersion="5.1")], "error", "Windows XP"),
    (
        "2022",
        [version(build="25398", ProductName="Windows Server Datacenter")],
        "error",
        "Windows Server Datacenter",
    ),
]


@pytest.mark.parametrize(("release", "changes", "level", "name"), CASES)
def test_which_windows_is_taken(release: str, changes: list[Change], level: str, name: str) -> None:
    given = image(release, *changes)
    assert levels(VERSION, given) == [level]
    if level != "kept":
        assert name in first(VERSION, given).message.en
        assert name in first(VERSION, given).message.zh


@pytest.mark.parametrize("change", [client, too_new, version(build="3790", CurrentVersion="5.2")])
def test_no_upgrade_is_promised_that_does_not_exist(change: Change) -> None:
    told = remedy(VERSION, image("2022", change))
    assert "setup.exe" not in told
    assert "anew" in told


def test_an_unknown_processor_is_refused() -> None:
    def arm(made: Windows) -> None:
        environment = made.system[f"{made.here}\\Control\\Session Manager\\Environment"]
        environment["PROCESSOR_ARCHITECTURE"] = sz("ARM64")

    assert levels(VERSION, image("2016", arm)) == ["error"]


KEY = "XXXXX-XXXXX-XXXXX-XXXXX-XXXXX"


@pytest.mark.parametrize(
    ("release", "edition", "expected"),
    [
        ("2016", "ServerDatacenterEval", "ServerDatacenter"),
        ("2019", "ServerStandardEval", "ServerStandard"),
        ("2012r2", "ServerStandardEvalCor", "ServerStandardCor"),
        ("2022", "ServerDatacenterEvalCor", "ServerDatacenterCor"),
    ],
)
def test_an_evaluation_becomes_the_edition_that_it_can(release: str, edition: str, expected: str) -> None:
    given = image(release, version(EditionID=edition))
    assert lines(ACTIVATION, given) == [
        "dism /online /Get-TargetEditions",
        f"dism /online /Set-Edition:{expected} /ProductKey:{KEY} /AcceptEula",
    ]
    assert "domain controller" in remedy(ACTIVATION, given)


def test_an_evaluation_that_no_command_converts_is_told_so() -> None:
    given = image("2016", client, version(EditionID="EnterpriseEval"))
    assert lines(ACTIVATION, given) == []
    old = image("2008r2", version(EditionID="ServerStandardEval"))
    assert lines(ACTIVATION, old) == [f"slmgr.vbs /ipk {KEY}", "slmgr.vbs /ato"]


def test_the_azure_edition_stays_in_azure() -> None:
    given = image("2022", version(EditionID="ServerTurbine"))
    assert levels(ACTIVATION, given) == ["info"]
    assert "Azure" in first(ACTIVATION, given).message.zh


@pytest.mark.parametrize(
    ("server", "level"),
    [
        ("kms.core.windows.net", "info"),
        ("169.254.169.250", "info"),
        ("KMS.cloud.aliyuncs.com", "info"),
        ("kms.contoso.com", "kept"),
        ("", "kept"),
    ],
)
def test_another_cloud_s_key_service_is_not_reached(server: str, level: str) -> None:
    def asked(made: Windows) -> None:
        key = f"{software.VERSION}\\SoftwareProtectionPlatform"
        made.software[key] = {"KeyManagementServiceName": sz(server)}

    given = image("2019", asked)
    assert levels(ACTIVATION, given) == [level]
    if level == "info":
        assert lines(ACTIVATION, given)[0].startswith("slmgr.vbs /skms ")


def test_a_retail_key_is_asked_for_again_after_the_import() -> None:
    given = image("2016", state_faults.retail_key)
    assert lines(ACTIVATION, given) == [f"slmgr.vbs /ipk {KEY}", "slmgr.vbs /ato"]
    assert remedy(ACTIVATION, given).startswith("After the import")
