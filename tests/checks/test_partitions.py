"""disk.partition-table, disk.partition-table.allowed, disk.partitions.bounds: one fault, one finding."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from imgtool.checks import partitions as room

from imgtool.image import Image, Options
from imgtool.profiles import load_profile
from imgtool.rules import Finding, Rule, Severity, Status, Target, run
from tests.disk.made import MIB, gpt, mbr, sparse, tool, write
from tests.disk.test_gpt import SCRIPT, large_sectors

RULES = {found.id: found for found in vars(room).values() if isinstance(found, Rule)}


def judged(path: Path, target: Target = "import") -> dict[str, Finding]:
    with Image(path, load_profile("tce"), Options(target=target)) as image:
        findings = run(image, RULES)
    assert len({finding.id for finding in findings}) == len(findings), findings
    return {finding.id.removeprefix("disk.partition"): finding for finding in findings}


def good_mbr(path: Path) -> Path:
    return mbr(path, "2048,16M,83,*\n,16M,82\n")


def good_gpt(path: Path) -> Path:
    return gpt(path, SCRIPT)


@pytest.mark.parametrize("make", [good_mbr, good_gpt])
def test_a_good_table_passes_with_its_partitions_as_evidence(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    findings = judged(make(tmp_path / "disk"))
    assert {name: finding.status for name, finding in findings.items()} == {
        "-table": Status.PASS,
        "-table.allowed": Status.PASS,
        "s.bounds": Status.PASS,
    }
    assert any("partition 1: bytes 1048576 to" in line for line in findings["-table"].evidence)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (["mkfs.ext4", "-q", "-L", "root"], "ext4"),
        (["mkfs.vfat", "-F", "32"], "vfat"),
        (["mkfs.ntfs", "-Q", "-F", "-q"], "ntfs"),
        (["mkswap", "-q"], "swap"),
    ],
)
def test_an_exported_partition_has_no_table_and_is_called_what_it_is(
    make: list[str], says: str, tmp_path: Path
) -> None:
    path = sparse(tmp_path / "sda1.raw", 64 * MIB)
    tool(*make, path)
    found = judged(path)["-table"]
    assert (found.status, found.platform_code) == (Status.FAIL, "PartitionNotPresent")
    assert any(says in line for line in (*found.evidence, found.message.en))
    assert found.remedy is not None
    assert "/dev/sda1" in found.remedy.en


def test_without_a_table_nothing_else_is_said_to_be_wrong(tmp_path: Path) -> None:
    findings = judged(sparse(tmp_path / "disk", MIB))
    assert {finding.status for name, finding in findings.items() if name != "-table"} == {Status.SKIP}
    assert "empty" in findings["-table"].message.en


def test_a_bare_filesystem_is_a_fine_data_disk(tmp_path: Path) -> None:
    path = sparse(tmp_path / "disk", 16 * MIB)
    tool("mkfs.ext4", "-q", path)
    findings = judged(path, "data-disk")
    assert {finding.status for finding in findings.values()} <= {Status.PASS, Status.SKIP}


def commands(found: Finding) -> list[str]:
    assert found.remedy is not None
    return [line for line in found.remedy.en.splitlines() if line.startswith(("qemu-img", "sgdisk", "dd"))]


BROKEN_GPT = {
    "primary header": (lambda path: write(path, 600, b"\xff"), Status.FAIL, "primary GPT"),
    "primary entries": (lambda path: write(path, 1030, b"\xff"), Status.FAIL, "primary GPT"),
    "backup gone": (lambda path: write(path, 64 * MIB - 512, bytes(512)), Status.WARN, "backup GPT"),
    "enlarged": (lambda path: os.truncate(path, 80 * MIB), Status.WARN, "enlarged"),
    "no protective MBR": (lambda path: write(path, 0, bytes(512)), Status.FAIL, "protective MBR"),
}


@pytest.mark.parametrize("name", BROKEN_GPT)
@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_a_broken_gpt_is_named_and_the_commands_given_mend_it(
    name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damage, status, says = BROKEN_GPT[name]
    path = good_gpt(tmp_path / "it's a disk.raw")
    damage(path)
    if form == "qcow2":
        image = path.with_suffix(".qcow2")
        tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", path, image)
        path = image
    found = judged(path)["-table"]
    assert (found.status, says in found.message.en) == (status, True)
    mended = tmp_path / "mended"
    mended.mkdir()
    monkeypatch.chdir(mended)
    for line in commands(found):
        tool("sh", "-c", line)
    made = next(iter(mended.glob("*.qcow2")), mended / "disk.raw")
    assert judged(made)["-table"].status is Status.PASS


def test_a_table_for_4096_byte_sectors_fails_and_is_rewritten_by_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "disk.raw"
    path.write_bytes(large_sectors())
    found = judged(path)["-table"]
    assert (found.status, "4096" in found.message.en) == (Status.FAIL, True)
    (tmp_path / "new").mkdir()
    monkeypatch.chdir(tmp_path / "new")
    for line in commands(found):
        tool("sh", "-c", line)
    with Image(path, load_profile("tce")) as before, Image(Path("disk.raw"), load_profile("tce")) as after:
        assert after.disk.table.partitions == before.disk.table.partitions
        assert (after.disk.table.sector_size, after.disk.table.problems) == (512, ())


def test_a_hybrid_mbr_that_agrees_with_its_gpt_passes(tmp_path: Path) -> None:
    path = good_gpt(tmp_path / "disk")
    tool("sgdisk", "-h", "3", path)
    found = judged(path)["-table"]
    assert (found.status, "hybrid" in found.message.en) == (Status.PASS, True)


def test_a_disk_cut_short_fails_by_its_bounds_alone(tmp_path: Path) -> None:
    path = good_mbr(tmp_path / "disk")
    os.truncate(path, 20 * MIB)
    findings = judged(path)
    failed = [finding for finding in findings.values() if finding.status is Status.FAIL]
    assert [finding.id for finding in failed] == ["disk.partitions.bounds"]
    assert failed[0].platform_code == "PartitionNotPresent"
    assert f"{13 * MIB} bytes past the end" in failed[0].message.en
    assert "without count" in str(failed[0].remedy)


def test_a_gpt_disk_cut_short_fails_by_its_bounds_and_warns_of_the_backup(tmp_path: Path) -> None:
    path = good_gpt(tmp_path / "disk")
    os.truncate(path, 9 * MIB)
    findings = judged(path)
    assert findings["-table"].status is Status.WARN
    assert findings["s.bounds"].status is Status.FAIL


def test_a_chain_of_logical_partitions_cut_off_is_one_error(tmp_path: Path) -> None:
    path = mbr(
        tmp_path / "disk", "1 : start=2048,size=40M,type=5\n5 : size=10M,type=83\n6 : size=10M,type=83\n"
    )
    os.truncate(path, 6 * MIB)
    findings = judged(path)
    assert [finding.id for finding in findings.values() if finding.status is Status.FAIL] == [
        "disk.partitions.bounds"
    ]


def test_overlapping_partitions_fail(tmp_path: Path) -> None:
    path = good_mbr(tmp_path / "disk")
    write(path, 446 + 16 + 8, (3000).to_bytes(4, "little"))
    findings = judged(path)
    assert findings["-table"].status is Status.PASS
    assert (findings["s.bounds"].status, "overlap" in findings["s.bounds"].message.en) == (Status.FAIL, True)


def test_a_partition_without_length_is_a_warning(tmp_path: Path) -> None:
    path = good_mbr(tmp_path / "disk")
    write(path, 446 + 16 + 12, bytes(4))
    assert judged(path)["s.bounds"].status is Status.WARN


def test_gpt_is_refused_for_windows_and_for_migration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = good_gpt(tmp_path / "disk")
    expected = {
        ("linux", "import"): Status.PASS,
        ("windows", "import"): Status.FAIL,
        ("unknown", "import"): Status.PASS,
        ("linux", "migrate"): Status.FAIL,
        ("unknown", "migrate"): Status.FAIL,
        ("windows", "data-disk"): Status.PASS,
    }
    targets: tuple[Target, ...] = ("import", "migrate", "data-disk")
    for (family, target), status in expected.items():
        monkeypatch.setattr(Image, "family", property(lambda image, family=family: family))
        (chosen,) = [known for known in targets if known == target]
        found = judged(path, chosen)["-table.allowed"]
        assert found.status is status, (family, target)
        assert found.status is Status.PASS or found.remedy is not None


def test_paths_in_commands_are_quoted(tmp_path: Path) -> None:
    path = good_gpt(tmp_path / "a; rm -rf x.raw")
    write(path, 600, b"\xff")
    line = commands(judged(path)["-table"])[0]
    assert str(path) in shlex.split(line)


def test_every_text_is_in_both_languages(tmp_path: Path) -> None:
    shown = []
    for name, (damage, _, _) in BROKEN_GPT.items():
        path = good_gpt(tmp_path / name)
        damage(path)
        shown.append(judged(path)["-table"])
    shutil.rmtree(tmp_path)
    for found in shown:
        for text in (found.message, found.remedy, found.title):
            assert text is not None
            assert text.en
            assert any("\u4e00" <= char <= "\u9fff" for char in text.zh)


def test_levels_are_the_catalogues() -> None:
    assert {found.severity for found in RULES.values()} == {Severity.ERROR}
