"""Rules and fixes belong together: what a rule calls fixable has a fix, and no fix is without its rule."""

from __future__ import annotations

import subprocess
import sys

from imgtool.repair.registration import discover
from imgtool.rules import discover as rules


def test_every_fixable_rule_has_a_fix_and_every_fix_a_fixable_rule() -> None:
    fixes = discover().values()
    assert {name for name, rule in rules().items() if rule.fixable} == {
        it.rule for it in fixes if not it.prepares
    }


def test_a_fix_that_only_prepares_has_a_rule_that_is_not_called_fixable() -> None:
    (only,) = [it for it in discover().values() if it.prepares]
    assert not rules()[only.rule].fixable


def test_a_fix_says_what_it_does() -> None:
    for fix in discover().values():
        assert (fix.mend.__doc__ or "").strip(), fix.rule


def test_a_check_imports_no_fix() -> None:
    script = "import sys, imgtool.rules as r; r.discover(); print([n for n in sys.modules if '.repair' in n])"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
