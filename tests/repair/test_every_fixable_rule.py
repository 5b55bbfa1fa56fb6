"""The promise of `imgtool fix`: for every fixable rule an image that fails it passes afterwards, and nothing
that passed before fails. The plan's steps are made to what a disk is built from, and it is built anew."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fixtures.distributions.all import DISTRIBUTIONS
from fixtures.distributions.build import build
from fixtures.distributions.changes import FAULTS, Fault
from fixtures.distributions.description import Distribution
from fixtures.distributions.tree import Tree
from fixtures.windows import cloudbase_faults, driver_faults, state_faults
from fixtures.windows.disk import Windows, windows, write_disk
from fixtures.windows.program import program
from fixtures.windows.releases import RELEASES
from imgtool.image import Image, Options
from imgtool.profiles import load_profile
from imgtool.repair.apply import apply_steps
from imgtool.repair.plan import Plan, make_plan, spoiled
from imgtool.repair.registration import Wishes
from imgtool.repair.steps import CheckFilesystem, Step
from imgtool.rules import Finding, Severity, Status, discover, run
from tests.disk.made import MIB
from tests.repair.made_guests import TreeEditor, WindowsEditor

pytestmark = pytest.mark.slow

RULES = discover()
FIXABLE = {name for name, rule in RULES.items() if rule.fixable}
BY_PACKAGES = "linux.cloud-init.installed"
BY_INSTALLER = "windows.cloudbase-init.installed"


def is_note(name: str) -> bool:
    return RULES[name].severity is Severity.INFO


def broken(findings: Iterable[Finding]) -> set[str]:
    """The fixable rules that found something; notes count of rules that make nothing else."""
    found = [it for it in findings if it.status in (Status.FAIL, Status.WARN)]
    return {it.id for it in found if it.severity is not Severity.INFO or is_note(it.id)} & FIXABLE


@dataclass(frozen=True)
class Case:
    """A guest with faults. rules: those that they break; make: writes the disk, these steps made to it."""

    rules: frozenset[str]
    make: Callable[[Path, Iterable[Step]], None]
    options: Options = field(default_factory=Options)
    wishes: Callable[[Path], Wishes] = lambda folder: Wishes()


def not_executable(tree: Tree, distribution: Distribution) -> None:
    """cloud-init's program lost its mode, as in a copy by FAT."""
    tree.mode(distribution.cloud_init.entry, 0o644)


def only_its_own_loader(tree: Tree, _: Distribution) -> None:
    """Nothing where firmware without variables looks."""
    tree.remove("/boot/efi/EFI/BOOT")


def of(distribution: Distribution) -> list[Fault]:
    """All faults of the catalogue that can be mended by reading and writing alone, at once."""
    found = [it for it in FAULTS if it.rule in FIXABLE - {BY_PACKAGES} and not it.forced]
    if distribution.init != "systemd":  # acpid was removed there, and has to be installed
        found = [it for it in found if it.rule != "linux.acpi"]
    more = [Fault(BY_PACKAGES, not_executable)]
    if distribution.disk.loader:
        more.append(Fault("disk.boot-mode.fallback", only_its_own_loader))
    return [it for it in (*found, *more) if it.concerns(distribution)]


def linux(name: str, faults: list[Fault], *, marked: bool = False) -> Case:
    """A distribution with these faults. marked: its root filesystem says that errors were met on it."""
    distribution = DISTRIBUTIONS[name]
    without = tuple(module for fault in faults for module in fault.initramfs_without)

    def make(path: Path, steps: Iterable[Step]) -> None:
        checks: list[Step] = []

        def change(tree: Tree, distribution: Distribution) -> None:
            for fault in faults:
                fault.apply(tree, distribution)
            editor = TreeEditor(tree)
            for _ in range(2):  # what is made twice is made once
                apply_steps(editor, steps)
            checks.extend(step for step in steps if isinstance(step, CheckFilesystem))

        path.unlink(missing_ok=True)
        build(path, distribution, change, initramfs_without=without)
        if marked:
            place = f"{path}?offset={MIB}"
            subprocess.run(["debugfs", "-w", "-R", "ssv state 2", place], check=True, capture_output=True)
            if checks:
                assert (
                    subprocess.run(["e2fsck", "-fy", place], capture_output=True, check=False).returncode < 4
                )

    rules = frozenset(fault.rule for fault in faults) | ({"disk.filesystem.clean"} if marked else set())
    forced = any(fault.forced for fault in faults)
    return Case(rules, make, Options(force_import=forced))


WINDOWS_FAULTS: dict[str, Callable[[Windows], None]] = {
    "windows.virtio.storage": driver_faults.no_viostor,
    "windows.virtio.network": driver_faults.no_netkvm,
    "windows.cloudbase-init.service": cloudbase_faults.cloudbase_init_by_hand,
    "windows.cloudbase-init.config": cloudbase_faults.plugin_missing,
    "windows.cloudbase-init.state": cloudbase_faults.local_scripts_done,
    "windows.cdrom": state_faults.cdrom_disabled,
    "windows.remote-desktop": state_faults.remote_desktop_off,
    "windows.conflicting-software": state_faults.other_cloud,
    "windows.clock": state_faults.clock_in_utc,
    "windows.san-policy": state_faults.disks_offline,
}


def windows_with(release: str, faults: dict[str, Callable[[Windows], None]]) -> Case:
    def make(path: Path, steps: Iterable[Step]) -> None:
        made = windows(RELEASES[release], more_services=0)
        for change in faults.values():
            change(made)
        editor = WindowsEditor(made)
        for _ in range(2):
            apply_steps(editor, steps)
        path.unlink(missing_ok=True)
        write_disk(path, made)

    return Case(frozenset(faults), make, wishes=lambda folder: Wishes(virtio_win=driver_disk(folder)))


def driver_disk(folder: Path) -> Path:
    """Laid out as virtio-win's ISO."""
    top = folder / "virtio-win"
    for name, place in (("viostor", "viostor"), ("netkvm", "NetKVM")):
        for release in ("2k8R2", "2k12R2", "2k16"):
            target = top / place / release / "amd64"
            target.mkdir(parents=True, exist_ok=True)
            (target / f"{name}.sys").write_bytes(program("x86_64", native=True, signed="sha256"))
            (target / f"{name}.inf").write_text(f"[Version]\r\n%x% = {name}, PCI\\VEN_1AF4&DEV_1000\r\n")
    return top


FORCED = [it for it in FAULTS if it.forced]
NAMES = ("centos-6", "centos-7", "rocky-9", "debian-10", "ubuntu-14.04", "ubuntu-22.04", "sles-11")
CASES = {
    **{name: linux(name, of(DISTRIBUTIONS[name])) for name in (*NAMES, "arch")},
    "debian-10, marked": linux("debian-10", [], marked=True),
    **{f"{name}, forced": linux(name, FORCED) for name in ("centos-6", "ubuntu-14.04", "debian-10")},
    **{f"windows {name}": windows_with(name, WINDOWS_FAULTS) for name in ("2008r2", "2016")},
    "windows 10": windows_with("2016", {"windows.volume": state_faults.fast_startup}),
}


def judged(path: Path, options: Options) -> list[Finding]:
    with Image(path, load_profile("tce"), options) as image:
        return run(image, RULES)


def planned(path: Path, case: Case, rules: Iterable[str] = FIXABLE) -> Plan:
    with Image(path, load_profile("tce"), case.options) as image:
        return make_plan(image, RULES, case.wishes(path.parent), rules)


@pytest.mark.parametrize("name", CASES)
def test_an_image_that_fails_a_fixable_rule_passes_after_fix_and_nothing_that_passed_fails(
    name: str, tmp_path: Path
) -> None:
    case, path = CASES[name], tmp_path / "disk.raw"
    case.make(path, ())
    plan = planned(path, case)
    assert broken(plan.before) >= case.rules - behind(case.rules)
    reasons = {it.finding.id: it.why.en for it in plan.unmended if it.finding.id in FIXABLE}
    assert not {name for name, why in reasons.items() if not why.startswith("Its repair")}, reasons
    assert plan.steps
    assert not plan.runs_guest, "programs of the guest run only where they are asked for"
    case.make(path, plan.steps)
    after = judged(path, case.options)
    assert broken(after) == set(), [
        (it.id, it.message.en, it.evidence) for it in after if it.id in broken(after)
    ]
    assert spoiled(plan.before, after) == ()
    if not name.startswith("windows"):  # a draft's hives read as they were, and so do volumes
        unseen = {name for name in case.rules if name.startswith("disk.")}
        foretold = [(it.id, it.status) for it in plan.expected if it.id not in unseen]
        assert [(it.id, it.status) for it in after if it.id not in unseen] == foretold
    assert planned(path, case).steps == ()


def behind(rules: frozenset[str]) -> set[str]:
    """Rules that are not judged until another of them is kept."""
    return {it for it in rules for other in RULES[it].requires if other in rules}


def test_every_fixable_rule_has_such_an_image() -> None:
    """Who makes a rule fixable adds a fault above (or in fixtures/distributions/changes.py)."""
    assert {rule for case in CASES.values() for rule in case.rules} == FIXABLE


def test_cloudbase_inits_installer_is_laid_down_and_its_rule_says_that_it_waits(tmp_path: Path) -> None:
    """It can only run inside Windows: until then the rule fails, truly, and is not called fixable."""
    case = windows_with("2016", {BY_INSTALLER: cloudbase_faults.no_cloudbase_init})
    installer = tmp_path / "CloudbaseInitSetup_x64.msi"
    installer.write_bytes(b"msi")
    case = Case(case.rules, case.make, wishes=lambda folder: Wishes(cloudbase_init=installer))
    path = tmp_path / "disk.raw"
    case.make(path, ())
    plan = planned(path, case, [BY_INSTALLER])
    assert BY_INSTALLER not in FIXABLE
    assert plan.outlook == "fail"
    case.make(path, plan.steps)
    after = judged(path, case.options)
    assert spoiled(plan.before, after) == ()
    (left,) = [it for it in after if it.id == BY_INSTALLER]
    assert (left.status, left.fixable) == (Status.FAIL, False)
    assert "runs at the next start" in left.message.en
    again = planned(path, case, [BY_INSTALLER])
    assert again.steps == ()
    assert "next start of Windows" in again.unmended[0].why.en


def test_notes_are_mended_only_where_they_are_asked_for(tmp_path: Path) -> None:
    case, path = CASES["centos-7"], tmp_path / "disk.raw"
    case.make(path, ())
    with Image(path, load_profile("tce")) as image:
        plan = make_plan(image, RULES)
    assert not any(is_note(step.mends) for step in plan.steps)
