"""What a remedy needs beyond the fault itself."""

from __future__ import annotations

import fnmatch
import functools
import itertools
import re
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec

from imgtool.errors import CannotRead
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.linux import LinuxGuest
    from imgtool.guest.services import Service

GRUB_DEFAULTS = "/etc/default/grub"
LARGEST_CONFIG = 10 << 20  # bytes
Arguments = ParamSpec("Arguments")


def if_known(make: Callable[Arguments, Text | None]) -> Callable[Arguments, Text | None]:
    """A remedy that is left out when a fact that it names can't be read: the fault is proven all the same."""

    @functools.wraps(make)
    def made(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Text | None:
        try:
            return make(*args, **kwargs)
        except CannotRead:
            return None

    return made


def in_guest(*commands: str) -> Text:
    """Lines to run inside the guest."""
    lines = "\n".join(commands)
    return Text(f"In the guest, as root:\n{lines}", f"请在系统内以 root 执行：\n{lines}")


def quoted(path: str) -> str:
    """A guest's path as a word for its shell; what can't be shown is a `?`, which stands for any character.

    A name with a line end in it would else make two lines of one command.
    """
    if path.isprintable():
        return shlex.quote(path)
    words = ["".join(run) for _, run in itertools.groupby(path, str.isprintable)]
    return "".join(shlex.quote(word) if word.isprintable() else "?" * len(word) for word in words)


NAMED = 40  # files to be removed that a line names one by one


def removing(paths: Sequence[str], patterns: Sequence[str]) -> str:
    """The line that removes all of these files: by name; by the patterns that found them where they are
    many."""
    if len(paths) <= NAMED:
        return "rm -f " + " ".join(map(quoted, paths))
    fits = {pattern: re.compile(fnmatch.translate(pattern)).match for pattern in patterns}
    return "rm -f " + " ".join(pattern for pattern in patterns if any(map(fits[pattern], paths)))


def host_keys_at_boot(guest: LinuxGuest) -> list[str]:
    """The lines that have the boot make the SSH host keys which are not there, before sshd asks for them.

    Made in the image (`ssh-keygen -A`) they would be the same in all instances.
    """
    if guest.services.init != "systemd":
        service = "ssh" if guest.release.family == "debian" else "sshd"
        return [f"sed -i '1a ssh-keygen -A' /etc/init.d/{service}"]
    unit = (
        "[Unit]\\nBefore=ssh.service sshd.service\\nConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key\\n"
        "[Service]\\nType=oneshot\\nExecStart=/usr/bin/ssh-keygen -A\\n"
        "[Install]\\nWantedBy=multi-user.target\\n"
    )
    return [
        f"printf '{unit}' > /etc/systemd/system/ssh-host-keys.service",
        "systemctl enable ssh-host-keys.service",
    ]


def install(guest: LinuxGuest, *packages: str) -> list[str]:
    """The lines that install packages with the guest's package manager; none where it has none known."""
    command = guest.release.install_command(*packages)
    if not command:
        return []
    return ["apt-get update", command] if guest.release.package_manager == "apt-get" else [command]


def enable_service(guest: LinuxGuest, service: Service) -> str:
    """The line that has the boot start a service which is there and is not started."""
    init, name = guest.services.init, service.name
    if init == "systemd" and service.proof.startswith(("/etc/init.d/", "/etc/rc.d/")):
        init, name = "sysvinit", name.removesuffix(".service")
    name = quoted(name)
    if init == "systemd":
        unmask = f"systemctl unmask {name} && " if service.state == "masked" else ""
        return f"{unmask}systemctl enable {name}"
    if init == "upstart" and service.proof.startswith("/etc/init/"):
        return f"rm -f /etc/init/{name}.override"
    if init == "openrc":
        return f"rc-update add {name} default"
    if guest.release.family == "debian":
        return f"update-rc.d {name} defaults && update-rc.d {name} enable"
    return f"chkconfig --add {name} && chkconfig {name} on"


def drop_argument(guest: LinuxGuest, argument: str) -> str:
    """The line that takes an argument out of the kernel command line for good; "" where none is known.
    Raises CannotRead."""
    return change_argument(guest, argument)


@if_known
def without_argument(guest: LinuxGuest, argument: str) -> Text | None:
    """How to take an argument out of the kernel command line for good; None where that is not known."""
    command = drop_argument(guest, argument)
    return in_guest(command) if command else None


def change_argument(guest: LinuxGuest, argument: str, instead: str = "") -> str:
    """The line that puts other arguments, or none, in the place of one for good; "" where none is known.

    It goes out of the files that hold it: what grub-mkconfig reads, where GRUB's configuration is made by
    that, and Boot Loader Specification entries, which are written once for each kernel. Raises CannotRead.
    """
    loader = guest.bootloader
    config = loader.config_path or ""
    source = re.sub(r":[0-9]+$", "", loader.default.source if loader.default else config)
    plain = re.sub(r"([].*^$\\[])", r"\\\1", argument)
    word = plain.replace("|", "\\|")
    expression = f"s| *{word}|{instead and ' ' + instead}|"
    if "=" not in argument:  # "s" or "1" is a part of many others
        word = plain.replace(",", "\\,")
        expression = f"s,\\([ \"']\\){word}\\([ \"']\\|$\\),\\1{instead}\\2,"
    edit = "sed -i '" + expression.replace("'", "'\\''") + "' "

    def holding(*paths: str) -> str:
        return " ".join(
            path for path in paths if argument in (guest.tree.text_if_there(path, LARGEST_CONFIG) or "")
        )

    defaults = holding(GRUB_DEFAULTS, *guest.tree.glob(f"{GRUB_DEFAULTS}.d/*.cfg"))
    rebuild = guest.release.bootloader_command(config) if loader.kind == "grub2" else ""
    if loader.kind == "grub2" and "/loader/entries/" in source:
        grubby = f'grubby --update-kernel=ALL --remove-args="{argument}"'
        grubby += f' --args="{instead}"' if instead else ""
        return f"{edit}{defaults} && {grubby}" if defaults else grubby
    if defaults and rebuild:
        return f"{edit}{defaults} && {rebuild}"
    own = holding(source)
    return f"{edit}{own}" if own else ""
