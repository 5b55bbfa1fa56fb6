"""qemu-img: the one place that runs it to convert, compare, check and measure.

The source is always named to it as a JSON object with its format in it, never guessed, as imgtool.disk.nbd
does: no character of a path can mean anything else, and no backing file is followed. The children end with
us.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgtool.convert.output import MAKE_ROOM, NoRoom
from imgtool.disk.commands import QEMU_NAMES
from imgtool.disk.nbd import image_node
from imgtool.errors import (
    MEMORY,
    PROCESSES,
    CannotRead,
    ImgtoolError,
    MachineLacks,
    OutOfResources,
    UnsafeImage,
)
from imgtool.process import CommandFailed, end, run, spawn_bound
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import ImageFile

QUESTION_TIMEOUT = 30.0  # seconds: what qemu-img answers without reading a disk
NEARLY_FULL = 256 * 1024  # bytes
BEAT = 0.2  # seconds between looks at what must not change while a child works
STDERR_KEPT = 64 * 1024
WINDOW_ALIGNMENT = 1024 * 1024
SMALLEST_WINDOW = 128 * 1024 * 1024
WINDOWS_FOR_EACH = 8
MOST_SIDE_BY_SIDE = 8  # some 25 MiB each; more would wait for the storage
_PERCENT = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")
_FULL = re.compile(r"No space left on device|Disk quota exceeded|File too large")
_EXHAUSTED = re.compile(r"(?P<threads>qemu_thread_create)|failed to allocate|Cannot allocate memory")

Beat = Callable[[Sequence[float]], None]


class Differs(ImgtoolError):
    """Two images do not hold the same; the message is made where it is known what that means."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.where = where

    def statement(self) -> Text:
        return Text(en=f"The contents differ: {self.where}", zh=f"内容不一致：{self.where}")


@dataclass(frozen=True)
class Node:
    """An image as QEMU is to open it. descriptors: what the child must inherit."""

    driver: str
    description: Mapping[str, object]
    descriptors: tuple[int, ...]

    @property
    def name(self) -> str:
        """The word that stands for the image on a command line."""
        return "json:" + json.dumps(self.description)

    def window(self, offset: int, size: int) -> Node:
        """A part of the disk as a disk of its own."""
        part = {"driver": "raw", "read-only": True, "offset": offset, "size": size, "file": self.description}
        return Node("raw", part, self.descriptors)


def reading(file: ImageFile) -> tuple[str, dict[str, object]]:
    """QEMU's driver for an image and the driver's options.

    Raises UnsafeImage when the probe names a hazard, CannotRead for a format that QEMU does not read.
    """
    if file.hazards:
        from imgtool.disk.refusal import refusal

        raise UnsafeImage(refusal(file.hazards))
    driver = QEMU_NAMES.get(file.format)
    if driver is None:
        raise CannotRead(
            Text(
                en=f"The file is {file.format}, and that is no disk image.",
                zh=f"该文件为 {file.format} 格式，不是磁盘镜像。",
            )
        )
    if file.format == "vhd" and file.variant == "fixed" and (file.virtual_size or 0) % 512 == 0:
        # The disk's bytes and then the footer, whatever its size, its creator and what follows it.
        return "raw", {"offset": 0, "size": file.virtual_size}
    if file.backing is not None:
        below, _ = image_node(file.backing.path, *reading(file.backing))
        return driver, {"backing": below}
    # a VHD's size is its footer's, not the one that its geometry rounds it to
    return driver, {"force_size_calc": "current_size"} if driver == "vpc" else {}


@contextmanager
def opened(file: ImageFile) -> Iterator[Node]:
    """The image as a node for QEMU's command lines. Raises what `reading` raises."""
    driver, options = reading(file)
    description, descriptors = image_node(file.path, driver, options)
    try:
        yield Node(driver, description, descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@cache
def _help(*words: str) -> str:
    return run(["qemu-img", *words], timeout=QUESTION_TIMEOUT).stdout.decode(errors="replace")


def takes(command: str, flag: str) -> bool:
    """Whether a command of the installed qemu-img knows a flag such as "-W".

    Before QEMU 10.1 its help lists all commands one line each; since then each has a page.
    """
    text = _help(command, "--help")
    line = re.search(rf"^ +{command} (\[.*)$", text, re.MULTILINE)
    return re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", line[1] if line else text) is not None


def creation_options(driver: str) -> frozenset[str]:
    """The names that `-o` takes for a format."""
    text = _help("create", "-f", driver, "-o", "help")
    return frozenset(re.findall(r"^ +([\w.-]+)=<", text, re.MULTILINE))


def require(driver: str, options: Mapping[str, str], flags: Sequence[str] = ()) -> None:
    """Raise MachineLacks unless the installed qemu-img can do what is going to be asked of it."""
    known = creation_options(driver)
    lacking = [f"-o {name}" for name in options if name not in known]
    lacking += [flag for flag in flags if not takes("convert", flag)]
    if lacking:
        raise MachineLacks(f"qemu-img that knows {', '.join(lacking)} ({driver})", "qemu-utils")


def convert(
    source: ImageFile,
    out: Path,
    driver: str,
    options: Mapping[str, str],
    *,
    compress: bool = False,
    at: Callable[[int], None] = lambda done: None,
) -> None:
    """`qemu-img convert`. at: told the bytes of the disk that are done, some times a second; may raise.

    Raises MachineLacks, NoRoom when the storage is full, CommandFailed with what qemu-img said.
    """
    flags = ["-p"]
    if compress:
        flags += ["-c", "-W", "-m", "16"]
    require(driver, options, [flag for flag in flags if flag.startswith("-")])
    given = ",".join(f"{name}={value}" for name, value in options.items())
    size = source.virtual_size or 0
    with opened(source) as node:
        command = ["qemu-img", "convert", *flags, "-f", node.driver, "-O", driver]
        command += ["-o", given] if given else []
        try:
            together(
                [(*command, node.name, os.path.abspath(out))],
                beat=lambda done: at(int(size * done[0])),
                pass_fds=node.descriptors,
            )
        except CommandFailed as failure:
            if _at_the_end_of_room(out):
                raise _no_room(failure.stderr) from failure
            raise


def measure(source: ImageFile) -> int:
    """Bytes of the disk that are allocated in the source, uncompressed, as `qemu-img measure` finds them."""
    with opened(source) as node:
        command = ("qemu-img", "measure", "--output=json", "-f", node.driver, "-O", "qcow2", node.name)
        (child,) = together([command], pass_fds=node.descriptors)
    try:
        answer: Any = json.loads(child)
        tables = int(answer["fully-allocated"]) - (source.virtual_size or 0)
        return max(0, int(answer["required"]) - max(0, tables))
    except (ValueError, KeyError, TypeError) as error:
        raise CommandFailed(command, 0, child.decode(errors="replace")) from error


def check(file: ImageFile, driver: str) -> None:
    """`qemu-img check`. Raises CommandFailed when it finds errors, or clusters that nothing uses."""
    with opened(file) as node:
        together([("qemu-img", "check", "-q", "-f", driver, node.name)], pass_fds=node.descriptors)


def compare(
    one: ImageFile,
    other: ImageFile,
    *,
    at: Callable[[int], None] = lambda done: None,
    processes: int | None = None,
) -> None:
    """Compare what two images hold, byte by byte; the disks are cut into windows, a process for each CPU.

    One image may end earlier where the other's rest is zeros. Raises Differs, CommandFailed, MachineLacks.
    """
    size = max(one.virtual_size or 0, other.virtual_size or 0)
    number = processes or min(len(os.sched_getaffinity(0)), MOST_SIDE_BY_SIDE)
    with ExitStack() as stack:
        first, second = (stack.enter_context(opened(file)) for file in (one, other))
        # a window does not see what an overlay has from its backing file: QEMU takes that for zeros
        whole = one.virtual_size != other.virtual_size or one.backing or other.backing
        windows = [(0, size)] if whole else _windows(size, number)
        commands, lengths = [], [length for _, length in windows]
        for offset, length in windows:
            pair = (
                [first, second]
                if len(windows) == 1
                else [it.window(offset, length) for it in (first, second)]
            )
            formats = ["-f", pair[0].driver, "-F", pair[1].driver]
            commands.append(("qemu-img", "compare", "-p", *formats, pair[0].name, pair[1].name))
        together(
            commands,
            parallel=number,
            beat=lambda done: at(int(sum(part * length for part, length in zip(done, lengths, strict=True)))),
            pass_fds=first.descriptors + second.descriptors,
            differs=1,
        )


def _windows(size: int, processes: int) -> list[tuple[int, int]]:
    """Offset and length of the windows: several for each process, since data is spread unevenly."""
    count = max(1, min(WINDOWS_FOR_EACH * processes, size // SMALLEST_WINDOW)) if processes > 1 else 1
    if count == 1:
        return [(0, size)]
    step = -(-size // count // WINDOW_ALIGNMENT) * WINDOW_ALIGNMENT
    return [(start, min(step, size - start)) for start in range(0, size, step)]


class _Child:
    """One qemu-img at work."""

    def __init__(self, number: int, command: Sequence[str], pass_fds: Sequence[int]) -> None:
        self.number = number
        self.command = command
        self.output = bytearray()
        self.part = 0.0
        self.errors = os.memfd_create("qemu-img errors")
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        try:
            self.process = spawn_bound(
                command, stdout=subprocess.PIPE, stderr=self.errors, env=environment, pass_fds=pass_fds
            )
        except BaseException:
            os.close(self.errors)
            raise

    def read(self, parsing: bool) -> bool:
        """Take in what it wrote; False at the end."""
        assert self.process.stdout is not None  # noqa: S101 - it was asked for
        piece = os.read(self.process.stdout.fileno(), 1 << 16)
        self.output = bytearray((self.output + piece)[-STDERR_KEPT:])
        if parsing and (found := _PERCENT.findall(piece)):
            self.part = max(self.part, min(float(found[-1]) / 100, 1.0))
        return bool(piece)

    def finish(self, differs: int | None) -> None:
        """Wait for its end and raise what that means."""
        code = self.process.wait()
        self.part = 1.0
        if code == 0:
            return
        if code == differs:
            raise Differs(bytes(self.output).replace(b"\r", b"\n").decode(errors="replace").strip()[-300:])
        said = os.pread(self.errors, STDERR_KEPT, 0).decode(errors="replace")
        if code == -signal.SIGXFSZ or _FULL.search(said):
            raise _no_room(said)
        if code == -signal.SIGKILL:  # nobody but the kernel does that, when memory runs out
            raise OutOfResources(MEMORY)
        if exhausted := _EXHAUSTED.search(said):
            raise OutOfResources(PROCESSES if exhausted["threads"] else MEMORY)
        raise CommandFailed(["qemu-img", self.command[1]], code, _short(said))

    def close(self) -> None:
        end(self.process, patience=1.0)
        if self.process.stdout is not None:
            self.process.stdout.close()
        os.close(self.errors)


def _no_room(said: str) -> NoRoom:
    why = _short(said).rstrip(".") or "SIGXFSZ"
    return NoRoom(
        Text(
            en=f"The storage that the output goes to is full, or files may not grow further: {why}. "
            f"{MAKE_ROOM.en}",
            zh=f"输出所在的存储已满，或文件大小达到上限：{why}。{MAKE_ROOM.zh}",
        )
    )


def _at_the_end_of_room(out: Path) -> bool:
    """Whether an unfinished output can't grow: not every driver says so of a full disk (VMDK: EINVAL)."""
    import resource

    from imgtool.convert.archives import free_bytes

    try:
        free, size = free_bytes(out), os.stat(out).st_size
    except OSError:
        return False
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    grown = most != resource.RLIM_INFINITY and size + NEARLY_FULL >= most
    return grown or free < NEARLY_FULL


def _short(said: str) -> str:
    """What qemu-img said first, without the JSON names that we gave the images: each of its coroutines
    may complain of the same."""
    first = said.strip().partition("\n")[0]
    return re.sub(r"'?json:\{.*\}'?:? ?", "", first).replace("qemu-img: ", "")[:1000]


def together(
    commands: Sequence[Sequence[str]],
    *,
    parallel: int = 1,
    beat: Beat | None = None,
    pass_fds: Sequence[int] = (),
    differs: int | None = None,
) -> list[bytes]:
    """Run qemu-img several times, `parallel` at a time; what each wrote, its last 64 KiB.

    beat: called some times a second with the part (0 to 1) of each that is done; raising ends them all.
    differs: the exit code that means Differs. The first failure ends the others and is raised; none is left.
    """
    waiting = list(enumerate(commands))[::-1]
    parts = [0.0] * len(commands)
    outputs = [b""] * len(commands)
    running: dict[int, _Child] = {}
    with selectors.DefaultSelector() as pipes:
        try:
            while waiting or running:
                while waiting and len(running) < parallel:
                    number, command = waiting.pop()
                    child = running[number] = _Child(number, command, pass_fds)
                    assert child.process.stdout is not None  # noqa: S101 - it was asked for
                    pipes.register(child.process.stdout, selectors.EVENT_READ, child)
                for key, _ in pipes.select(BEAT):
                    child = key.data
                    if not child.read(parsing=beat is not None):
                        pipes.unregister(key.fileobj)
                        child.finish(differs)
                        outputs[child.number] = bytes(child.output)
                        del running[child.number]
                        child.close()
                    parts[child.number] = child.part
                if beat is not None:
                    beat(parts)
        finally:
            for child in running.values():
                child.close()
    return outputs
