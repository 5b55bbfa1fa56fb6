"""The bytes of qcow2, VMDK and VHD: qemu-nbd in a process of its own, and a read-only NBD client.

The server gets its listening socket by socket activation: we bind it in a private folder, connect, and remove
it again before qemu-nbd even starts. Nobody else can connect, nothing stays on disk, and there is no wait for
the server to come up: our connection is in the queue, and its greeting, or its end, is the answer.
Protocol: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md (fixed newstyle; simple
replies, or structured ones where block status is asked for).
"""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from pathlib import Path
from types import TracebackType

from imgtool.disk.blocks import ReadFailed, within
from imgtool.errors import CannotRead
from imgtool.process import end, spawn_bound
from imgtool.text import Text

TIME_LIMIT = 10.0  # seconds for any one answer of the server
LARGEST_READ = 8 * 1024 * 1024  # bytes a request; servers must take 32 MiB

GREETING = b"NBDMAGICIHAVEOPT"
FIXED_NEWSTYLE = 1
NO_ZEROES = 2
OPT_GO = 7
OPT_STRUCTURED_REPLY = 8
OPT_SET_META_CONTEXT = 10
OPTION_REPLY = 0x3E889045565A9
REP_ACK = 1
REP_INFO = 3
REP_META_CONTEXT = 4
REP_ERROR = 1 << 31
INFO_EXPORT = 0
LARGEST_OPTION_REPLY = 4096
LARGEST_INFO_COUNT = 64
REQUEST = 0x25609513
SIMPLE_REPLY = 0x67446698
CHUNK = 0x668E33EF  # of a structured reply
CHUNK_IS_LAST = 1
CHUNK_NONE = 0
CHUNK_DATA = 1
CHUNK_HOLE = 2
CHUNK_STATUS = 5
CHUNK_ERROR = 1 << 15  # set in every kind of error
LARGEST_STATUS_CHUNK = 2 * 1024 * 1024  # bytes; QEMU sends at most half of it
LARGEST_ERROR_CHUNK = 8192
LARGEST_CHUNK_COUNT = 65536
STATUS_WINDOW = 1 << 31  # bytes asked about at a time; the protocol's lengths have 32 bits
STATUS_ZERO = 2
ALLOCATION = b"base:allocation"
CMD_READ = 0
CMD_DISCONNECT = 2
CMD_BLOCK_STATUS = 7
FLAG_WHOLE = 1 << 2  # NBD_CMD_FLAG_DF: in one chunk. Else QEMU hangs up at a sector that it can't read
CAN_SEND_WHOLE = 1 << 7  # NBD_FLAG_SEND_DF
OUR_FILES = ("/dev/std", "/dev/fd/", "/proc/self/", "/proc/thread-self/")  # another process has others there


class ServerFailed(CannotRead):
    """The NBD server ended, fell silent, or did not speak the protocol."""

    def __init__(self, why: str) -> None:
        super().__init__(
            Text(
                en=f"The connection to qemu-nbd failed: {why}.",
                zh=f"与 qemu-nbd 的连接失败：{why}。",
            )
        )
        self.why = why


class _Refused(Exception):
    """The server answers a request with an error; the connection goes on."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class NbdBlocks:
    """The default export of an NBD server, read-only, over a connected socket that it then owns.

    A context manager; leaving it says goodbye and closes the socket. Raises ServerFailed.
    allocation: also ask for block status, if the server has it; costs two more answers at the start.
    """

    def __init__(
        self, connection: socket.socket, allocation: bool = False, time_limit: float = TIME_LIMIT
    ) -> None:
        self._connection = connection
        self._structured = False
        self._read_flags = 0
        self._context: int | None = None  # the number that the server gave to base:allocation
        self._handles = count(1)
        self._failed: str | None = None
        connection.settimeout(time_limit)
        self._size = self._negotiate(allocation)

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Exactly `length` bytes at `offset`. Raises ReadFailed; after a broken connection, always."""
        within(self, offset, length)
        parts = []
        for start in range(offset, offset + length, LARGEST_READ):
            parts.append(self._request(start, min(LARGEST_READ, offset + length - start)))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def zeroes(self, offset: int) -> list[tuple[int, bool]]:
        """What follows `offset`: (length in bytes, reads as zeroes for certain), one after the other.

        As much as one answer of the server tells, at least one range; it may end before the disk does.
        Raises ReadFailed.
        """
        length = min(STATUS_WINDOW, self._size - offset)
        within(self, offset, length)
        if self._context is None or not length:
            return [(self._size - offset, False)]
        found: list[tuple[int, bool]] = []
        with self._asking(CMD_BLOCK_STATUS, offset, length) as handle:
            for kind, extent in self._chunks(handle, offset, length):
                if kind != CHUNK_STATUS or not 12 <= extent <= LARGEST_STATUS_CHUNK or extent % 8 != 4:
                    raise ServerFailed("it does not speak the protocol")
                data = self._receive(extent)
                if int.from_bytes(data[:4], "big") == self._context:
                    found += [
                        (int.from_bytes(data[at : at + 4], "big"), bool(data[at + 7] & STATUS_ZERO))
                        for at in range(4, extent, 8)
                    ]
            if not found or not all(size for size, _ in found):
                raise ServerFailed("it does not speak the protocol")
        return found

    def close(self) -> None:
        """Ask the server to end the session, and close the connection. Safe to call twice."""
        with suppress(OSError):
            self._connection.sendall(_request(CMD_DISCONNECT, 0, 0, 0))
        self._connection.close()

    def __enter__(self) -> NbdBlocks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _negotiate(self, allocation: bool) -> int:
        """Greet, choose the default export; its size in bytes."""
        greeting = self._receive(18)
        if greeting[:16] != GREETING:
            raise ServerFailed("it is no NBD server")
        flags = int.from_bytes(greeting[16:], "big")
        if not flags & FIXED_NEWSTYLE:
            raise ServerFailed("it speaks no fixed newstyle NBD")
        self._send((FIXED_NEWSTYLE | flags & NO_ZEROES).to_bytes(4, "big"))
        if allocation:
            self._ask_for_allocation()
        self._send_option(OPT_GO, bytes(4) + bytes(2))  # the empty name; no further information wanted
        size: int | None = None
        for _ in range(LARGEST_INFO_COUNT):
            kind, data = self._option_reply()
            if kind == REP_ACK and size is not None:
                return size
            if kind & REP_ERROR:
                raise ServerFailed(data.decode(errors="replace") or f"option error {kind:#x}")
            if kind == REP_INFO and len(data) == 12 and int.from_bytes(data[:2], "big") == INFO_EXPORT:
                size = int.from_bytes(data[2:10], "big")
                if self._structured and int.from_bytes(data[10:], "big") & CAN_SEND_WHOLE:
                    self._read_flags = FLAG_WHOLE
            elif kind != REP_INFO:
                break
        raise ServerFailed("it does not name the size of the disk")

    def _ask_for_allocation(self) -> None:
        """Have structured replies and the context base:allocation; servers without them will do too."""
        self._send_option(OPT_STRUCTURED_REPLY, b"")
        kind, _ = self._option_reply()
        if kind != REP_ACK:
            return
        self._structured = True
        query = len(ALLOCATION).to_bytes(4, "big") + ALLOCATION
        self._send_option(OPT_SET_META_CONTEXT, bytes(4) + (1).to_bytes(4, "big") + query)
        for _ in range(LARGEST_INFO_COUNT):
            kind, data = self._option_reply()
            if kind != REP_META_CONTEXT:
                return
            if data[4:] == ALLOCATION:
                self._context = int.from_bytes(data[:4], "big")
        raise ServerFailed("it does not speak the protocol")

    def _send_option(self, option: int, data: bytes) -> None:
        self._send(b"IHAVEOPT" + option.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data)

    def _option_reply(self) -> tuple[int, bytes]:
        header = self._receive(20)
        kind, length = int.from_bytes(header[12:16], "big"), int.from_bytes(header[16:], "big")
        if int.from_bytes(header[:8], "big") != OPTION_REPLY or length > LARGEST_OPTION_REPLY:
            raise ServerFailed("it does not speak the protocol")
        return kind, self._receive(length)

    def _request(self, offset: int, length: int) -> bytes:
        with self._asking(CMD_READ, offset, length) as handle:
            if self._structured:
                return self._scattered(handle, offset, length)
            self._simple_reply(self._receive(16), handle)
            return self._receive(length)

    @contextmanager
    def _asking(self, command: int, offset: int, length: int) -> Iterator[int]:
        """Send a request and have its answer read; what goes wrong becomes ReadFailed."""
        if self._failed is not None:
            raise ReadFailed(offset, length, self._failed)
        handle = next(self._handles)
        try:
            flags = self._read_flags if command == CMD_READ else 0
            self._send(_request(command, handle, offset, length, flags))
            yield handle
        except ServerFailed as error:
            self._failed = error.why
            raise ReadFailed(offset, length, error.why) from error
        except _Refused as fault:
            raise ReadFailed(offset, length, f"QEMU: {os.strerror(fault.number)}") from fault
        except BaseException:
            self._failed = "an earlier read was interrupted"  # its answer is still under way
            raise

    def _simple_reply(self, reply: bytes, handle: int) -> None:
        if int.from_bytes(reply[:4], "big") != SIMPLE_REPLY or int.from_bytes(reply[8:16], "big") != handle:
            raise ServerFailed("it does not speak the protocol")
        if fault := int.from_bytes(reply[4:8], "big"):
            raise _Refused(fault)

    def _scattered(self, handle: int, offset: int, length: int) -> bytes:
        """The data of a structured reply, its chunks put where they belong."""
        data = bytearray(length)
        view = memoryview(data)
        missing = length
        for kind, extent in self._chunks(handle, offset, length):
            if kind not in (CHUNK_DATA, CHUNK_HOLE) or extent < 8 or (kind == CHUNK_HOLE and extent != 12):
                raise ServerFailed("it does not speak the protocol")
            start = int.from_bytes(self._receive(8), "big") - offset
            size = extent - 8 if kind == CHUNK_DATA else int.from_bytes(self._receive(4), "big")
            if not 0 <= start <= start + size <= length:
                raise ServerFailed("it sends what was not asked for")
            if kind == CHUNK_DATA:
                self._receive_into(view[start : start + size])
            missing -= size
        if missing:
            raise ServerFailed("it sends less than was asked for")
        return bytes(data)

    def _chunks(self, handle: int, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """(kind, length) of each chunk with content; who asks for the next one has read all of the last."""
        fault = 0
        for _ in range(LARGEST_CHUNK_COUNT):
            head = self._receive(16)
            if int.from_bytes(head[:4], "big") == SIMPLE_REPLY:
                self._simple_reply(head, handle)
                raise ServerFailed("it does not speak the protocol")  # only an error may be said so simply
            head += self._receive(4)
            if int.from_bytes(head[:4], "big") != CHUNK or int.from_bytes(head[8:16], "big") != handle:
                raise ServerFailed("it does not speak the protocol")
            kind, extent = int.from_bytes(head[6:8], "big"), int.from_bytes(head[16:], "big")
            if kind & CHUNK_ERROR:
                if not 6 <= extent <= LARGEST_ERROR_CHUNK:
                    raise ServerFailed("it does not speak the protocol")
                fault = int.from_bytes(self._receive(extent)[:4], "big") or errno.EIO
            elif kind != CHUNK_NONE:
                yield kind, extent
            elif extent:
                raise ServerFailed("it does not speak the protocol")
            if head[5] & CHUNK_IS_LAST:
                if fault:
                    raise _Refused(fault)
                return
        raise ServerFailed("its answer does not end")

    def _send(self, data: bytes) -> None:
        try:
            self._connection.sendall(data)
        except OSError as error:
            raise ServerFailed(error.strerror or str(error)) from error

    def _receive(self, length: int) -> bytes:
        data = bytearray(length)
        self._receive_into(memoryview(data))
        return bytes(data)

    def _receive_into(self, left: memoryview) -> None:
        while left:
            try:
                got = self._connection.recv_into(left)
            except OSError as error:
                raise ServerFailed(error.strerror or str(error)) from error
            if not got:
                raise ServerFailed("it has ended")
            left = left[got:]


def _request(command: int, handle: int, offset: int, length: int, flags: int = 0) -> bytes:
    kind = command.to_bytes(2, "big")
    where = offset.to_bytes(8, "big") + length.to_bytes(4, "big")
    return REQUEST.to_bytes(4, "big") + flags.to_bytes(2, "big") + kind + handle.to_bytes(8, "big") + where


@contextmanager
def serve(
    path: Path,
    driver: str,
    options: Mapping[str, object] | None = None,
    *,
    allocation: bool = False,
    time_limit: float = TIME_LIMIT,
) -> Iterator[NbdBlocks]:
    """The disk inside an image file, through QEMU's driver of that name.

    driver: QEMU's name of the format, never guessed; options: further options of that driver; allocation:
    have block status too (`zeroes`); time_limit: seconds for any one answer. The image is named to QEMU as a
    JSON object, in which no character of the path can mean anything else, and its backing file is declared
    absent whatever its header says. Raises MachineLacks without qemu-nbd, CannotRead with QEMU's reason when
    it does not open the image.
    """
    ours, listening = _private_connection()
    errors = os.memfd_create("qemu-nbd errors")
    with ours, listening, os.fdopen(errors, "rb") as said:
        image, passed = _named(path, driver, options or {})
        command = ["qemu-nbd", "--read-only", "--shared=1", image]
        try:
            child = spawn_bound(command, stderr=errors, listening=listening, pass_fds=passed)
        finally:
            for descriptor in passed:
                os.close(descriptor)
        listening.close()  # so that the child's end is the connection's end
        try:
            connected = partial(NbdBlocks, ours, allocation, time_limit)
            with _opened(connected, path, driver, child, said.fileno()) as blocks:
                yield blocks
        finally:
            ours.close()
            end(child)


def _opened(
    connected: Callable[[], NbdBlocks],
    path: Path,
    driver: str,
    child: subprocess.Popen[bytes],
    errors: int,
) -> NbdBlocks:
    try:
        return connected()
    except ServerFailed as failure:
        end(child)
        said = os.pread(errors, 4096, 0).decode(errors="replace").strip()
        why = said.rpartition("qemu-nbd: ")[2].rpartition("}': ")[2] or failure.why
        raise CannotRead(
            Text(
                en=f"QEMU can't open {path} as {driver}: {why}",
                zh=f"QEMU 无法以 {driver} 格式打开 {path}：{why}",
            )
        ) from failure


def _named(path: Path, driver: str, options: Mapping[str, object]) -> tuple[str, tuple[int, ...]]:
    """The image as a QEMU `json:` name, and the descriptors that the child must inherit for it."""
    node, passed = image_node(path, driver, options)
    return "json:" + json.dumps(node), passed


def image_node(
    path: Path, driver: str, options: Mapping[str, object]
) -> tuple[dict[str, object], tuple[int, ...]]:
    """The image as the JSON object that QEMU opens it by, and descriptors that the child must inherit for it.

    The caller closes those. Raises CannotRead.
    """
    passed: tuple[int, ...] = ()
    name = str(path.absolute())
    try:
        name.encode()
        elsewhere = name.startswith(OUR_FILES)
    except UnicodeEncodeError:  # JSON can't hold this name
        elsewhere = True
    if elsewhere:  # hand the open file over instead
        passed = (_open(path),)
        name = f"/proc/self/fd/{passed[0]}"
    file = {"driver": "file", "filename": name}
    return {"driver": driver, "read-only": True, "backing": None, "file": file, **options}, passed


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        why = error.strerror or str(error)
        raise CannotRead(
            Text(en=f"{path!a} can't be opened: {why}.", zh=f"无法打开 {path!a}：{why}。")
        ) from error


def _private_connection() -> tuple[socket.socket, socket.socket]:
    """A connected socket, and the listening one in whose queue the connection waits; nothing left on disk."""
    import tempfile

    listening = socket.socket(socket.AF_UNIX)
    ours = socket.socket(socket.AF_UNIX)
    folder = tempfile.mkdtemp(prefix="imgtool-")  # mode 0700
    try:
        # the folder by descriptor: a socket's path may have 107 bytes only, TMPDIR may be longer
        handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        address = f"/proc/self/fd/{handle}/nbd"
        try:
            listening.bind(address)
            listening.listen(1)
            ours.connect(address)
        finally:
            os.close(handle)
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(folder, "nbd"))
    except BaseException:
        listening.close()
        ours.close()
        raise
    finally:
        os.rmdir(folder)
    return ours, listening
