"""Software of other platforms in a Windows: what is meant, what is not, and how it is got rid of."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imgtool.checks import windows_software

from fixtures.windows import services, software, state_faults
from fixtures.windows.disk import Windows
from fixtures.windows.hive import dword, multi
from imgtool.guest.windows.class_filters import ClassFilters, without
from imgtool.guest.windows.foreign_software import KNOWN, Found
from imgtool.guest.windows.programs import Program
from imgtool.report.remedy import remedy_lines
from tests.checks.windows_guest import first, image, levels, lines, remedy
from tests.guest.windows.test_commands import NAMES, cmd_arguments

RULE = "windows.conflicting-software"
SYSTEM_CLASS = "{4d36e97d-e325-11ce-bfc1-08002be10318}"
DISK_CLASS = "{4d36e967-e325-11ce-bfc1-08002be10318}"
CLASS = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Class"


def program(key: str, name: str) -> object:
    return lambda made: made.software.update(software.program(key, name, "1.0", "x"))


def filters(class_guid: str, *drivers: str, kind: str = "UpperFilters") -> object:
    def change(made: Windows) -> None:
        made.system.setdefault(f"{made.here}\\Control\\Class\\{class_guid}", {})[kind] = multi(*drivers)

    return change


def driver(name: str, start: int = 0) -> object:
    return lambda made: made.system.update({f"{made.here}\\Services\\{name}": services.driver(name, start)})


def test_a_package_of_windows_installer_is_removed_by_its_product_code() -> None:
    windows = image("2012r2", state_faults.vmware_tools)
    assert lines(RULE, windows) == ['msiexec /x "{D1C1A1B6-3A27-4B2A-A4B5-9CC7C0C6F1F7}" /qn /norestart']
    assert "On the source, before the export" in remedy(RULE, windows)


def test_another_installer_s_own_command_is_looked_up() -> None:
    windows = image("2016", program("VMware Tools & more", "VMware Tools"))  # type: ignore[arg-type]
    key = "HKLM\\SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Uninstall\\VMware Tools & more"
    assert lines(RULE, windows) == [f'reg query "{key}" /v UninstallString']


@given(NAMES.filter(lambda it: it and "\\" not in it), st.booleans())
def test_whatever_a_stranger_calls_a_key_the_remedy_is_one_command_with_it_or_none(
    name: str, by_installer: bool
) -> None:
    key = f"{software.WINDOWS}\\Uninstall\\{name}"
    entry = Program("VMware Tools", "1.0", "x", f"SOFTWARE\\{key}", False, by_installer)
    found = Found(KNOWN[0], (), (entry,), ())
    told = windows_software._uninstall(None, found)  # type: ignore[arg-type]
    for text, is_command in remedy_lines(told.en):
        if is_command:
            assert cmd_arguments(text) == ["reg", "query", f"HKLM\\SOFTWARE\\{key}", "/v", "UninstallString"]


@pytest.mark.parametrize(
    "name",
    [
        "Microsoft Azure AD Connect",
        "Microsoft Azure PowerShell - April 2018",
        "Microsoft Azure Storage Explorer",
        "AliyunDrive",
        "VMware vSphere Client 6.0",
        "VMware PowerCLI",
        "Citrix Receiver",
    ],
)
def test_a_program_that_only_sounds_like_it_is_none(name: str) -> None:
    assert levels(RULE, image("2016", program("{x}", name))) == ["kept"]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("WindowsAzureGuestAgent", "Azure agent"),
        ("AmazonSSMAgent", "AWS agents"),
        ("GCEAgent", "Google Cloud agent"),
        ("AliyunService", "Alibaba Cloud agent"),
        ("CloudResetPwdAgent", "Huawei Cloud agent"),
        ("Nutanix Guest Agent", "Nutanix Guest Tools"),
    ],
)
def test_agents_of_other_clouds_are_known_by_their_services(service: str, name: str) -> None:
    windows = image(
        "2019", lambda made: made.system.update({f"{made.here}\\Services\\{service}": services.service(2)})
    )
    assert first(RULE, windows).message.en.startswith(name)
    written = f'"{service}"' if " " in service else service
    assert lines(RULE, windows) == [f"sc.exe config {written} start= disabled"]


def test_every_program_of_an_agent_is_uninstalled() -> None:
    windows = image(
        "2019",
        program("{11111111-2222-3333-4444-555555555555}", "Amazon SSM Agent"),  # type: ignore[arg-type]
        program("{21111111-2222-3333-4444-555555555555}", "aws-cfn-bootstrap"),  # type: ignore[arg-type]
        program("EC2Launch", "Amazon EC2Launch"),  # type: ignore[arg-type]
    )
    assert levels(RULE, windows) == ["warning"]
    key = f"HKLM\\SOFTWARE\\{software.WINDOWS}\\Uninstall\\EC2Launch"
    assert lines(RULE, windows) == [
        'msiexec /x "{11111111-2222-3333-4444-555555555555}" /qn /norestart',
        'msiexec /x "{21111111-2222-3333-4444-555555555555}" /qn /norestart',
        f'reg query "{key}" /v UninstallString',
    ]


@pytest.mark.parametrize(("enabled", "level"), [("true", "warning"), ("false", "kept")])
def test_an_agent_that_is_a_scheduled_task_is_one_while_it_is_enabled(enabled: str, level: str) -> None:
    task = "Amazon Ec2 Launch - Instance Initialization"

    def scheduled(made: Windows) -> None:
        text = f"<Task><Settings><Enabled>{enabled}</Enabled></Settings></Task>"
        made.files[f"Windows/System32/Tasks/{task}"] = ("\ufeff" + text).encode("utf-16-le")

    windows = image("2016", scheduled)
    assert levels(RULE, windows) == [level]
    if level == "warning":
        assert lines(RULE, windows) == [f'schtasks /change /tn "{task}" /disable']


def test_a_filter_is_taken_off_its_class_before_its_driver_is_disabled() -> None:
    windows = image(
        "2012r2",
        driver("xenfilt"),  # type: ignore[arg-type]
        driver("other"),  # type: ignore[arg-type]
        filters(SYSTEM_CLASS, "xenfilt"),  # type: ignore[arg-type]
        filters(DISK_CLASS, "other", "XENFILT", "other", kind="LowerFilters"),  # type: ignore[arg-type]
    )
    assert lines(RULE, windows) == [
        f'reg add "{CLASS}\\{DISK_CLASS}" /v LowerFilters /t REG_MULTI_SZ /d "other\\0other" /f',
        f'reg delete "{CLASS}\\{SYSTEM_CLASS}" /v UpperFilters /f',
        "sc.exe config xenfilt start= disabled",
    ]
    assert "last step before the export" in remedy(RULE, windows)


def test_an_overridden_start_is_removed_with_it() -> None:
    def overridden(made: Windows) -> None:
        made.system[f"{made.here}\\Services\\xenfilt\\StartOverride"] = {"0": dword(0)}

    windows = image("2012r2", driver("xenfilt"), overridden)  # type: ignore[arg-type]
    assert lines(RULE, windows)[-1] == (
        'reg delete "HKLM\\SYSTEM\\CurrentControlSet\\Services\\xenfilt\\StartOverride" /f'
    )


@pytest.mark.parametrize("start", [None, 4])
def test_a_filter_of_a_driver_that_is_gone_or_disabled_stops_the_next_start(start: int | None) -> None:
    left = filters(DISK_CLASS, "partmgr", "gone")
    changes = [left] if start is None else [left, driver("gone", start)]
    windows = image("2016", *changes)  # type: ignore[arg-type]
    assert levels(RULE, windows) == ["error"]
    assert "0x7B" in first(RULE, windows).message.en
    assert lines(RULE, windows) == [
        f'reg add "{CLASS}\\{DISK_CLASS}" /v UpperFilters /t REG_MULTI_SZ /d "partmgr" /f'
    ]


def test_a_filter_before_the_ide_controller_costs_the_cd_alone() -> None:
    ide = "{4d36e96a-e325-11ce-bfc1-08002be10318}"
    windows = image("2016", filters(ide, "gone"))  # type: ignore[arg-type]
    assert levels(RULE, windows) == ["error"]
    assert "CD drive" in first(RULE, windows).message.en
    assert "0x7B" not in first(RULE, windows).message.zh


def test_filters_whose_drivers_are_there_are_no_fault() -> None:
    windows = image(
        "2016",
        filters(DISK_CLASS, "partmgr"),  # type: ignore[arg-type]
        filters(SYSTEM_CLASS, "fine"),  # type: ignore[arg-type]
        driver("fine", 3),  # type: ignore[arg-type]
    )
    assert levels(RULE, windows) == ["kept"]


@given(NAMES.filter(lambda it: it and "\0" not in it))
def test_whatever_else_is_on_the_list_the_line_keeps_it_or_is_not_written(name: str) -> None:
    line = without(ClassFilters(SYSTEM_CLASS, "UpperFilters", (name, "xenfilt"), ""), ["XenFilt"])
    if line is not None and name.lower() != "xenfilt":
        words = cmd_arguments(line)
        assert words[:2] == ["reg", "add"]
        assert words[words.index("/d") + 1] == name


@given(NAMES)
def test_a_class_that_is_no_guid_is_in_no_command(name: str) -> None:
    assert without(ClassFilters(name, "UpperFilters", ("xenfilt",), ""), ["xenfilt"]) is None
