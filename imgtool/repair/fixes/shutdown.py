"""Something in the guest acts on the power button."""

from __future__ import annotations

import re

from imgtool.checks import shutdown as rules
from imgtool.repair.kernel_arguments import replace_argument
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.repair.services import enable, unmask_in
from imgtool.text import Text

RULE = "/etc/acpi/events/power"
ON_PRESS = "event=button[ /]power.*\naction=/sbin/shutdown -h now\n"
_KEY = re.compile(r"(?m)^([ \t]*HandlePowerKey[ \t]*=[ \t]*)ignore[ \t]*$")


@fix("linux.acpi")
def act_on_the_button(work: Work) -> None:
    """acpi=off taken away; else logind told to act, or acpid started with a rule for the button."""
    from imgtool.guest.power_button import read_handlers

    guest, draft = work.guest, work.draft
    off = rules.acpi_off(guest)
    if off:
        replace_argument(guest, draft, off, "")
    handlers = {it.name: it for it in read_handlers(guest.tree, guest.services)}
    if any(it.works for it in handlers.values()):
        return
    logind = handlers.get("systemd-logind")
    if logind is not None and "HandlePowerKey" in logind.proof:
        draft.edit(logind.proof.split(":")[0], lambda text: _KEY.sub(r"\g<1>poweroff", text))
    elif logind is not None:
        unmask_in(draft, "systemd-logind.service")
    elif "acpid" in handlers:
        if not guest.services.find("acpid").starts:
            enable(work, "acpid")
        if "no rule" in handlers["acpid"].proof or not guest.tree.glob("/etc/acpi/events/*"):
            draft.write(RULE, ON_PRESS)
    elif not off:
        raise CannotMend(
            Text(
                en="Neither systemd-logind nor acpid is installed; the remedy says how to install it.",
                zh="未安装 systemd-logind 或 acpid，请按修复建议安装。",
            )
        )
