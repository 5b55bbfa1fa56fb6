"""The command line: one module per command, thin.

`main` is the entry point: it runs a command and turns however that ends into an exit code.
"""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process and exit with its code."""
    import signal
    import sys

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until `run` sees to it: Ctrl-C while modules load

    if sys.argv[1:] == ["--version"]:  # scripts ask for it at every start: not worth loading the rest
        sys.exit(_version())
    from imgtool.cli.ending import run

    run(sys.argv[1:])


def _version() -> int:
    import os

    from imgtool import __version__

    try:
        os.write(1, f"imgtool {__version__}\n".encode())
    except OSError:
        return 2
    return 0
