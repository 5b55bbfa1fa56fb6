"""GRUB's script language: what decides which entry starts is followed as GRUB follows it."""

from __future__ import annotations

import contextlib
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgtool.guest import grub_script, grub_test
from imgtool.guest.grub_script import Run, ScriptError, parse


def run(text: str, **variables: str) -> Run:
    following = Run(
        {"[": lambda _, words: grub_test.evaluate(words[1:-1], lambda *_: False)}, variables, "grub.cfg"
    )
    following.run(parse(text))
    return following


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("set x=plain", "plain"),
        ("set x='single $quoted'", "single $quoted"),
        ('set x="double ${y}z"', "double yesz"),
        ("set x=$y", "yes"),
        ("set x=a\\ b", "a b"),
        ('set x="a\\"b"', 'a"b'),
        ("set x='a'\"b\"c", "abc"),
        ("set x=a; set x=b", "b"),
        ("set x=a # a comment", "a"),
        ("set x=a#b", "a#b"),
        ("set x=a \\\n set y=b", "a"),
        ("x=assigned", "assigned"),
        ("set x=${nothing}", ""),
    ],
)
def test_words_and_quotes(text: str, value: str) -> None:
    assert run(text, y="yes").variables["x"] == value


def test_a_variable_without_quotes_is_split_at_blanks() -> None:
    assert run("linux /vmlinuz $options", options="root=UUID=1 ro").loaded.arguments == ("root=UUID=1", "ro")
    assert run('linux /vmlinuz "$options"', options="root=UUID=1 ro").loaded.arguments == ("root=UUID=1 ro",)
    assert run("linux /vmlinuz $empty quiet").loaded.arguments == ("quiet",)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ('[ "a" = "a" ]', True),
        ('[ x"$y" = xyes ]', True),
        ('[ "$y" ]', True),
        ('[ "$n" ]', False),
        ('[ -n "$n" ]', False),
        ('[ -z "$n" ]', True),
        ("[ $y = yes -a 1 -lt 2 ]", True),
        ("[ $y = no -o 2 -ge 2 ]", True),
        ("[ ! $y = no ]", True),
        ("true", True),
        ("false", False),
        ("! false", True),
        ("unknown_command", True),
    ],
)
def test_conditions(condition: str, holds: bool) -> None:
    text = f"if {condition}; then set x=then; else set x=else; fi"
    assert run(text, y="yes").variables["x"] == ("then" if holds else "else")


def test_elif_and_nested_conditions() -> None:
    text = """
    if [ "$a" = 1 ]; then
      set x=one
    elif [ "$a" = 2 ]; then
      if true; then set x=two; fi
    else
      set x=other
    fi"""
    assert [run(text, a=a).variables["x"] for a in "123"] == ["one", "two", "other"]


def test_functions_loops_and_entries() -> None:
    text = """
    function gfxmode { set gfxpayload="keep"; }
    for part in msdos gpt; do set last=$part; done
    while true; do set never=1; done
    menuentry 'Linux' --class os --users "" $menuentry_id_option 'the-id' {
      gfxmode
      linux /vmlinuz root=/dev/vda1
      initrd /a /b
    }
    submenu "More" { menuentry 'Inner' { linux /inner } }"""
    following = run(text, menuentry_id_option="--id")
    assert following.variables["last"] == "gpt"
    assert "never" not in following.variables
    assert [(it.title, it.id, it.submenu) for it in following.menu] == [
        ("Linux", "the-id", False),
        ("More", "More", True),
    ]
    inside = following.inside(following.menu[0])
    assert inside.loaded.kernel == "/vmlinuz"
    assert inside.loaded.initrds == ["/a", "/b"]
    assert inside.variables["gfxpayload"] == "keep"
    assert following.inside(following.menu[1]).menu[0].title == "Inner"


@pytest.mark.parametrize(
    "text", ["if true; then", "menuentry 'x' {", "set x='open", 'set x="open', "fi", "}"]
)
def test_what_grub_cannot_read_is_an_error_with_its_line(text: str) -> None:
    with pytest.raises(ScriptError, match="line "):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "if true; then " * 200,
        "menuentry x { " * 200,
        "function f { f; }\nf",
        "function f { f; f; }\nfunction g { for x in a b c d e f g h; do f; done; }\ng",
    ],
)
def test_endless_nesting_is_an_error(text: str) -> None:
    with pytest.raises(ScriptError):
        run(text)


def test_more_entries_than_any_menu_has_are_an_error() -> None:
    with pytest.raises(ScriptError):
        run("menuentry x { true }\n" * (grub_script.MOST_ENTRIES + 1))


def test_a_variable_that_doubles_itself_is_an_error() -> None:
    with pytest.raises(ScriptError):
        run("set a=aaaaaaaaaaaaaaaa\n" + 'set a="$a$a"\n' * 40)


WORDS = st.sampled_from(
    [
        "if",
        "then",
        "else",
        "fi",
        "menuentry",
        "{",
        "}",
        "[",
        "]",
        ";",
        "\n",
        "set",
        "a=b",
        "$x",
        "'q'",
        '"d"',
        "#",
        "for",
    ]
)


@given(st.lists(WORDS, max_size=40).map(" ".join))
def test_any_words_are_followed_or_refused(text: str) -> None:
    with contextlib.suppress(ScriptError):
        run(text)


@given(st.text(max_size=200))
def test_any_text_is_followed_or_refused(text: str) -> None:
    with contextlib.suppress(ScriptError):
        run(text)


@given(st.text(st.characters(exclude_characters="'\0", exclude_categories=["Cs"]), max_size=40))
def test_what_is_in_single_quotes_comes_back(value: str) -> None:
    assert run(f"set x='{value}'").variables["x"] == value


@pytest.mark.parametrize(
    "text",
    [
        "if true; then\n  set x=1\nfi\nmenuentry 'a' { linux /a }\n",
        "if true; then",
        "menuentry 'x' {",
        "for x in a b; do set y=$x; done",
        "function f { true; }\nf\n",
        "set x='open",
    ],
)
@pytest.mark.skipif(shutil.which("grub-script-check") is None, reason="grub-common is not installed")
def test_grub_itself_agrees_on_what_can_be_read(text: str) -> None:
    grub = subprocess.run(["grub-script-check"], input=text.encode(), capture_output=True, check=False)
    try:
        parse(text)
        read = True
    except ScriptError:
        read = False
    assert read == (grub.returncode == 0)


def test_a_loop_over_long_words_is_an_error() -> None:
    words = "a " * 30_000
    with pytest.raises(ScriptError):
        run(f'set x="{words}"\nfor a in $x; do for b in $x; do set y="$x"; done; done')
