"""Disks through qemu-nbd: the same bytes in every format, odd names, odd servers, and nothing left behind."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.disk import nbd
from imgtool.disk.blocks import ReadFailed
from imgtool.disk.nbd import NbdBlocks, ServerFailed, serve
from imgtool.errors import CannotRead
from tests.disk.made import MIB, sparse, tool, write
from tests.test_process import gone

SIZE = 8 * MIB


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = sparse(tmp_path_factory.mktemp("nbd") / "disk.raw", SIZE)
    chance = random.Random(7)
    for offset in range(0, SIZE, MIB):
        write(path, offset + 777, chance.randbytes(200_000))
    return path


FORMATS = {
    "qcow2": ("qcow2", ["-O", "qcow2"]),
    "qcow2 compressed": ("qcow2", ["-O", "qcow2", "-c"]),
    "vhd": ("vpc", ["-O", "vpc", "-o", "force_size=on"]),
    "vmdk": ("vmdk", ["-O", "vmdk"]),
    "vmdk stream": ("vmdk", ["-O", "vmdk", "-o", "subformat=streamOptimized"]),
}


@pytest.fixture(scope="module")
def images(raw: Path) -> dict[str, Path]:
    made = {}
    for name, (_, options) in FORMATS.items():
        made[name] = raw.with_name(name)
        tool("qemu-img", "convert", "-f", "raw", *options, raw, made[name])
    return made


def servers(parent: int | None = None) -> set[int]:
    """The qemu-nbd processes that a process, by default this one, started."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue
        name, _, rest = stat.partition("(")[2].rpartition(")")
        if name == "qemu-nbd" and int(rest.split()[1]) == (parent or os.getpid()):
            found.add(int(folder.name))
    return found


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_raw_disks_bytes(name: str, raw: Path, images: dict[str, Path]) -> None:
    data = raw.read_bytes()
    options = {"force_size_calc": "current_size"} if name == "vhd" else {}
    with serve(images[name], FORMATS[name][0], options) as blocks:
        assert blocks.size == SIZE

        @settings(max_examples=40)
        @given(st.integers(0, SIZE), st.integers(0, 3 * MIB))
        def same(offset: int, length: int) -> None:
            length = min(length, SIZE - offset)
            assert blocks.read(offset, length) == data[offset : offset + length]

        same()
        assert blocks.read(0, SIZE) == data
        with pytest.raises(ReadFailed):
            blocks.read(SIZE - 1, 2)


@pytest.mark.parametrize(
    "name",
    [
        "a,b=c.qcow2",
        "json:{}",
        "-f",
        "nbd:unix:x",
        "https:x",
        'quote" \\ back',
        "图像 é.qcow2",
        "%s\n",
        os.fsdecode(b"latin \xe9.qcow2"),
    ],
)
def test_no_name_of_a_file_means_anything_to_qemu(name: str, images: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / name
    shutil.copy(images["qcow2"], path)
    with serve(path, "qcow2") as blocks:
        assert blocks.size == SIZE


def test_a_relative_path_is_the_callers(
    images: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(images["qcow2"], tmp_path / "nbd:x")
    monkeypatch.chdir(tmp_path)
    with serve(Path("nbd:x"), "qcow2") as blocks:
        assert blocks.size == SIZE


def test_a_backing_file_is_not_opened_whatever_the_header_says(raw: Path, tmp_path: Path) -> None:
    image = tmp_path / "overlay.qcow2"
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", raw, image)
    with serve(image, "qcow2") as blocks:
        assert blocks.read(0, 4096) == bytes(4096)


def test_nothing_is_guessed_the_named_format_counts(raw: Path, images: dict[str, Path]) -> None:
    with pytest.raises(CannotRead, match="not in qcow2 format"):
        serve(raw, "qcow2").__enter__()
    with serve(images["qcow2"], "raw") as blocks:
        assert blocks.read(0, 4) == b"QFI\xfb"


def test_qemus_reason_is_the_message_and_no_child_is_left(tmp_path: Path) -> None:
    with pytest.raises(CannotRead) as failed, serve(tmp_path / "nothing", "qcow2"):
        pass
    assert "No such file or directory" in failed.value.statement().en
    assert "json:" not in failed.value.statement().en
    assert servers() == set()


def test_damaged_clusters_fail_where_they_are_and_nowhere_else(
    images: dict[str, Path], tmp_path: Path
) -> None:
    image = tmp_path / "cut.qcow2"
    shutil.copy(images["qcow2 compressed"], image)
    os.truncate(image, image.stat().st_size // 2)
    with serve(image, "qcow2") as blocks:
        assert len(blocks.read(0, 65536)) == 65536
        with pytest.raises(ReadFailed, match="QEMU"):
            blocks.read(SIZE - MIB, MIB)
        assert len(blocks.read(0, 65536)) == 65536


class Stop(Exception):
    pass


@pytest.mark.parametrize("error", [None, Stop, KeyboardInterrupt])
def test_nothing_is_left_behind_however_it_ends(
    error: type[BaseException] | None,
    images: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    descriptors = len(os.listdir("/proc/self/fd"))
    try:
        with serve(images["qcow2"], "qcow2") as blocks:
            assert list(tmp_path.iterdir()) == []  # nothing on disk even while it runs
            assert len(servers()) == 1
            blocks.read(0, 512)
            if error:
                raise error
    except (Stop, KeyboardInterrupt):
        pass
    assert servers() == set()
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_long_temporary_folder_is_no_obstacle(
    images: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("x" * 200)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with serve(images["qcow2"], "qcow2") as blocks:
        assert blocks.size == SIZE


def test_sigkill_of_ours_ends_qemu_nbd_and_leaves_no_file(images: dict[str, Path], tmp_path: Path) -> None:
    script = """
import sys, time
from pathlib import Path
from imgtool.disk.nbd import serve
with serve(Path(sys.argv[1]), "qcow2") as blocks:
    blocks.read(0, 512)
    print("open", flush=True)
    time.sleep(600)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", script, str(images["qcow2"])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as us:
        assert us.stdout is not None
        assert us.stdout.readline() == b"open\n"
        children = servers(us.pid)
        assert len(children) == 1
        us.send_signal(signal.SIGKILL)
        us.wait()
    assert gone(children.pop())
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_killed_is_a_failed_read(images: dict[str, Path]) -> None:
    with serve(images["qcow2"], "qcow2") as blocks:
        for pid in servers():
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(ReadFailed):
            blocks.read(0, 512)
        with pytest.raises(ReadFailed):
            blocks.read(0, 512)


Script = Callable[[socket.socket], None]


@contextmanager
def connected(script: Script) -> Iterator[socket.socket]:
    """A socket whose other end follows a script."""
    ours, theirs = socket.socketpair()

    def follow() -> None:
        with theirs, suppress(OSError):
            script(theirs)

    thread = threading.Thread(target=follow)
    thread.start()
    with ours:
        yield ours
    thread.join()


HELLO = b"NBDMAGICIHAVEOPT\0\3"
INFO = (0x3E889045565A9).to_bytes(8, "big") + (7).to_bytes(4, "big")
EXPORT = (
    INFO + (3).to_bytes(4, "big") + (12).to_bytes(4, "big") + bytes(2) + (4096).to_bytes(8, "big") + bytes(2)
)
ACK = INFO + (1).to_bytes(4, "big") + bytes(4)
HUGE = INFO + (3).to_bytes(4, "big") + b"\xff\xff\xff\xff"


@pytest.mark.parametrize(
    "says",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"NBDMAGIC",
        b"NBDMAGICIHAVEOPT\0\0",
        HELLO + b"\0" * 20,
        HELLO + HUGE,
        HELLO + ACK,
        HELLO + INFO + (0x80000006).to_bytes(4, "big") + (4).to_bytes(4, "big") + b"nope",
        HELLO + (EXPORT * 100),
    ],
)
def test_a_server_that_does_not_speak_the_protocol_is_refused(says: bytes) -> None:
    def script(peer: socket.socket) -> None:
        peer.sendall(says)
        peer.shutdown(socket.SHUT_WR)

    with connected(script) as ours, pytest.raises(ServerFailed):
        NbdBlocks(ours)


def test_a_silent_server_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nbd, "TIME_LIMIT", 0.1)
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(ServerFailed, match="timed out"):
        NbdBlocks(ours)


@pytest.mark.parametrize(
    "reply",
    [
        bytes(16),
        (0x67446698).to_bytes(4, "big") + bytes(4) + (99).to_bytes(8, "big") + bytes(512),
        (0x67446698).to_bytes(4, "big") + bytes(4) + (1).to_bytes(8, "big") + bytes(100),
    ],
)
def test_a_wrong_or_short_reply_fails_the_read_and_every_later_one(reply: bytes) -> None:
    def script(peer: socket.socket) -> None:
        peer.sendall(HELLO + EXPORT + ACK)
        peer.recv(4 + 16 + 6, socket.MSG_WAITALL)
        peer.recv(28, socket.MSG_WAITALL)
        peer.sendall(reply)

    with connected(script) as ours, NbdBlocks(ours) as blocks:
        assert blocks.size == 4096
        with pytest.raises(ReadFailed):
            blocks.read(0, 512)
        with pytest.raises(ReadFailed):
            blocks.read(0, 512)
