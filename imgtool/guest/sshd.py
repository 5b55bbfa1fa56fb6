"""sshd itself: its program, what starts it, and where its host keys come from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.guest.filesystem import LinkLoop, NotInGuest

if TYPE_CHECKING:
    from imgtool.guest.services import Service, Services
    from imgtool.guest.tree import Tree

PROGRAMS = ("/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd")
CONFIGS = ("/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config")  # the second: SUSE since 15.3
HOST_KEYS = "/etc/ssh/ssh_host_*_key"
_LIMIT = 1 << 20  # bytes of one file
_LONGEST_LINE = 4096
_UNITS = ("ssh.service", "sshd.service", "ssh.socket", "sshd.socket")


def ssh_service(services: Services) -> Service:
    """What starts sshd, a service or socket: the first that the boot starts, else the first there is."""
    names = _UNITS if services.init == "systemd" else ("ssh", "sshd")
    states = [services.find(name) for name in names]
    starts = next((state for state in states if state.starts), None)
    return starts or next((state for state in states if state.state != "missing"), states[-1])


def program(tree: Tree) -> bytes:
    """sshd's own program, its first 8 MiB; empty where there is none. Raises GuestReadFailed."""
    path = next((path for path in PROGRAMS if tree.is_file(path)), None)
    if path is None:
        return b""
    with tree.open(path) as file:
        return file.read(8 << 20)


def version_in(data: bytes) -> tuple[int, int] | None:
    """OpenSSH's version, by the banner in its program: (9, 2); None where there is none."""
    found = re.search(rb"OpenSSH_(\d{1,2})\.(\d{1,2})", data)
    return (int(found[1]), int(found[2])) if found else None


def makes_missing_keys(tree: Tree, services: Services) -> str:
    """The file by which a boot makes host keys that are not there; "" where none is known.

    cloud-init's `ssh` module does so too, and is not asked here.
    """
    places = [*_start_files(tree, services), "/etc/rc.local", "/etc/rc.d/rc.local"]
    if services.init == "systemd":
        patterns = ("/etc/systemd/system/*.wants/*", "/etc/systemd/system/*.service.d/*.conf")
        for pattern in (*patterns, "/usr/lib/systemd/system/*.wants/*key*"):  # the last: CoreOS's own
            places += [path for path in tree.glob(pattern) if "key" in path.rsplit("/", 1)[1]]
    for path in dict.fromkeys(places):
        try:
            text = tree.text_if_there(path, _LIMIT) or ""
        except (NotInGuest, LinkLoop):
            continue
        for line in text.splitlines():
            if not line.lstrip().startswith("#") and re.search(
                r"sshd?[-_]?key-?gen|sshd-?gen-?keys|reconfigure.*openssh-server", line[:_LONGEST_LINE]
            ):
                return path
    return ""


def _start_files(tree: Tree, services: Services) -> list[str]:
    """The files that start sshd: units, or the init script."""
    if services.init == "systemd":
        return [path for unit in _UNITS[:2] if (path := services.unit_path(unit))]
    return ["/etc/init.d/sshd", "/etc/init.d/ssh", *tree.glob("/etc/init/*ssh*.conf")]
