"""Tests of a group run in one process, so that they share what is dear to make."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("one")
def test_a_group_is_kept_together(request: pytest.FixtureRequest) -> None:
    """pytest-xdist 3.8 puts the group into a test's name to keep it together; with pytest 9.2 it no longer
    can, spreads the group over all workers and says nothing: what is shared is then made several times."""
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("not under `pytest -n … --dist loadgroup`")
    assert request.node.nodeid.endswith("@one")
