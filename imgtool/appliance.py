"""libguestfs's appliance: the one place that starts it, for reading, repairing and shrinking.

The appliance is a small virtual machine with a kernel and tools of its own: a stranger's filesystems are
mounted by that kernel, never by this machine's. What starts here is bounded in every way: QEMU is told each
drive's format, has a fixed amount of memory, no network, a time to start in and a time to live, and it ends
with this process, however that ends. A drive that is only to be read lies under an overlay of our own, so
that not even the appliance's kernel can write to the image.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory, gettempdir
from time import monotonic
from typing import TYPE_CHECKING, Any

from imgtool.errors import CannotRead, MachineLacks, UnsafeImage
from imgtool.records import dataclass
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import ImageFile

MEMORY_MIB = 768
"""What the appliance gets; libguestfs's own default is 1280. XFS and btrfs of the tests mount in 256."""
LAUNCH_LIMIT = 240.0
"""Seconds for the start: 3 with KVM, 15 to 30 without, twice that when the appliance is first built."""
SESSION_LIMIT = 600.0
"""Seconds from the start to the end of a session, unless the caller says otherwise."""
CLOSING_LIMIT = 30.0
SAID = 500
SYSTEM_GUESTFS = Path("/usr/lib/python3/dist-packages/guestfs.py")
"""Where Debian and Ubuntu put it, which have it for their own Python only."""
SEEING_ENVIRONMENT = "/usr/bin/python3 -m venv --system-site-packages DIR && DIR/bin/pip install ."

FOLDER = "imgtool-appliance-"
GuestfsError = RuntimeError
"""What the guestfs module raises for everything that goes wrong inside the appliance."""


class ApplianceFailed(CannotRead):
    """The appliance did not start, broke down, or refused what it was asked."""


class GuestfsOutOfSight(MachineLacks):
    """The distribution's guestfs is installed, and the Python that runs us does not look there."""

    def __init__(self) -> None:
        super().__init__("guestfs", "python3-guestfs")

    def statement(self) -> Text:
        return Text(
            en=f"python3-guestfs is installed, but this Python ({sys.executable}) does not see it. Install "
            f"imgtool into an environment that does: {SEEING_ENVIRONMENT}",
            zh=f"已安装 python3-guestfs，但当前 Python（{sys.executable}）看不到它。"
            f"请将 imgtool 安装到能看到它的虚拟环境：{SEEING_ENVIRONMENT}",
        )


@dataclass(frozen=True)
class Drive:
    """A disk of the appliance.

    format: QEMU's name for it, always said. writable: changes go into the file itself; otherwise into an
    overlay that is thrown away. size: bytes of the disk where they are not the file's: it must be given for
    a drive to be read in any format but raw. discard: what the guest drops leaves the file.
    """

    path: Path
    format: str
    writable: bool = False
    size: int | None = None
    discard: bool = False


def drive_of(file: ImageFile) -> Drive:
    """The disk inside an image, for reading, by what the probe found.

    Raises UnsafeImage when the probe names a hazard, CannotRead where QEMU does not open the format.
    """
    if file.hazards or file.qemu_format is None:
        named = "; ".join(f"{hazard.check}: {hazard.detail}" for hazard in file.hazards) or file.format
        raise UnsafeImage(
            Text(
                en=f"The image is not given to libguestfs ({named}).",
                zh=f"不会将该镜像交给 libguestfs（{named}）。",
            )
        )
    fixed = file.format == "vhd" and file.variant == "fixed"  # a raw disk with a footer behind it
    return Drive(file.path, "raw" if fixed else file.qemu_format, size=file.virtual_size)


def require() -> None:
    """Raise MachineLacks, with the package, unless the appliance can be built and started here."""
    from importlib.util import find_spec

    from imgtool.process import program_path
    from imgtool.virtualization import readable_kernels

    if find_spec("guestfs") is None:
        raise GuestfsOutOfSight() if SYSTEM_GUESTFS.exists() else MachineLacks("guestfs", "python3-guestfs")
    program_path("qemu-img")
    if "LIBGUESTFS_PATH" in os.environ:  # an appliance that was built elsewhere
        return
    program_path("supermin")
    if not readable_kernels():
        raise MachineLacks("kernel in /boot (libguestfs needs one)", "linux-image-cloud-amd64")


def available() -> bool:
    """Whether the appliance can be started here, as far as can be told without starting it."""
    try:
        require()
    except MachineLacks:
        return False
    return True


@contextmanager
def appliance(
    drives: Sequence[Drive],
    *,
    memory_mib: int = MEMORY_MIB,
    launch_limit: float = LAUNCH_LIMIT,
    session_limit: float = SESSION_LIMIT,
    network: bool = False,
) -> Iterator[Any]:
    """A running appliance with these drives as /dev/sda, /dev/sdb …: a guestfs.GuestFS handle.

    What the handle raises (GuestfsError) leaves the context as ApplianceFailed. Leaving it in good order
    sees that everything written is on the drives. On a signal, or at the end of its time, QEMU is killed at
    once, even in the midst of a call. Raises MachineLacks, ApplianceFailed.
    """
    require()
    import guestfs

    from imgtool.virtualization import backend_settings

    _remove_abandoned()
    with TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-") as name, _Watch() as watch:
        folder = Path(name)
        handle = guestfs.GuestFS(python_return_dict=True)
        try:
            handle.set_program("imgtool")
            handle.set_tmpdir(name)
            handle.set_backend("direct")
            handle.set_backend_settings(backend_settings())
            handle.set_memsize(memory_mib)
            handle.set_network(network)
            handle.set_hv(str(_hypervisor(folder, handle.get_hv())))
            for number, drive in enumerate(drives):
                _add(handle, drive, folder, number)
            watch.allow(launch_limit)
            handle.launch()
            watch.allow(session_limit)
            yield handle
            if any(drive.writable for drive in drives):
                handle.shutdown()
        except GuestfsError as error:
            if type(error) is not GuestfsError:  # RecursionError and its like are none of the appliance's
                raise
            raise _failure(error, watch) from error
        finally:
            watch.allow(CLOSING_LIMIT)
            handle.close()


def _remove_abandoned() -> None:
    """Folders of processes that were killed: a process that lives keeps its own."""
    for left in Path(gettempdir()).glob(f"{FOLDER}*-*"):
        number = left.name.removeprefix(FOLDER).partition("-")[0]
        with suppress(OSError):
            if number.isdigit() and not Path("/proc", number).exists() and left.stat().st_uid == os.getuid():
                rmtree(left, ignore_errors=True)


def mounting_failed(type_: str, error: Exception) -> CannotRead | MachineLacks:
    """Why the appliance does not mount a filesystem. Debian keeps what XFS needs in a package of its own."""
    if type_ == "xfs" and "unknown filesystem type" in str(error):
        return MachineLacks("support for XFS in libguestfs's appliance", "libguestfs-xfs")
    return ApplianceFailed(
        Text(
            en=f"libguestfs can't mount the {type_}: {_said(error)}.",
            zh=f"libguestfs 无法挂载该 {type_}：{_said(error)}。",
        )
    )


def _add(handle: Any, drive: Drive, folder: Path, number: int) -> None:
    if drive.writable:
        options = {"discard": "enable"} if drive.discard else {}
        handle.add_drive_opts(os.path.abspath(drive.path), format=drive.format, cachemode="unsafe", **options)
    else:
        overlay = _overlay(drive, folder, number)
        handle.add_drive_opts(str(overlay), format="qcow2", cachemode="unsafe")


def _overlay(drive: Drive, folder: Path, number: int) -> Path:
    """A qcow2 over the image, which QEMU then opens read-only, with the driver and the size that we say.

    The image goes by a link in our own folder: its own name may be too long for a qcow2, or mean something to
    QEMU. The overlay is made without opening the image (-u).
    """
    from imgtool.process import run

    link, overlay = folder / f"image{number}", folder / f"overlay{number}.qcow2"
    link.symlink_to(os.path.abspath(drive.path))
    size = drive.size if drive.size is not None else os.stat(drive.path).st_size
    backing: dict[str, Any] = {"driver": drive.format, "file": {"driver": "file", "filename": str(link)}}
    if drive.format == "raw":
        backing["size"] = size // 512 * 512
    elif drive.format == "vpc":
        backing["force_size_calc"] = "current_size"
    words = ["-q", "-u", "-f", "qcow2", "-F", drive.format, "-b", "json:" + json.dumps(backing)]
    run(["qemu-img", "create", *words, str(overlay), str(-(-size // 512) * 512)], timeout=60)
    return overlay


def _hypervisor(folder: Path, qemu: str) -> Path:
    """QEMU as libguestfs is to start it: killed by the kernel when the thread that started it ends, and with
    as much memory as it needs though ours may be limited.

    libguestfs keeps what it learned of a QEMU by that file's size and time, which are therefore QEMU's.
    """
    from imgtool.process import program_path

    qemu = program_path(qemu)
    wrapper = folder / "qemu"
    wrapper.write_text(
        "#!/bin/sh\n"
        'ulimit -S -d "$(ulimit -H -d)"\n'
        f'exec {program_path("setpriv")} --pdeathsig KILL -- "{qemu}" "$@"\n'
    )
    wrapper.chmod(0o700)
    time = os.stat(qemu).st_mtime
    os.utime(wrapper, (time, time))
    return wrapper


def _failure(error: Exception, watch: _Watch) -> ApplianceFailed:
    if watch.why is not None:
        return ApplianceFailed(watch.why)
    return ApplianceFailed(
        Text(
            en=f"libguestfs can't work on the image: {_said(error)}. `imgtool doctor` says what it needs.",
            zh=f"libguestfs 无法处理该镜像：{_said(error)}。`imgtool doctor` 会列出所需条件。",
        )
    )


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:SAID].rstrip(".")


class _Watch:
    """Kills what the appliance started when its time is over or a signal asks this process to end.

    The thread that talks to the appliance waits inside libguestfs, where Python runs no signal handler and
    counts no time; this thread does, and what it kills makes libguestfs return with an error.
    """

    def __init__(self) -> None:
        self.why: Text | None = None
        self._before = _children()
        self._deadline = monotonic() + CLOSING_LIMIT
        self._allowed = CLOSING_LIMIT
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._former: int | None = None
        self._over = False
        self._thread = threading.Thread(target=self._run, name="appliance-watch", daemon=True)

    def __enter__(self) -> _Watch:
        with suppress(ValueError):  # only the main thread gets signals
            self._former = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._thread.start()
        return self

    def __exit__(self, *of_an_error: object) -> None:
        if self._former is not None:
            signal.set_wakeup_fd(self._former)
        self._over = True
        self._wake()
        self._thread.join()
        os.close(self._reading)
        os.close(self._writing)

    def allow(self, seconds: float) -> None:
        """From now on, this long."""
        self._allowed = seconds
        self._deadline = monotonic() + seconds
        _give_time(seconds)
        self._wake()

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._writing, b"\0")

    def _run(self) -> None:
        import select

        poll = select.poll()
        poll.register(self._reading, select.POLLIN)
        while not self._over:
            left = self._deadline - monotonic()
            if left <= 0:
                self.why = _too_late(self._allowed)
                self._kill()
                self._deadline = monotonic() + 1
            elif poll.poll(None if left == math.inf else left * 1000):
                numbers = os.read(self._reading, 64)
                if any(number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) for number in numbers):
                    self.why = Text(en="The appliance was stopped.", zh="运行环境已被终止。")
                    self._kill()

    def _kill(self) -> None:
        for pid in _children() - self._before:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def _give_time(seconds: float) -> None:
    """An alarm that bounds this process was set without the appliance in mind: put it off by that much."""
    left, _ = signal.getitimer(signal.ITIMER_REAL)
    if left and threading.current_thread() is threading.main_thread():
        signal.setitimer(signal.ITIMER_REAL, left + seconds if seconds < math.inf else 0)


def _too_late(seconds: float) -> Text:
    return Text(
        en=f"libguestfs's appliance was stopped: it did not do its work within {seconds:g} s.",
        zh=f"libguestfs 运行环境已被终止：未在 {seconds:g} 秒内完成。",
    )


def _children() -> set[int]:
    """The processes that this one started."""
    own = str(os.getpid())
    found = set()
    for name in _numbers(os.listdir("/proc")):
        with suppress(OSError, IndexError):
            status = Path("/proc", name, "stat").read_text(errors="replace")
            if status.rpartition(")")[2].split()[1] == own:
                found.add(int(name))
    return found


def _numbers(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if name.isdigit())
