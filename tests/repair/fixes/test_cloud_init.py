from __future__ import annotations

from pathlib import Path

import pytest

from tests.checks.boot_guest import grub_cfg
from tests.guest.memory_tree import Link
from tests.guest.owned_tree import elf
from tests.guest.stand_in import ROOT_UUID
from tests.repair.folder_guest import FolderGuest, mends
from tests.repair.test_packages import deb

STAGES = ("cloud-init-local", "cloud-init", "cloud-config", "cloud-final")
UNITS = "/lib/systemd/system"
WANTS = "/etc/systemd/system/cloud-init.target.wants"
PACKAGES = "/usr/lib/python3/dist-packages"
CLOUD_INIT: dict[str, bytes | str | None] = {
    "/usr/bin/cloud-init": "#!/usr/bin/python3\nimport sys\n",
    "/usr/bin/python3": Link("python3.11"),
    "/usr/bin/python3.11": elf(0x3E),
    f"{PACKAGES}/cloudinit/__init__.py": "",
    f"{PACKAGES}/cloudinit/version.py": '__VERSION__ = "22.4.2"\n',
    f"{PACKAGES}/cloudinit/settings.py": 'CFG_BUILTIN = {"datasource_list": ["ConfigDrive", "Ec2"]}\n',
    **{f"{PACKAGES}/{name}/__init__.py": "" for name in ("yaml", "requests", "jsonpatch", "jinja2")},
    f"{PACKAGES}/configobj.py": "",
    f"{PACKAGES}/jsonpatch.py": "",
    "/etc/cloud/cloud.cfg": "cloud_init_modules:\n - seed_random\n",
    "/lib/systemd/system-generators/cloud-init-generator": elf(0x3E),
    f"{UNITS}/cloud-init.target": "[Unit]\n",
    **{f"{UNITS}/{it}.service": "[Install]\nWantedBy=cloud-init.target\n" for it in STAGES},
    **{f"{WANTS}/{it}.service": Link(f"{UNITS}/{it}.service") for it in STAGES},
}


def guest(folder: Path, changes: dict[str, bytes | str | None]) -> FolderGuest:
    made = FolderGuest(folder, {**CLOUD_INIT, **changes})
    (folder / "usr/bin/cloud-init").chmod(0o755)
    (folder / "lib/systemd/system-generators/cloud-init-generator").chmod(0o755)
    return made


@pytest.mark.parametrize(
    "changes",
    [
        {"/etc/cloud/cloud-init.disabled": ""},
        {"/boot/grub/grub.cfg": grub_cfg(f"root=UUID={ROOT_UUID} ro cloud-init=disabled")},
        {"/etc/cloud/ds-identify.cfg": "policy: disabled\n"},
        {f"{WANTS}/{it}.service": None for it in STAGES},
        {"/etc/systemd/system/cloud-config.service": Link("/dev/null")},
    ],
    ids=["flag file", "kernel argument", "policy", "links", "masked"],
)
def test_whatever_switches_cloud_init_off_goes(
    tmp_path: Path, changes: dict[str, bytes | str | None]
) -> None:
    mends(guest(tmp_path, changes), "linux.cloud-init.enabled")


@pytest.mark.parametrize(
    "changes",
    [
        {"/etc/cloud/cloud.cfg.d/90_dpkg.cfg": "datasource_list: [ NoCloud, None ]\n"},
        {"/etc/cloud/cloud.cfg.d/zzz-last.cfg": "datasource_list: [ NoCloud, None ]\n"},
        {"/etc/cloud/ds-identify.cfg": "datasource: NoCloud\n"},
        {"/boot/grub/grub.cfg": grub_cfg(f"root=UUID={ROOT_UUID} ro ds=nocloud")},
    ],
    ids=["list", "list that is read last", "ds-identify", "kernel argument"],
)
def test_cloud_init_is_told_to_read_the_config_drive(
    tmp_path: Path, changes: dict[str, bytes | str | None]
) -> None:
    mends(guest(tmp_path, changes), "linux.cloud-init.datasource")


@pytest.mark.parametrize(
    "changes",
    [
        {"/var/lib/cloud/instance": Link("instances/i-0"), "/var/lib/cloud/instances/i-0/obj.pkl": "x"},
        {"/etc/network/interfaces.d/50-cloud-init": "auto eth0\niface eth0 inet static\n"},
        {"/var/lib/cloud/seed/nocloud/user-data": "x"},
    ],
    ids=["state", "network file", "seed"],
)
def test_what_another_instance_left_goes(tmp_path: Path, changes: dict[str, bytes | str | None]) -> None:
    mends(guest(tmp_path, changes), "linux.cloud-init.cache")


def test_interfaces_becomes_what_the_reference_asks_for(tmp_path: Path) -> None:
    unit = "/lib/systemd/system/networking.service"
    changes: dict[str, bytes | str | None] = {
        "/etc/network/interfaces": "auto eth0\niface eth0 inet dhcp\n",
        unit: "[Unit]\n",
        "/etc/systemd/system/multi-user.target.wants/networking.service": Link(unit),
    }
    made = guest(tmp_path, changes)
    mends(made, "linux.cloud-init.cache")
    assert made.text("/etc/network/interfaces").endswith("\nsource /etc/network/interfaces.d/*\n")


MODULES = """\
cloud_init_modules: [ write-files, users-groups, ssh ]
cloud_config_modules:
    # those of the config stage
    - ntp
    - runcmd
cloud_final_modules: []
preserve_hostname: true
"""


@pytest.mark.parametrize(
    "config",
    [
        MODULES,
        "cloud_init_modules:\n - ssh\n",
        MODULES + "network: {config: disabled}\n",
        MODULES + "network:\n  config: disabled\nlocale: C\n",
    ],
)
def test_first_boot_actions_are_turned_on_again(tmp_path: Path, config: str) -> None:
    mends(guest(tmp_path, {"/etc/cloud/cloud.cfg": config}), "linux.cloud-init.modules")


def test_a_file_by_which_an_upgrade_keeps_the_network_from_it_goes(tmp_path: Path) -> None:
    config = MODULES.replace("[]", "[ scripts-user ]").replace("- ntp", "- ntp\n    - set-passwords")
    left = "/var/lib/cloud/data/upgraded-network"
    made = guest(tmp_path, {"/etc/cloud/cloud.cfg": config.replace("true", "false"), left: ""})
    mends(made, "linux.cloud-init.modules")
    plan = guest(tmp_path / "both", {"/etc/cloud/cloud.cfg": config, left: ""}).plan()
    assert {it.mends for it in plan.steps} >= {"linux.cloud-init.cache", "linux.cloud-init.modules"}


def test_a_program_that_is_not_executable_becomes_so(tmp_path: Path) -> None:
    made = FolderGuest(tmp_path, {**CLOUD_INIT}, {"/usr/bin/cloud-init": (0o644, 0, 0)})
    mends(made, "linux.cloud-init.installed")


def test_the_python_that_has_the_package_is_named_in_the_first_line(tmp_path: Path) -> None:
    made = guest(
        tmp_path,
        {
            "/usr/bin/cloud-init": "#!/usr/bin/python\nimport sys\n",
            "/usr/bin/python": Link("python2.7"),
            "/usr/bin/python2.7": elf(0x3E),
            "/usr/lib/python3/dist-packages/cloudinit/__init__.py": None,
            "/usr/lib/python3.11/site-packages/cloudinit/__init__.py": "",
            **{f"/usr/lib/python3.11/site-packages/{it}.py": "" for it in ("yaml", "requests", "jinja2")},
            **{f"/usr/lib/python3.11/site-packages/{it}.py": "" for it in ("configobj", "jsonpatch")},
        },
    )
    mends(made, "linux.cloud-init.installed")
    assert made.text("/usr/bin/cloud-init").startswith("#!/usr/bin/python3.11\n")


def test_a_removed_cloud_init_needs_packages_and_is_told_where_to_get_them(tmp_path: Path) -> None:
    made = FolderGuest(tmp_path / "guest", {})
    (kept,) = [it for it in made.plan().unmended if it.finding.id == "linux.cloud-init.installed"]
    assert "--cloud-init-packages" in kept.why.en
    packages = tmp_path / "packages"
    packages.mkdir()
    deb(packages)
    plan = made.plan("linux.cloud-init.installed", cloud_init_packages=packages)
    assert [step.action for step in plan.steps] == ["upload", "run"]
    assert plan.runs_guest
    assert "dpkg" in plan.steps[1].target


def test_by_the_network_the_package_manager_is_asked_and_told_to_lay_files_down_again(tmp_path: Path) -> None:
    made = FolderGuest(tmp_path / "guest", {})
    plan = made.plan("linux.cloud-init.installed", network=True)
    (step,) = plan.steps
    assert step.details() == {"network": True}
    assert step.target.startswith("apt-get update && ")
    assert "install -y --reinstall" in step.target
    assert "dpkg -V cloud-init" in step.target
    assert plan.runs_guest
