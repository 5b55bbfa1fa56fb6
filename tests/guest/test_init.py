from __future__ import annotations

from typing import Any

import pytest

from imgtool.guest.cpio import Member
from imgtool.guest.init import first_program, stop_by_argument, stop_by_default
from imgtool.guest.initramfs import Initramfs
from tests.guest.owned_tree import Link, OwnedTree, elf
from tests.guest.stand_in import ROOT
from tests.guest.test_cpio import newc

PROGRAM = elf(0x3E)
SYSTEMD = {"/usr/lib/systemd/systemd": PROGRAM}


def tree(files: dict[str, Any], modes: dict[str, tuple[int, int, int]] | None = None) -> Any:
    return OwnedTree(files, {**dict.fromkeys(files, (0o755, 0, 0)), **(modes or {})}, {"/": ROOT})


def holding(*names: str) -> Initramfs:
    from imgtool.guest.cpio import Reader

    reader = Reader()
    reader.feed(newc(*((name, b"x") for name in names)))
    members: dict[str, Member] = {member.name: member for member in reader.members}
    return Initramfs(members)


def started(
    files: dict[str, Any], arguments: str = "", initramfs: Initramfs | None = None, **how: Any
) -> str:
    return first_program(tree(files, **how), arguments, lambda: initramfs).path


def test_the_usual_init_is_started_and_a_link_is_followed() -> None:
    assert started({**SYSTEMD, "/sbin/init": Link("/usr/lib/systemd/systemd")}) == "/sbin/init"
    assert started({"/bin/init": PROGRAM}) == "/bin/init"


def test_what_is_not_executable_or_leads_nowhere_is_no_init() -> None:
    assert started({"/sbin/init": PROGRAM}, modes={"/sbin/init": (0o644, 0, 0)}) == ""
    assert started({"/sbin/init": Link("/usr/lib/systemd/systemd")}) == ""


def test_systemd_alone_is_started_only_by_an_initramfs_that_runs_systemd_itself() -> None:
    assert started(SYSTEMD, initramfs=holding("init")) == ""
    assert started(SYSTEMD) == ""
    assert started(SYSTEMD, initramfs=holding("usr/lib/systemd/systemd")) == "/usr/lib/systemd/systemd"


def test_the_last_init_argument_counts_and_one_that_is_not_there_leaves_the_usual() -> None:
    files = {"/sbin/init": PROGRAM, "/bin/bash": PROGRAM}
    shell = first_program(tree(files), "init=/sbin/other init=/bin/bash", lambda: None)
    assert (shell.named, shell.path, shell.shell) == ("/bin/bash", "/bin/bash", True)
    gone = first_program(tree(files), "init=/sbin/other", lambda: None)
    assert (gone.named, gone.path, gone.shell) == ("/sbin/other", "/sbin/init", False)


@pytest.mark.parametrize(
    ("arguments", "init", "where"),
    [
        ("ro quiet", "systemd", ""),
        ("ro single", "systemd", "rescue.target"),
        ("ro 1 quiet", "systemd", "rescue.target"),
        ("single 3", "systemd", ""),
        ("systemd.unit=emergency.target", "systemd", "emergency.target"),
        ("systemd.unit=rescue.target systemd.unit=multi-user.target", "systemd", ""),
        ("systemd.unit=poweroff.target", "systemd", "poweroff.target"),
        ("ro single", "sysvinit", "single-user mode"),
        ("ro s 5", "upstart", ""),
        ("systemd.unit=rescue.target", "sysvinit", ""),
    ],
)
def test_the_last_word_on_the_target_counts(arguments: str, init: str, where: str) -> None:
    found = stop_by_argument(arguments, init, "dracut")
    assert (found.where if found else "") == where


def test_a_break_is_one_to_the_initramfs_that_knows_it() -> None:
    for word, tools in {
        "rd.break": ("dracut", "mkinitrd"),
        "break=mount": ("mkinitramfs", "mkinitcpio"),
    }.items():
        for tool in ("dracut", "mkinitrd", "mkinitramfs", "mkinitcpio"):
            assert (stop_by_argument(f"ro {word}", "systemd", tool) is not None) == (tool in tools)


TARGET = "/etc/systemd/system/default.target"


@pytest.mark.parametrize(
    ("target", "where"),
    [
        ("/lib/systemd/system/multi-user.target", ""),
        ("/lib/systemd/system/rescue.target", "rescue.target"),
        ("/lib/systemd/system/reboot.target", "reboot.target"),
        ("/lib/systemd/system/gone.target", "rescue.target"),
        ("/dev/null", "rescue.target"),
    ],
)
def test_a_default_target_may_be_none_to_work_in(target: str, where: str) -> None:
    files = dict.fromkeys(
        (f"/lib/systemd/system/{it}.target" for it in ("multi-user", "rescue", "reboot")), "x"
    )
    found = stop_by_default(tree({**files, TARGET: Link(target)}), "systemd")
    assert (found.where if found else "") == where
    assert stop_by_default(tree(files), "systemd") is None


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("id:3:initdefault:", ""),
        ("id:1:initdefault:", "single-user mode"),
        ("id:S:initdefault:", "single-user mode"),
        ("id:6:initdefault:", "a restart without end"),
        ("#id:1:initdefault:\nid:2:initdefault:", ""),
        ("id:5:initdefault:\nid:1:initdefault:", ""),
        ("si::sysinit:/etc/rc.d/rc.sysinit", ""),
    ],
)
def test_a_default_runlevel_may_be_none_to_work_in(line: str, where: str) -> None:
    found = stop_by_default(tree({"/etc/inittab": line + "\n"}), "sysvinit")
    assert (found.where if found else "") == where
