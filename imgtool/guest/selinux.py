"""SELinux in a guest: whether it will be in force, and whether the files carry its labels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from imgtool.guest.filesystem import LinkLoop, NotInGuest
from imgtool.guest.release import parse_os_release
from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.release import Release
    from imgtool.guest.tree import Tree

CONFIG = "/etc/selinux/config"
RELABEL = "/.autorelabel"
ATTRIBUTE = "security.selinux"
MOST_FILES = 64
_LIMIT = 64 << 10
# What people edit in an image that does not run, and what a login or the boot can't do without
_TELLTALE = (
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/fstab",
    "/etc/hostname",
    "/etc/ssh/sshd_config",
    "/etc/ssh/sshd_config.d/*",
    "/etc/cloud/cloud.cfg",
    "/etc/cloud/cloud.cfg.d/*.cfg",
    "/etc/default/grub",
    "/etc/sysconfig/network-scripts/ifcfg-*",
    "/etc/NetworkManager/system-connections/*",
    "/etc/systemd/system/*.service",
    "/etc/rc.d/rc.local",
    "/etc/init.d/os_config",
    "/root/.ssh/authorized_keys",
    "/usr/sbin/sshd",
    "/bin/bash",
)
# The type that a file must have for a login to work; other types are the policy's own affair
_NEEDED = {"/etc/shadow": "shadow_t"}

Mode = Literal["enforcing", "permissive", "disabled", "none"]


@dataclass(frozen=True)
class Selinux:
    """mode: "none" where the guest has no SELinux. said: what says so. policy: its file, "" for none.

    pending: what has the next boot label all files anew, "" for nothing.
    """

    mode: Mode
    said: str = ""
    policy: str = ""
    pending: str = ""


def read_selinux(tree: Tree, arguments: str, release: Release) -> Selinux:
    """The mode of the next boot. arguments: the kernel's. Raises GuestReadFailed.

    Debian's and SUSE's kernels start another security module unless told otherwise.
    """
    text = tree.text_if_there(CONFIG, _LIMIT)
    if text is None:
        return Selinux("none", f"{CONFIG}: not there")
    words = arguments.split()
    values = parse_os_release(text)
    mode = values.get("SELINUX", "").strip().lower()
    said = f"{CONFIG}: SELINUX={mode}"
    if release.family in ("debian", "suse") and not (
        {"security=selinux", "selinux=1"} & set(words)
        or any(word.startswith("lsm=") and "selinux" in word for word in words)
    ):
        return Selinux("none", "kernel command line: no security=selinux")
    for word in words:
        if word == "selinux=0":
            return Selinux("disabled", word)
        if re.fullmatch(r"enforcing=[01]", word):
            mode, said = "enforcing" if word.endswith("1") else "permissive", word
    if mode not in ("enforcing", "permissive"):
        return Selinux("disabled", said)
    kind = values.get("SELINUXTYPE", "targeted").strip() or "targeted"
    policies = tree.glob(f"/etc/selinux/{kind}/policy/policy.*") if re.fullmatch(r"[\w-]+", kind) else []
    pending = RELABEL if tree.exists(RELABEL) else "autorelabel=1" if "autorelabel=1" in words else ""
    return Selinux(
        "enforcing" if mode == "enforcing" else "permissive", said, (policies or [""])[-1], pending
    )


@dataclass(frozen=True)
class Unlabelled:
    """A file that SELinux will not let programs use as they must. label: the one it has, "" for none."""

    path: str
    label: str


def unlabelled_files(tree: Tree) -> tuple[tuple[Unlabelled, ...], int]:
    """Of the files that are looked at, those with no label or a wrong one; and how many were looked at.

    Raises GuestReadFailed where the filesystem's labels can't be read.
    """
    found: list[Unlabelled] = []
    seen = 0
    for pattern in _TELLTALE:
        for path in (tree.glob(pattern) if "*" in pattern else [pattern])[:MOST_FILES]:
            try:
                if not tree.is_file(path) or tree.lstat(path).kind == "symlink":
                    continue
                value = tree.attribute(path, ATTRIBUTE)
            except (NotInGuest, LinkLoop):
                continue
            seen += 1
            label = (value or b"").split(b"\0")[0].decode("utf-8", "replace")[:200]
            kind = ([*label.split(":"), "", "", ""])[2]
            if kind in ("", "unlabeled_t", "file_t") or kind != _NEEDED.get(path, kind):
                found.append(Unlabelled(path, label))
    return tuple(found), seen
