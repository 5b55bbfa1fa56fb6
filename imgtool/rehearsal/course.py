"""The course of a rehearsal: first boot with all that the platform hands over, power button, second boot.

    with Image(...) as image: findings, record = rehearse(image, request, statics)

The image is not written to; of what the rehearsal makes nothing is left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from imgtool.convert.progress import Progress, Silent
from imgtool.image import Image
from imgtool.rehearsal import config_drive
from imgtool.rehearsal.boot_watch import CAME_UP, BootWatch, Ending, Patience
from imgtool.rehearsal.console import Console
from imgtool.rehearsal.emulator import Emulator
from imgtool.rehearsal.findings import SHUTDOWN_LIMIT, findings_of
from imgtool.rehearsal.guest_script import typed
from imgtool.rehearsal.instance import Instance, new_instance
from imgtool.rehearsal.machine import Disk, Machine, Mode, program
from imgtool.rehearsal.metadata import MetadataService
from imgtool.rehearsal.observed import FirstBoot, Observed
from imgtool.rehearsal.qmp import EmulatorFailed
from imgtool.rehearsal.setting import assemble, how_to_boot, overlay, private_folder
from imgtool.report.model import BootRecord, Picture
from imgtool.rules import Finding, Rule, Status
from imgtool.text import Text

CONSOLE_SHOWN = 40  # lines
REPORT_TIMEOUT = 120.0  # seconds for a shell to carry out what is typed
PROMPT_TIMEOUT = 30.0  # seconds for a login prompt to come again
_PROMPT = re.compile(r"[#$] *$")
_LOGIN = re.compile(r" login: *$")
_PASSWORD = re.compile(r"[Pp]assword: *$")
_INCORRECT = re.compile(r"Login incorrect|Authentication failure")
_LOG_INS = 3


@dataclass(frozen=True)
class Rehearsal:
    """How to rehearse.

    mode: the boot mode that will be declared, None for the image's own; timeout: of one boot, in seconds,
    None for what fits this machine; force_import: the config drive has only os.conf, and there is no
    metadata service; console_log: where the whole serial console goes; second_boot: whether to go that far;
    progress: told of each step and of the seconds it takes, for a person who waits.
    """

    mode: Mode | None = None
    timeout: float | None = None
    force_import: bool = False
    console_log: Path | None = None
    second_boot: bool = True
    progress: Progress = field(default_factory=Silent)


def rehearse(
    image: Image, how: Rehearsal, rules: Mapping[str, Rule], statics: list[Finding]
) -> tuple[list[Finding], BootRecord]:
    """Boot the image on the platform's hardware; what that showed, and pictures of it.

    rules: the catalogue; statics: what the static check found, by which a boot's failure is given its name.
    Raises CannotRead and UnsafeImage for what can't be opened, MachineLacks without QEMU or firmware, NoRoom,
    UsageError when the console log can't be written, EmulatorFailed when QEMU does not run or ends.
    """
    from imgtool.process import program_path
    from imgtool.virtualization import kvm_usable

    file = image.file
    architecture, mode = how_to_boot(image, how.mode)
    program_path(program(architecture))
    windows = image.family == "windows"
    instance = new_instance(windows=windows)
    by_rule: dict[str, Finding] = {}
    for finding in statics:  # the gravest of each
        if finding.status is Status.FAIL or finding.id not in by_rule:
            by_rule[finding.id] = finding
    with ExitStack() as opened:
        folder = opened.enter_context(private_folder())
        disk = opened.enter_context(overlay(file, folder))
        console = Console(how.console_log)
        opened.callback(console.close)
        cd = folder / "config-2.iso"
        documents = {} if how.force_import else instance.documents()
        cd.write_bytes(config_drive.iso(config_drive.contents(documents, instance.os_conf())))
        service = None if how.force_import else opened.enter_context(MetadataService(instance))
        kvm = kvm_usable() and _same_architecture(architecture)
        machine = assemble(
            disk,
            folder,
            architecture=architecture,
            mode=mode,
            kvm=kvm,
            cd=cd,
            metadata=service.name if service else "",
        )
        course = _Course(
            how,
            instance,
            console,
            folder=folder,
            disk=disk,
            service=service,
            patience=Patience.of(how.timeout, kvm, windows),
            statics=by_rule,
            windows=windows,
        )
        opened.callback(how.progress.end)
        observed = course.run(machine)
    findings = findings_of(observed, rules, by_rule)
    record = BootRecord(
        accelerator="kvm" if kvm else "tcg",
        firmware=mode,
        architecture=architecture,
        boots=1 if observed.second is None else 2,
        pictures=tuple(course.pictures),
        console=tuple(course.console_lines),
    )
    return findings, record


def _same_architecture(architecture: str) -> bool:
    import platform

    return platform.machine() == architecture


class _Course:
    """One rehearsal under way."""

    def __init__(
        self,
        how: Rehearsal,
        instance: Instance,
        console: Console,
        *,
        folder: Path,
        disk: Disk,
        service: MetadataService | None,
        patience: Patience,
        statics: Mapping[str, Finding],
        windows: bool,
    ) -> None:
        self.pictures: list[Picture] = []
        self.console_lines: list[str] = []
        self._how = how
        self._instance = instance
        self._console = console
        self._folder = folder
        self._disk = disk
        self._service = service
        self._patience = patience
        self._statics = statics
        self._windows = self._by_screen = windows
        self._refused = False

    def run(self, machine: Machine) -> Observed:
        """First boot, power button, second boot; only as far as it goes."""
        self._tell("First boot", "首次启动")
        pressed = shutdown = None
        with Emulator(machine, self._folder) as emulator:
            watching = self._watching(emulator)
            emulator.power_on()
            ending = watching.until_up(first_boot=self._service is not None)
            self._by_screen = self._by_screen or "login" not in watching.watch.reached
            if ending.kind == "up" and self._how.force_import:
                self._log_in(watching)
            first = self._first(watching, ending)
            if ending.kind not in (*CAME_UP, "screen"):
                with suppress(EmulatorFailed):
                    emulator.pause()
            self._take_picture(emulator, Text("The first boot, at its end", "首次启动结束时的屏幕"))
            if ending.kind in (*CAME_UP, "screen"):
                self._tell("Power button", "电源按钮")
                pressed = emulator.age
                emulator.press_power_button()
                shutdown = watching.until_off(SHUTDOWN_LIMIT)
                if shutdown is None:
                    self._take_picture(
                        emulator, Text("Two minutes after the power button", "按下电源按钮两分钟后")
                    )
            self.console_lines = self._console.tail(CONSOLE_SHOWN)
            if pressed is not None:  # what does not shut down is switched off, as the platform does
                emulator.end_in_order(30)
        second = second_watch = None
        second_report: dict[str, str] = {}
        shown = ending.kind == "up" or first.logon is not None
        if shown and pressed is not None and self._how.second_boot:
            self._tell("Second boot", "第二次启动")
            second, second_watch = self._second_boot(machine)
            second_report = second_watch.report
        return Observed(
            instance=self._instance,
            force_import=self._how.force_import,
            mode=machine.mode,
            first=first,
            windows=self._windows,
            pressed=pressed,
            shutdown=shutdown,
            second=second,
            second_watch=second_watch.watch if second_watch else None,
            second_report=second_report,
            emulated=not machine.kvm,
        )

    def _watching(self, emulator: Emulator) -> BootWatch:
        return BootWatch(
            emulator,
            self._console,
            patience=self._patience,
            broken=self._broken,
            instance=self._instance,
            overlay=self._disk.overlay,
            service=self._service,
            tick=self._how.progress.at,
            by_screen=self._by_screen,
        )

    def _broken(self, rule: str) -> bool:
        found = self._statics.get(rule)
        return found is not None and found.status is Status.FAIL

    def _first(self, watching: BootWatch, ending: Ending) -> FirstBoot:
        return FirstBoot(
            watch=watching.watch,
            ending=ending,
            report=watching.report,
            by_network=watching.by_network,
            partitions=watching.seen_partitions,
            refused=self._refused,
            silent_console="kernel" not in watching.watch.reached and "login" not in watching.watch.reached,
            flooded=self._console.flooded,
            screen=tuple(watching.eye.said),
            shown=watching.eye.shown.look if watching.eye.shown else "",
            logon=watching.watch.logon,
        )

    def _second_boot(self, machine: Machine) -> tuple[Ending, BootWatch]:
        self._console.restart()
        if self._service is not None:
            self._service.restart()
        with Emulator(machine, self._folder) as emulator:
            watching = self._watching(emulator)
            emulator.power_on()
            ending = watching.until_up(first_boot=False)
            self._take_picture(emulator, Text("The second boot, at its end", "第二次启动结束时的屏幕"))
            if ending.kind != "up":
                self.console_lines = self._console.tail(CONSOLE_SHOWN)
        return ending, watching

    def _log_in(self, watching: BootWatch) -> None:
        """Log in as root with os.conf's password, and have the guest tell what the script applied.

        Refused is what the guest itself calls incorrect; a guest that answers otherwise tells nothing.
        """
        emulator = watching.emulator
        emulator.type("\n")  # another prompt, where the kernel's words stand behind the first
        if watching.expect(_LOGIN, PROMPT_TIMEOUT) is None:
            return  # it asks on the screen only, where nobody could read an answer
        refused = False
        for _ in range(_LOG_INS):
            watching.expect(re.compile(r"(?!)"), 3)  # the script may still be at work
            emulator.type("root\n")
            if watching.expect(_PASSWORD, 30) is None:
                continue
            emulator.type(f"{self._instance.password}\n")
            found = watching.expect(re.compile(f"{_PROMPT.pattern}|{_INCORRECT.pattern}"), 60)
            refused = found is not None and _INCORRECT.search(found.group()) is not None
            if found is not None and not refused:
                break
        else:
            self._refused = refused
            return
        for line in typed(self._instance.token, self._instance.password_hash):
            emulator.type(f"{line}\n")
            watching.turn(0.1)
        until = emulator.age + REPORT_TIMEOUT
        while not watching.report and emulator.age < until:  # the shell's echo of what is typed is no report
            watching.turn(0.5)

    def _take_picture(self, emulator: Emulator, caption: Text) -> None:
        with suppress(EmulatorFailed):
            self.pictures.append(Picture(caption, emulator.screen().png()))

    def _tell(self, en: str, zh: str) -> None:
        self._how.progress.begin(Text(en, zh), None, "s")
