"""What the boot loader tells the kernel: a root by what stays the same."""

from __future__ import annotations

import re

from imgtool.checks import bootloader_root as rules
from imgtool.repair.kernel_arguments import places, replace_argument
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.text import Text

_SWITCHES = re.compile(r"^[ \t]*(GRUB_DISABLE_(?:LINUX_)?UUID)=.*$", re.MULTILINE)


@fix("linux.bootloader.root")
def root_by_uuid(work: Work) -> None:
    """Every `root=` that names this root by a passing name, or nothing at all, names it by UUID; by
    PARTUUID, which the kernel itself knows, where it is given no initramfs."""
    guest, draft = work.guest, work.draft
    name = rules.lasting_name(guest)
    if name is None:
        raise CannotMend(
            Text(
                en=f"{guest.root.volume.name} has neither a UUID nor another name that stays.",
                zh=f"{guest.root.volume.name} 没有 UUID 或其他不变的名称。",
            )
        )
    wrong = rules.wrong_roots(guest)
    done = sum(replace_argument(guest, draft, f"root={spec}", f"root={name}") for spec in wrong)
    if wrong and not done:
        raise CannotMend(
            Text(
                en=f"root={wrong[0]} stands in none of {', '.join(places(guest)[:6])}.",
                zh=f"{'、'.join(places(guest)[:6])} 中均未找到 root={wrong[0]}。",
            )
        )
    for path in guest.tree.glob("/etc/default/grub"):
        draft.edit(path, lambda text: _SWITCHES.sub(r"#\1=true  # imgtool: names that change", text))
        if name.startswith("PARTUUID="):
            draft.edit(path, _by_partuuid)


def _by_partuuid(text: str) -> str:
    """grub-mkconfig names the root of an entry without an initramfs so, where it is told to."""
    if re.search(rf"^{rules.BY_PARTUUID}\b", text, re.MULTILINE):
        return text
    kept = re.sub(r"^[ \t]*GRUB_DISABLE_LINUX_PARTUUID=.*\n", "", text, flags=re.MULTILINE)
    return kept + ("" if not kept or kept.endswith("\n") else "\n") + f"{rules.BY_PARTUUID}\n"
