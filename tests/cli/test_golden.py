"""The commands on real Debian images: what they print holds to the schemas and says what the image is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import pytest

from fixtures.pytest_plugin import ImageByName
from tests.cli.running import imgtool
from tests.cli.test_commands import validator

pytestmark = pytest.mark.slow

TOP = Path(__file__).parents[2]

GOLDEN = [
    ("debian12-bios", "mbr", "bios"),
    ("debian12-uefi", "gpt", "uefi"),
    ("debian12-lvm-xfs", "mbr", "bios"),
]


def facts_of(document: str, schema: str) -> dict[str, Any]:
    content = json.loads(document)
    validator(schema).validate(content)
    facts: dict[str, Any] = content["images"][0]["facts"]
    return facts


@pytest.mark.parametrize(("name", "table", "boot_mode"), GOLDEN)
def test_a_good_image_passes_and_its_report_holds_to_the_schema(
    image: ImageByName, name: str, table: str, boot_mode: str
) -> None:
    done = imgtool("check", "--format", "json", image(name))
    assert done.returncode == 0, done.stdout
    facts = facts_of(done.stdout, "report-v1.schema.json")
    assert (facts["partition_table"], facts["boot_mode"]) == (table, boot_mode)
    system = facts["os"]
    assert (system["distro"], system["import_os_type"], system["import_os_version"]) == (
        "debian",
        "Debian",
        "12",
    )


@pytest.mark.parametrize(("name", "table", "boot_mode"), GOLDEN)
def test_inspect_of_a_good_image_reads_everything(
    image: ImageByName, name: str, table: str, boot_mode: str
) -> None:
    done = imgtool("inspect", "--format", "json", image(name))
    assert done.returncode == 0, done.stdout
    facts = facts_of(done.stdout, "inspect-v1.schema.json")
    assert facts["partition_table"] == table
    linux = facts["linux"]
    assert linux["default_kernel"] in linux["kernels"]
    assert linux["default_kernel"].endswith("-amd64")
    assert linux["cloud_init"]["installed"]
    assert "ConfigDrive" in linux["cloud_init"]["datasources"]
    assert "/" in [entry["mount_point"] for entry in linux["fstab"]]


def test_a_fault_is_said_in_every_form(image: ImageByName) -> None:
    path = image("debian12-bios/fstab-vdb1")
    for form in ("text", "json", "junit", "sarif", "markdown", "html"):
        done = imgtool("check", "--format", form, "--lang", "zh", path)
        assert done.returncode == 1
        assert "linux.fstab.data-disk" in done.stdout, form
        assert "/dev/vdb1" in done.stdout, form
    junit = imgtool("check", "-f", "junit", path).stdout.partition("\n")[2]
    assert Xml.fromstring(junit).get("failures") == "1"  # noqa: S314 - our own


def test_the_sections_of_a_report_may_be_selected_alone(image: ImageByName) -> None:
    done = imgtool("check", "-f", "json", "--select", "linux.virtio", image("debian12-bios"))
    assert done.returncode == 0
    found = {it["id"]: it["status"] for it in json.loads(done.stdout)["images"][0]["findings"]}
    assert {"linux.virtio.kernel", "linux.virtio.initramfs"} <= found.keys()
    assert all(rule.startswith("linux.virtio.") for rule in found)
    assert set(found.values()) == {"pass"}


def shape(text: str, path: str) -> list[str]:
    """Its lines without what differs from day to day: the path, sizes, versions, counts, seconds."""
    return [
        re.sub(r"[0-9]+(\.[0-9]+)*", "1", line) for line in text.strip().replace(path, "PATH").splitlines()
    ]


@pytest.mark.parametrize(("readme", "lang"), [("README.md", "en"), ("README.zh-CN.md", "zh")])
def test_the_readme_shows_what_is_printed(image: ImageByName, readme: str, lang: str) -> None:
    good, broken = re.findall(r"(?s)```text\n(.+?)```", (TOP / readme).read_text())[:2]
    path = image("debian12-bios")
    assert shape(imgtool("check", path).stdout, str(path)) == shape(good, good.partition("\n")[0])
    path = image("debian12-bios/no-virtio-initramfs", "qcow2")
    assert shape(imgtool("check", "--lang", lang, path).stdout, str(path)) == shape(broken, "disk.qcow2")
