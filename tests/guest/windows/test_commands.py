"""Names of a stranger's image in remedies: one argument that its shell takes literally, or no command."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgtool.guest.windows.commands import for_cmd, for_powershell, shown

NAMES = st.text(max_size=40) | st.text(
    alphabet="ab \\/%\"'$`!^&|<>();{}[]\u2018\u2019\u201a\u201b\u201c\u201d\u2028\n\r\0-", max_size=20
)


def cmd_arguments(line: str) -> list[str]:
    """What a program gets of a line typed at cmd's prompt: cmd's own special characters count, then the rules
    of the C run-time for quotes and backslashes. Raises AssertionError where cmd would do anything else."""
    assert "%" not in line, "a variable"
    assert line.isprintable(), "another line"
    arguments: list[str] = []
    word, quoted, started, at = "", False, False, 0
    while at < len(line):
        slashes = len(line[at:]) - len(line[at:].lstrip("\\"))
        char = line[at + slashes : at + slashes + 1]
        if char == '"':
            word += "\\" * (slashes // 2)
            if slashes % 2:
                word += '"'
            else:
                quoted = not quoted
            started, at = True, at + slashes + 1
            continue
        if slashes:
            word, started, at = word + "\\" * slashes, True, at + slashes
            continue
        assert quoted or char not in "&|<>^()", f"{char} is cmd's"
        if char == " " and not quoted:
            arguments += [word] if started else []
            word, started = "", False
        else:
            word, started = word + char, True
        at += 1
    assert not quoted, "an open quote"
    return [*arguments, *([word] if started else [])]


def powershell_literal(text: str) -> str:
    """What PowerShell reads a single-quoted string as: a quote of any kind ends it, two of them are one."""
    quotes = "'\u2018\u2019\u201a\u201b"
    assert text[0] in quotes
    value, at = "", 1
    while at < len(text):
        if text[at] in quotes:
            if text[at + 1 : at + 2] and text[at + 1] in quotes:
                value, at = value + text[at], at + 2
                continue
            assert at == len(text) - 1, "text behind the string"
            return value
        value, at = value + text[at], at + 1
    raise AssertionError("an open string")


@given(NAMES)
def test_a_name_is_one_argument_of_cmd_or_none(name: str) -> None:
    quoted = for_cmd(name)
    if quoted is not None:
        assert cmd_arguments(f"reg query {quoted} /v UninstallString") == [
            "reg",
            "query",
            name,
            "/v",
            "UninstallString",
        ]
        assert not {"$", "`", "\u201c", "\u201d"} & set(quoted)  # nor is it anything else to PowerShell


@given(NAMES)
def test_a_name_is_one_literal_of_powershell_or_none(name: str) -> None:
    quoted = for_powershell(name)
    if quoted is not None:
        assert powershell_literal(quoted) == name
        assert "\n" not in quoted


@pytest.mark.parametrize("name", ["%PATH%", 'a" & calc & "', "a\nb", "$(calc)", "`calc`", "a\u2028b", ""])
def test_what_cmd_would_not_take_literally_has_no_command(name: str) -> None:
    assert for_cmd(name) is None


@pytest.mark.parametrize(
    "name", ["360安全卫士", "A & B (x64)", "a|b<c>d^e", "C:\\x\\", "it's", "{not-a-guid}"]
)
def test_names_that_people_have_are_quoted(name: str) -> None:
    quoted = for_cmd(name)
    assert quoted is not None
    assert cmd_arguments(f"x {quoted}") == ["x", name]


@given(NAMES)
def test_a_name_in_a_sentence_is_one_short_line(name: str) -> None:
    assert shown(name).isprintable()
    assert len(shown(name)) <= 120
