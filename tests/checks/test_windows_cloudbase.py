"""cloudbase-init in a Windows: where a setting counts, and what a stranger's names come to in a remedy."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from imgtool.checks import windows_cloudbase_init, windows_cloudbase_state

from fixtures.windows import cloudbase_faults
from fixtures.windows.cloudbase_faults import CONF, configure
from fixtures.windows.disk import CLOUDBASE, Windows
from fixtures.windows.hive import dword, sz
from imgtool.guest.windows.cloudbase_init import PluginState
from imgtool.report.remedy import remedy_lines
from imgtool.text import Text
from tests.checks.windows_guest import image, levels, lines, remedy
from tests.guest.windows.test_commands import NAMES, cmd_arguments, powershell_literal

SERVICE, CONFIG, STATE = (f"windows.cloudbase-init.{it}" for it in ("service", "config", "state"))
FILE = "C:\\Program Files\\Cloudbase Solutions\\Cloudbase-Init\\conf\\cloudbase-init.conf"


def commands(told: Text) -> list[str]:
    return [text for text, is_command in remedy_lines(told.en) if is_command]


def also(text: str) -> Callable[[Windows], None]:
    def change(made: Windows) -> None:
        made.files[CONF] = (made.files[CONF] or b"") + text.replace("\n", "\r\n").encode()

    return change


def test_a_setting_is_mended_in_the_section_where_it_counts() -> None:
    given = image(
        "2016",
        also("[openstack]\nmetadata_base_url=http://169.254.169.254/\n[config_drive]\nraw_hdd=false\n"),
    )
    assert levels(CONFIG, given) == ["error"]
    assert lines(CONFIG, given) == [
        "[config_drive]",
        "raw_hdd=true",
        "[openstack]",
        "metadata_base_url=http://169.254.0.23/",
    ]


def test_a_setting_that_is_nowhere_goes_into_the_default_section() -> None:
    given = image("2016", cloudbase_faults.setting_missing)
    assert lines(CONFIG, given)[0] == "[DEFAULT]"
    assert lines(CONFIG, given)[1].startswith("local_scripts_path=")


def test_a_later_section_that_is_right_makes_up_for_the_default_one() -> None:
    def other(made: Windows) -> None:
        configure(made, "ec2_metadata_base_url=http://169.254.0.23/", "ec2_metadata_base_url=http://x/")

    assert levels(CONFIG, image("2016", other)) == ["error"]
    assert levels(CONFIG, image("2016", other, also("[ec2]\nmetadata_base_url=http://169.254.0.23/\n"))) == [
        "kept"
    ]


@pytest.mark.parametrize(
    ("release", "change", "reads"),
    [
        ("2016", cloudbase_faults.config_in_utf16, "Unicode"),
        ("2008r2", cloudbase_faults.config_in_utf16, "Unicode"),
        ("2016", cloudbase_faults.config_with_mark, "UTF8"),
    ],
)
def test_the_encoding_is_made_the_system_s_own(
    release: str, change: Callable[[Windows], None], reads: str
) -> None:
    assert lines(CONFIG, image(release, change)) == [
        f"(Get-Content -LiteralPath '{FILE}' -Encoding {reads}) |"
        f" Set-Content -LiteralPath '{FILE}' -Encoding Default"
    ]


def test_server_2008_has_no_powershell_for_it() -> None:
    given = image("2008", cloudbase_faults.config_in_utf16)
    assert lines(CONFIG, given) == [f'notepad "{FILE}"']
    assert "PowerShell" not in remedy(CONFIG, given)


@pytest.mark.parametrize(("start", "override"), [(3, None), (4, 2), (2, 4)])
def test_a_service_starts_by_itself_only_where_start_and_override_say_so(
    start: int, override: int | None
) -> None:
    def change(made: Windows) -> None:
        made.service("cloudbase-init")["Start"] = dword(start)
        if override is not None:
            made.system[f"{made.here}\\Services\\cloudbase-init\\StartOverride"] = {"0": dword(override)}

    given = image("2012r2", change)
    assert levels(SERVICE, given) == ["error"]
    assert lines(SERVICE, given)[0] == "sc.exe config cloudbase-init start= auto"
    assert len(lines(SERVICE, given)) == (1 if override is None else 2)


def test_the_folder_is_the_service_s_and_quoted_as_a_stranger_s() -> None:
    folder = "Program Files/Cloud'base `$(calc)"

    def moved(made: Windows) -> None:
        for path in [it for it in made.files if it.startswith(CLOUDBASE)]:
            made.files[path.replace(CLOUDBASE, folder)] = made.files.pop(path)
        where = "C:\\" + folder.replace("/", "\\")
        made.service("cloudbase-init")["ImagePath"] = sz(
            f'"{where}\\bin\\OpenStackService.exe" cloudbase-init --config-file'
            f' "{where}\\conf\\cloudbase-init.conf"'
        )
        path = f"{folder}/conf/cloudbase-init.conf"
        made.files[path] = b"\xef\xbb\xbf" + (made.files[path] or b"")

    (line,) = lines(CONFIG, image("2016", moved))
    path = "C:\\Program Files\\Cloud'base `$(calc)\\conf\\cloudbase-init.conf".replace("'", "''")
    assert line == (
        f"(Get-Content -LiteralPath '{path}' -Encoding UTF8) | Set-Content -LiteralPath '{path}' -Encoding"
        " Default"
    )


def test_plugins_done_for_all_instances_are_forgotten_one_by_one() -> None:
    given = image("2016", cloudbase_faults.done_for_all)
    key = "HKLM\\SOFTWARE\\Cloudbase Solutions\\Cloudbase-Init\\Plugins"
    assert lines(STATE, given) == [f'reg delete "{key}" /v "SetUserPasswordPlugin" /f']


@given(NAMES.filter(lambda it: it and "\\" not in it), NAMES.filter(bool), st.booleans())
def test_whatever_an_instance_and_a_plugin_are_called_the_lines_hold_them_whole_or_not_at_all(
    instance: str, plugin: str, add: bool
) -> None:
    key = f"SOFTWARE\\Cloudbase Solutions\\Cloudbase-Init\\{instance}\\Plugins"
    change = "/t REG_DWORD /d 2 /f" if add else "/f"
    for line in commands(windows_cloudbase_state._record([PluginState(plugin, 1, instance, key)], change)):
        words = cmd_arguments(line)
        assert words[:5] == ["reg", "add" if add else "delete", f"HKLM\\{key}", "/v", plugin]


@given(NAMES, st.sampled_from([6002, 7601, 9200, 20348]))
def test_whatever_the_script_is_called_the_line_is_about_it_alone(name: str, build: int) -> None:
    guest = SimpleNamespace(release=SimpleNamespace(build=build))
    script = f"C:\\LocalScripts\\{name}CloudRun.ps1"
    for line in commands(windows_cloudbase_state._unblock(guest, script)):  # type: ignore[arg-type]
        if line.startswith("Unblock-File"):
            assert build >= 9200
            assert powershell_literal(line.removeprefix("Unblock-File -LiteralPath ")) == script
        else:
            assert cmd_arguments(line.removeprefix("type nul > ")) == [f"{script}:Zone.Identifier"]


@given(NAMES)
def test_whatever_the_folder_is_called_the_lines_are_about_it_alone(name: str) -> None:
    for line in commands(windows_cloudbase_state._copy_script(f"C:\\{name}", "*CloudRun.ps1")):
        assert cmd_arguments(line)[-1] == f"C:\\{name}"
    init = SimpleNamespace(config_path=f"C:\\{name}\\x.conf", as_windows=lambda path: path)
    told = windows_cloudbase_init._edit(init, "mend it", "修正")  # type: ignore[arg-type]
    for line in commands(told):
        assert cmd_arguments(line)[0] == "notepad"
        assert len(cmd_arguments(line)) == 2


def page(number: str) -> Callable[[Windows], None]:
    return lambda made: made.system.update({f"{made.here}\\Control\\Nls\\CodePage": {"ACP": sz(number)}})


@pytest.mark.parametrize(
    ("number", "comment", "level"),
    [
        ("936", "# \u8fc1\u79fb\u524d".encode(), "error"),
        ("936", "# \u8fc1\u79fb\u524d".encode("gbk"), "kept"),
        ("1252", "# \u8fc1\u79fb\u524d".encode(), "error"),
        ("1252", "# caf\u00e9".encode("cp1252"), "kept"),
        ("65001", "# \u8fc1\u79fb\u524d".encode(), "kept"),
        ("10008", b"# \xff\xff", "kept"),
        ("\u0669", b"# \xff\xff", "kept"),
    ],
)
def test_the_file_is_text_in_the_system_s_code_page(number: str, comment: bytes, level: str) -> None:
    def commented(made: Windows) -> None:
        made.files[CONF] = comment + b"\r\n" + (made.files[CONF] or b"")

    assert levels(CONFIG, image("2016", page(number), commented)) == [level]


@pytest.mark.parametrize(
    ("values", "level"),
    [
        ({"EnableScripts": dword(0)}, "warning"),
        ({"EnableScripts": dword(1), "ExecutionPolicy": sz("AllSigned")}, "warning"),
        ({"EnableScripts": dword(1), "ExecutionPolicy": sz("RemoteSigned")}, "kept"),
        ({"EnableModuleLogging": dword(1)}, "kept"),
    ],
)
def test_a_policy_against_scripts_keeps_the_platform_s_from_running(
    values: dict[str, str], level: str
) -> None:
    def forbid(made: Windows) -> None:
        made.software["Policies\\Microsoft\\Windows\\PowerShell"] = values

    assert levels(STATE, image("2016", forbid)) == [level]
