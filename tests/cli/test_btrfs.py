"""btrfs on the command line: judged like any other with the extra, and exit code 3 with its name without."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imgtool.extras import install_command
from tests.cli.running import environment, imgtool
from tests.disk.made import MIB, mbr, sparse, tool
from tests.guest.made_disks import folder_of, system

UUID = "b7f50000-0000-4000-8000-0000000000ff"


@pytest.fixture(scope="module")
def btrfs_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One btrfs partition with a system on it, made by mkfs.btrfs alone."""
    folder = tmp_path_factory.mktemp("btrfs")
    files = folder_of(system(f"UUID={UUID} / btrfs defaults 0 0\n"), folder / "files")
    tool("mkfs.btrfs", "-q", "-U", UUID, "-r", files, volume := sparse(folder / "volume", 512 * MIB))
    disk = mbr(folder / "disk.img", "2048,512M,83,*\n", size=514 * MIB)
    tool("dd", f"if={volume}", f"of={disk}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none")
    return disk


def without_dissect(folder: Path) -> dict[str, str]:
    """The environment of a machine on which the extra is not installed."""
    hidden = folder / "without"
    (hidden / "dissect").mkdir(parents=True)
    (hidden / "dissect/__init__.py").write_text("")  # stands before the real one, and has no btrfs in it
    plain = environment()
    return {**plain, "PYTHONPATH": f"{hidden}:{plain['PYTHONPATH']}"}


def report(
    *arguments: str | Path, env: dict[str, str] | None = None
) -> tuple[int, dict[str, dict[str, str]]]:
    done = imgtool("check", "--format", "json", *arguments, env=env)
    (image,) = json.loads(done.stdout)["images"]
    return done.returncode, {it["id"]: it for it in image["findings"]}


def test_a_system_on_btrfs_is_judged(btrfs_disk: Path) -> None:
    pytest.importorskip("dissect.btrfs")
    code, findings = report(btrfs_disk)
    assert code == 1  # it has no kernel worth the name
    for rule in ("disk.root", "disk.filesystem.clean", "disk.filesystem.space", "linux.fstab"):
        assert findings[rule]["status"] == "pass", findings[rule]
    assert findings["disk.filesystem.space"]["evidence"][0].startswith("partition 1: ")


def test_without_the_extra_the_verdict_is_unknown_and_the_extra_is_named(
    btrfs_disk: Path, tmp_path: Path
) -> None:
    env = without_dissect(tmp_path)
    code, findings = report("--engine", "native", "--select", "disk.root", btrfs_disk, env=env)
    assert code == 3
    assert findings["disk.root"]["status"] == "unknown"
    assert install_command("btrfs") in findings["disk.root"]["message"]
