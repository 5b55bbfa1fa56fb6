"""imgtool as people get it: from a wheel in an empty environment, and editable from this checkout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("packaging")]


def run(args: Sequence[str | Path], expected: Sequence[int] = (0,)) -> str:
    """A command's standard output; fails with everything that it printed when it ends otherwise."""
    command = [str(arg) for arg in args]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode in expected, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources so that no build/ of the checkout gets into it."""
    sources = tmp_path_factory.mktemp("sources") / "imgtool"
    left_by_use = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "tests")
    shutil.copytree(CHECKOUT, sources, ignore=left_by_use)
    out = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "build", "--wheel", "--outdir", out, sources])
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of an empty environment on the distribution's Python: the wheel and what it asks for."""
    environment = tmp_path_factory.mktemp("environment")
    run(["/usr/bin/python3", "-m", "venv", environment])
    run([environment / "bin/python", "-m", "pip", "install", "--quiet", "--no-input", wheel])
    return environment / "bin"


@pytest.fixture(scope="module")
def partitioned_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with one empty Linux partition: there is something to judge, and no system."""
    disk = tmp_path_factory.mktemp("disk") / "empty.raw"
    with disk.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["sfdisk", "--quiet", disk], input=b"label: dos\n2048,,83,*\n", check=True)
    return disk


def findings(imgtool: Path, disk: Path) -> dict[str, str]:
    """Status by rule, and no error on stderr."""
    report = json.loads(run([imgtool, "check", "--format", "json", disk], expected=[1]))
    return {found["id"]: found["status"] for found in report["images"][0]["findings"]}


def test_the_wheel_puts_one_name_into_site_packages(wheel: Path) -> None:
    names = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in names if not name.endswith(".dist-info")} == {"imgtool"}


def test_the_wheel_holds_every_module_and_data_file_of_the_program(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    kinds = {".py", ".toml", ".typed", ".json"}
    folders = {"imgtool": "imgtool", "checks": "imgtool/checks", "converters": "imgtool/converters"}
    wanted = {
        f"{inside}/{path.relative_to(CHECKOUT / folder)}"
        for folder, inside in folders.items()
        for path in (CHECKOUT / folder).rglob("*")
        if path.suffix in kinds
    }
    assert wanted - held == set()
    assert "imgtool/checks/__init__.py" in held
    assert "imgtool/converters/__init__.py" in held
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in held)


def test_the_wheel_leaves_tests_and_fixtures_out(wheel: Path) -> None:
    held = zipfile.ZipFile(wheel).namelist()
    assert [name for name in held if name.startswith(("tests/", "fixtures/", "bench/"))] == []


def test_installed_from_the_wheel_it_says_its_version(installed: Path, wheel: Path) -> None:
    assert wheel.name.split("-")[1] in run([installed / "imgtool", "--version"])


def test_installed_from_the_wheel_it_judges_a_disk(installed: Path, partitioned_disk: Path) -> None:
    found = findings(installed / "imgtool", partitioned_disk)
    assert found["disk.partition-table"] == "pass"
    assert found["disk.root"] == "fail"


def test_the_editable_install_finds_what_the_wheel_finds(installed: Path, partitioned_disk: Path) -> None:
    editable = Path(sys.executable).parent / "imgtool"
    assert findings(editable, partitioned_disk) == findings(installed / "imgtool", partitioned_disk)


def test_the_editable_install_says_the_version_of_the_wheel(installed: Path) -> None:
    editable = Path(sys.executable).parent / "imgtool"
    assert run([editable, "--version"]) == run([installed / "imgtool", "--version"])
