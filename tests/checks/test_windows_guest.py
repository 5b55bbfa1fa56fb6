"""The stand-in for a Windows guest answers as a real hive does."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from fixtures.windows import hive
from fixtures.windows.disk import windows
from fixtures.windows.releases import RELEASES
from imgtool.guest.windows.registry import Hive, Key
from tests.checks.windows_guest import RULES, MemoryHive, MemoryKey, findings, image, levels


def same(real: Key, memory: MemoryKey) -> int:
    """How many keys are the same from here on."""
    assert sorted(real.names()) == sorted(memory.names())
    assert sorted(real.values()) == sorted(memory.values())
    for name in real.values():
        for answer in ("text", "texts", "number", "data", "type_of", "has"):
            assert getattr(real, answer)(name) == getattr(memory, answer)(name), (real.path, name, answer)
    count = 1
    for name in real.names():
        below, other = real.key(name.upper()), memory.key(name.upper())
        assert below is not None
        assert other is not None
        assert below.path == other.path
        count += same(below, other)
    return count


def test_its_keys_are_those_of_a_real_hive(tmp_path: Path) -> None:
    made = windows(RELEASES["2012r2"], more_services=20)
    tree = {path: it for path, it in made.system.items() if "Control\\" in path or "业务" in path}
    hive.make_hive(tmp_path / "SYSTEM", tree, "SYSTEM")
    real = Hive(io.BytesIO((tmp_path / "SYSTEM").read_bytes()), "/SYSTEM")
    assert same(real.root, MemoryHive(tree)) > 20
    assert MemoryHive(tree).key("ControlSet009") is None


@pytest.mark.parametrize("release", RELEASES)
def test_a_good_windows_keeps_every_rule(release: str) -> None:
    given = image(release)
    said = {name for name in RULES if set(levels(name, given)) - {"kept", "not judged"}}
    assert said == ({"windows.version"} if release in ("2019", "2022") else set())


def test_every_rule_is_kept_by_a_good_windows() -> None:
    kept = {
        name for release in ("2008r2", "2016") for name in RULES if levels(name, image(release)) == ["kept"]
    }
    assert kept == set(RULES)


@pytest.mark.parametrize("release", ["2008", "2008r2", "2022"])
def test_all_rules_together_give_a_finding_each(release: str) -> None:
    assert {it.id for it in findings(image(release))} >= set(RULES)
