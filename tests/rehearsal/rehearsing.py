"""Rehearsing an image as `imgtool rehearse` does, in this process, or only until it asks for a login."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgtool.image import Image, Options
from imgtool.judging import Request, judge
from imgtool.profiles import load_profile
from imgtool.rehearsal import setting
from imgtool.rehearsal.boot_watch import BootWatch, Ending, Patience
from imgtool.rehearsal.console import Console
from imgtool.rehearsal.course import Rehearsal
from imgtool.rehearsal.emulator import Emulator
from imgtool.rehearsal.instance import Instance, new_instance
from imgtool.rehearsal.judged import rehearsed
from imgtool.rehearsal.setting import assemble, how_to_boot, overlay, private_folder
from imgtool.report.model import ImageReport
from imgtool.rules import Finding, Status, discover
from imgtool.virtualization import kvm_usable

PATIENCE = 600.0  # seconds for one boot, on a machine that does more than one thing


def rehearse(
    path: Path,
    *,
    force_import: bool = False,
    second_boot: bool = True,
    timeout: float = PATIENCE,
    as_is: bool = False,
) -> ImageReport:
    """The report on the rehearsal alone.

    as_is: on two processors and with host keys of RSA and DSA; without, a boot takes a third less work.
    """
    request = Request(load_profile("tce"), discover(), options=Options(force_import=force_import))
    how = Rehearsal(timeout=timeout, force_import=force_import, second_boot=second_boot)
    whole = Instance._vendor_config
    with pytest.MonkeyPatch.context() as patch:
        if not as_is:
            quick = "ssh_genkeytypes: [ed25519]\n"
            patch.setattr(Instance, "_vendor_config", lambda it: whole(it) + quick)
            patch.setattr(setting, "CPUS", 1)
        return rehearsed(path, judge(path, request), request, how)


def until_login(path: Path) -> tuple[Ending, list[str]]:
    """How a boot to which nothing is handed over ends, and the console's last lines."""
    console = Console()
    with Image(path, load_profile("tce")) as image, private_folder() as folder:
        architecture, mode = how_to_boot(image)
        with overlay(image.file, folder) as disk:
            machine = assemble(disk, folder, architecture=architecture, mode=mode, kvm=kvm_usable())
            with Emulator(machine, folder) as emulator:
                watching = BootWatch(
                    emulator,
                    console,
                    patience=Patience.of(PATIENCE, kvm_usable()),
                    broken=lambda rule: False,
                    instance=new_instance(),
                    overlay=disk.overlay,
                )
                emulator.power_on()
                return watching.until_up(first_boot=False), console.tail(40)


def failed(report: ImageReport) -> list[str]:
    """The rules under which it failed."""
    return [it.id for it in report.findings if it.status is Status.FAIL]


def not_passed(report: ImageReport) -> list[tuple[str, str]]:
    """Whatever is neither passed nor skipped, with what it says."""
    return [(it.id, it.message.en) for it in report.findings if it.status not in (Status.PASS, Status.SKIP)]


def passed(report: ImageReport) -> set[str]:
    """The stages that were reached."""
    return {it.id.removeprefix("rehearsal.") for it in report.findings if it.status is Status.PASS}


def of(report: ImageReport, rule: str) -> Finding:
    """The finding of a rule or stage."""
    (found,) = [it for it in report.findings if it.id == rule]
    return found
