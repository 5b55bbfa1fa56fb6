"""`imgtool fix` of a SUSE on btrfs, through the real appliance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fixtures import cache
from fixtures.distributions.all import DISTRIBUTIONS
from tests.repair.test_every_fixable_rule import behind, linux, of
from tests.repair.test_fix_real import broken, fix

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("fix")]


@pytest.fixture
def folder() -> Iterator[Path]:
    with cache.scratch() as made:
        yield made


def test_a_root_in_a_subvolume_with_snapshots_beside_it_is_mended(folder: Path) -> None:
    """All faults of the catalogue at once."""
    path, out = folder / "suse.raw", folder / "suse.qcow2"
    case = linux("opensuse-leap-15", of(DISTRIBUTIONS["opensuse-leap-15"]))
    case.make(path, ())
    report = fix(path, "-o", out)
    assert broken(report["before"]) >= case.rules - behind(case.rules) - {"linux.clock"}
    assert broken(report["after"]) == set()
    assert [it["status"] for it in report["after"]["findings"]] == [
        it["status"] for it in report["expected"]["findings"]
    ]
    assert fix("--plan", out)["steps"] == []
