"""Settings of a Windows that change what becomes of it after the move: clock, desktop, state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from imgtool.guest.filesystem import NotInGuest
from imgtool.guest.windows.services import AUTO, DISABLED

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.guest.windows.registry import Key

TERMINAL_SERVER = "Control\\Terminal Server"
FIREWALL = "Services\\SharedAccess\\Parameters\\FirewallPolicy"
FIREWALL_POLICY = "Policies\\Microsoft\\WindowsFirewall"
PROFILES = {"DomainProfile": "Domain", "StandardProfile": "Private", "PublicProfile": "Public"}
RDP_RULES = ("remotedesktop-in-tcp", "remotedesktop-usermode-in-tcp")
RDP_PORT = 3389
MOST_RULES = 5_000
SESSION_MANAGER = "Control\\Session Manager"
SETUP_STATE = "Microsoft\\Windows\\CurrentVersion\\Setup\\State"
COMPLETE = "IMAGE_STATE_COMPLETE"
SERVICING = "Microsoft\\Windows\\CurrentVersion\\Component Based Servicing"
AUTO_UPDATE = "Microsoft\\Windows\\CurrentVersion\\WindowsUpdate\\Auto Update"
PENDING_XML = "/Windows/WinSxS/pending.xml"
SAN_POLICIES = {1: "OnlineAll", 2: "OfflineShared", 3: "OfflineAll", 4: "OfflineInternal"}
HIBERNATION, PAGE_FILE = "/hiberfil.sys", "/pagefile.sys"
KEY_TYPE_AT, KEY_TYPE_LENGTH = 0x3F8, 128
"""Where DigitalProductId4 keeps how the product key was sold: "Volume:GVLK", "Retail", "OEM:SLP" ..."""


def _text(key: Key | None, name: str) -> str:
    return (key.text(name) or "").strip() if key is not None else ""


def _number(key: Key | None, name: str) -> int | None:
    return key.number(name) if key is not None else None


@dataclass(frozen=True)
class Clock:
    """zone: the name of the time zone; bias: minutes that UTC is ahead of its standard time; utc: the
    hardware clock is taken as UTC, not as local time."""

    zone: str
    bias: int | None
    utc: bool


def read_clock(guest: WindowsGuest) -> Clock:
    """Raises CannotRead."""
    key = guest.control_set.key("Control\\TimeZoneInformation")
    bias = _number(key, "Bias")
    if bias is not None and bias >= 1 << 31:
        bias -= 1 << 32
    zone = _text(key, "TimeZoneKeyName") or _text(key, "StandardName")
    return Clock(zone, bias, bool(_number(key, "RealTimeIsUniversal")))


@dataclass(frozen=True)
class Identity:
    """host: the computer's name; domain: what it is a member of, "" for a workgroup."""

    host: str
    domain: str


def read_identity(guest: WindowsGuest) -> Identity:
    """A member of a domain runs Netlogon at every start and has a domain for its name. Raises CannotRead."""
    tcpip = guest.control_set.key("Services\\Tcpip\\Parameters")
    name = guest.control_set.key("Control\\ComputerName\\ComputerName")
    host = _text(tcpip, "NV Hostname") or _text(tcpip, "Hostname") or _text(name, "ComputerName")
    netlogon = guest.services.get("netlogon")
    member = netlogon is not None and netlogon.start == AUTO
    domain = _text(tcpip, "NV Domain") or _text(tcpip, "Domain")
    return Identity(host, domain if member else "")


@dataclass(frozen=True)
class RemoteDesktop:
    """enabled: connections are let in; network_level: only after authentication (NLA).

    service_disabled: TermService can't start; blocked_in: the firewall profiles that are on and have no
    rule that lets the port in; proofs: the values behind it.
    """

    enabled: bool
    port: int
    network_level: bool
    service_disabled: bool
    blocked_in: tuple[str, ...]
    proofs: tuple[str, ...]


def read_remote_desktop(guest: WindowsGuest) -> RemoteDesktop:
    """Group policy counts before the system's own settings. Raises CannotRead."""
    top = guest.control_set.key(TERMINAL_SERVER)
    policy = guest.software.key("Policies\\Microsoft\\Windows NT\\Terminal Services")
    denied = _number(policy, "fDenyTSConnections")
    where = f"SOFTWARE\\{policy.path}" if policy is not None and denied is not None else ""
    if denied is None:
        denied = _number(top, "fDenyTSConnections")
        where = f"SYSTEM\\{guest.control_set.path}\\{TERMINAL_SERVER}"
    station = guest.control_set.key(f"{TERMINAL_SERVER}\\WinStations\\RDP-Tcp")
    port = _number(station, "PortNumber") or RDP_PORT
    service = guest.services.get("termservice")
    proofs = [f"{where}: fDenyTSConnections={denied}"]
    if service is not None:
        proofs.append(service.proof)
    return RemoteDesktop(
        enabled=denied == 0,
        port=port,
        network_level=bool(_number(station, "UserAuthentication")),
        service_disabled=service is None or service.effective_start == DISABLED,
        blocked_in=_blocked_in(guest, port, proofs),
        proofs=tuple(proofs),
    )


def _blocked_in(guest: WindowsGuest, port: int, proofs: list[str]) -> tuple[str, ...]:
    """The profiles of the firewall that are on and let no connection to the port in."""
    top = guest.control_set.key(FIREWALL)
    policy = guest.software.key(FIREWALL_POLICY)
    engine = guest.services.get("mpssvc")
    if engine is not None and engine.effective_start == DISABLED:
        proofs.append(engine.proof)
        return ()
    on = []
    for name, shown in PROFILES.items():
        own = _number(top.key(name), "EnableFirewall") if top is not None else None
        forced = _number(policy.key(name), "EnableFirewall") if policy is not None else None
        if (own if forced is None else forced) != 0:
            on.append(shown)
    opened: set[str] = set()
    for key in (top, policy):
        rules = key.key("FirewallRules") if key is not None else None
        for name in (rules.values() if rules is not None else ())[:MOST_RULES]:
            opened |= _lets_in(rules.text(name) or "", name, port) if rules is not None else set()
    blocked = tuple(name for name in on if name not in opened)
    where = f"SYSTEM\\{guest.control_set.path}\\{FIREWALL}"
    proofs.append(
        f"{where}: on for {', '.join(on) or 'none'}; port {port} open for"
        f" {', '.join(sorted(opened)) or 'none'}"
    )
    return blocked


def _lets_in(rule: str, name: str, port: int) -> set[str]:
    """The profiles in which a rule such as v2.10|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=3389| lets
    the port in."""
    fields: dict[str, list[str]] = {}
    for part in rule.split("|"):
        key, found, value = part.partition("=")
        if found:
            fields.setdefault(key.lower(), []).append(value)

    def is_(key: str, value: str) -> bool:
        return [it.lower() for it in fields.get(key, ())] == [value]

    ports = fields.get("lport", [])
    meant = str(port) in ports or (not ports and name.lower() in RDP_RULES)
    allows = is_("action", "allow") and is_("active", "true") and is_("dir", "in")
    if not (meant and allows and fields.get("protocol", ["6"])[0] in ("6", "256")):
        return set()
    return set(fields.get("profile", ())) or set(PROFILES.values())


@dataclass(frozen=True)
class Pending:
    """What waits for the next start. reboots: why Windows asks for one; setup: Setup or Sysprep is at work;
    image_state: as Setup\\State says, "" where it does not."""

    reboots: tuple[str, ...]
    setup: tuple[str, ...]
    image_state: str


def read_pending(guest: WindowsGuest) -> Pending:
    """Raises CannotRead."""
    reboots = []
    for path in (f"{SERVICING}\\RebootPending", f"{AUTO_UPDATE}\\RebootRequired"):
        if guest.software.key(path) is not None:
            reboots.append(f"SOFTWARE\\{path}: there")
    session = guest.control_set.key(SESSION_MANAGER)
    renames = (session.texts("PendingFileRenameOperations") or ()) if session is not None else ()
    if renames:
        reboots.append(
            f"SYSTEM\\{guest.control_set.path}\\{SESSION_MANAGER}:"
            f" PendingFileRenameOperations={renames[0][:120]} ..."
        )
    if guest.tree.is_file(PENDING_XML):
        reboots.append(f"{PENDING_XML}: there")
    setup = []
    key = guest.system.key("Setup")
    for name in ("SystemSetupInProgress", "OOBEInProgress", "SetupType"):
        if _number(key, name):
            setup.append(f"SYSTEM\\Setup: {name}={_number(key, name)}")
    state = guest.software.key(SETUP_STATE)
    return Pending(tuple(reboots), tuple(setup), _text(state, "ImageState"))


def read_san_policy(guest: WindowsGuest) -> int | None:
    """What becomes of disks that are new to the system; None where nothing says it."""
    return _number(guest.control_set.key("Services\\partmgr\\Parameters"), "SanPolicy")


def read_key_type(guest: WindowsGuest) -> str:
    """How the product key was sold: "Volume:GVLK", "Volume:MAK", "Retail", "OEM:SLP"; "" for unknown."""
    key = guest.software.key("Microsoft\\Windows NT\\CurrentVersion")
    data = key.data("DigitalProductId4") if key is not None else None
    if data is None or len(data) < KEY_TYPE_AT + KEY_TYPE_LENGTH:
        return ""
    word = data[KEY_TYPE_AT : KEY_TYPE_AT + KEY_TYPE_LENGTH].decode("utf-16-le", "replace").split("\0")[0]
    return word if word.isprintable() and word.isascii() else ""


@dataclass(frozen=True)
class Hibernation:
    """state: of hiberfil.sys: hibernated (a memory image that the next boot takes up), resumed, empty,
    absent.

    fast_startup: shutting down hibernates the kernel; page_file: where it is configured, "" for none.
    """

    state: Literal["hibernated", "resumed", "empty", "absent"]
    fast_startup: bool
    page_file: str


def read_hibernation(guest: WindowsGuest) -> Hibernation:
    """The signature that hiberfil.sys begins with. Raises CannotRead."""
    session = guest.control_set.key(SESSION_MANAGER)
    power = session.key("Power") if session is not None else None
    memory = session.key("Memory Management") if session is not None else None
    enabled = _number(guest.control_set.key("Control\\Power"), "HibernateEnabled")
    fast = _number(power, "HiberbootEnabled") == 1 and enabled == 1
    files = (memory.texts("PagingFiles") or ()) if memory is not None else ()
    return Hibernation(_hibernated(guest), fast, ", ".join(files)[:200])


def _hibernated(guest: WindowsGuest) -> Literal["hibernated", "resumed", "empty", "absent"]:
    try:
        with guest.tree.open(HIBERNATION) as stream:
            head = stream.read(4)
    except NotInGuest:
        return "absent"
    if head.upper() == b"HIBR":
        return "hibernated"
    return "resumed" if head.upper() in (b"WAKE", b"RSTR") else "empty"
