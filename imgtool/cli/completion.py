"""`imgtool completion`: the script that makes a shell complete imgtool's commands and options."""

from __future__ import annotations

import click

from imgtool.cli.session import Session

_INSTALL = {
    "bash": "imgtool completion bash > ~/.local/share/bash-completion/completions/imgtool",
    "zsh": "imgtool completion zsh > a folder of $fpath, as _imgtool",
    "fish": "imgtool completion fish > ~/.config/fish/completions/imgtool.fish",
}

_LOADED = "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i; }"
"""zsh: a shell that was not set up for completion has no compdef."""


@click.command("completion", short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(list(_INSTALL)))
@click.pass_obj
def command(session: Session, shell: str) -> int:
    """Print the completion script for a shell.

    \b
    imgtool completion bash > ~/.local/share/bash-completion/completions/imgtool
    source <(imgtool completion zsh)
    """
    from click.shell_completion import get_completion_class

    from imgtool.cli.commands import imgtool
    from imgtool.cli.output import Output

    kind = get_completion_class(shell)
    if kind is None:  # click knows all three
        raise click.UsageError(f"no completion for {shell}")
    script = kind(imgtool, {}, "imgtool", "_IMGTOOL_COMPLETE").source()
    script = f"{script.strip()}\n"
    if shell == "zsh":
        tag, _, body = script.partition("\n")  # compinit looks for the tag in the first line of a file
        script = body.replace("    compdef ", f"    {_LOADED}\n    compdef ")
        Output(None).write(f"{tag}\n# {_INSTALL[shell]}\n{script}")
    else:
        Output(None).write(f"# {_INSTALL[shell]}\n{script}")
    return 0
