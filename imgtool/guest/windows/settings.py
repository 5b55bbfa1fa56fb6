"""Settings of a Windows that change what becomes of it after the move: clock, name, state, activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from imgtool.guest.filesystem import NotInGuest
from imgtool.guest.windows.services import AUTO

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.guest.windows.registry import Key

SESSION_MANAGER = "Control\\Session Manager"
RENAMES = ("PendingFileRenameOperations", "PendingFileRenameOperations2")
SETUP_STATE = "Microsoft\\Windows\\CurrentVersion\\Setup\\State"
COMPLETE = "IMAGE_STATE_COMPLETE"
SERVICING = "Microsoft\\Windows\\CurrentVersion\\Component Based Servicing"
AUTO_UPDATE = "Microsoft\\Windows\\CurrentVersion\\WindowsUpdate\\Auto Update"
PENDING_XML = "/Windows/WinSxS/pending.xml"
SAN_POLICIES = {1: "OnlineAll", 2: "OfflineShared", 3: "OfflineAll", 4: "OfflineInternal"}
LONGEST_SETTING = 256
"""Characters: the longest name of a computer with its domain has 255."""
HIBERNATION, PAGE_FILE = "/hiberfil.sys", "/pagefile.sys"
FIRST_WITH_FAST_STARTUP = 9200
KEY_TYPE_AT, KEY_TYPE_LENGTH = 0x3F8, 128
"""Where DigitalProductId4 keeps how the product key was sold: "Volume:GVLK", "Retail", "OEM:SLP" ..."""


def _text(key: Key | None, name: str) -> str:
    return (key.text(name) or "").strip()[:LONGEST_SETTING] if key is not None else ""


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
class Pending:
    """What waits for the next start. reboots: why Windows asks for one; setup: Setup or Sysprep is at work;
    image_state: as Setup\\State says, "" where it does not."""

    reboots: tuple[str, ...]
    setup: tuple[str, ...]
    image_state: str


def read_pending(guest: WindowsGuest) -> Pending:
    """What a shutdown leaves for the next start. Raises CannotRead.

    RebootPending, RebootInProgress and RebootRequired are volatile keys: Windows keeps them in memory, and
    they are in a hive only where a tool wrote them. PackagesPending, SessionsPending, the operations of
    SetupExecute and pending.xml stay.
    """
    reboots = []
    for path in (
        f"{SERVICING}\\RebootPending",
        f"{SERVICING}\\RebootInProgress",
        f"{AUTO_UPDATE}\\RebootRequired",
    ):
        if guest.software.key(path) is not None:
            reboots.append(f"SOFTWARE\\{path}: there")
    packages = guest.software.key(f"{SERVICING}\\PackagesPending")
    waiting = next(iter(packages.names()), "") if packages is not None else ""
    if waiting:
        reboots.append(f"SOFTWARE\\{SERVICING}\\PackagesPending: {waiting[:120]}")
    sessions = _number(guest.software.key(f"{SERVICING}\\SessionsPending"), "Exclusive")
    if sessions:
        reboots.append(f"SOFTWARE\\{SERVICING}\\SessionsPending: Exclusive={sessions}")
    session = guest.control_set.key(SESSION_MANAGER)
    where = f"SYSTEM\\{guest.control_set.path}\\{SESSION_MANAGER}"
    commands = (session.texts("SetupExecute") or ()) if session is not None else ()
    if commands:
        reboots.append(f"{where}: SetupExecute={commands[0][:120]}")
    renamed = _renamed(session)
    if renamed:
        reboots.append(f"{where}: PendingFileRenameOperations={renamed[:120]} ...")
    if guest.tree.is_file(PENDING_XML):
        reboots.append(f"{PENDING_XML}: there")
    setup = []
    setup_key = guest.system.key("Setup")
    for name in ("SystemSetupInProgress", "OOBEInProgress", "SetupType"):
        if _number(setup_key, name):
            setup.append(f"SYSTEM\\Setup: {name}={_number(setup_key, name)}")
    state = guest.software.key(SETUP_STATE)
    return Pending(tuple(reboots), tuple(setup), _text(state, "ImageState"))


def _renamed(session: Key | None) -> str:
    """The first file that the next start puts into another's place; "" for none. A pair without a second name
    is a file to be deleted, mostly an installer's temporary one, and nothing waits for that."""
    for value in RENAMES:
        data = (session.data(value) if session is not None else None) or b""
        names = data.decode("utf-16-le", "replace").split("\0")
        for source, target in zip(names[::2], names[1::2], strict=False):
            if source and target:
                return source
    return ""


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


def read_key_server(guest: WindowsGuest) -> str:
    """The key management service that activates it, as was set by hand; "" for the one that DNS names."""
    platform = guest.software.key("Microsoft\\Windows NT\\CurrentVersion\\SoftwareProtectionPlatform")
    name = _text(platform, "KeyManagementServiceName")
    return name if name.isprintable() else ""


@dataclass(frozen=True)
class Hibernation:
    """state: of hiberfil.sys: hibernated (a memory image that the next boot takes up), resumed, empty,
    absent.

    fast_startup: shutting down hibernates the kernel, which takes a client of Windows 8 or later and the
    file; page_file: where it is configured, "" for none.
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
    state = _hibernated(guest)
    client = guest.release.kind == "client" and guest.release.build >= FIRST_WITH_FAST_STARTUP
    fast = client and state != "absent" and _number(power, "HiberbootEnabled") == 1 and enabled == 1
    files = (memory.texts("PagingFiles") or ()) if memory is not None else ()
    return Hibernation(state, fast, ", ".join(files)[:200])


def _hibernated(guest: WindowsGuest) -> Literal["hibernated", "resumed", "empty", "absent"]:
    try:
        with guest.tree.open(HIBERNATION) as stream:
            head = stream.read(4)
    except NotInGuest:
        return "absent"
    if head.upper() == b"HIBR":
        return "hibernated"
    return "resumed" if head.upper() in (b"WAKE", b"RSTR") else "empty"
