"""Real systems beside the golden disks: other releases of Debian, another maker of the initramfs."""

from __future__ import annotations

import pytest

from fixtures import debians, images
from imgtool.judging import Request, judge
from imgtool.profiles import load_profile
from imgtool.rules import Status, discover

pytestmark = pytest.mark.slow
VERSIONS = {"debian11": "11", "debian12-dracut": "12", "debian13": "13"}


@pytest.mark.parametrize("name", [recipe.name for recipe in debians.RECIPES])
def test_a_real_debian_passes_with_nothing_to_say(name: str) -> None:
    report = judge(images.path(name), Request(load_profile("tce"), discover()))
    said = [(it.id, it.message.en) for it in report.findings if it.status not in (Status.PASS, Status.SKIP)]
    assert said == []
    assert report.facts["os"]["import_os_version"] == VERSIONS[name]
