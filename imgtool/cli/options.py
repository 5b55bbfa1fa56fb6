"""Options that several commands have in common."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from imgtool.cli.session import Session
from imgtool.text import Language

_TYPED = click.core.ParameterSource.COMMANDLINE
Command = TypeVar("Command", bound=Callable[..., Any])


class _Image(click.Path):
    """A path that is not empty: what a script's unset variable leaves would else be the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("The name of the image is empty.", param, ctx)
        return super().convert(value, param, ctx)


IMAGES = click.argument(
    "images", metavar="IMAGE...", nargs=-1, required=True, type=_Image(path_type=Path, readable=False)
)


def _set_language(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.find_object(Session).language = cast(Language, value)  # type: ignore[union-attr]


def _set_debug(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value:
        context.find_object(Session).debug = True  # type: ignore[union-attr]


def language(command: Command) -> Command:
    """--lang: sets the session's language before anything else is read, so that errors speak it too."""
    return click.option(
        "--lang",
        type=click.Choice(["en", "zh"]),
        is_eager=True,
        expose_value=False,
        callback=_set_language,
        help="Language of the report; the locale's by default.",
    )(command)


def debug(command: Command) -> Command:
    """--debug: tracebacks."""
    return click.option(
        "--debug",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_set_debug,
        help="Show tracebacks of internal errors.",
    )(command)


def output(*formats: str) -> Callable[[Command], Command]:
    """--format, -o, --force, --no-color, --lang, --debug."""

    def add(command: Command) -> Command:
        for option in (
            debug,
            language,
            click.option(
                "--no-color", is_flag=True, help="No colours on a terminal. NO_COLOR=1 does the same."
            ),
            click.option("--force", is_flag=True, help="Let -o overwrite a file."),
            click.option(
                "-o",
                "--output",
                "output",
                metavar="FILE",
                type=click.Path(path_type=Path, readable=False),
                help="Write to FILE, complete or not at all; never over an existing file.",
            ),
            click.option(
                "-f",
                "--format",
                "format_",
                type=click.Choice(formats),
                default=formats[0],
                show_default=True,
                help="Form of the report.",
            ),
        ):
            command = option(command)
        return command

    return add


ENGINE = click.option(
    "--engine",
    type=click.Choice(["auto", "native", "libguestfs"]),
    default="auto",
    show_default=True,
    help="What reads filesystems: imgtool itself, libguestfs, or it only where imgtool can't.",
)
PROFILE = click.option(
    "--profile",
    metavar="NAME|FILE",
    default="tce",
    show_default=True,
    help="The limits of the deployment that it goes to.",
)
BOOT_MODE = click.option(
    "--boot-mode", type=click.Choice(["bios", "uefi"]), help="The boot mode that will be declared."
)
FORCE_IMPORT = click.option(
    "--force-import", is_flag=True, help="The image is imported by force, without cloud-init."
)


def given(context: click.Context, *names: str) -> tuple[str, ...]:
    """Those of these options that stand on the command line, as words of a shell: to be given again."""
    found: list[str] = []
    for option in context.command.params:
        if option.name not in names or context.get_parameter_source(option.name) is not _TYPED:
            continue
        value = context.params[option.name]
        word = option.opts[-1]
        for it in value if isinstance(value, tuple) else [value]:
            found.append(word if it is True else f"{word} {shlex.quote(str(it))}")
    return tuple(found)


def words(context: click.Context, option: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """Values of an option that may be repeated, or be lists with commas."""
    return tuple(word.strip() for item in value for word in item.split(",") if word.strip())
