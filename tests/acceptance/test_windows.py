"""Windows disks as each release lays them out: the good pass, damage gets an answer, facts come whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from bench.process import peak_memory
from fixtures import cache, images
from fixtures.pytest_plugin import ImageByName
from fixtures.windows.releases import RELEASES
from imgtool.judging import Request, judge
from imgtool.profiles import load_profile
from imgtool.report.model import ImageReport
from imgtool.rules import Status, discover

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"
STILL_GOOD = (
    "2016/one-partition",
    "2008r2/sha1-driver",
    "2016/config-reordered",
)
# What `imgtool check` ends with: 1 a finding, 3 can't be judged. None has more than the fault itself says.
DAMAGED = {
    "2012r2/hive-truncated": 3,
    "2012r2/software-truncated": 3,
    "2012r2/hive-cyclic": 3,
    "2012r2/hive-huge-cell": 3,
    "2012r2/hive-many-subkeys": 3,
    "2012r2/hive-one-key-many-times": 3,
    "2016/hive-without-end": 3,
    "2012r2/hive-log-unreadable": 3,
    "2012r2/driver-record-lost": 3,
    "2012r2/values-of-other-types": 1,
    "2012r2/no-control-set": 3,
}


def judged(path: Path) -> ImageReport:
    return judge(path, Request(load_profile("tce"), discover()))


@pytest.mark.parametrize("name", [*RELEASES, *STILL_GOOD])
def test_a_good_windows_has_nothing_to_say(name: str, image: ImageByName) -> None:
    report = judged(image(f"windows-{name}"))
    said = [it.id for it in report.findings if it.status not in (Status.PASS, Status.SKIP)]
    assert said == (["windows.version"] if name in ("2019", "2022") else [])
    assert report.verdict == "pass"
    skipped = {it.id for it in report.findings if it.status is Status.SKIP and it.id.startswith("windows.")}
    assert skipped == (set() if name.startswith("2008r2") else {"windows.driver-signing"})


@pytest.mark.parametrize("name", RELEASES)
def test_inspect_tells_the_release_and_its_control_set(name: str, image: ImageByName) -> None:
    command = [sys.executable, "-m", "imgtool", "inspect", "--format", "json", str(image(f"windows-{name}"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    content = json.loads(done.stdout)
    schemas = [json.loads((DOCS / f"{it}-v1.schema.json").read_text()) for it in ("report", "inspect")]
    registry = Registry().with_resources([(it["$id"], Resource.from_contents(it)) for it in schemas])
    Draft202012Validator(schemas[1], registry=registry).validate(content)
    facts, made = content["images"][0]["facts"], RELEASES[name]
    assert content["images"][0]["unread"] == {}
    assert facts["os"]["version"] == made.name
    assert facts["os"]["arch"] == made.machine
    assert facts["os"]["pretty_name"] == made.product
    windows = facts["windows"]
    assert windows["control_set"] == made.control_set
    assert windows["build"] == (f"{made.build}.{made.ubr}" if made.ubr else str(made.build))
    assert windows["hostname"] == "WIN-SHENZHEN01"
    assert windows["language"] == "zh-CN"
    assert len(windows["services"]) > 400
    assert {"7-Zip 19.00", "Contoso 业务组件 7"} <= {it["name"] for it in windows["programs"]}
    assert len(windows["updates"]) >= 160
    assert {it["profile"]: it["enabled"] for it in windows["firewall"]} == dict.fromkeys(
        ("Domain", "Private", "Public"), True
    )
    drivers = {(it["role"], it["name"]): it["devices"] for it in windows["drivers"]}
    assert [it[:21] for it in drivers["boot", "viostor"]] == [
        "PCI\\VEN_1AF4&DEV_1001",
        "PCI\\VEN_1AF4&DEV_1042",
    ]
    assert [it[:21] for it in drivers["network", "netkvm"]] == ["PCI\\VEN_1AF4&DEV_1000"]
    assert len(drivers["boot", "intelide"]) == 64
    assert ("network", "vmxnet3ndis6") not in drivers, "its service is gone"
    bound = {it["name"]: it["bindings"] for it in windows["virtio"]}
    assert [it[:17] for it in bound["viostor"]] == ["VEN_1AF4&DEV_1001", "VEN_1AF4&DEV_1042"]


@pytest.mark.parametrize(("name", "code"), DAMAGED.items())
def test_damage_gives_a_finding_or_an_unknown_in_bounded_memory(
    name: str, code: int, image: ImageByName
) -> None:
    check = [sys.executable, "-m", "imgtool", "check", str(image(f"windows-{name}"))]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert "--debug" not in done.stdout
    assert peak_memory(check, expected=code) < 256 << 20


def test_a_missing_hive_is_the_only_error_and_the_reason_for_the_rest(image: ImageByName) -> None:
    report = judged(image("windows-2012r2/no-system-hive"))
    failed = [it.id for it in report.findings if it.status is Status.FAIL]
    unknown = [it for it in report.findings if it.status is Status.UNKNOWN]
    assert failed == ["windows.boot"]
    assert len([it for it in unknown if it.because is None]) == 1


def test_of_two_windows_the_one_that_the_boot_configuration_starts_is_judged(image: ImageByName) -> None:
    report = judged(image("windows-2016/two-systems"))
    root = next(it for it in report.findings if it.id == "disk.root")
    assert report.facts["os"]["version"] == "2016"
    assert "partition 3" in root.message.en
    assert "Other systems: partition 2 (Windows)" in root.message.en
    assert report.verdict == "pass"


def test_every_windows_rule_has_an_image_that_fails_it() -> None:
    rules = {name for name in discover() if name.startswith("windows.")}
    failed = {
        expected.rule
        for name, recipe in images.RECIPES.items()
        if name.startswith("windows-")
        for expected in recipe.expected or ()
    }
    assert rules - failed == set()


def test_the_disk_is_judged_the_same_as_qcow2() -> None:
    with cache.scratch() as folder:
        raw = judged(images.make("windows-2012r2/vmware-tools", folder))
        other = judged(images.make("windows-2012r2/vmware-tools", folder, "qcow2"))
    of_disk = [(it.id, it.status, it.message) for it in raw.findings if it.id.startswith("windows.")]
    assert of_disk == [
        (it.id, it.status, it.message) for it in other.findings if it.id.startswith("windows.")
    ]
