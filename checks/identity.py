"""What every instance made from an image would share with all others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead
from imgtool.remedy import host_keys_at_boot, in_guest, removing
from imgtool.rules import Outcome, Severity, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.identity import Identity
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

SHOWN = 8


@rule(
    "linux.identity",
    Text("What clones would share", "会被所有实例共享的内容"),
    severity=Severity.WARNING,
    source="ref 13, field",
    family="linux",
    targets=("import",),
    requires=("disk.root",),
    fixable=True,
)
def identity(image: Image) -> Iterator[Outcome]:
    """The image has no machine ID, SSH host keys, DHCP leases, random seed, histories or logs of its own.

    Every instance made from the image gets them as well. Machines with one machine ID ask for one address,
    where DHCP goes by it; whoever has one of the machines has the host keys of all; a lease sends a new
    machine asking for an old address. Host keys are no fault where cloud-init makes new ones at the first
    boot (`ssh_deletekeys`, which it does unless told not to). A random seed, shell histories and logs (the
    platform empties those itself when it makes an image of an instance, ref 13) are told as information. A
    migration moves one machine, which may stay what it is: there the rule does not apply.

    Evidence: the files. Example: `/etc/machine-id: 3f0c…`. The fix removes or empties them; what is needed is
    made anew at the next boot, so it must be the last thing before the shutdown.
    """
    guest = image.linux
    found = guest.identity
    said = [
        *_machine_id(guest, found),
        *_host_keys(image, guest, found),
        *_leases(found),
        *_left_over(guest, found),
    ]
    yield from said
    if not any(outcome.kind == "broken" for outcome in said):
        yield kept(Text("There is nothing that clones would share.", "没有会被所有实例共享的内容。"))


def _machine_id(guest: LinuxGuest, found: Identity) -> Iterator[Outcome]:
    if not found.machine_id:
        return
    from imgtool.guest.identity import MACHINE_ID

    commands = []
    if MACHINE_ID in found.machine_id:
        commands.append(f"truncate -s 0 {MACHINE_ID}")
    commands += [f"rm -f {path}" for path in found.machine_id if path != MACHINE_ID]
    yield broken(
        Text(
            "The image has a machine ID, which all instances made from it would share.",
            "镜像中带有 machine-id，由其创建的所有实例将使用相同的 ID。",
        ),
        *(f"{path}: {(guest.tree.text_if_there(path) or '').strip()[:8]}…" for path in found.machine_id),
        remedy=in_guest(*commands),
    )


def _host_keys(image: Image, guest: LinuxGuest, found: Identity) -> Iterator[Outcome]:
    if not found.host_keys:
        return
    if not image.options.force_import and not _cloud_init_is_there(guest):
        return  # the rules on cloud-init say so; once that is mended, it makes new keys
    if makes_host_keys(guest):
        yield kept(
            Text(
                "cloud-init makes new SSH host keys at the first boot.",
                "cloud-init 会在首次启动时重新生成 SSH 主机密钥。",
            ),
            *found.host_keys[:SHOWN],
        )
        return
    yield broken(
        Text(
            "The image has SSH host keys, which all instances made from it would share.",
            "镜像中带有 SSH 主机密钥，由其创建的所有实例将使用相同的密钥。",
        ),
        *found.host_keys[:SHOWN],
        remedy=_without_keys(guest),
    )


def _cloud_init_is_there(guest: LinuxGuest) -> bool:
    try:
        return guest.cloud_init_starts and bool(guest.cloud_config.modules)
    except CannotRead:
        return False


def makes_host_keys(guest: LinuxGuest) -> bool:
    """cloud-init replaces the host keys at an instance's first boot; no where that can't be told."""
    try:
        config = guest.cloud_config
        if not guest.cloud_init.complete or not guest.cloud_init_starts:
            return False
    except CannotRead:
        return False
    return config.runs("ssh") and config.flag("ssh_deletekeys", default=True)


def _without_keys(guest: LinuxGuest) -> Text:
    from imgtool.guest.sshd import makes_missing_keys

    commands = ["rm -f /etc/ssh/ssh_host_*"]
    try:
        made = makes_missing_keys(guest.tree, guest.services) or (
            guest.cloud_init.complete and guest.cloud_init_starts and guest.cloud_config.runs("ssh")
        )
    except CannotRead:
        made = ""
    if not made:  # else sshd would not start for want of a key
        commands += host_keys_at_boot(guest)
    return in_guest(*commands)


def _leases(found: Identity) -> Iterator[Outcome]:
    from imgtool.guest.identity import LEASES
    from imgtool.guest.tree import shown_few

    if found.leases:
        yield broken(
            Text(
                "The image has DHCP leases: a new instance first asks for the address of an old one.",
                "镜像中带有 DHCP 租约：新实例会先请求旧机器的地址。",
            ),
            *shown_few(found.leases, SHOWN),
            remedy=in_guest(removing(found.leases, LEASES)),
        )


def _left_over(guest: LinuxGuest, found: Identity) -> Iterator[Outcome]:
    """What is no danger to the boot, but does not belong in an image."""
    from imgtool.guest.identity import HISTORIES, SEEDS
    from imgtool.guest.tree import shown_few

    if found.seeds:
        yield broken(
            Text(
                "The image has a random seed, which all instances made from it would start from.",
                "镜像中带有随机数种子，所有实例将由同一种子启动。",
            ),
            *shown_few(found.seeds, SHOWN),
            severity=Severity.INFO,
            remedy=in_guest(removing(found.seeds, SEEDS)),
        )
    if found.histories:
        yield broken(
            Text(
                "The image has shell histories, which every instance's user could read.",
                "镜像中带有命令行历史，实例的使用者均可读取。",
            ),
            *shown_few(found.histories, SHOWN),
            severity=Severity.INFO,
            remedy=in_guest(removing(found.histories, HISTORIES)),
        )
    if found.logs:
        commands = ["find /var/log -type f -exec truncate -s 0 {} +"]
        if any("/journal/" in path for path in found.logs):
            commands.insert(0, "rm -rf /var/log/journal/*")
        yield broken(
            Text(
                "The image has logs of another machine's life.",
                "镜像中带有其他机器的运行日志。",
            ),
            *shown_few(found.logs, SHOWN),
            severity=Severity.INFO,
            remedy=in_guest(*commands),
        )
