"""Rules of the Windows firewall as the registry has them, and what they come to for a port."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgtool.guest.windows.firewall import Rule, parse_rule

ALL = {"Domain", "Private", "Public"}
ALLOW = "v2.22|Action=Allow|Active=TRUE|Dir=In|Protocol=6|"


def rule(text: str, port: int = 3389) -> Rule | None:
    return parse_rule("name", text, port)


@pytest.mark.parametrize(
    "rest",
    [
        "LPort=3389|",
        "LPort=80|LPort=3389|",
        "LPort2_10=3000-4000|",
        "LPort=3380-3390|",
        "",
        "App=System|LPort=3389|",
        "App=%SystemRoot%\\system32\\svchost.exe|Svc=termservice|LPort=3389|",
        "Svc=*|LPort=3389|",
        "IFType=Lan|LPort=3389|",
        "LPort2_24=3389|",
        "App=System|LPort=3389|Name=@FirewallAPI.dll,-28753|Desc=x|EmbedCtxt=y|Edge=TRUE|Defer=App|",
        "LPort=3389|Platform=2:6:2|Platform2=GTEQ|",
        "RA4=0.0.0.0-255.255.255.255|LPort=3389|",
        "Security=NotRequired|LPort=3389|",
    ],
)
def test_a_rule_that_lets_everybody_in_to_the_port(rest: str) -> None:
    found = rule(ALLOW + rest)
    assert found is not None
    assert found.allows
    assert found.profiles == ALL
    assert found.remotes == ()


@pytest.mark.parametrize(
    "rest",
    [
        "LPort=3390|",
        "LPort=RPC|",
        "LPort2_10=1-3388|",
        "App=C:\\Program Files\\x\\x.exe|",
        "App=%SystemRoot%\\system32\\svchost.exe|Svc=Dnscache|",
        "IF={8a6e0804-2bd0-4672-b79d-d97027f9071a}|LPort=3389|",
        "IFType=Wireless|LPort=3389|",
        "LA4=10.0.0.5|LPort=3389|",
        "RPort=1024|LPort=3389|",
        "PFN=S-1-15-2-1|",
        # of every Windows 10 and later, word for word: Wi-Fi Direct, and UPnP through Teredo
        "App=System|Name=@wlansvc.dll,-37378|Desc=@wlansvc.dll,-37890|EmbedCtxt=@wlansvc.dll,-36865"
        "|TTK2_27=WFDKmDriver|",
        "Profile=Public|App=System|Name=@FirewallAPI.dll,-32762|Desc=@FirewallAPI.dll,-32764"
        "|EmbedCtxt=@FirewallAPI.dll,-32752|TTK2_27=UPnP|",
        "LPort2_24=RPC|",
        "RPort2_10=80|LPort=3389|",
        "AppPkgId=S-1-15-2-1|",
        "LUAuth=O:LSD:(A;;CC;;;S-1-5-84-0-0-0-0-0)|LPort=3389|",
        "FieldOfALaterVersion=1|LPort=3389|",
    ],
)
def test_a_rule_that_is_not_about_it_or_not_after_the_move(rest: str) -> None:
    assert rule(ALLOW + rest) is None


@pytest.mark.parametrize(
    "text",
    [
        "v2.22|Action=Allow|Active=FALSE|Dir=In|Protocol=6|LPort=3389|",
        "v2.22|Action=Allow|Active=TRUE|Dir=Out|Protocol=6|LPort=3389|",
        "v2.22|Action=Allow|Active=TRUE|Dir=In|Protocol=17|LPort=3389|",
        "",
        "v2.22",
    ],
)
def test_a_rule_that_does_not_count(text: str) -> None:
    assert rule(text) is None


@pytest.mark.parametrize(
    ("rest", "remotes"),
    [
        (
            "RA4=10.0.0.0/255.0.0.0|RA4=192.168.0.0/255.255.0.0|",
            ("10.0.0.0/255.0.0.0", "192.168.0.0/255.255.0.0"),
        ),
        ("RA42=IntrAnet|RA62=IntrAnet|", ("IntrAnet", "IntrAnet")),
        ("RA4=LocalSubnet|", ("LocalSubnet",)),
        ("Security=Authenticate|", ("IPsec",)),
    ],
)
def test_a_rule_for_some_says_for_whom(rest: str, remotes: tuple[str, ...]) -> None:
    found = rule(f"{ALLOW}LPort=3389|{rest}")
    assert found is not None
    assert found.remotes == remotes


def test_protocols_and_profiles_that_are_not_said_are_all() -> None:
    found = rule("v2.10|Action=Block|Active=TRUE|Dir=In|Profile=Public|Profile=Private|")
    assert found is not None
    assert not found.allows
    assert found.profiles == {"Public", "Private"}


@given(st.text(max_size=200), st.integers(1, 65535))
def test_any_text_is_a_rule_or_none(text: str, port: int) -> None:
    parse_rule("x", f"{ALLOW}{text}|", port)
