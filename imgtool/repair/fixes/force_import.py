"""The script of a forced import (ref 02), laid down and started by whatever init the guest has."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING

from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.repair.services import enable, enable_in, script_levels
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.services import Init
    from imgtool.guest.tree import Tree

SCRIPT = "/usr/local/sbin/os-config"
INIT_SCRIPT = "/etc/init.d/os-config"
UNIT = "/etc/systemd/system/os-config.service"
JOB = "/etc/init/os-config.conf"


@fix("linux.force-import.script")
def lay_down_the_script(work: Work) -> None:
    """A script that is there and only not started is started; else ours is laid down."""
    draft, services = work.draft, work.guest.services
    if services.init == "systemd":
        draft.write(SCRIPT, data("os-config"), mode=0o755)
        draft.write(UNIT, data("os-config.service"))
        enable(work, "os-config.service")
    elif services.init == "upstart" and (_brings_up_by_jobs(draft.tree) or not script_levels(draft.tree)):
        draft.write(SCRIPT, data("os-config"), mode=0o755)
        draft.write(JOB, data("os-config.upstart"))
    elif script_levels(draft.tree) or services.init == "openrc":
        draft.write(INIT_SCRIPT, data("os-config"), mode=0o755)
        init: Init = services.init if services.init == "openrc" else "sysvinit"
        enable_in(draft, replace(services, init=init), "os-config")
    else:
        raise CannotMend(
            Text(en="Nothing in this guest is known to start a script.", zh="未找到开机启动脚本的机制。")
        )


def _brings_up_by_jobs(tree: Tree) -> bool:
    """Ubuntu's Upstart has jobs for cards and interfaces; RHEL 6's only starts the scripts of SysV."""
    return tree.is_file("/etc/init/network-interface.conf") or tree.is_file("/etc/init/networking.conf")


def data(name: str) -> bytes:
    """A file of imgtool.repair.force_import."""
    return (files("imgtool.repair.force_import") / name).read_bytes()
