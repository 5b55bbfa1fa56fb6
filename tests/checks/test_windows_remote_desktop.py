"""Whether people get in to a Windows by Remote Desktop, and what lets them in."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fixtures.windows import services, state_faults
from fixtures.windows.disk import Windows
from fixtures.windows.hive import dword, sz
from imgtool.guest.windows.remote_desktop import read_remote_desktop
from tests.checks.windows_guest import first, image, levels, lines, remedy

RULE = "windows.remote-desktop"
FIREWALL = "Services\\SharedAccess\\Parameters\\FirewallPolicy"
POLICY = "Policies\\Microsoft\\WindowsFirewall"
TERMINAL = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server"
OPEN = (
    'netsh advfirewall firewall add rule name="Remote Desktop" dir=in action=allow protocol=TCP'
    " localport=3389"
)
ALLOW = "v2.22|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=3389|"
Change = Callable[[Windows], None]


def rules(**texts: str) -> Change:
    """These firewall rules, and no others."""

    def change(made: Windows) -> None:
        made.system[f"{made.here}\\{FIREWALL}\\FirewallRules"] = {
            name: sz(text) for name, text in texts.items()
        }

    return change


def public(**values: int) -> Change:
    return lambda made: made.system[f"{made.here}\\{FIREWALL}\\PublicProfile"].update(
        {name: dword(value) for name, value in values.items()}
    )


def policy(path: str, **values: str) -> Change:
    return lambda made: made.software.setdefault(f"{POLICY}\\{path}".rstrip("\\"), {}).update(values)


def station(**values: int) -> Change:
    return lambda made: made.system[f"{made.here}\\Control\\Terminal Server\\WinStations\\RDP-Tcp"].update(
        {name: dword(value) for name, value in values.items()}
    )


def verdict(*changes: Change) -> str:
    return read_remote_desktop(image("2016", *changes).windows).public.verdict


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([rules(a=ALLOW)], "open"),
        ([rules(a=ALLOW + "Profile=Domain|")], "closed"),
        ([rules()], "closed"),
        ([rules(), public(EnableFirewall=0)], "off"),
        ([rules(), public(DefaultInboundAction=0)], "open"),
        ([rules(), public(DefaultInboundAction=1)], "closed"),
        ([rules(a=ALLOW), public(DoNotAllowExceptions=1)], "shut"),
        ([rules(a=ALLOW, b=ALLOW.replace("Allow", "Block"))], "blocked"),
        ([rules(a=ALLOW, b=ALLOW.replace("Allow", "Block") + "RA4=10.0.0.5|")], "open"),
        ([rules(a=ALLOW + "RA4=10.0.0.0/255.0.0.0|")], "limited"),
        ([rules(a=ALLOW + "RA4=10.0.0.0/255.0.0.0|", b=ALLOW)], "open"),
        ([rules(), policy("PublicProfile", EnableFirewall=dword(0))], "off"),
        ([rules(), public(EnableFirewall=0), policy("PublicProfile", EnableFirewall=dword(1))], "closed"),
        ([rules(), policy("FirewallRules", a=sz(ALLOW))], "open"),
        ([rules(a=ALLOW), policy("FirewallRules", a=sz(ALLOW.replace("Allow", "Block")))], "blocked"),
        ([rules(a=ALLOW), policy("PublicProfile", AllowLocalPolicyMerge=dword(0))], "closed"),
        ([rules(a=ALLOW), station(PortNumber=3390)], "closed"),
    ],
)
def test_what_the_firewall_does_on_a_public_network(changes: list[Change], expected: str) -> None:
    assert verdict(*changes) == expected


def test_without_its_service_the_firewall_filters_nothing() -> None:
    def disabled(made: Windows) -> None:
        made.system[f"{made.here}\\Services\\MpsSvc"] = services.service(4)

    assert verdict(rules(), disabled) == "off"


def test_a_closed_port_is_opened_by_a_rule() -> None:
    given = image("2008", rules())
    assert levels(RULE, given) == ["warning"]
    assert lines(RULE, given) == [OPEN]
    assert "Command Prompt as administrator" in remedy(RULE, given)


def test_a_rule_that_blocks_is_deleted_since_none_that_allows_counts_before_it() -> None:
    given = image("2016", rules(ours=ALLOW, **{"{6d1}": ALLOW.replace("Allow", "Block")}))
    assert "keeps connections to port 3389 out" in first(RULE, given).message.en
    key = f"HKLM\\SYSTEM\\CurrentControlSet\\{FIREWALL}\\FirewallRules"
    assert lines(RULE, given) == [f'reg delete "{key}" /v "{{6d1}}" /f']


def test_a_rule_whose_name_can_not_be_written_is_told_in_words() -> None:
    given = image("2016", rules(**{'x" & calc & "': ALLOW.replace("Allow", "Block")}))
    assert lines(RULE, given) == []
    assert "wf.msc" in remedy(RULE, given)


def test_what_group_policy_closes_no_local_rule_opens() -> None:
    given = image("2016", rules(a=ALLOW), policy("PublicProfile", AllowLocalPolicyMerge=dword(0)))
    assert lines(RULE, given) == []
    assert "Group policy decides" in remedy(RULE, given)


def test_exceptions_that_are_off_are_allowed_again() -> None:
    given = image("2016", rules(a=ALLOW), public(DoNotAllowExceptions=1))
    assert lines(RULE, given) == [
        "netsh advfirewall set publicprofile firewallpolicy blockinbound,allowoutbound"
    ]


def test_addresses_that_alone_get_in_are_named() -> None:
    given = image("2016", rules(a=ALLOW + "RA4=10.1.0.0/255.255.0.0|RA4=LocalSubnet|"))
    assert levels(RULE, given) == ["warning"]
    assert "from some addresses only: 10.1.0.0/255.255.0.0, LocalSubnet." in first(RULE, given).message.en
    assert lines(RULE, given) == [OPEN]


def test_a_policy_against_remote_desktop_is_changed_where_it_stands() -> None:
    terminal = "Policies\\Microsoft\\Windows NT\\Terminal Services"

    def denied(made: Windows) -> None:
        made.software[terminal] = {"fDenyTSConnections": dword(1)}

    given = image("2016", denied)
    assert lines(RULE, given) == [
        f'reg add "HKLM\\SOFTWARE\\{terminal}" /v fDenyTSConnections /t REG_DWORD /d 0 /f'
    ]

    def allowed(made: Windows) -> None:
        state_faults.remote_desktop_off(made)
        made.software[terminal] = {"fDenyTSConnections": dword(0)}

    assert levels(RULE, image("2016", allowed)) == ["kept"]


def test_switched_off_is_switched_on_in_the_system_s_own_settings() -> None:
    given = image("2012r2", state_faults.remote_desktop_off)
    assert lines(RULE, given) == [f'reg add "{TERMINAL}" /v fDenyTSConnections /t REG_DWORD /d 0 /f']


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (station(fEnableWinStation=0), "/v fEnableWinStation /t REG_DWORD /d 1 /f"),
        (station(LanAdapter=2), "/v LanAdapter /t REG_DWORD /d 0 /f"),
    ],
)
def test_a_listener_that_is_off_or_bound_to_an_adapter_is_told(change: Change, line: str) -> None:
    assert lines(RULE, image("2012r2", change)) == [f'reg add "{TERMINAL}\\WinStations\\RDP-Tcp" {line}']


def test_a_service_that_is_gone_has_no_command() -> None:
    given = image("2016", lambda made: made.remove("system", f"{made.here}\\Services\\TermService"))
    assert "TermService is not there" in first(RULE, given).message.en
    assert lines(RULE, given) == []


def test_a_disabled_service_is_started_and_its_override_removed() -> None:
    def disabled(made: Windows) -> None:
        made.service("TermService")["Start"] = dword(4)
        made.system[f"{made.here}\\Services\\TermService\\StartOverride"] = {"0": dword(4)}

    assert lines(RULE, image("2016", disabled)) == [
        "sc.exe config TermService start= demand",
        'reg delete "HKLM\\SYSTEM\\CurrentControlSet\\Services\\TermService\\StartOverride" /f',
    ]


def test_another_port_that_is_open_is_told_for_the_security_group() -> None:
    given = image("2016", station(PortNumber=3390), rules(a=ALLOW.replace("3389", "3390")))
    assert levels(RULE, given) == ["kept"]
