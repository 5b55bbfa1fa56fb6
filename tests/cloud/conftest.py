"""A sandbox for each test that asks for one, and the SDKs' clients for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imgtool.cloud.sandbox.server import Sandbox
from tests.cloud.people import environment_for


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with Sandbox(tmp_path / "sandbox").running() as running:
        yield running


@pytest.fixture
def env(sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    """The environment of a person whose cloud is the sandbox."""
    return environment_for(sandbox, tmp_path)
