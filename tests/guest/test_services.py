from __future__ import annotations

from typing import Any

import pytest

from imgtool.guest.services import Service, Services, read_services
from tests.guest.owned_tree import Link, OwnedTree, elf

SYSTEMD = {"/sbin/init": Link("/usr/lib/systemd/systemd"), "/usr/lib/systemd/systemd": elf(0x3E)}
UNIT = "/usr/lib/systemd/system/x.service"
WANTED = "/etc/systemd/system/multi-user.target.wants/x.service"


def services(files: dict[str, Any], owned: dict[str, tuple[int, int, int]] | None = None) -> Services:
    tree = OwnedTree({"/etc/machine-id": "0" * 32, **files}, owned)
    return read_services(tree)  # type: ignore[arg-type]


def find(files: dict[str, Any], name: str = "x") -> Service:
    return services({**SYSTEMD, **files}).find(name)


def test_a_unit_that_a_boot_target_wants_starts() -> None:
    found = find({UNIT: "[Unit]", WANTED: Link(UNIT)})
    assert (found.state, found.proof) == ("enabled", WANTED)


def test_a_unit_that_nothing_wants_does_not_start() -> None:
    assert find({UNIT: "[Unit]"}).state == "disabled"


def test_a_unit_linked_to_dev_null_is_masked_even_if_wanted() -> None:
    found = find({UNIT: "", WANTED: Link(UNIT), "/etc/systemd/system/x.service": Link("/dev/null")})
    assert found.state == "masked"


def test_an_empty_unit_file_in_etc_is_a_mask_too() -> None:
    assert find({UNIT: "[Unit]", WANTED: Link(UNIT), "/etc/systemd/system/x.service": ""}).state == "masked"


def test_a_unit_that_is_not_there_is_missing() -> None:
    assert find({}).state == "missing"


def test_the_vendor_may_want_a_unit_statically() -> None:
    assert find(
        {UNIT: "[Unit]", "/usr/lib/systemd/system/sysinit.target.wants/x.service": Link("../x.service")}
    ).starts


def test_a_target_counts_only_if_the_boot_reaches_it() -> None:
    files = {
        UNIT: "[Unit]",
        "/etc/systemd/system/y.target.wants/x.service": Link(UNIT),
        "/usr/lib/systemd/system/y.target": "[Unit]",
    }
    assert not find(files).starts
    files["/etc/systemd/system/multi-user.target.wants/y.target"] = Link("/usr/lib/systemd/system/y.target")
    assert find(files).starts


def test_targets_that_want_each_other_are_no_endless_loop() -> None:
    files: dict[str, Any] = {
        "/usr/lib/systemd/system/a.target": "[Unit]",
        "/usr/lib/systemd/system/b.target": "[Unit]",
    }
    files["/etc/systemd/system/a.target.wants/b.target"] = Link("/usr/lib/systemd/system/b.target")
    files["/etc/systemd/system/b.target.wants/a.target"] = Link("/usr/lib/systemd/system/a.target")
    assert find(files, "a.target").state == "disabled"


CLOUD = {
    "/usr/lib/systemd/system/x.service": "[Install]\nWantedBy=cloud-init.target\n",
    "/usr/lib/systemd/system/cloud-init.target": "[Unit]",
    "/etc/systemd/system/cloud-init.target.wants/x.service": Link(UNIT),
}
GENERATOR = "/usr/lib/systemd/system-generators/cloud-init-generator"


def test_cloud_inits_generator_makes_the_boot_reach_its_target() -> None:
    assert not find(CLOUD).starts
    assert find({**CLOUD, GENERATOR: "#!/bin/sh\n"}).starts


def test_a_generator_that_is_masked_or_not_executable_does_nothing() -> None:
    assert not find(
        {
            **CLOUD,
            GENERATOR: "#!/bin/sh",
            "/etc/systemd/system-generators/cloud-init-generator": Link("/dev/null"),
        }
    ).starts
    plain = services({**SYSTEMD, **CLOUD, GENERATOR: "#!/bin/sh"}, {GENERATOR: (0o644, 0, 0)})
    assert not plain.find("x").starts


PRESET = {"/usr/lib/systemd/system-preset/90-x.preset": "# c\nenable x*.service\ndisable *\n"}
INSTALLABLE = {UNIT: "[Install]\nWantedBy=multi-user.target\n"}


@pytest.mark.parametrize(
    ("machine_id", "starts"), [("uninitialized\n", True), ("", False), ("ab" * 16, False)]
)
def test_presets_are_applied_on_a_first_boot_only(machine_id: str, starts: bool) -> None:
    assert find({**INSTALLABLE, **PRESET, "/etc/machine-id": machine_id}).starts is starts


def test_the_first_preset_line_that_matches_counts() -> None:
    earlier = {"/etc/systemd/system-preset/10-x.preset": "disable x.service\n"}
    assert not find({**INSTALLABLE, **PRESET, **earlier, "/etc/machine-id": "uninitialized"}).starts


def test_a_sysv_script_under_systemd_starts_by_its_links() -> None:
    assert find({"/etc/init.d/x": "#!/bin/sh", "/etc/rc3.d/S50x": Link("../init.d/x")}).starts
    assert find({"/etc/init.d/x": "#!/bin/sh"}).state == "disabled"


UPSTART: dict[str, Any] = {"/sbin/init": elf(0x3E), "/sbin/initctl": elf(0x3E)}


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({"/etc/init/x.conf": "start on runlevel [2345]\n"}, "enabled"),
        ({"/etc/init/x.conf": "start on mounted\nmanual\n"}, "disabled"),
        ({"/etc/init/x.conf": "start on mounted\n", "/etc/init/x.override": "manual\n"}, "disabled"),
        ({"/etc/init/x.conf": "manual\n", "/etc/init/x.override": "start on filesystem\n"}, "enabled"),
        ({"/etc/init/x.conf": "# start on nothing\ntask\n"}, "disabled"),
        ({"/etc/init/y.conf": ""}, "missing"),
        (
            {"/etc/init/y.conf": "", "/etc/init.d/x": "#!", "/etc/rc.d/rc3.d/S50x": Link("../init.d/x")},
            "enabled",
        ),
    ],
)
def test_upstart_jobs_and_the_sysv_scripts_beside_them(files: dict[str, Any], state: str) -> None:
    found = services({**UPSTART, **files})
    assert found.init == "upstart"
    assert found.find("x").state == state


SYSV: dict[str, Any] = {
    "/sbin/init": elf(0x3E),
    "/etc/inittab": "id:3:initdefault:\n",
    "/etc/init.d/x": "#!/bin/sh",
}


@pytest.mark.parametrize(
    ("link", "state"),
    [
        ("/etc/rc3.d/S20x", "enabled"),
        ("/etc/rc5.d/S20x", "disabled"),
        ("/etc/rc3.d/K20x", "disabled"),
        ("/etc/rcS.d/S20x", "enabled"),
        ("/etc/init.d/rc3.d/S20x", "enabled"),
        ("/etc/rc3.d/S20xy", "disabled"),
    ],
)
def test_sysv_scripts_start_by_their_links_in_the_default_runlevel(link: str, state: str) -> None:
    found = services({**SYSV, link: Link("../init.d/x")})
    assert (found.init, found.find("x").state) == ("sysvinit", state)


def test_openrc_scripts_start_by_runlevel() -> None:
    files = {"/sbin/init": elf(0x3E), "/sbin/openrc-run": elf(0x3E), "/etc/init.d/x": "#!/sbin/openrc-run"}
    assert services(files).find("x").state == "disabled"
    assert services({**files, "/etc/runlevels/boot/x": Link("/etc/init.d/x")}).find("x").starts


def test_a_guest_without_init_is_unknown() -> None:
    assert services({}).init == "unknown"
