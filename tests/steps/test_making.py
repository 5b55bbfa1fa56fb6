"""The steps of `imgtool prepare` that make the image."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from fixtures.pytest_plugin import ImageByName
from imgtool.convert.progress import Silent
from imgtool.profiles import load_profile
from imgtool.steps.foresight import Foresight, foreseen, phrase
from imgtool.steps.making import Rehearse
from imgtool.steps.step import Halt, Order, Run
from imgtool.text import Text


@pytest.mark.slow
def test_an_image_that_does_not_boot_is_not_uploaded(image: ImageByName, tmp_path: Path) -> None:
    nothing = cast(Any, None)  # the step asks neither the journal nor the cloud
    order = Order(tmp_path / "in.raw", tmp_path, load_profile("tce"), "", "name")
    run = Run(order, nothing, Silent(), nothing, nothing, nothing, nothing)
    shutil.copyfile(image("boot/password"), run.product)
    with pytest.raises(Halt, match="not all went well") as halt:
        Rehearse().do(run)
    assert halt.value.report is not None
    assert "linux.bootloader" in {it.id for it in halt.value.report.findings}


def test_a_repair_that_shows_only_when_it_is_made_does_not_stop_a_run(
    image: ImageByName, tmp_path: Path
) -> None:
    """A plan reads a Windows' registry as it was; the check that follows the repair decides."""
    order = Order(image("windows-2016/setting-missing"), tmp_path, load_profile("tce"), "", "name")
    found = foreseen(order)
    assert (found.stops, found.exit_code) == ("", 0)
    assert found.mended == found.wrong == ("windows.cloudbase-init.config",)


def test_a_run_that_would_stop_says_where_the_reason_is_told() -> None:
    lacking = phrase(Foresight("fix", None, 1, 0, ("windows.virtio.storage",)))
    assert lacking.en.endswith("`fix`. `imgtool fix --plan` tells why, and what it lacks.")
    unreadable = phrase(Foresight("fix", Text.same("It is LUKS."), 3, 0, ("disk.root",)))
    assert unreadable.en.endswith("`fix`. It is LUKS.")
