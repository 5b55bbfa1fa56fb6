"""Every distribution against every rule for Linux: a good image of each passes, and one change gives that
rule's finding, with a remedy in the words of this distribution."""

from __future__ import annotations

from functools import cache as cached
from importlib.util import find_spec

import pytest

from fixtures import cache
from fixtures.distributions.all import DISTRIBUTIONS, FAMILIES
from fixtures.distributions.build import build, with_kernel
from fixtures.distributions.changes import FAULTS, Fault
from fixtures.distributions.description import Distribution
from fixtures.distributions.tree import Tree
from imgtool.image import Options
from imgtool.judging import Request, judge
from imgtool.profiles import load_profile
from imgtool.report.model import ImageReport
from imgtool.rules import Rule, Severity, Status, discover

RULES = {rule.id: rule for rule in discover().values() if rule.family == "linux"}
REQUEST = Request(load_profile("tce"), discover())
FORCED = Request(load_profile("tce"), discover(), options=Options(force_import=True))
# Faults that are those of other rules too.
NOT_HERE = {"disk.filesystem.space"}  # of every filesystem, whoever made it
ALSO: dict[str, set[str]] = {
    "linux.bootloader.root:root-by-device": {"linux.fstab.device-names"},
}


def readable(distribution: Distribution) -> None:
    """Skips a test whose image can't be read here."""
    kinds = {volume.kind for volume in distribution.disk.volumes}
    if "btrfs" in kinds and find_spec("imgtool.guest.btrfs") is None:
        pytest.skip("this version does not read btrfs yet")


@cached
def good(name: str) -> ImageReport:
    """The report on a good image, made once for all the rules."""
    with cache.small_scratch() as folder:
        build(folder / f"{name}.raw", DISTRIBUTIONS[name])
        return judge(folder / f"{name}.raw", REQUEST)


def changed(name: str, fault: Fault) -> ImageReport:
    """The report on the image with one change."""
    with cache.small_scratch() as folder:
        path = folder / f"{name}.raw"
        build(path, DISTRIBUTIONS[name], fault.apply, initramfs_without=fault.initramfs_without)
        return judge(path, FORCED if fault.forced else REQUEST)


def in_group(names: object) -> list[object]:
    """Parameters that one worker runs, which makes each distribution's image once."""
    assert isinstance(names, tuple | list | dict)
    return [pytest.param(name, marks=pytest.mark.xdist_group(f"distribution {name}")) for name in names]


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
@pytest.mark.parametrize("name", in_group(DISTRIBUTIONS))
def test_a_good_image_keeps_the_rule(name: str, rule: Rule) -> None:
    distribution = DISTRIBUTIONS[name]
    readable(distribution)
    outcomes = [it for it in good(name).findings if it.id == rule.id]
    assert outcomes, "the rule says nothing of it"
    allowed = {Status.PASS, Status.SKIP} | ({Status.WARN} if rule.id in distribution.warned else set())
    told = [it for it in outcomes if it.status is Status.WARN and it.severity is Severity.INFO]
    wrong = [it for it in outcomes if it.status not in allowed and it not in told]
    assert [(it.status.value, it.message.en, it.evidence) for it in wrong] == []


@pytest.mark.parametrize("name", in_group(DISTRIBUTIONS))
def test_a_good_image_is_known_for_what_it_is(name: str) -> None:
    distribution = DISTRIBUTIONS[name]
    readable(distribution)
    report = good(name)
    assert report.verdict == "pass"
    system = report.facts["os"]
    assert (system.get("import_os_type") or "", system.get("import_os_version") or "") == distribution.os
    assert (system["version"] or "").startswith(distribution.version)
    (started,) = (it for it in report.findings if it.id == "linux.kernel" and it.status is Status.PASS)
    assert f"Kernel {distribution.kernel.version} starts by default" in started.message.en


FAULTY = [
    pytest.param(
        name,
        fault,
        id=f"{name}-{fault.name}",
        marks=pytest.mark.xdist_group(f"faults {fault.rule}"),
    )
    for name in FAMILIES
    for fault in FAULTS
    if fault.concerns(DISTRIBUTIONS[name])
]


@pytest.mark.parametrize(("name", "fault"), FAULTY)
def test_a_change_is_found_with_the_distribution_s_own_remedy(name: str, fault: Fault) -> None:
    distribution = DISTRIBUTIONS[name]
    readable(distribution)
    report = changed(name, fault)
    errors = {it.id for it in report.findings if it.status is Status.FAIL}
    expected = {fault.rule} if fault.level == "error" else set()
    assert errors - ALSO.get(fault.name, set()) == expected
    own = [
        it
        for it in report.findings
        if it.id == fault.rule
        and it.status in (Status.FAIL, Status.WARN)
        and it.severity.value == fault.level
    ]
    assert own
    assert all(it.evidence for it in own)
    remedies = [it.remedy for it in own if it.remedy is not None]
    words = fault.remedy(distribution)
    assert not words or any(words in it.en and words in it.zh for it in remedies), remedies


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_for_linux_has_a_fault(rule: str) -> None:
    assert rule in {fault.rule for fault in FAULTS} | NOT_HERE


# What tells of a kernel's drivers where its configuration is not kept as a file.
KERNELS: dict[str, dict[str, object]] = {
    "no configuration": {"config": False},
    "the configuration inside the kernel": {"config": False, "embedded": True},
    "modules compressed with gzip": {"config": False, "suffix": ".ko.gz"},
    "modules compressed with zstd": {"config": False, "suffix": ".ko.zst"},
    "modules as they are": {"config": False, "suffix": ".ko"},
    "an initramfs of lz4": {"compression": "lz4", "microcode": True},
    "an initramfs of lzma": {"compression": "lzma"},
    "an initramfs that is not compressed": {"compression": ""},
}


@pytest.mark.parametrize("without", [(), ("virtio_blk",)], ids=["good", "no virtio_blk"])
@pytest.mark.parametrize("how", KERNELS)
@pytest.mark.parametrize("name", ["centos-7", "rocky-9", "debian-10"])
def test_virtio_is_found_whatever_a_kernel_tells_of_itself(
    name: str, how: str, without: tuple[str, ...]
) -> None:
    described = with_kernel(DISTRIBUTIONS[name], **KERNELS[how])
    with cache.small_scratch() as folder:
        build(folder / "disk.raw", described, initramfs_without=without)
        report = judge(folder / "disk.raw", REQUEST)
    failed = {it.id for it in report.findings if it.status in (Status.FAIL, Status.UNKNOWN)}
    assert failed == ({"linux.virtio.initramfs"} if without else set())


def test_a_module_s_name_may_have_dashes() -> None:
    def dashes(tree: Tree, distribution: Distribution) -> None:
        folder = f"/lib/modules/{distribution.kernel.version}"
        for path in tree.match(f"/usr{folder}/kernel/*/virtio_*"):
            tree.nodes[path.replace("virtio_", "virtio-")] = tree.nodes.pop(path)
        tree.replace(f"{folder}/modules.dep", "virtio_", "virtio-")
        tree.remove(f"/boot/config-{distribution.kernel.version}")

    with cache.small_scratch() as folder:
        build(folder / "disk.raw", DISTRIBUTIONS["centos-7"], dashes)
        report = judge(folder / "disk.raw", REQUEST)
    assert report.verdict == "pass"


def set_default(tree: Tree, distribution: Distribution) -> None:
    """The older kernel as the default, as each distribution's own command sets it."""
    new, old = distribution.kernel, distribution.older
    assert old is not None
    if distribution.loader == "grub-legacy":
        tree.replace("/boot/grub/grub.conf", "default=0", "default=1")  # grubby --set-default
    elif distribution.family == "debian":
        tree.replace("/boot/grub/grub.cfg", 'set default="0"', 'set default="1>1"')  # GRUB_DEFAULT
    elif distribution.loader == "bls":
        tree.replace("/boot/grub2/grubenv", new.version, old.version)  # grubby, by entry
    else:
        titles = (kernel.title.format(kernel.version) for kernel in (new, old))
        tree.replace("/boot/grub2/grubenv", *titles)  # grub2-set-default, by title


@pytest.mark.parametrize("name", ["centos-6", "centos-7", "centos-8", "oracle-7", "oracle-8", "debian-8"])
def test_the_default_kernel_that_was_set_counts_not_the_newest(name: str) -> None:
    distribution = DISTRIBUTIONS[name]
    assert distribution.older is not None
    with cache.small_scratch() as folder:
        build(folder / "disk.raw", distribution, set_default)
        report = judge(folder / "disk.raw", REQUEST)
    (started,) = (it for it in report.findings if it.id == "linux.kernel")
    assert f"Kernel {distribution.older.version} starts by default" in started.message.en
