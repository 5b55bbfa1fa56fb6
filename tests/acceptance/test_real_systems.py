"""Real systems beside the golden disks: other releases of Debian, another maker of the initramfs."""

from __future__ import annotations

import pytest

from fixtures import cache, debians, images
from fixtures.distributions.build import build
from fixtures.foreign import ARCHITECTURES, described
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


@pytest.mark.parametrize("name", ["arm64", "i386"])
def test_a_real_kernel_of_another_architecture_is_known_for_what_it_is(name: str) -> None:
    report = judge(images.path(f"debian12-{name}"), Request(load_profile("tce"), discover()))
    said = [(it.id, it.message.en) for it in report.findings if it.status not in (Status.PASS, Status.SKIP)]
    assert said == []
    assert report.facts["os"]["arch"] == name
    (evidence,) = (it.evidence for it in report.findings if it.id == "linux.virtio.kernel")
    assert any("CONFIG_VIRTIO_BLK=m" in line for line in evidence)


@pytest.mark.parametrize("name", ["arm64", "i386"])
def test_virtio_is_missed_in_the_initramfs_of_a_real_foreign_kernel(name: str) -> None:
    with cache.scratch() as folder:
        disk = folder / "disk.raw"
        build(disk, described(ARCHITECTURES[name], without="virtio"))
        report = judge(disk, Request(load_profile("tce"), discover()))
    failed = [it for it in report.findings if it.status is Status.FAIL]
    assert [it.id for it in failed] == ["linux.virtio.initramfs"]
    assert failed[0].remedy is not None
    assert "mkinitramfs -o /boot/initrd.img-" in failed[0].remedy.en
