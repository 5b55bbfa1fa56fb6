"""SSH host keys made by the guest itself at its next boot, before sshd asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtool.repair.services import enable_in

if TYPE_CHECKING:
    from imgtool.repair.registration import Work

UNIT = "/etc/systemd/system/ssh-host-keys.service"
CONTENT = """\
# Written by imgtool fix.
[Unit]
Description=Host keys for sshd, where there are none
Before=ssh.service sshd.service
ConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
"""


JOB = "/etc/init/ssh-host-keys.conf"
TASK = """\
# Written by imgtool fix: host keys for sshd, where there are none.
start on starting ssh
task
exec /usr/bin/ssh-keygen -A
"""


def made_at_boot(work: Work) -> bool:
    """Whether the guest makes the keys that are missing, by itself or through cloud-init."""
    from imgtool.guest.sshd import makes_missing_keys

    guest = work.guest
    if makes_missing_keys(guest.tree, guest.services):
        return True
    return bool(guest.cloud_init_starts and guest.cloud_config.runs("ssh"))


def make_at_boot(work: Work) -> None:
    """Have the boot make what keys are missing: a unit or job of our own, or a line in sshd's init script."""
    if made_at_boot(work):
        return
    guest, draft = work.guest, work.draft
    if guest.services.init == "systemd":
        draft.write(UNIT, CONTENT)
        enable_in(draft, guest.services, "ssh-host-keys.service")
        return
    if guest.services.init == "upstart" and guest.tree.is_file("/etc/init/ssh.conf"):
        draft.write(JOB, TASK)
        return
    for path in ("/etc/init.d/sshd", "/etc/init.d/ssh"):
        if guest.tree.is_file(path):
            draft.edit(path, _with_line)
            return


def _with_line(text: str) -> str:
    first, end, rest = text.partition("\n")
    return f"{first}{end}ssh-keygen -A  # imgtool: host keys that are missing\n{rest}"
