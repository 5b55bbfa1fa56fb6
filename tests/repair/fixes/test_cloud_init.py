from __future__ import annotations

from pathlib import Path

import pytest

from tests.checks.boot_guest import grub_cfg
from tests.guest.memory_tree import Link
from tests.guest.owned_tree import elf
from tests.guest.stand_in import ROOT_UUID
from tests.repair.folder_guest import FolderGuest, mends

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
