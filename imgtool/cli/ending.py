"""How a run ends: exit codes, signals, and messages instead of tracebacks.

0 nothing at or above the failing level; 1 there is; 2 wrong usage; 3 an image could not be read or judged;
4 this machine lacks something; 5 the cloud refused or failed. 128 + signal when one ended the run: 130 on
Ctrl-C, 143 on SIGTERM, 141 when nobody reads the output any more.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from imgtool.cli.session import Session
from imgtool.errors import ImgtoolError, out_of_resources
from imgtool.signals import ENDING_SIGNALS
from imgtool.text import Text

STANDARD_OUTPUT = Text("standard output", "标准输出")


class Ended(BaseException):
    """A signal asked this process to end; it unwinds so that children and temporary files go too."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def unwind_on_signals() -> None:
    """Let the signals that end a process unwind it. A second one is ignored: the clean-up is short."""
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and background jobs stay as they are
            signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    for other in ENDING_SIGNALS:
        signal.signal(other, _pass_over)
    raise Ended(number)


def _pass_over(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN: Python complains of a signal that came just before it was set."""


def run(arguments: Sequence[str]) -> NoReturn:
    """Run the program with its arguments and exit."""
    _fill_closed_streams()
    session = Session()
    unwind_on_signals()
    # Where it is ignored, as some who start us leave it, no child's exit code can be had: all seem to be 0.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        code = _code_of(arguments, session)
        if sys.stdout is not None:
            sys.stdout.flush()
    except Ended as ended:
        code = 128 + ended.number
        if ended.number == signal.SIGPIPE:
            _silence(1)
    except OSError as error:  # what was left to write could not be written
        from imgtool.cli.output import write_failed

        failure = write_failed(STANDARD_OUTPUT, error)
        _complain(session, failure.statement())
        code = failure.exit_code
        _silence(1)
    sys.exit(code)


def _code_of(arguments: Sequence[str], session: Session) -> int:
    import click

    from imgtool.cli.commands import imgtool

    try:
        code = imgtool.main(list(arguments), prog_name="imgtool", standalone_mode=False, obj=session)
    except click.ClickException as error:
        error.show(file=sys.stderr)
        return error.exit_code
    except click.exceptions.Abort:
        return 128 + signal.SIGINT
    except ImgtoolError as error:
        if session.debug:
            _show_traceback()
        _complain(session, error.statement())
        return error.exit_code
    except Exception as error:
        if session.debug:
            _show_traceback()
        if (lacking := out_of_resources(error)) is not None:
            _complain(session, lacking.statement())
            return lacking.exit_code
        _complain(session, _internal(error))
        return 3
    return code if isinstance(code, int) else 0


def _internal(error: Exception) -> Text:
    fault = f"{type(error).__name__}: {error}"[:500]
    return Text(
        en=f"internal error, please report it with the output of --debug: {fault}",
        zh=f"内部错误，请附上 --debug 的输出进行反馈：{fault}",
    )


def _complain(session: Session, statement: Text) -> None:
    from imgtool.report.visible import visible

    words = f"imgtool: {visible(session.say(statement))}\n"
    try:
        sys.stderr.buffer.write(words.encode("utf-8", "backslashreplace"))
        sys.stderr.flush()
    except (OSError, ValueError):
        _silence(2)


def _show_traceback() -> None:
    import traceback

    traceback.print_exc()


def _fill_closed_streams() -> None:
    """Open /dev/null where a standard stream is closed: else a file we open would take its number.

    sys.stdout stays None then: whoever wants to print says that it can't (imgtool.cli.output).
    """
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:
            while os.open(os.devnull, os.O_RDWR) < number:
                pass
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for as long as we live


def _silence(descriptor: int) -> None:
    """Python flushes its streams once more at exit; what can't be written then is to go nowhere, quietly."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
