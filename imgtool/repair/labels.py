"""SELinux's labels of what a repair makes: a file written while the guest does not run has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.linux import LinuxGuest
    from imgtool.repair.draft import Draft

RULE = "linux.selinux"
UNLABELLED = ("upload", "link", "mkdir")
WHY = Text(
    en="New files carry no SELinux labels; the next boot gives them theirs, and starts once more.",
    zh="新文件没有 SELinux 标签；下次启动时会重新标记，并再重启一次。",
)


def label_what_is_new(guest: LinuxGuest, draft: Draft) -> None:
    """Have the next boot label all files, where SELinux is on and files are made. Raises CannotRead."""
    from imgtool.guest.selinux import RELABEL, read_selinux

    if not any(step.action in UNLABELLED for step in draft.steps):
        return
    found = read_selinux(guest.tree, guest.kernel_arguments or "", guest.release)
    if found.mode in ("enforcing", "permissive") and found.policy and not found.pending:
        draft.mending = RULE
        draft.write(RELABEL, "", why=WHY)
        draft.mending = ""
