"""virtio drivers of a Windows: what mends which fault, and which signatures an old one can check."""

from __future__ import annotations

import pytest

from fixtures.windows import driver_faults, software
from fixtures.windows.disk import Windows
from fixtures.windows.hive import dword, sz
from fixtures.windows.program import program
from imgtool.guest.windows.commands import for_cmd
from tests.checks.windows_guest import first, image, judge, levels, lines, remedy

STORAGE, NETWORK, SIGNING = "windows.virtio.storage", "windows.virtio.network", "windows.driver-signing"
VIOSTOR = "HKLM\\SYSTEM\\CurrentControlSet\\Services\\viostor"
FIX = "imgtool fix --virtio-win virtio-win.iso disk.vmdk -o disk.qcow2"


def started(start: int, override: int | None) -> object:
    def change(made: Windows) -> None:
        made.service("viostor")["Start"] = dword(start)
        if override is not None:
            made.system[f"{made.here}\\Services\\viostor\\StartOverride"] = {"0": dword(override)}

    return change


@pytest.mark.parametrize(
    ("release", "change"),
    [
        ("2012r2", driver_faults.no_viostor),
        ("2016", driver_faults.no_viostor),
        ("2012r2", driver_faults.no_driver_database_entry),
    ],
)
def test_a_driver_that_is_not_there_is_put_in_offline(release: str, change: object) -> None:
    given = image(release, change)  # type: ignore[arg-type]
    folder = {"2012r2": "2k12R2", "2016": "2k16"}[release]
    assert lines(STORAGE, given) == [
        FIX,
        f"dism /Image:E:\\ /Add-Driver /Driver:D:\\viostor\\{folder}\\amd64\\viostor.inf",
    ]
    assert "pnputil" not in remedy(STORAGE, given)
    assert "sc.exe" not in remedy(STORAGE, given)


def test_dism_adds_no_driver_to_server_2008() -> None:
    assert lines(STORAGE, image("2008", driver_faults.viostor_of_64_bits)) == [FIX]


def test_a_release_that_virtio_win_does_not_know_has_no_command() -> None:
    def unknown(made: Windows) -> None:
        driver_faults.viostor_file_gone(made)
        version = made.software[software.VERSION]
        version["CurrentBuildNumber"] = version["CurrentBuild"] = software.sz("25398")

    given = image("2022", unknown)
    assert lines(STORAGE, given) == []
    assert "ask the platform" in remedy(STORAGE, given)


@pytest.mark.parametrize(
    ("start", "override", "expected"),
    [
        (3, None, ["sc.exe config viostor start= boot"]),
        (0, 3, [f'reg delete "{VIOSTOR}\\StartOverride" /f']),
        (3, 3, ["sc.exe config viostor start= boot", f'reg delete "{VIOSTOR}\\StartOverride" /f']),
        (3, 0, ["sc.exe config viostor start= boot", f'reg delete "{VIOSTOR}\\StartOverride" /f']),
    ],
)
def test_start_and_its_override_are_both_mended(
    start: int, override: int | None, expected: list[str]
) -> None:
    given = image("2016", started(start, override))  # type: ignore[arg-type]
    assert levels(STORAGE, given) == ["error"]
    assert lines(STORAGE, given) == expected


def test_an_override_that_says_the_same_is_no_fault() -> None:
    assert levels(STORAGE, image("2016", started(0, 0))) == ["kept"]  # type: ignore[arg-type]


def test_a_binding_is_written_where_that_is_all_it_takes() -> None:
    given = image("2008r2", driver_faults.no_critical_device)
    assert len(lines(STORAGE, given)) == 4
    assert all(it.startswith('reg add "HKLM\\SYSTEM') for it in lines(STORAGE, given))
    assert '/d "{4d36e97b-e325-11ce-bfc1-08002be10318}"' in lines(STORAGE, given)[0]


def test_the_network_driver_is_staged_for_plug_and_play() -> None:
    command = "pnputil /add-driver D:\\NetKVM\\2k16\\amd64\\netkvm.inf /install"
    assert lines(NETWORK, image("2016", driver_faults.no_netkvm)) == [command]
    old = image("2012r2", driver_faults.netkvm_staged)
    assert lines(NETWORK, old) == ["pnputil -i -a D:\\NetKVM\\2k12R2\\amd64\\netkvm.inf"]
    disabled = image("2016", driver_faults.netkvm_disabled)
    assert lines(NETWORK, disabled) == ["sc.exe config netkvm start= demand"]


@pytest.mark.parametrize("start", [None, sz("3")])
def test_a_network_driver_that_does_not_say_when_it_starts_is_taken_for_disabled(start: str | None) -> None:
    def change(made: Windows) -> None:
        made.service("netkvm").pop("Start")
        if start is not None:
            made.service("netkvm")["Start"] = start  # no number, which is as good as none

    given = image("2016", change)
    assert levels(NETWORK, given) == ["error"]
    assert "no Start value" in first(NETWORK, given).message.en
    key = "HKLM\\SYSTEM\\CurrentControlSet\\Services\\netkvm"  # sc.exe does not find a service without Start
    assert lines(NETWORK, given) == [f'reg add "{key}" /v Start /t REG_DWORD /d 3 /f']


def test_a_disk_driver_that_does_not_say_when_it_starts_gets_it_in_the_registry() -> None:
    given = image("2016", lambda made: made.service("viostor").pop("Start"))  # type: ignore[arg-type, return-value]
    assert levels(STORAGE, given) == ["error"]
    assert "没有 Start 值" in first(STORAGE, given).message.zh
    assert lines(STORAGE, given) == [f'reg add "{VIOSTOR}" /v Start /t REG_DWORD /d 0 /f']


def updates(*packages: tuple[str, int]) -> object:
    def change(made: Windows) -> None:
        driver_faults.no_sha2_update(made)
        for name, state in packages:
            made.software[f"{software.PACKAGES}\\{name}"] = {"CurrentState": dword(state)}

    return change


def of(kb: str) -> str:
    return f"Package_for_{kb}~31bf3856ad364e35~amd64~~6.1.1.3"


def rollup(version: str) -> str:
    return f"Package_for_RollupFix~31bf3856ad364e35~amd64~~{version}"


@pytest.mark.parametrize(
    ("package", "state", "loads"),
    [
        (of("KB4474419"), 0x70, True),
        (of("KB4474419"), 0x80, True),
        (of("KB4474419"), 0x50, True),
        (of("KB4474419"), 0x40, False),
        (of("KB4474419"), 0x60, False),
        (of("KB3033929"), 0x70, True),
        (of("KB3125574"), 0x70, True),
        (of("KB4490628"), 0x70, False),
        (rollup("7601.24545.1.6"), 0x70, True),
        (rollup("7601.24545.1.6"), 0x50, True),
        (rollup("7601.24000.1.6"), 0x70, False),
    ],
)
def test_updates_that_let_server_2008_r2_load_drivers_signed_with_sha2(
    package: str, state: int, loads: bool
) -> None:
    given = image("2008r2", updates((package, state)))  # type: ignore[arg-type]
    assert levels(SIGNING, given) == (["kept"] if loads else ["warning"])


def wide(made: Windows) -> None:
    """The 64-bit Server 2008."""
    made.system[f"{made.here}\\Control\\Session Manager\\Environment"]["PROCESSOR_ARCHITECTURE"] = (
        software.sz("AMD64")
    )
    made.files["Windows/System32/drivers/viostor.sys"] = program("x86_64", native=True, signed="sha256")


@pytest.mark.parametrize(
    ("package", "loads"),
    [
        (of("KB4474419"), True),
        (of("KB4039648"), True),
        (of("KB4493730"), False),
        (rollup("6003.20693.1.3"), True),
        (rollup("6003.20489.1.3"), False),
    ],
)
def test_updates_that_let_server_2008_load_them(package: str, loads: bool) -> None:
    given = image("2008", wide, updates((package, 0x70)))  # type: ignore[arg-type]
    assert levels(SIGNING, given) == (["kept"] if loads else ["warning"])


def test_what_is_to_be_installed_is_named_in_its_order() -> None:
    given = image("2008r2", driver_faults.no_sha2_update)
    assert "Install KB4490628, then KB4474419 on the source" in remedy(SIGNING, given)
    assert [it.kind for it in judge(SIGNING, image("2012"))] == ["not judged"]

    def without_service_pack(made: Windows) -> None:
        driver_faults.no_sha2_update(made)
        version = made.software[software.VERSION]
        version["CurrentBuild"] = version["CurrentBuildNumber"] = software.sz("7600")

    told = remedy(SIGNING, image("2008r2", without_service_pack))
    assert "Install Service Pack 1 (KB976932), then KB4490628, then KB4474419" in told


def test_the_network_driver_s_signature_counts_as_well() -> None:
    def only_viostor(made: Windows) -> None:
        driver_faults.sha1_driver(made)
        made.files["Windows/System32/drivers/netkvm.sys"] = program(native=True, signed="sha256")

    given = image("2008r2", only_viostor)
    assert levels(SIGNING, given) == ["warning"]
    assert "netkvm" in first(SIGNING, given).message.en
    assert "viostor" not in first(SIGNING, given).message.en
    assert levels(SIGNING, image("2008r2", driver_faults.sha1_driver)) == ["kept"]


def test_every_driver_s_name_is_a_word_for_cmd() -> None:
    from imgtool.guest.windows.known_drivers import DRIVERS

    assert all(for_cmd(name) == f'"{name}"' for name in DRIVERS)
