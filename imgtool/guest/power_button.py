"""What acts on the power button, through which a machine's host asks it to shut down."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.services import Services
    from imgtool.guest.tree import Tree

_LIMIT = 64 << 10
_LOGIND_DROP_INS = (
    "/usr/lib/systemd/logind.conf.d",
    "/lib/systemd/logind.conf.d",
    "/etc/systemd/logind.conf.d",
)
# What a press of the power button is called: "button/power PBTN 00000080 00000000"
_POWER = re.compile(r"^[ \t]*event[ \t]*=[ \t]*(.*)$", re.MULTILINE)
_PRESS = "button/power PBTN 00000080 00000000"
_MOST_REPETITIONS = 3  # in an expression that is tried; each multiplies the ways to fail
_MOST_CHOICES = 6


@dataclass(frozen=True)
class Handler:
    """A program that might act on the button. works: it does; proof: the file that says so, or says not."""

    name: Literal["systemd-logind", "acpid"]
    works: bool
    proof: str


def read_handlers(tree: Tree, services: Services) -> tuple[Handler, ...]:
    """systemd-logind and acpid, as far as they are installed. Raises GuestReadFailed."""
    found: list[Handler] = []
    if services.init == "systemd":
        logind = services.find("systemd-logind")
        if logind.state == "missing":
            pass
        elif logind.starts or (logind.state == "disabled" and services.find("dbus").state != "missing"):
            # without a link that wants it, D-Bus starts it for the first who asks
            ignored = _key_ignored(tree)
            found.append(Handler("systemd-logind", not ignored, ignored or logind.proof))
        else:
            found.append(Handler("systemd-logind", False, f"{logind.proof} ({logind.state})"))
    names = ("acpid", "acpid.socket", "acpid.path") if services.init == "systemd" else ("acpid",)
    states = [services.find(name) for name in names]
    if states[0].state != "missing":
        starts = next((state for state in states if state.starts), None)
        rule = _power_rule(tree)
        if starts is None or states[0].state == "masked":
            found.append(Handler("acpid", False, f"{states[0].proof} ({states[0].state})"))
        elif not rule:
            found.append(Handler("acpid", False, "/etc/acpi/events: no rule for button/power"))
        else:
            found.append(Handler("acpid", True, f"{starts.proof}; {rule}"))
    return tuple(found)


def _key_ignored(tree: Tree) -> str:
    """The line of logind.conf(5) that takes the button from logind; "" where it keeps it."""
    files: dict[str, str] = {}
    for folder in _LOGIND_DROP_INS:
        for path in tree.glob(f"{folder}/*.conf"):
            files[path.rsplit("/", 1)[1]] = path
    last = ""
    for path in ("/etc/systemd/logind.conf", *(path for _, path in sorted(files.items()))):
        for number, line in enumerate((tree.text_if_there(path, _LIMIT) or "").splitlines(), start=1):
            key, equals, value = line.partition("=")
            if equals and key.strip() == "HandlePowerKey":
                last = f"{path}:{number}: {line.strip()[:80]}" if value.strip() == "ignore" else ""
    return last


def _power_rule(tree: Tree) -> str:
    """The file among acpid's rules whose event is the power button; "" for none."""
    for path in tree.glob("/etc/acpi/events/*"):
        if re.search(r"(~|\.(bak|dpkg-\w+|rpmsave|rpmnew))$", path) or not tree.is_file(path):
            continue
        for event in _POWER.findall(tree.text_if_there(path, _LIMIT) or "")[:64]:
            if _fits(event.strip()):
                return path
    return ""


def _fits(event: str) -> bool:
    """Whether an event, a regular expression of acpid(8), means a press of the power button."""
    if event in (".*", ""):
        return event == ".*"
    simple = re.fullmatch(r"[\w/ .*\[\]|()?+^$-]{1,200}", event) and not re.search(r"[*+?)][*+?]", event)
    many = len(re.findall(r"[*+?]", event)) > _MOST_REPETITIONS or event.count("|") > _MOST_CHOICES
    if not simple or many:
        return "power" in event
    try:
        return re.search(event, _PRESS) is not None
    except re.error:
        return "power" in event
