from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from imgtool.checks.init import init

from tests.checks.linux_guest import REDHAT, image, level, levels, only, remedy
from tests.guest.owned_tree import Link, elf

PROGRAM = elf(0x3E)
SHELL = {"/bin/bash": PROGRAM}
MKINITRAMFS = {"/usr/sbin/mkinitramfs": "#!"}


def guest(files: dict[str, Any] | None = None, arguments: str = "ro quiet", **how: Any) -> Any:
    programs = {"/sbin/init": PROGRAM, "/bin/bash": PROGRAM, "/lib/systemd/systemd": PROGRAM}
    owned = dict.fromkeys(programs, (0o755, 0, 0))
    return image({**MKINITRAMFS, **(files or {})}, arguments=arguments, owned=owned, **how)


def test_a_guest_that_starts_its_init_is_right() -> None:
    outcome = only(init, guest())
    assert (outcome.kind, outcome.evidence) == ("kept", ("/lib/systemd/systemd",))


def test_a_root_without_init_ends_in_a_panic() -> None:
    outcome = only(init, guest(without=["/sbin/init"]))
    assert level(init, outcome) == "error"
    assert remedy(outcome).endswith("apt-get install -y systemd-sysv")
    other = only(init, guest(REDHAT, without=["/sbin/init", "/usr/bin/apt-get", *MKINITRAMFS]))
    assert remedy(other).endswith("yum install -y systemd")


@pytest.mark.parametrize("word", ["init=/bin/bash", "single", "systemd.unit=rescue.target", "break=premount"])
def test_an_argument_left_from_a_rescue_ends_the_boot_early(word: str) -> None:
    files = {"/etc/default/grub": f'GRUB_CMDLINE_LINUX="{word}"\n', **SHELL}
    outcome = only(init, guest(files, f"ro {word}"))
    assert level(init, outcome) == "error"
    assert outcome.evidence == (word,)
    assert word in remedy(outcome).replace("\\", "")


@pytest.mark.parametrize("word", ["single", "1"])
def test_the_remedy_takes_the_word_out_and_no_part_of_another(word: str, tmp_path: Path) -> None:
    text = (
        f'GRUB_CMDLINE_LINUX="console=tty1 root=/dev/sda1 {word}"\nGRUB_CMDLINE_LINUX_DEFAULT="{word} 1x"\n'
    )
    command = remedy(only(init, guest({"/etc/default/grub": text}, f"ro {word}"))).splitlines()[-1]
    file = tmp_path / "grub"
    file.write_text(text)
    subprocess.run(
        ["sh", "-ec", command.replace("/etc/default/grub", str(file)).replace("update-grub", "true")],
        check=True,
    )
    kept = 'GRUB_CMDLINE_LINUX="console=tty1 root=/dev/sda1 "\nGRUB_CMDLINE_LINUX_DEFAULT=" 1x"\n'
    assert file.read_text() == kept


def test_an_init_that_is_not_there_stops_dracut_and_not_initramfs_tools() -> None:
    assert levels(init, guest(arguments="init=/sbin/gone")) == ["warning"]
    dracut = guest({"/usr/bin/dracut": "#!"}, "init=/sbin/gone", without=list(MKINITRAMFS))
    assert levels(init, dracut) == ["error"]


def test_a_default_target_for_rescue_is_an_error_that_is_mended_with_a_link() -> None:
    link = {"/etc/systemd/system/default.target": Link("/lib/systemd/system/rescue.target")}
    outcome = only(init, guest({**link, "/lib/systemd/system/rescue.target": "x"}))
    assert level(init, outcome) == "error"
    assert remedy(outcome).endswith(
        "ln -sfn /lib/systemd/system/multi-user.target /etc/systemd/system/default.target"
    )


def test_a_runlevel_for_one_user_is_an_error_that_is_mended_in_its_line() -> None:
    files = {**REDHAT, "/sbin/init": PROGRAM, "/etc/inittab": "id:1:initdefault:\n", "/etc/rc.d/rc3.d/x": ""}
    outcome = only(init, guest(files, without=["/lib/systemd/systemd", "/usr/bin/apt-get"]))
    assert outcome.evidence == ("/etc/inittab:1: id:1:initdefault:",)
    assert ":3:initdefault:" in remedy(outcome)


def test_an_init_of_an_unknown_kind_is_left_open() -> None:
    files = {"/sbin/init": PROGRAM}
    assert levels(init, guest(files, without=["/lib/systemd/systemd"])) == ["undecided"]


def test_coreos_brings_its_own() -> None:
    coreos = {"/etc/os-release": "ID=coreos\nVERSION_ID=2512.3.0\n"}
    assert levels(init, guest(coreos, without=["/sbin/init"])) == ["not judged"]
