"""Tests of a group run in one process, so that they share what is dear to make."""

from __future__ import annotations

import os

import pytest

from tests.conftest import LONGEST


@pytest.mark.xdist_group("one")
def test_a_group_is_kept_together(request: pytest.FixtureRequest) -> None:
    """pytest-xdist 3.8 puts the group into a test's name to keep it together; with pytest 9.2 it no longer
    can, spreads the group over all workers and says nothing: what is shared is then made several times."""
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("not under `pytest -n … --dist loadgroup`")
    assert request.node.nodeid.endswith("@one")


@pytest.fixture(scope="module")
def made_by() -> int:
    return os.getpid()


@pytest.mark.parametrize("number", range(6))
def test_quick_tests_that_share_what_their_file_makes_are_a_group(
    request: pytest.FixtureRequest, made_by: int, number: int
) -> None:
    if not request.config.getoption("loadgroup", default=False):
        pytest.skip("not under `pytest -n … --dist loadgroup`")
    assert request.node.nodeid.endswith("@tests/test_grouping.py")


@pytest.mark.parametrize("file", LONGEST)
def test_what_is_to_begin_first_is_there(request: pytest.FixtureRequest, file: str) -> None:
    assert (request.config.rootpath / file).is_file()
