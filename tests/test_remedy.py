from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from imgtool.remedy import drop_argument
from tests.checks.boot_guest import V, grub_cfg, guest_image
from tests.guest.stand_in import ROOT_UUID

ENTRY = f"/boot/loader/entries/0123456789abcdef-{V}.conf"
REDHAT: dict[str, Any] = {
    "/etc/os-release": 'ID=rhel\nVERSION_ID="9.3"\n',
    "/usr/bin/apt-get": None,
    "/boot/grub/grub.cfg": None,
}


def entry(arguments: str) -> str:
    return (
        f"linux /boot/vmlinuz-{V}\ninitrd /boot/initrd.img-{V}\noptions root=UUID={ROOT_UUID} {arguments}\n"
    )


def edited(text: str, command: str, path: str, tmp_path: Path) -> str:
    """The file after the remedy's sed command was really run."""
    here = tmp_path / "file"
    here.write_text(text)
    subprocess.run(["sh", "-ec", command.partition(" && ")[0].replace(path, str(here))], check=True)
    return here.read_text()


def test_it_goes_out_of_what_grub_mkconfig_reads(tmp_path: Path) -> None:
    text = 'GRUB_CMDLINE_LINUX="quiet cloud-init=disabled"\n'
    files = {"/etc/default/grub": text, "/boot/grub/grub.cfg": grub_cfg("ro cloud-init=disabled")}
    command = drop_argument(guest_image(files).linux, "cloud-init=disabled")
    assert command.endswith(" /etc/default/grub && update-grub")
    assert edited(text, command, "/etc/default/grub", tmp_path) == 'GRUB_CMDLINE_LINUX="quiet"\n'


def test_a_configuration_that_holds_it_alone_is_edited_itself(tmp_path: Path) -> None:
    text = grub_cfg("ro ds=nocloud|x[1].*")
    command = drop_argument(guest_image({"/boot/grub/grub.cfg": text}).linux, "ds=nocloud|x[1].*")
    assert edited(text, command, "/boot/grub/grub.cfg", tmp_path) == grub_cfg("ro")


def test_entries_of_the_boot_loader_specification_are_grubby_s() -> None:
    files = {**REDHAT, "/boot/grub2/grub.cfg": "blscfg\n", ENTRY: entry("ro cloud-init=disabled")}
    grubby = 'grubby --update-kernel=ALL --remove-args="cloud-init=disabled"'
    assert drop_argument(guest_image(files).linux, "cloud-init=disabled") == grubby
    files["/etc/default/grub"] = 'GRUB_CMDLINE_LINUX="cloud-init=disabled"\n'
    assert drop_argument(guest_image(files).linux, "cloud-init=disabled").endswith(
        f" /etc/default/grub && {grubby}"
    )


def test_an_argument_that_stands_in_no_file_has_no_line() -> None:
    assert drop_argument(guest_image().linux, "cloud-init=disabled") == ""
