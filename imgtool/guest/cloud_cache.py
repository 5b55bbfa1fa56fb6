"""What an earlier life of cloud-init left on a disk: its state, and the network files that it wrote."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

STATE = "/var/lib/cloud"
_LIMIT = 64 << 10
# Written by cloud-init's renderers (cloudinit/net/*.py) under names of their own
ITS_OWN = (
    "/etc/network/interfaces.d/50-cloud-init*",
    "/etc/netplan/50-cloud-init.yaml",
    "/etc/NetworkManager/system-connections/cloud-init-*.nmconnection",
    "/etc/systemd/network/*-cloud-init-*",
)
# Under the names that everyone uses, and known by their first lines
MARKED = ("/etc/sysconfig/network-scripts/ifcfg-*", "/etc/sysconfig/network/ifcfg-*")
_MARK = re.compile(r"^#.*(created|generated|automatically).*cloud-init", re.IGNORECASE | re.MULTILINE)
RULES = "/etc/udev/rules.d/70-persistent-net.rules"


@dataclass(frozen=True)
class CloudCache:
    """state: what of /var/lib/cloud is of one instance. seed: data that NoCloud takes for the platform's.

    instance: the ID of the instance it was, "" where that is not kept. network: generated network files.
    scripts: those that someone put into /var/lib/cloud/scripts, and that every instance is to run.
    """

    state: tuple[str, ...] = ()
    seed: tuple[str, ...] = ()
    instance: str = ""
    network: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()

    @property
    def removable(self) -> tuple[str, ...]:
        """What is to go: all of /var/lib/cloud, as ref 05 has it, unless someone's own scripts lie there."""
        if not self.scripts:
            return (STATE,)
        return tuple(f"{STATE}/{name}" for name in ("instance", "instances", "data", "sem", "seed"))


def read_cloud_cache(tree: Tree) -> CloudCache:
    """Look for what is left. Raises GuestReadFailed."""
    state: list[str] = []
    if tree.is_dir(STATE):
        names = tree.list(STATE)
        if "instance" in names:
            state.append(f"{STATE}/instance")
        for folder in ("instances", "data", "sem"):
            if folder in names and tree.is_dir(f"{STATE}/{folder}"):
                state += [f"{STATE}/{folder}/{name}" for name in tree.list(f"{STATE}/{folder}")]
    seed = tuple(path for path in tree.glob(f"{STATE}/seed/*/*") if tree.is_file(path))
    instance = (tree.text_if_there(f"{STATE}/data/instance-id", _LIMIT) or "").strip()[:80] if state else ""
    scripts = tuple(tree.glob(f"{STATE}/scripts/*/*")) if state or seed else ()
    return CloudCache(tuple(state), seed, instance, tuple(_network(tree)), scripts)


def _network(tree: Tree) -> list[str]:
    found = [path for pattern in ITS_OWN for path in tree.glob(pattern) if tree.is_file(path)]
    marked = [path for pattern in MARKED for path in tree.glob(pattern)]
    for path in (*marked, RULES):
        if tree.is_file(path) and _MARK.search((tree.text_if_there(path, _LIMIT) or "")[:1024]):
            found.append(path)
    return found
