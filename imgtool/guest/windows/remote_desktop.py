"""Remote Desktop: whether it is on, who listens, and whom the firewall lets in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtool.guest.windows.firewall import FIREWALL, ProfileState, read_profiles
from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest

TERMINAL_SERVER = "Control\\Terminal Server"
STATION = f"{TERMINAL_SERVER}\\WinStations\\RDP-Tcp"
POLICY = "Policies\\Microsoft\\Windows NT\\Terminal Services"
RDP_PORT = 3389


@dataclass(frozen=True)
class RemoteDesktop:
    """enabled: connections are let in; denied_by_policy: group policy, which counts first, says no.

    network_level: only after authentication (NLA); service_disabled: TermService can't start; listener_off:
    its connection RDP-Tcp is disabled; adapter: the number of the one network adapter that it listens on, 0
    for all; profiles: what the firewall's do with its port; proofs: the values behind it.
    """

    enabled: bool
    denied_by_policy: bool
    port: int
    network_level: bool
    service_disabled: bool
    listener_off: bool
    adapter: int
    profiles: tuple[ProfileState, ...]
    proofs: tuple[str, ...]

    @property
    def blocked_in(self) -> tuple[str, ...]:
        """The firewall profiles that let nobody in to the port."""
        return tuple(it.name for it in self.profiles if not it.reachable)

    @property
    def public(self) -> ProfileState:
        """The profile that holds on a network that is new to Windows."""
        return next(it for it in self.profiles if it.name == "Public")


def read_remote_desktop(guest: WindowsGuest) -> RemoteDesktop:
    """Group policy counts before the system's own settings. Raises CannotRead."""
    top = guest.control_set.key(TERMINAL_SERVER)
    policy = guest.software.key(POLICY)
    by_policy = policy.number("fDenyTSConnections") if policy is not None else None
    where = f"SOFTWARE\\{policy.path}" if policy is not None else ""
    denied = by_policy
    if denied is None:
        denied = top.number("fDenyTSConnections") if top is not None else None
        where = f"SYSTEM\\{guest.control_set.path}\\{TERMINAL_SERVER}"
    station = guest.control_set.key(STATION)

    def of_station(name: str) -> int | None:
        return station.number(name) if station is not None else None

    port = of_station("PortNumber") or RDP_PORT
    service = guest.services.get("termservice")
    profiles = read_profiles(guest, port)
    proofs = [f"{where}: " + ("no fDenyTSConnections" if denied is None else f"fDenyTSConnections={denied}")]
    if service is not None:
        proofs.append(service.proof)
    said = "; ".join(
        f"{it.name} {it.verdict}" + (f" to {', '.join(it.remotes)[:120]}" if it.remotes else "")
        for it in profiles
    )
    proofs.append(f"SYSTEM\\{guest.control_set.path}\\{FIREWALL}: port {port}: {said}")
    proofs += [
        f"firewall rule {rule.id[:120]}" for it in profiles if it.name == "Public" for rule in it.rules[:4]
    ]
    return RemoteDesktop(
        enabled=denied == 0,
        denied_by_policy=bool(by_policy),
        port=port,
        network_level=bool(of_station("UserAuthentication")),
        service_disabled=service is None or service.disabled,
        listener_off=of_station("fEnableWinStation") == 0,
        adapter=of_station("LanAdapter") or 0,
        profiles=profiles,
        proofs=tuple(proofs),
    )
