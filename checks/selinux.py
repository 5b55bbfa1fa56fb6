"""SELinux: where it is enforced, the files carry its labels, or will be given them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.remedy import in_guest
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.image import Image

SHOWN = 8


@rule(
    "linux.selinux",
    Text("SELinux labels", "SELinux 标签"),
    severity=Severity.WARNING,
    source="field",
    family="linux",
    requires=("disk.root",),
    fixable=True,
)
def selinux(image: Image) -> Iterator[Outcome]:
    """Where SELinux is enforced, the files that were changed offline have labels, or a relabel is pending.

    A file that was written while the system did not run, by mounting the image or with guestfish, has no
    label. Under an enforcing policy programs may not read it: a changed /etc/shadow keeps everyone from
    logging in, a changed unit does not start. /.autorelabel, or `autorelabel=1` on the kernel command line,
    has the next boot label everything. The files that people change are looked at: accounts, fstab, sshd's,
    cloud-init's and the network's settings, units. An enforcing SELinux without a policy stops the boot.

    Evidence: the files and the label that each has. Example: `/etc/shadow:
    unconfined_u:object_r:etc_t:s0`. The fix is `touch /.autorelabel`.
    """
    from imgtool.guest.selinux import RELABEL, read_selinux, unlabelled_files

    guest = image.linux
    found = read_selinux(guest.tree, guest.kernel_arguments or "", guest.release)
    if found.mode == "none":
        yield not_judged(Text("The guest has no SELinux.", "系统未启用 SELinux。"), found.said)
        return
    if found.mode != "enforcing":
        yield kept(
            Text(f"SELinux is not enforced ({found.mode}).", f"SELinux 未处于强制模式（{found.mode}）。"),
            found.said,
        )
        return
    if guest.kernel_arguments is None:
        yield undecided(
            Text(
                "Whether SELinux is enforced can't be told: the kernel command line is not known.",
                "无法判断 SELinux 是否生效：内核命令行未知。",
            ),
            found.said,
        )
        return
    if not found.policy:
        yield broken(
            Text(
                "SELinux is enforced, but there is no policy: the boot stops.",
                "SELinux 处于强制模式，但没有策略文件：系统将无法启动。",
            ),
            found.said,
            "not there: /etc/selinux/*/policy/policy.*",
            remedy=in_guest("sed -i 's/^SELINUX=.*/SELINUX=permissive/' /etc/selinux/config"),
        )
        return
    if found.pending:
        yield kept(
            Text("The next boot labels all files anew.", "下次启动时会重新标记所有文件。"),
            found.said,
            found.pending,
        )
        return
    wrong, seen = unlabelled_files(guest.tree)
    if not wrong:
        yield kept(
            Text("SELinux is enforced, and the files carry labels.", "SELinux 处于强制模式，文件标签完整。"),
            found.said,
            f"{seen} files looked at",
        )
        return
    left = len(wrong) - SHOWN
    yield broken(
        Text(
            f"SELinux is enforced, and {len(wrong)} of {seen} files have no usable label: they were"
            " changed while the"
            " system did not run.",
            f"SELinux 处于强制模式，而 {seen} 个文件中有 {len(wrong)} 个缺少有效标签：它们曾被离线修改。",
        ),
        found.said,
        *(f"{it.path}: {it.label or 'no label'}" for it in wrong[:SHOWN]),
        *([f"and {left} more"] if left > 0 else []),
        remedy=in_guest(f"touch {RELABEL}"),
    )
