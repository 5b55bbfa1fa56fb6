"""SELinux's labels, made anew by the next boot."""

from __future__ import annotations

import re

from imgtool.repair.registration import Work, fix


@fix("linux.selinux")
def relabel(work: Work) -> None:
    """/.autorelabel; where there is no policy to label by, SELinux no longer enforced."""
    from imgtool.guest.selinux import CONFIG, RELABEL, read_selinux

    guest = work.guest
    found = read_selinux(guest.tree, guest.kernel_arguments or "", guest.release)
    if found.policy:
        work.draft.write(RELABEL, "")
    else:
        work.draft.edit(CONFIG, lambda text: re.sub(r"(?m)^SELINUX=.*$", "SELINUX=permissive", text))
