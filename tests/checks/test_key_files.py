from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from imgtool.checks.key_files import key_files

from tests.checks.linux_guest import GRUB, REDHAT, image, judge, level, levels, remedy, volume
from tests.guest.owned_tree import Link


def faults(given: Any) -> list[Any]:
    return [outcome for outcome in judge(key_files, given) if outcome.kind != "kept"]


def fault(given: Any) -> Any:
    (outcome,) = faults(given)
    return outcome


def test_debians_own_modes_are_right() -> None:
    (outcome,) = judge(key_files, image())
    assert outcome.kind == "kept"
    assert "/etc/shadow: 0640 uid 0 gid 42" in outcome.evidence
    assert f"{GRUB}: 0600 uid 0 gid 0" in outcome.evidence


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o600])
def test_red_hats_and_stricter_modes_of_shadow_are_right(mode: int) -> None:
    owned = {"/etc/shadow": (mode, 0, 0), "/etc/gshadow": (mode, 0, 0)}
    assert levels(key_files, image(REDHAT, owned=owned)) == ["kept"]


@pytest.mark.parametrize(
    ("path", "owner", "words"),
    [
        ("/etc/fstab", (0o666, 0, 0), "written by every user"),
        ("/etc/fstab", (0o664, 0, 100), "written by group 100"),
        ("/etc/fstab", (0o644, 1000, 0), "belongs to user 1000"),
        ("/etc/passwd", (0o646, 0, 0), "written by every user"),
        ("/etc/shadow", (0o644, 0, 42), "read by every user"),
        ("/etc/shadow", (0o640, 0, 100), "read by group 100"),
        ("/etc/gshadow", (0o604, 0, 42), "read by every user"),
        (GRUB, (0o777, 0, 0), "written by every user"),
    ],
)
def test_a_file_open_to_others_is_an_error_with_its_mode(
    path: str, owner: tuple[int, int, int], words: str
) -> None:
    outcome = fault(image(owned={path: owner}))
    assert level(key_files, outcome) == "error"
    assert words in outcome.message.en
    assert outcome.evidence == (f"{path}: {owner[0]:04o} uid {owner[1]} gid {owner[2]}",)
    assert "chmod" in remedy(outcome)
    assert path in remedy(outcome)


def test_the_remedy_is_the_distributions_own_mode() -> None:
    wrong = {"/etc/shadow": (0o644, 0, 0)}
    assert "chown root:shadow /etc/shadow\nchmod 0640 /etc/shadow" in remedy(fault(image(owned=wrong)))
    redhat = fault(image(REDHAT, owned={**wrong, "/etc/gshadow": (0, 0, 0)}))
    assert "chmod 0000 /etc/shadow" in remedy(redhat)


@pytest.mark.parametrize("path", ["/etc/fstab", "/etc/passwd", "/etc/shadow", "/etc/group"])
def test_a_file_that_is_not_there_is_an_error(path: str) -> None:
    outcome = fault(
        image(without=[path], owned={"/etc/shadow": (0o600, 0, 0), "/etc/gshadow": (0o600, 0, 0)})
    )
    assert (level(key_files, outcome), outcome.evidence) == ("error", (f"{path}: missing",))


def test_gshadow_may_be_absent() -> None:
    assert faults(image(without=["/etc/gshadow"])) == []


def test_a_backup_that_is_there_is_put_back() -> None:
    given = image({"/etc/shadow-": "root:*:"}, without=["/etc/shadow"])
    assert "cp -p /etc/shadow- /etc/shadow" in remedy(fault(given))


def test_a_dangling_link_and_a_folder_are_no_files() -> None:
    outcome = fault(image({"/etc/fstab": Link("/nowhere")}))
    assert outcome.evidence == ("/etc/fstab: dangling link",)
    folder = image({"/etc/shadow/x": ""}, without=["/etc/shadow"])
    assert fault(folder).evidence == ("/etc/shadow: directory",)


def test_an_fstab_that_is_a_loop_is_made_anew_with_the_root_that_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "fstab").symlink_to("fstab")
    command = fault(image({"/etc/fstab": Link("/etc/fstab")})).remedy.en.splitlines()[1]
    done = subprocess.run(
        ["sh", "-c", command.replace("/etc/fstab", f"{tmp_path}/fstab")], capture_output=True, check=True
    )
    assert done.stderr == b""
    kind = subprocess.run(
        ["findmnt", "-no", "FSTYPE", "/"], capture_output=True, text=True, check=True
    ).stdout
    words = (tmp_path / "fstab").read_text().split()
    assert words[0].startswith("UUID=")
    assert words[1:] == ["/", kind.strip(), "defaults", "0", "1"]


def test_a_boot_loader_without_configuration_is_for_another_rule() -> None:
    assert faults(image(without=[GRUB], arguments=None)) == []


def test_a_configuration_on_the_efi_partition_has_no_mode_to_judge() -> None:
    given = image(owned={GRUB: (0o777, 0, 0)})
    given.linux.tree.mounts["/boot"] = volume(2, "vfat", "ABCD-1234")
    assert faults(given) == []


def test_a_file_that_cannot_be_read_is_undecided_and_the_others_are_judged() -> None:
    given = image(owned={"/etc/passwd": (0o666, 0, 0)})
    given.linux.tree.unreadable.add("/etc/shadow")
    assert sorted(level(key_files, outcome) for outcome in faults(given)) == ["error", "undecided"]


def test_an_account_file_without_root_keeps_everyone_out() -> None:
    outcome = fault(
        image({"/etc/passwd": "daemon:x:1:1::/:/bin/false\n", "/etc/passwd-": "root:x:0:0::/root:\n"})
    )
    assert level(key_files, outcome) == "error"
    assert "no line for root" in outcome.message.en
    assert "cp -p /etc/passwd- /etc/passwd" in remedy(outcome)
    assert "pwconv" in remedy(fault(image({"/etc/shadow": ""})))


def test_windows_line_ends_in_an_account_file_are_an_error() -> None:
    outcome = fault(image({"/etc/passwd": "root:x:0:0::/root:/bin/sh\r\n"}))
    assert outcome.evidence == ("/etc/passwd:1: ends in a carriage return",)
    assert remedy(outcome).endswith("sed -i 's/\\r$//' /etc/passwd")


def test_coreos_keeps_its_accounts_elsewhere() -> None:
    coreos = {"/etc/os-release": "ID=coreos\n", "/etc/passwd": "core:x:500:500::/home/core:/bin/bash\n"}
    assert "error" not in levels(key_files, image(coreos))


def test_the_link_that_grubs_tools_go_by_leads_somewhere() -> None:
    files = {**REDHAT, "/etc/grub2.cfg": Link("../boot/grub2/grub.cfg")}
    outcome = fault(image(files))
    assert level(key_files, outcome) == "warning"
    assert outcome.evidence == ("/etc/grub2.cfg -> ../boot/grub2/grub.cfg",)
    assert remedy(outcome).endswith(f"ln -sfn {GRUB} /etc/grub2.cfg")
    assert levels(
        key_files,
        image({**files, "/boot/grub2/grub.cfg": "x"}, owned={"/boot/grub2/grub.cfg": (0o600, 0, 0)}),
    ) == ["kept"]
