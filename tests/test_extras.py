"""How a person gets the packages of an extra."""

from __future__ import annotations

import shlex
import sys

import pytest

from imgtool.extras import ExtraMissing, install_command, requirements


@pytest.mark.parametrize(
    ("extra", "packages"),
    [
        ("btrfs", ["dissect.btrfs"]),
        ("cloud", ["cos-python-sdk-v5", "tencentcloud-sdk-python-cvm"]),
        ("s3", ["boto3"]),
        ("sandbox", ["aiohttp"]),
    ],
)
def test_the_command_installs_the_packages_into_this_python(extra: str, packages: list[str]) -> None:
    python, *pip, first = shlex.split(install_command(extra))[: 4 + 1]
    assert (python, pip) == (sys.executable, ["-m", "pip", "install"])
    wanted = requirements(extra)
    assert first == wanted[0]
    assert len(wanted) == len(packages)
    for each, package in zip(wanted, packages, strict=True):
        assert each.startswith(package)
        assert ";" not in each


def test_the_name_imgtool_which_is_another_project_s_on_the_index_is_not_installed() -> None:
    said = ExtraMissing("boto3", "s3").statement()
    for words in (said.en, said.zh):
        assert install_command("s3") in words
        assert "imgtool[" not in words
