"""What a machine has of its own and a clone should not inherit: IDs, keys, leases, histories, logs."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

from imgtool.guest.filesystem import LinkLoop, NotInGuest
from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.tree import Tree

MACHINE_ID = "/etc/machine-id"
DBUS_ID = "/var/lib/dbus/machine-id"
MOST = 5000  # files of one kind
_LIMIT = 64 << 10
SEEDS = (
    "/var/lib/systemd/random-seed",
    "/var/lib/urandom/random-seed",
    "/var/lib/random-seed",
    "/var/lib/misc/random-seed",
)
LEASES = (
    "/var/lib/dhcp/*.lease*",
    "/var/lib/dhcp3/*.lease*",
    "/var/lib/dhclient/*.lease*",
    "/var/lib/dhcpcd/*.lease*",
    "/var/lib/dhcpcd/*.info",  # SLES 11
    "/var/lib/NetworkManager/*.lease",
    "/var/lib/wicked/lease-*.xml",
)
HISTORIES = ("/root/.*_history", "/home/*/.*_history")
# Logs that say what a machine did, by its users and services; what the packages' own installation leaves
# counts as none
_LOGS = (
    "messages*",
    "syslog*",
    "secure*",
    "auth.log*",
    "wtmp*",
    "btmp*",
    "lastlog",
    "cloud-init*.log",
    "audit/audit.log*",
    "journal/*/*.journal",
)


@dataclass(frozen=True)
class Identity:
    """All are paths of files that are there and hold something; empty where there is nothing to share.

    machine_id: those that hold an ID; host_keys: private ones; logs: of /var/log.
    """

    machine_id: tuple[str, ...] = ()
    host_keys: tuple[str, ...] = ()
    seeds: tuple[str, ...] = ()
    leases: tuple[str, ...] = ()
    histories: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()


def read_identity(tree: Tree) -> Identity:
    """Look at the places where distributions keep these. Raises GuestReadFailed."""
    return Identity(
        machine_id=_machine_ids(tree),
        host_keys=_filled(tree, ("/etc/ssh/ssh_host_*_key", "/etc/ssh/ssh_host_key")),
        seeds=_filled(tree, SEEDS),
        leases=_filled(tree, LEASES),
        histories=_filled(tree, HISTORIES),
        logs=_filled(tree, tuple(f"/var/log/{name}" for name in _LOGS)),
    )


def _machine_ids(tree: Tree) -> tuple[str, ...]:
    """Files with an ID (machine-id(5)); D-Bus' own only where it is no link to the other."""
    found: dict[str, str] = {}
    for path in (MACHINE_ID, DBUS_ID):
        text = (tree.text_if_there(path, _LIMIT) or "").strip()
        if re.fullmatch(r"[0-9a-fA-F-]{32,36}", text) and set(text) - {"0", "-"}:
            found.setdefault(tree.realpath(path), path)
    return tuple(found.values())


def _filled(tree: Tree, patterns: tuple[str, ...]) -> tuple[str, ...]:
    """The regular files, not empty, that match; a folder is listed once for all patterns of names in it."""
    paths: list[str] = []
    folders: dict[str, list[str]] = {}
    for pattern in patterns:
        folder, _, name = pattern.rpartition("/")
        if "*" in folder:
            paths += tree.glob(pattern)
        elif "*" in name:
            folders.setdefault(folder, []).append(fnmatch.translate(name))
        else:
            paths.append(pattern)
    for folder, names in folders.items():
        fits = re.compile("|".join(names)).match
        if tree.is_dir(folder):
            paths += [f"{folder}/{name}" for name in tree.list(folder) if fits(name)]
    found: list[str] = []
    for path in paths[: 4 * MOST]:
        try:
            stat = tree.stat(path)
        except (NotInGuest, LinkLoop):
            continue
        if stat.kind == "file" and stat.size and len(found) < MOST:
            found.append(path)
    return tuple(sorted(found))
