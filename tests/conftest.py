"""What holds for every test: where images come from, a locale, order, and repeatable random examples."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# Messages and sort orders of the tools that make the test data must not depend on who runs the tests.
os.environ["LC_ALL"] = "C.UTF-8"
os.environ.pop("LANGUAGE", None)
os.environ["TZ"] = "UTC"

# Debian keeps mkfs, sfdisk and LVM in folders that an ordinary user's PATH leaves out.
for folder in ("/usr/sbin", "/sbin"):
    if folder not in os.environ.get("PATH", "").split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join(filter(None, (os.environ.get("PATH"), folder)))

# The same examples on every run: a red test stays red. `HYPOTHESIS_PROFILE=explore` looks for new ones.
_quiet = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, database=None, suppress_health_check=_quiet
)
settings.register_profile("explore", deadline=None, max_examples=2000, suppress_health_check=_quiet)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_configure(config: pytest.Config) -> None:
    """Take in the images' fixtures (`fixtures/`), also in a process that runs a single folder of tests."""
    config.pluginmanager.import_plugin("fixtures.pytest_plugin")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first: what is broken shows within seconds, before any system is built."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
