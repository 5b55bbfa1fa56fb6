"""Child processes: the one place that starts them.

Every child ends with us, however we end, SIGKILL of ours included: `setpriv` (util-linux) asks the kernel to
kill it when its parent dies (PR_SET_PDEATHSIG, prctl(2)), and a shell then looks whether the parent was still
there to die, which closes the gap between fork and prctl; both become the program by exec. Python's own
preexec_fn would do the same, but it is unsafe beside threads and forks the whole address space: measured,
0.6 ms for this against 2 to 10 ms, growing with our memory.

The kernel's parent is the thread that called: a child must be started by a thread that outlives it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING

from imgtool.errors import ImgtoolError, MachineLacks
from imgtool.records import dataclass
from imgtool.text import Text

if TYPE_CHECKING:
    from socket import socket

PACKAGES = {
    "guestfish": "libguestfs-tools",
    "qemu-img": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "supermin": "supermin",
}
_BOUND = 'test "$PPID" = "$0" || exit 1; exec "$@"'
_LISTENING = (
    'test "$PPID" = "$0" || exit 1; exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1; '
    'export LISTEN_PID LISTEN_FDS; exec "$@"'
)
STDERR_SHOWN = 2000


@dataclass(frozen=True)
class Result:
    """What a program that succeeded wrote."""

    stdout: bytes
    stderr: bytes


class CommandFailed(ImgtoolError):
    """A program ended with an error, or not in time (code None); `stderr` is what it said."""

    def __init__(self, args: Sequence[str], code: int | None, stderr: str) -> None:
        super().__init__(args, code, stderr)
        self.command = tuple(args)
        self.code = code
        self.stderr = stderr

    def statement(self) -> Text:
        program = os.path.basename(self.command[0])
        said = self.stderr.strip()[-STDERR_SHOWN:]
        if self.code is not None and self.code < 0:
            return Text(
                en=f"{program} was ended by {_signal_name(-self.code)}. {said}".rstrip(),
                zh=f"{program} 被信号 {_signal_name(-self.code)} 终止。{said}",
            )
        if self.code is None:
            return Text(
                en=f"{program} did not end in time. {said}".rstrip(),
                zh=f"{program} 未在规定时间内结束。{said}",
            )
        return Text(
            en=f"{program} failed (exit code {self.code}): {said or 'it printed nothing'}",
            zh=f"{program} 失败（退出码 {self.code}）：{said or '没有任何输出'}",
        )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def program_path(name: str) -> str:
    """Where a program is: on PATH, or in the system folders that a user's PATH may leave out.

    Raises MachineLacks, naming the package to install.
    """
    if os.sep in name:
        folders, name = [os.path.dirname(name)], os.path.basename(name)
    else:
        folders = [*os.get_exec_path(), "/usr/sbin", "/sbin"]
    for folder in folders:
        path = os.path.join(folder, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise MachineLacks(name, PACKAGES.get(name, name))


def spawn_bound(
    args: Sequence[str],
    *,
    stdin: IO[bytes] | int | None = subprocess.DEVNULL,
    stdout: IO[bytes] | int | None = subprocess.DEVNULL,
    stderr: IO[bytes] | int | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    listening: socket | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program that the kernel kills when the calling thread, and so our process, ends.

    listening: a bound and listening socket that the program is to accept from, handed over by the socket
    activation protocol (sd_listen_fds(3)) in place of its standard input. env stands for the whole
    environment. Raises MachineLacks when the program is not installed.
    """
    program = [program_path(args[0]), *args[1:]]
    script = _BOUND if listening is None else _LISTENING
    bound = [program_path("setpriv"), "--pdeathsig", "KILL", "--", "/bin/sh", "-c", script, str(os.getpid())]
    return subprocess.Popen(
        [*bound, *program],
        stdin=stdin if listening is None else listening.fileno(),
        stdout=stdout,
        stderr=stderr,
        env=env,
        pass_fds=pass_fds,
    )


def run(
    args: Sequence[str],
    *,
    timeout: float,
    input: bytes | None = None,  # noqa: A002 - subprocess's word
    env: Mapping[str, str] | None = None,
) -> Result:
    """Run a program to its end, at most `timeout` seconds; what it writes is captured.

    Raises MachineLacks when it is not installed, CommandFailed when it fails or is not done in time.
    """
    child = spawn_bound(
        args,
        stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
    )
    with child:
        try:
            stdout, stderr = child.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired as late:
            child.kill()
            said = late.stderr or b""
            raise CommandFailed(args, None, said.decode(errors="replace")) from late
        except BaseException:
            child.kill()
            raise
    if child.returncode != 0:
        raise CommandFailed(args, child.returncode, stderr.decode(errors="replace"))
    return Result(stdout, stderr)


def end(child: subprocess.Popen[bytes], patience: float = 2.0) -> None:
    """See a child off: SIGTERM, and SIGKILL when it is still there `patience` seconds later."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
