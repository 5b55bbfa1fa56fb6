"""OsType and OsVersion: what was found on an image, in the words of the deployment's own list."""

from __future__ import annotations

import pytest

from imgtool.cloud.cvm import Importable
from imgtool.cloud.failures import CloudFailure
from imgtool.cloud.importing import Wanted, choose_system
from imgtool.cloud.sandbox.actions import LINUX, WINDOWS

OFFERED = Importable(tuple(LINUX), tuple(WINDOWS), {**LINUX, **WINDOWS})


def chosen(os_type: str, os_version: str, offered: Importable = OFFERED) -> tuple[str, str, int]:
    """OsType, OsVersion and how many notes."""
    name, version, notes = choose_system(Wanted("web", os_type, os_version, "x86_64"), offered)
    return name, version, len(notes)


@pytest.mark.parametrize("version", ["2008", "2012", "2016"])
def test_a_windows_goes_in_by_its_release(version: str) -> None:
    assert chosen("Windows", version) == (f"Windows Server {version}", "-", 0)
    assert chosen(f"Windows Server {version}", version) == (f"Windows Server {version}", "-", 0)


@pytest.mark.parametrize(
    ("listed", "versions", "expected"),
    [
        (("Windows",), {"Windows": ("2012", "2016")}, ("Windows", "2016", 0)),
        (("Windows Server 2012 R2", "Windows Server 2016 Datacenter 64bit"), {},
         ("Windows Server 2016 Datacenter 64bit", "2016", 0)),
        (("windows2012", "windows2016"), {}, ("windows2016", "2016", 0)),
    ],
)  # fmt: skip
def test_a_windows_is_found_however_a_deployment_writes_it(
    listed: tuple[str, ...], versions: dict[str, tuple[str, ...]], expected: tuple[str, str, int]
) -> None:
    assert chosen("Windows", "2016", Importable(("CentOS", "Other Linux"), listed, versions)) == expected


@pytest.mark.parametrize("version", ["2019", "2022", ""])
def test_a_windows_that_is_not_listed_never_goes_in_as_a_linux(version: str) -> None:
    with pytest.raises(CloudFailure) as refused:
        chosen("Windows", version)
    said = refused.value.statement()
    for words in (said.en, said.zh):
        assert "Windows Server 2016" in words
        assert "--os-type" in words
        assert "CentOS" not in words


def test_a_linux_that_is_not_listed_goes_in_as_another_and_this_is_said() -> None:
    assert chosen("Debian", "12") == ("Debian", "12", 0)
    assert chosen("centos", "7.9") == ("CentOS", "7", 0)
    assert chosen("Arch", "") == ("Other Linux", "-", 1)
    assert chosen("", "") == ("Other Linux", "-", 1)
