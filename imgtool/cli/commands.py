"""The program with its commands, each loaded when it is used."""

from __future__ import annotations

import importlib

import click

_COMMANDS = (
    "check",
    "completion",
    "convert",
    "doctor",
    "fix",
    "import",
    "inspect",
    "prepare",
    "rehearse",
    "sandbox",
    "upload",
)
_MODULES = {"import": "import_image"}  # no module may be called import


class _Lazy(click.Group):
    """A group whose command NAME is the object `command` of the module imgtool.cli.NAME (or of _MODULES)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"imgtool.cli.{_MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = module.command
        return command


def _show_version(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from imgtool import __version__

        click.echo(f"imgtool {__version__}")
        context.exit()


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version.",
)
def imgtool() -> None:
    """Tell whether a disk image will import into the cloud and boot there, and why not.

    \b
    imgtool check customer.vmdk        the reasons, and the commands that mend it
    imgtool prepare customer.vmdk …    the whole way to an image in the cloud
    imgtool rehearse image.qcow2       boot it on the platform's virtual hardware
    imgtool check -h                   the options of a command

    \b
    Exit codes: 0 nothing found at the failing level, 1 something found, 2 wrong usage,
    3 an image could not be judged, 4 this machine lacks something, 5 the cloud refused or failed,
    130 Ctrl-C.
    """
