"""`imgtool fix` as a command: what it refuses, what a plan looks like, and that nothing is touched."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tests.cli.running import PROJECT, environment, imgtool
from tests.disk.made import MIB
from tests.guest.made_disks import UUIDS, Part, disk_file, system

DOCS = PROJECT / "docs"
FSTAB = "/dev/sda1 / ext4 defaults 0 1\n/dev/vdb1 /data ext4 defaults 0 0\n"


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A small Debian on ext4 whose fstab names disks; much else is missing from it."""
    return disk_file(tmp_path, Part(system(FSTAB)))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def holds_to_schema(document: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(document)
    schemas = {
        name: json.loads((DOCS / name).read_text())
        for name in ("fix-v1.schema.json", "report-v1.schema.json")
    }
    registry = Registry().with_resources((name, Resource.from_contents(it)) for name, it in schemas.items())
    Draft202012Validator(schemas["fix-v1.schema.json"], registry=registry).validate(content)
    (only,) = content["images"]
    return dict(only)


def test_a_plan_shows_diffs_and_changes_nothing(faulty: Path, tmp_path: Path) -> None:
    before, there = digest(faulty), sorted(tmp_path.iterdir())
    run = imgtool("fix", "--plan", faulty)
    assert run.returncode == 1, run.stderr
    assert "linux.fstab.data-disk" in run.stdout
    assert "--- a/etc/fstab" in run.stdout
    assert f"+UUID={UUIDS[0]} / ext4 defaults 0 1" in run.stdout
    assert "Not mended:" in run.stdout
    assert run.stdout.startswith(f"{faulty}\n")
    assert f"\n  imgtool fix {faulty} -o " in run.stdout
    assert run.stdout.endswith("\nNothing was changed.\n")
    assert (digest(faulty), sorted(tmp_path.iterdir())) == (before, there)


def test_the_command_that_applies_a_plan_has_its_options(faulty: Path, tmp_path: Path) -> None:
    (tmp_path / "our limits.toml").write_text('extends = "tce"\nname = "ours"\n')
    options = ["--only", "linux.fstab,disk", "--force-import", "--profile", "our limits.toml"]
    run = imgtool("fix", "--plan", "--lang", "en", *options, faulty.name, cwd=tmp_path)
    given = "--only linux.fstab --only disk --force-import --profile 'our limits.toml'"
    assert f"\n  imgtool fix {given} {faulty.name} -o {faulty.stem}.qcow2\n" in run.stdout
    run = imgtool("fix", "--plan", faulty.name, "-o", "ours.raw", cwd=tmp_path)
    assert f"\n  imgtool fix {faulty.name} -o ours.raw\n" in run.stdout


def test_check_names_the_fix_with_the_options_that_it_was_given(faulty: Path) -> None:
    told = imgtool("check", "--target", "migrate", "--force-import", faulty).stdout
    assert f"\n    imgtool fix --plan --target migrate --force-import {faulty}\n" in told
    assert "imgtool fix" not in imgtool("check", "--target", "data-disk", faulty).stdout


def test_what_is_not_asked_for_and_what_a_person_has_to_do_is_said(faulty: Path) -> None:
    run = imgtool("fix", "--plan", "--only", "linux.fstab.device-names", faulty)
    assert run.returncode == 1
    assert "Not asked for (--only, --skip), and stays:" in run.stdout
    assert "linux.fstab.data-disk" in run.stdout.partition("Not asked for")[2]
    run = imgtool("fix", "--plan", "--only", "linux.key-files", faulty)
    assert "Nothing to mend" not in run.stdout
    assert "There is nothing that could be mended from here." in run.stdout
    by_hand = run.stdout.partition("Not mended:")[2].partition("Not asked for")[0]
    assert "linux.key-files" in by_hand
    assert "To fix:" in by_hand


def test_a_plan_whose_repair_shows_only_when_it_is_made_ends_with_3_where_that_is_an_error(
    tmp_path: Path,
) -> None:
    path = disk_file(tmp_path, Part(system(), options=("-O", "^metadata_csum")))
    with path.open("r+b") as file:  # the kernel found errors on it
        file.seek(MIB + 1024 + 0x3A)
        file.write(b"\x02")
    only = ("--only", "disk.filesystem.clean")
    plan = holds_to_schema(imgtool("fix", "--plan", "-f", "json", *only, path).stdout)
    assert plan["pending"] == [{"id": "disk.filesystem.clean", "severity": "error"}]
    assert "disk.filesystem.clean" not in {it["id"] for it in plan["unmended"]}
    (found,) = [it for it in plan["expected"]["findings"] if it["id"] == "disk.filesystem.clean"]
    assert found["status"] == "unknown"
    said = imgtool("fix", "--plan", *only, path).stdout
    assert "To be seen only when the steps are made:" in said


@pytest.mark.parametrize("name", [b"-a b.raw", b"caf\xe9.raw", b"quo'te $(id).raw", b"new\nline.raw"])
def test_the_command_for_fix_is_found_to_run_as_it_is_printed(
    faulty: Path, tmp_path: Path, name: bytes
) -> None:
    os.rename(os.fsencode(faulty), os.fsencode(tmp_path) + b"/" + name)
    told = imgtool("check", "--", Path(os.fsdecode(name)), cwd=tmp_path).stdout
    (command,) = (line.strip() for line in told.splitlines() if line.startswith("    imgtool fix --plan "))
    words = command.replace("imgtool", f"{sys.executable} -m imgtool", 1)
    done = subprocess.run(
        ["bash", "-c", words], cwd=tmp_path, env=environment(), capture_output=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert b"--- a/etc/fstab" in done.stdout


def test_a_plan_in_json_holds_to_its_schema(faulty: Path) -> None:
    plan = holds_to_schema(imgtool("fix", "--plan", "--format", "json", faulty).stdout)
    assert (plan["applied"], plan["after"], plan["output"]) == (False, None, None)
    assert {step["mends"] for step in plan["steps"]} >= {"linux.fstab.data-disk", "linux.fstab.device-names"}
    assert all(step["diff"] for step in plan["steps"] if step["action"] == "edit")
    assert all(it["reason"] for it in plan["unmended"])


def test_a_plan_speaks_chinese(faulty: Path) -> None:
    said = imgtool("fix", "--plan", "--lang", "zh", faulty).stdout
    assert "编辑" in said
    assert "未修复" in said


def test_only_and_skip_choose_rules(faulty: Path) -> None:
    only = holds_to_schema(
        imgtool("fix", "--plan", "-f", "json", "--only", "linux.fstab.data-disk", faulty).stdout
    )
    assert {step["mends"] for step in only["steps"]} == {"linux.fstab.data-disk"}
    skip = holds_to_schema(imgtool("fix", "--plan", "-f", "json", "--skip", "linux.fstab", faulty).stdout)
    assert not any(step["mends"].startswith("linux.fstab") for step in skip["steps"])
    assert imgtool("fix", "--plan", "--only", "no.such.rule", faulty).returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-o", "{image}"),
        ("-o", "{out}", "--in-place"),
        ("-o", "{there}"),
        ("-o", "{folder}/no/out.qcow2"),
    ],
    ids=["no output", "over itself", "two places", "existing", "no folder"],
)
def test_wrong_usage_is_told_before_anything_is_read(
    faulty: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    there = tmp_path / "there.qcow2"
    there.write_text("precious")
    names = {"image": faulty, "out": tmp_path / "out.qcow2", "there": there, "folder": tmp_path}
    run = imgtool("fix", faulty, *(word.format(**names) for word in arguments))
    assert run.returncode == 2, run.stderr
    assert there.read_text() == "precious"


def test_an_image_without_a_system_can_not_be_repaired(tmp_path: Path) -> None:
    empty = disk_file(tmp_path, Part({"data/x": "y"}))
    run = imgtool("fix", "--plan", empty)
    assert run.returncode == 3
    assert "disk.root" in run.stderr


def test_of_bytes_that_are_no_disk_the_rule_that_failed_is_named(tmp_path: Path) -> None:
    noise = tmp_path / "noise.raw"
    noise.write_bytes(bytes(range(1, 256)) * 4096)
    run = imgtool("fix", "--plan", noise)
    assert run.returncode == 3
    assert "disk.partition-table: " in run.stderr
    assert "disk.root" not in run.stderr


@pytest.mark.parametrize("content", [b"", b"QFI\xfb" + bytes(100), b"\x00" * 4096])
def test_what_is_no_image_is_said_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.qcow2"
    path.write_bytes(content)
    run = imgtool("fix", path, "-o", tmp_path / "out.qcow2")
    assert run.returncode == 3, run.stderr
    assert run.stderr.count("\n") == 1
    assert sorted(it.name for it in tmp_path.iterdir()) == ["x.qcow2"]


def test_the_help_names_every_option() -> None:
    said = imgtool("fix", "--help").stdout
    for option in (
        "--plan",
        "--only",
        "--skip",
        "--rebuild-initramfs",
        "--force-import",
        "--virtio-win",
        "--cloudbase-init",
        "--cloud-init-packages",
        "--in-place",
        "--network",
    ):
        assert option in said
