"""sshd's configuration as we read it, held against what sshd itself makes of it (`sshd -T`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fixtures import openssh
from fixtures.openssh import Answer, Server
from imgtool.guest.sshd_config import Account, SshdConfig, parse_lines, read_sshd_config
from tests.guest.memory_tree import MemoryTree

ROOT = Account("root", frozenset({"root"}))
MAIN = "/etc/ssh/sshd_config"
SINGLE = ("permitrootlogin", "passwordauthentication", "pubkeyauthentication", "usepam")
LISTS = ("allowusers", "denyusers", "allowgroups", "denygroups", "authenticationmethods")


@pytest.mark.parametrize(
    ("line", "words", "old"),
    [
        ("PermitRootLogin yes", ("yes",), ("yes",)),
        ("  PermitRootLogin\t=\tyes  ", ("yes",), ("yes",)),
        ("PermitRootLogin==yes", ("=yes",), ("", "yes")),
        ('"PermitRootLogin" "yes"', ("yes",), ("yes",)),
        ("PermitRootLogin 'yes'", ("yes",), ("'yes'",)),
        ("PermitRootLogin yes # not now", ("yes",), ("yes",)),
        ("PermitRootLogin yes#x", ("yes#x",), ("yes",)),
        (r"AllowUsers a\ b c\d", ("a b", r"c\d"), ("a\\", "b", r"c\d")),
        ('AllowUsers "a b"c', ("a bc",), ("a b", "c")),
        ('AllowUsers "a', None, None),
        ("PermitRootLogin", (), ()),
    ],
)
def test_how_a_line_is_split_now_and_before_8_7(line: str, words: Any, old: Any) -> None:
    assert [it[2] for it in parse_lines(line)] == [words]
    assert [it[2] for it in parse_lines(line, modern=False)] == [old]


def test_lines_are_counted_and_comments_passed_over() -> None:
    text = "# a\n\n\t\n  #b\nUsePAM no\f\r\n=\nX"
    assert [(number, keyword) for number, keyword, _ in parse_lines(text)] == [(5, "usepam"), (7, "x")]


# What a line may be made of; most of what comes out is a configuration that sshd takes.
KEYWORDS = ["PermitRootLogin", "PasswordAuthentication", "PubkeyAuthentication", "UsePAM", "permitrootlogin"]
VALUES = ["yes", "no", "YES", '"no"', "'no'", "prohibit-password", "without-password", "maybe", "", '"yes']
GAPS = [" ", "  ", "\t", "=", " = ", " =", "=="]
ENDS = ["", " ", "\r", " # comment", " no", "\f", "#"]
NAMES = ["root", "deploy", "r*", "!root", "root@10.0.0.9", "root,deploy", "*,!root", '"root"', "?oot"]
LINES = st.one_of(
    st.tuples(
        st.sampled_from(KEYWORDS), st.sampled_from(GAPS[:5]), st.sampled_from(VALUES[:6]), st.just("")
    ).map("".join),
    st.tuples(
        st.sampled_from(KEYWORDS), st.sampled_from(GAPS), st.sampled_from(VALUES), st.sampled_from(ENDS)
    ).map("".join),
    st.tuples(
        st.sampled_from(["AllowUsers", "DenyUsers", "AllowGroups", "denygroups"]),
        st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(" ".join),
    ).map(" ".join),
    st.tuples(
        st.sampled_from(["Match", "match", "  Match"]),
        st.sampled_from(["User ", "user=", "Group ", "User deploy,", "All", "Bogus "]),
        st.sampled_from(NAMES),
    ).map(lambda it: it[0] + " " + (it[1] if it[1] == "All" else it[1] + it[2])),
    st.sampled_from(
        [
            *("# comment", "", "INCLUDE", "Match Address 10.0.0.0/8"),
            *("ChallengeResponseAuthentication no", "ChallengeResponseAuthentication yes"),
            *("KbdInteractiveAuthentication no", "KbdInteractiveAuthentication yes"),
            *("AuthenticationMethods publickey,password publickey", "AuthenticationMethods any"),
            *("UseLogin yes", "NoSuchKeyword yes", "Port 22", "Subsystem sftp internal-sftp"),
        ]
    ),
)
FILES = st.lists(LINES, max_size=7).map("\n".join)


@pytest.fixture(scope="module", params=openssh.SYSTEMS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with openssh.server(request.param) as made:
        yield made


def ours(server: Server, main: str, parts: dict[str, str]) -> SshdConfig:
    """The same configuration in a guest whose sshd is this one."""
    files: dict[str, Any] = {"/usr/sbin/sshd": (server.program / "usr/sbin/sshd").read_bytes(), MAIN: main}
    found = read_sshd_config(MemoryTree({**files, **parts}))
    assert found is not None
    return found


def asked(server: Server, main: str, parts: dict[str, str]) -> Answer:
    (server.folder / "parts").mkdir(exist_ok=True)
    for old in (server.folder / "parts").iterdir():
        old.unlink()
    for path, text in parts.items():
        Path(path).write_text(text, encoding="utf-8")
    return server.asked(main)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(main=FILES, one=FILES, two=FILES, pattern=st.sampled_from(["*.conf", "1*.conf", "2.conf", "none"]))
@example(main="\ufeffPermitRootLogin yes", one="", two="", pattern="none")
@example(main="Match User root\nChallengeResponseAuthentication no", one="", two="", pattern="none")
@example(main="PermitRootLogin yes#", one="", two="", pattern="none")
@example(main="UsePAM yes\nMatch User root\nUsePAM no", one="", two="", pattern="none")
@example(
    main="Match User deploy\nINCLUDE\nPermitRootLogin no", one="PermitRootLogin yes", two="", pattern="*.conf"
)
@example(
    main="INCLUDE\nPermitRootLogin no", one="Match User root\nPermitRootLogin yes", two="", pattern="*.conf"
)
def test_sshd_makes_the_same_of_it(server: Server, main: str, one: str, two: str, pattern: str) -> None:
    folder = f"{server.folder}/parts"
    main = main.replace("INCLUDE", f"Include {folder}/{pattern}")
    parts = {f"{folder}/1.conf": one.replace("INCLUDE", ""), f"{folder}/2.conf": two.replace("INCLUDE", "")}
    said = asked(server, main, parts)
    found = ours(server, main, parts)
    if said.refused:
        assert found.problems, said.refused
        return
    assert [it.source for it in found.problems] == []
    defaults = server.defaults
    for keyword in SINGLE:
        line = found.first(keyword, ROOT)
        value = line.words[0].lower().replace("prohibit-", "without-") if line else defaults[keyword][0]
        assert [value] == said.settings[keyword], keyword
    for keyword in LISTS:
        lines = found.lines(keyword, ROOT)
        if keyword == "authenticationmethods":
            expected = [" ".join(lines[0].words)] if lines else defaults[keyword]
        else:
            expected = [word for line in lines for word in line.words]
        assert said.settings.get(keyword, []) == expected, keyword
    from imgtool.checks.sshd import asks_by_keyboard

    assert asks_by_keyboard(found, ROOT) == (said.settings["kbdinteractiveauthentication"] == ["yes"])
