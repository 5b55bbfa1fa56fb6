"""Parts on their way: sent by several threads, each as often as patience lasts; one failure ends all."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from imgtool.cloud.failures import CloudFailure
from imgtool.cloud.parts import Pace, Part, PartBody, Stopped
from imgtool.cloud.retry import Patience, may_retry
from imgtool.cloud.source import Source
from imgtool.cloud.store import PartDamaged, Store
from imgtool.convert.crc64 import Crc64
from imgtool.convert.progress import Progress
from imgtool.errors import ImgtoolError
from imgtool.text import Text

UPLOADING = Text("Uploading", "上传")


class Transfer:
    """Sends parts of one upload. sent: bytes that went out so far.

    arrived: told of each part that the storage has, with its ETag and CRC-64, by the thread that sent it.
    """

    def __init__(
        self,
        source: Source,
        store: Store,
        crc64: Crc64,
        *,
        patience: Patience,
        limit_rate: int,
        arrived: Callable[[Part, str, int], None],
    ) -> None:
        self._source, self._store, self._crc64 = source, store, crc64
        self._patience, self._pace, self._arrived = patience, Pace(limit_rate), arrived
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._done = self.sent = 0

    def send(self, parts: list[Part], upload_id: str, threads: int, progress: Progress) -> None:
        """Send parts. Raises what the first that failed for good failed with."""
        self._done = self._source.size - sum(part.size for part in parts)
        progress.begin(UPLOADING, self._source.size)
        progress.at(self._done)
        waiting: queue.SimpleQueue[Part] = queue.SimpleQueue()
        for part in parts:
            waiting.put(part)
        failures: list[BaseException] = []

        def work() -> None:
            try:
                while not self._over.is_set():
                    part = waiting.get_nowait()
                    self._send_part(part, upload_id)
            except (queue.Empty, Stopped):
                pass
            except BaseException as error:
                failures.append(error)
                self._over.set()

        # daemons: when a signal ends us, none is waited for that waits for the network
        workers = [
            threading.Thread(target=work, name=f"upload-{number}", daemon=True)
            for number in range(min(threads, len(parts)))
        ]
        try:
            for worker in workers:
                worker.start()
            next_look = time.monotonic() + 1.0
            while any(worker.is_alive() for worker in workers):
                for worker in workers:
                    worker.join(0.1)
                progress.at(self._done)
                if time.monotonic() >= next_look:
                    self._source.require_unchanged()
                    next_look = time.monotonic() + 1.0
        finally:
            self._over.set()
        if failures:
            raise failures[0]

    def _send_part(self, part: Part, upload_id: str) -> None:
        for attempt in range(1, self._patience.attempts + 1):
            body = PartBody(
                self._source.descriptor,
                part,
                self._crc64,
                pace=self._pace,
                sent=self._count,
                over=self._over,
            )
            try:
                etag = self._store.send(upload_id, body)
            except Exception as error:
                self._count(-body.position())
                if isinstance(error, OSError) and not isinstance(error, ConnectionError):
                    self._source.require_unchanged()
                if attempt == self._patience.attempts or not may_retry(error):
                    raise _final(error, part) from error
                self._patience.wait(attempt, self._over)
                continue
            self._arrived(part, etag, body.crc64)
            return

    def _count(self, count: int) -> None:
        with self._lock:
            self._done += count
            self.sent += count


def _final(error: Exception, part: Part) -> Exception:
    """What to say of a part that did not go through."""
    if isinstance(error, PartDamaged):
        return CloudFailure(
            Text(
                en=f"Part {part.number} arrives damaged, again and again: something between here and the "
                "storage changes it (a proxy?), or this machine's memory fails.",
                zh=f"第 {part.number} "
                "块多次到达后校验和均不一致：传输途中（如代理）有改动，或本机内存有故障。",
            )
        )
    if isinstance(error, (ImgtoolError, Stopped)):
        return error
    return CloudFailure(
        Text(en=f"Part {part.number} can't be sent: {error}.", zh=f"第 {part.number} 块无法发送：{error}。")
    )
