from __future__ import annotations

from typing import Any

import pytest
from imgtool.checks.selinux import selinux

from imgtool.errors import CannotRead
from tests.checks.linux_guest import REDHAT, image, level, levels, only, remedy

CONFIG = "/etc/selinux/config"
ENFORCING = {
    **REDHAT,
    CONFIG: "# comment\nSELINUX=enforcing\nSELINUXTYPE=targeted\n",
    "/etc/selinux/targeted/policy/policy.31": b"\x8c\xff|\xf9",
}
LABELS = {
    "/etc/passwd": b"system_u:object_r:passwd_file_t:s0\0",
    "/etc/group": b"system_u:object_r:passwd_file_t:s0\0",
    "/etc/shadow": b"system_u:object_r:shadow_t:s0\0",
    "/etc/fstab": b"system_u:object_r:etc_t:s0\0",
}


def guest(files: dict[str, Any] | None = None, labels: dict[str, bytes] | None = LABELS, **how: Any) -> Any:
    given = image({**ENFORCING, **(files or {})}, **how)
    given.linux.tree.attributes = labels
    return given


def test_enforced_with_labels_is_right() -> None:
    outcome = only(selinux, guest())
    assert outcome.kind == "kept"
    assert outcome.evidence == (f"{CONFIG}: SELINUX=enforcing", "4 files looked at")


def test_a_file_that_was_changed_offline_has_no_label() -> None:
    labels = {path: label for path, label in LABELS.items() if path != "/etc/fstab"}
    outcome = only(selinux, guest(labels=labels))
    assert level(selinux, outcome) == "warning"
    assert outcome.evidence[1:] == ("/etc/fstab: no label",)
    assert remedy(outcome).endswith("touch /.autorelabel")


@pytest.mark.parametrize(
    "label", [b"system_u:object_r:unlabeled_t:s0\0", b"unconfined_u:object_r:etc_t:s0", b"x"]
)
def test_shadow_with_another_label_keeps_people_out(label: bytes) -> None:
    outcome = only(selinux, guest(labels={**LABELS, "/etc/shadow": label}))
    assert outcome.evidence[1].startswith("/etc/shadow: ")


def test_a_pending_relabel_mends_it() -> None:
    assert levels(selinux, guest({"/.autorelabel": ""}, labels={})) == ["kept"]
    assert levels(selinux, guest(labels={}, arguments="ro autorelabel=1")) == ["kept"]


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("SELINUX=permissive\n", "ro", "kept"),
        ("SELINUX=disabled\n", "ro", "kept"),
        ("", "ro", "kept"),
        ("SELINUX=enforcing\n", "ro selinux=0", "kept"),
        ("SELINUX=enforcing\n", "ro enforcing=0", "kept"),
        ("SELINUX=permissive\n", "ro enforcing=1", "warning"),
        ("\ufeff# x\r\nSELINUX=enforcing\r\n", "ro", "warning"),
    ],
)
def test_the_mode_is_that_of_the_file_and_the_kernel_command_line(
    text: str, arguments: str, expected: str
) -> None:
    assert levels(selinux, guest({CONFIG: text}, labels={}, arguments=arguments)) == [expected]


def test_debians_kernel_starts_it_only_when_asked() -> None:
    debian = {"/etc/os-release": 'ID=debian\nVERSION_ID="12"\n'}
    assert levels(selinux, guest(debian, labels={})) == ["not judged"]
    assert levels(selinux, guest(debian, labels={}, arguments="security=selinux selinux=1")) == ["warning"]


def test_enforced_without_a_policy_stops_the_boot() -> None:
    outcome = only(selinux, guest(without=["/etc/selinux/targeted/policy/policy.31"]))
    assert "no policy" in outcome.message.en


def test_without_selinux_there_is_nothing_to_judge() -> None:
    assert levels(selinux, image()) == ["not judged"]


def test_it_is_undecided_where_labels_or_the_command_line_can_not_be_read() -> None:
    with pytest.raises(CannotRead):
        list(selinux.judge(guest(labels=None)))
    assert levels(selinux, guest(arguments=None)) == ["undecided"]
