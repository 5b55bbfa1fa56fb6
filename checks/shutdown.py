"""A clean shutdown: something in the guest acts on the power button."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.remedy import enable_service, in_guest, install, without_argument
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.linux import LinuxGuest
    from imgtool.guest.power_button import Handler
    from imgtool.image import Image


@rule(
    "linux.acpi",
    Text("Response to the power button", "电源按钮响应"),
    severity=Severity.WARNING,
    source="ref 10",
    family="linux",
    requires=("disk.root",),
    fixable=True,
)
def clean_shutdown(image: Image) -> Iterator[Outcome]:
    """The guest acts on the ACPI power button, which is how the platform shuts it down.

    Without that, "shut down" in the console waits, and then the power is cut, with whatever was not written
    (ref 10). Either acpid runs, with a rule for the button in /etc/acpi/events, or systemd-logind does,
    unless its configuration says `HandlePowerKey=ignore`. The kernel argument `acpi=off` takes the button
    away from both. CoreOS needs nothing installed (ref 10).

    Evidence: the service that acts on the button, or why none does. Example:
    `/etc/systemd/logind.conf:24: HandlePowerKey=ignore`. The fix enables what is there, or installs acpid.
    """
    guest = image.linux
    off = acpi_off(guest)
    if off:
        yield broken(
            Text(
                f"The kernel argument {off} switches ACPI off: the guest can't be shut down from outside.",
                f"内核参数 {off} 禁用了 ACPI：无法从外部正常关机。",
            ),
            off,
            remedy=without_argument(guest, off),
        )
        return
    if guest.release.family == "coreos":
        yield not_judged(Text("CoreOS needs nothing for this (ref 10).", "CoreOS 无需安装 ACPI（参考 10）。"))
        return
    from imgtool.guest.power_button import read_handlers

    if guest.services.init == "unknown":
        yield undecided(
            Text("The guest's init system is not known (/sbin/init).", "无法识别系统的 init（/sbin/init）。")
        )
        return
    handlers = read_handlers(guest.tree, guest.services)
    working = [f"{handler.name}: {handler.proof}" for handler in handlers if handler.works]
    if working:
        yield kept(Text("The power button shuts the guest down.", "电源按钮可以正常关机。"), *working)
        return
    yield broken(
        Text(
            "Nothing in the guest acts on the power button: the platform can only cut its power.",
            "系统中没有服务响应电源按钮：平台只能强制断电。",
        ),
        *(f"{handler.name}: {handler.proof}" for handler in handlers),
        *(() if handlers else ("neither systemd-logind nor acpid is installed",)),
        remedy=_mend(guest, handlers),
    )


def acpi_off(guest: LinuxGuest) -> str:
    """The kernel argument that switches ACPI off; "" for none."""
    words = (guest.kernel_arguments or "").split()
    return next((word for word in reversed(words) if word in ("acpi=off", "noacpi", "acpi=ht")), "")


def _mend(guest: LinuxGuest, handlers: tuple[Handler, ...]) -> Text | None:
    logind = next((handler for handler in handlers if handler.name == "systemd-logind"), None)
    if logind is not None and "HandlePowerKey" in logind.proof:
        path = logind.proof.split(":")[0]
        return in_guest(f"sed -i 's/^ *HandlePowerKey *=.*/HandlePowerKey=poweroff/' {path}")
    if logind is None and any("no rule" in handler.proof for handler in handlers):
        rule_lines = "event=button[ /]power.*\\naction=/sbin/shutdown -h now\\n"
        return in_guest(f"printf '{rule_lines}' > /etc/acpi/events/power")
    service = guest.services.find("systemd-logind" if logind is not None else "acpid")
    if service.state != "missing" and not service.starts:
        if service.name.startswith("systemd-logind"):
            return in_guest("systemctl unmask systemd-logind.service")
        return in_guest(enable_service(guest, service))
    return in_guest(*install(guest, "acpid"))
