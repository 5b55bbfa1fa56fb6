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


# Those that one worker has minutes to do with (a test, or a group, by the file that it begins in), the
# longest first: begun last, they would leave all workers but one without work.
LONGEST = (
    "tests/repair/test_fix_real.py",  # and all that repairs through the appliance
    "tests/repair/test_fix_packages.py",
    "tests/rehearsal/test_good_systems.py",
    "tests/rehearsal/test_broken_systems.py",
    "tests/cli/test_engine.py",  # and what else reads through the appliance
    "tests/acceptance/test_windows_libguestfs.py",
    "tests/guest/test_parity.py",
    "tests/cloud/test_kill.py",
    "tests/rehearsal/test_screens.py",
    "tests/packaging/test_install.py",
    "tests/convert/test_shrink.py",
    "tests/convert/test_qcow2_writer_real.py",
)


def turn(item: pytest.Item) -> int:
    """Quick tests first: what is broken shows within seconds, before any system is built. Then LONGEST."""
    if item.get_closest_marker("slow") is None:
        return 0
    file = item.nodeid.partition("::")[0]
    return 1 + (LONGEST.index(file) if file in LONGEST else len(LONGEST))


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: guests that do nothing and time limits are waited for, too."""
    return len(os.sched_getaffinity(0)) + 1


def shares(item: pytest.Item) -> bool:
    """Whether it is a quick test that uses what its file makes once: spread over workers, each would make
    it."""
    if item.get_closest_marker("slow") is not None or item.get_closest_marker("xdist_group") is not None:
        return False
    fixtures = item._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined] # no other way to ask
    return any(made[-1].scope == "module" for made in fixtures.values())


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist puts the groups into the tests' names
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in their turn; within one they stay in their files' order."""
    items.sort(key=turn)
    for item in items:
        if shares(item):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
