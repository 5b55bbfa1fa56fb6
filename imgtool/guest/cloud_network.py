"""The network as cloud-init's own settings have it: `network:` in /etc/cloud/cloud.cfg and cloud.cfg.d.

It comes before what the platform hands over (cloudinit/sources/__init__.py, network_config_sources):
installers leave the old machine's there (Ubuntu's 90-installer-network.cfg, 50-curtin-networking.cfg), and
every instance gets that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imgtool.guest.network import Interface, Method
from imgtool.guest.network_netplan import as_list, interfaces_of
from imgtool.records import replace

if TYPE_CHECKING:
    from imgtool.guest.cloud_config import CloudConfig

_ETHERNET = "physical"
_VIRTUAL = ("bond", "bridge", "vlan", "infiniband")
MOST = 200


def read_cloud_network(config: CloudConfig) -> list[Interface]:
    """The interfaces of versions 1 and 2; none where the settings have no network, or switch it off."""
    network = config.values.get("network")
    if not isinstance(network, dict):
        return []
    if isinstance(network.get("network"), dict):  # once more below itself, which cloud-init takes off
        network = network["network"]
    place = config.places.get("network", "")
    path, _, line = place.rpartition(":")
    if isinstance(network.get("config"), list):
        found = [_first_version(it, path) for it in network["config"][:MOST] if isinstance(it, dict)]
        interfaces = [it for it in found if it is not None]
    else:
        interfaces = interfaces_of(network, path)[:MOST]
    number = int(line) if line.isdecimal() else 0
    return [replace(it, system="cloud-init", line=number) for it in interfaces]


def _first_version(item: dict[str, Any], path: str) -> Interface | None:
    """An item of version 1's list (doc/rtd/reference/network-config-format-v1.rst)."""
    kind = str(item.get("type"))
    if kind not in (_ETHERNET, *_VIRTUAL):
        return None
    subnets = [it for it in as_list(item.get("subnets")) if isinstance(it, dict)]
    types = [str(it.get("type")) for it in subnets]
    addresses = tuple(str(it["address"]) for it in subnets if it.get("address"))
    method: Method = "none"
    if any(it in ("dhcp", "dhcp4") for it in types):
        method = "dhcp"
    elif any(":" not in it for it in addresses):
        method = "static"
    elif addresses or any("6" in it for it in types):
        method = "ipv6"
    return Interface(
        name=str(item.get("name") or ""),
        system="cloud-init",
        method=method,
        path=path,
        addresses=addresses[:16],
        mac=str(item.get("mac_address") or "").lower() if kind == _ETHERNET else "",
        virtual=kind != _ETHERNET,
    )
