"""Which drivers a Windows starts with and has its network by, and what each is bound to."""

from __future__ import annotations

import pytest

from fixtures.windows import services, system
from fixtures.windows.disk import Windows
from fixtures.windows.hive import dword, sz
from fixtures.windows.releases import RELEASES
from imgtool.guest.windows.bound_drivers import read_bound_drivers
from tests.checks.windows_guest import image


def bound(release: str, *changes: object) -> dict[tuple[str, str], tuple[str, ...]]:
    given = image(release, *changes)  # type: ignore[arg-type]
    return {(it.role, it.service.name): it.devices for it in read_bound_drivers(given.windows)}


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_tells_what_its_boot_drivers_and_network_cards_are(release: str) -> None:
    found = bound(release)
    assert found["boot", "viostor"] == tuple(f"PCI\\{it}" for it in system.VIOSTOR_IDS)
    assert found["network", "netkvm"] == (f"PCI\\{system.NETKVM_IDS[0]}",)
    assert len(found["boot", "intelide"]) == 64
    assert len(found) == 3


def test_a_driver_that_starts_later_is_no_boot_driver() -> None:
    def by_demand(made: Windows) -> None:
        made.service("viostor")["Start"] = dword(3)

    assert ("boot", "viostor") not in bound("2016", by_demand)


def test_a_bus_is_not_told_with_its_hundreds_of_bridges() -> None:
    def bus(made: Windows) -> None:
        made.service("intelide")["Group"] = sz("Boot Bus Extender")

    assert ("boot", "intelide") not in bound("2008r2", bus)


def test_a_card_of_another_platform_is_named_while_its_driver_is_there() -> None:
    def vmware(made: Windows) -> None:
        made.system[f"{made.here}\\Services\\vmxnet3ndis6"] = services.driver("vmxnet3ndis6", 3)
        card = f"{made.here}\\Enum\\VMBUS\\{{f8615163}}\\{{1}}"
        made.system[card] = {"ClassGUID": sz(system.NET_CLASS.upper()), "Service": sz("netvsc")}
        made.system[f"{made.here}\\Services\\netvsc"] = services.driver("netvsc", 3)

    found = bound("2012r2", vmware)
    assert found["network", "vmxnet3ndis6"] == ("PCI\\VEN_15AD&DEV_07B0&SUBSYS_07B015AD&REV_01",)
    assert found["network", "netvsc"] == ("VMBUS\\{F8615163}",)
