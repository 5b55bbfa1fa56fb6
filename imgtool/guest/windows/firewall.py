"""Windows Firewall with Advanced Security: who may reach a TCP port, by profile.

Rules and settings as [MS-GPFAS] 2.2 has them: the same below
Services\\SharedAccess\\Parameters\\FirewallPolicy for this computer and below
Policies\\Microsoft\\WindowsFirewall for group policy, which counts first. A rule is text:
v2.10|Action=Allow|Active=TRUE|Dir=In|Protocol=6|Profile=Public|LPort=3389|RA4=10.0.0.0/255.0.0.0|App=...|
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.guest.windows.registry import Key

FIREWALL = "Services\\SharedAccess\\Parameters\\FirewallPolicy"
FIREWALL_POLICY = "Policies\\Microsoft\\WindowsFirewall"
PROFILES = {"DomainProfile": "Domain", "StandardProfile": "Private", "PublicProfile": "Public"}
OF_POLICY = {"StandardProfile": ("PrivateProfile", "StandardProfile")}
"""What group policy calls a profile, where that is another name."""
TCP, ANY_PROTOCOL = "6", "256"
LOCAL_PORTS = "lport"
"""How fields with local ports begin; later versions have their own: LPort2_10, LPort2_24."""
EVERYWHERE = ("*", "0.0.0.0-255.255.255.255", "0.0.0.0/0.0.0.0", "0.0.0.0/0")
# Fields that make a rule hold for some connections only, beyond those that name addresses.
SECURED = ("security", "security2", "security2_9", "rmauth", "ruauth")
REMOTES = ("ra4", "ra42", "ra6", "ra62")
# What else a rule may say and still be about connections from anybody to the port.
KNOWN = frozenset(
    (
        *("action", "active", "dir", "protocol", "profile", "app", "svc", "iftype", *REMOTES, *SECURED),
        *("name", "desc", "embedctxt", "edge", "defer", "platform", "platform2"),
    )
)
"""Any other field makes it a rule for some connections: an interface (IF), local addresses (LA4), remote
ports (RPort), a package (AppPkgId, LUOwn), or what only Windows itself can tell (TTK2_27=WFDKmDriver: Wi-Fi
Direct, whose rule without a port stands in every Windows since 10)."""


@dataclass(frozen=True)
class Rule:
    """A rule on the port. profiles: those in which it holds; remotes: from where, () for everywhere; id: the
    name of its value; by_policy: group policy's; text: as written."""

    id: str
    allows: bool
    profiles: frozenset[str]
    remotes: tuple[str, ...]
    by_policy: bool
    text: str = ""


Verdict = Literal["off", "open", "limited", "closed", "blocked", "shut"]


@dataclass(frozen=True)
class ProfileState:
    """What a profile does with connections to the port. off: it filters nothing; limited: some addresses get
    through; closed: no rule lets it in; blocked: a rule keeps it out; shut: no exceptions at all.

    by_policy: group policy decided it; rules: those that did; remotes: from where, for limited.
    """

    name: str
    verdict: Verdict
    by_policy: bool = False
    rules: tuple[Rule, ...] = ()
    remotes: tuple[str, ...] = ()

    @property
    def reachable(self) -> bool:
        """Whether anybody gets through."""
        return self.verdict in ("off", "open", "limited")


def read_profiles(guest: WindowsGuest, port: int) -> tuple[ProfileState, ...]:
    """The three profiles. Raises CannotRead."""
    own = guest.control_set.key(FIREWALL)
    policy = guest.software.key(FIREWALL_POLICY)
    engine = guest.services.get("mpssvc")
    if engine is not None and engine.disabled:
        return tuple(ProfileState(name, "off") for name in PROFILES.values())
    rules = [*_rules(policy, port, by_policy=True), *_rules(own, port, by_policy=False)]
    return tuple(_state(own, policy, key, rules) for key in PROFILES)


def _state(own: Key | None, policy: Key | None, key: str, rules: list[Rule]) -> ProfileState:
    name = PROFILES[key]

    def setting(value: str) -> tuple[int | None, bool]:
        for called in OF_POLICY.get(key, (key,)):
            below = policy.key(called) if policy is not None else None
            if below is not None and below.number(value) is not None:
                return below.number(value), True
        below = own.key(key) if own is not None else None
        return (below.number(value) if below is not None else None), False

    on, forced = setting("EnableFirewall")
    if on == 0:
        return ProfileState(name, "off", forced)
    shut, forced = setting("DoNotAllowExceptions")
    if shut:
        return ProfileState(name, "shut", forced)
    merged, _ = setting("AllowLocalPolicyMerge")
    here = [it for it in rules if name in it.profiles and (it.by_policy or merged != 0)]
    against = tuple(it for it in here if not it.allows and not it.remotes)
    if against:
        return ProfileState(name, "blocked", any(it.by_policy for it in against), against)
    inbound, _ = setting("DefaultInboundAction")
    if inbound == 0 or any(it.allows and not it.remotes for it in here):
        return ProfileState(name, "open")
    some = tuple(it for it in here if it.allows)
    if some:
        remotes = tuple(dict.fromkeys(remote for it in some for remote in it.remotes))
        return ProfileState(name, "limited", rules=some, remotes=remotes)
    return ProfileState(name, "closed", by_policy=merged == 0)


def _rules(top: Key | None, port: int, *, by_policy: bool) -> list[Rule]:
    key = top.key("FirewallRules") if top is not None else None
    found = []
    for name in key.values() if key is not None else ():
        rule = parse_rule(
            name, (key.text(name) if key is not None else None) or "", port, by_policy=by_policy
        )
        if rule is not None:
            found.append(rule)
    return found


def parse_rule(name: str, text: str, port: int, *, by_policy: bool = False) -> Rule | None:
    """None for a rule that says nothing of Remote Desktop's connections to the TCP port."""
    fields: dict[str, list[str]] = {}
    for part in text.split("|"):
        key, found, value = part.partition("=")
        if found:
            fields.setdefault(key.strip().lower(), []).append(value.strip())

    def said(key: str) -> str:
        return fields.get(key, [""])[0].lower()

    action = said("action")
    if action not in ("allow", "bypass", "block") or said("active") != "true" or said("dir") != "in":
        return None
    if said("protocol") not in ("", TCP, ANY_PROTOCOL) or not _of_the_port(fields, port):
        return None
    if not _of_remote_desktop(said("app"), said("svc")):
        return None
    if any(key not in KNOWN and not key.startswith(LOCAL_PORTS) for key in fields):
        return None
    if "iftype" in fields and not {it.lower() for it in fields["iftype"]} & {"lan", "all"}:
        return None
    remotes = [it for key in REMOTES for it in fields.get(key, ())]
    if any(it in EVERYWHERE for it in remotes):
        remotes = []
    if action == "bypass" or any(_demands(said(key)) for key in SECURED):
        remotes.append("IPsec")
    named = {it.capitalize() for it in fields.get("profile", ())} & set(PROFILES.values())
    return Rule(
        name, action != "block", frozenset(named or PROFILES.values()), tuple(remotes[:16]), by_policy, text
    )


def _of_the_port(fields: dict[str, list[str]], port: int) -> bool:
    """A rule without ports is about all of them; a word such as RPC is about a service's."""
    ports = [
        part.strip()
        for key, values in fields.items()
        if key.startswith(LOCAL_PORTS)
        for value in values
        for part in value.split(",")
    ]
    if not ports:
        return True
    for said in ports:
        found = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", said)
        if found and int(found[1]) <= port <= int(found[2] or found[1]):
            return True
    return False


def _of_remote_desktop(program: str, service: str) -> bool:
    """Server 2008 listens in the kernel ("System"), 2012 and later in the svchost of TermService."""
    return (not program or program == "system" or program.endswith("\\svchost.exe")) and service in (
        "",
        "*",
        "termservice",
    )


def _demands(word: str) -> bool:
    return word not in ("", "notrequired", "none")
