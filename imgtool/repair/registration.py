"""Fixes: which function mends which rule, and what it is given.

A fix lives in a module of `imgtool.repair.fixes`, or in a package that announces itself through the
entry-point group `imgtool.fixes`. Rules do not know their fixes: a check imports none of this.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from imgtool.errors import UsageError
from imgtool.repair.draft import CannotMend, Draft
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image
    from imgtool.rules import Finding

__all__ = ["CannotMend", "Draft", "Fix", "Wishes", "Work", "discover", "fix"]
ENTRY_POINTS = "imgtool.fixes"


@dataclass(frozen=True)
class Wishes:
    """What the person asked for beyond the plan itself.

    rebuild_initramfs: run the guest's own tool. virtio_win: the ISO, or a folder with its content.
    cloudbase_init: the MSI, or a folder. cloud_init_packages: a folder of packages for the guest.
    network: the guest's package manager may use the network. skipped: ids of rules that are left alone.
    """

    rebuild_initramfs: bool = False
    virtio_win: Path | None = None
    cloudbase_init: Path | None = None
    cloud_init_packages: Path | None = None
    network: bool = False
    skipped: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Work:
    """What a fix is given: the image as far as it is mended, what was found, and the draft to write to.

    asked: the person named this rule, and did not just ask for all that is wrong to be mended.
    """

    image: Image
    draft: Draft
    findings: tuple[Finding, ...]
    wishes: Wishes = field(default_factory=Wishes)
    asked: bool = False

    @property
    def guest(self) -> LinuxGuest:
        """The Linux guest as the draft has it."""
        return self.image.linux


Mend = Callable[[Work], None]


@dataclass(frozen=True)
class Fix:
    """What mends a rule. late: it comes after the fixes of all other rules, since they give it reason;
    prepares: it only lays down what the guest itself does later, so that its rule is not fixable."""

    rule: str
    mend: Mend
    late: bool = False
    prepares: bool = False


def fix(*rules: str, late: bool = False, prepares: bool = False) -> Callable[[Mend], tuple[Fix, ...]]:
    """Make the decorated function what mends these rules.

    It changes the draft, and raises CannotMend with the reason where it can't; what it changed until then is
    dropped. It is only called when one of the rules is broken and its finding is fixable, or it `prepares`.
    """

    def make(mend: Mend) -> tuple[Fix, ...]:
        return tuple(Fix(rule, mend, late, prepares) for rule in rules)

    return make


def discover() -> dict[str, Fix]:
    """Every fix there is, by the rule's id. Raises UsageError when two claim one rule."""
    rooms = importlib.import_module("imgtool.repair.fixes")
    names = sorted(found.name for found in pkgutil.iter_modules(rooms.__path__))
    modules = [importlib.import_module(f"imgtool.repair.fixes.{name}") for name in names]
    from importlib.metadata import entry_points

    modules += [point.load() for point in entry_points(group=ENTRY_POINTS)]
    fixes: dict[str, Fix] = {}
    for module in modules:
        for made in vars(module).values():
            for found in made if isinstance(made, tuple) else ():
                if not isinstance(found, Fix):
                    continue
                if fixes.get(found.rule, found) is not found:
                    raise UsageError(
                        Text(
                            en=f"Two fixes mend {found.rule}: the second is in {module.__name__}.",
                            zh=f"规则 {found.rule} 有两个修复：后一个位于 {module.__name__}。",
                        )
                    )
                fixes[found.rule] = found
    return fixes
