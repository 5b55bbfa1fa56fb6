"""The sandbox's server: both protocols on one port of the loopback, and the import service beside them."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from imgtool.cloud.sandbox.actions import Actions, Quota
from imgtool.cloud.sandbox.faults import Faults, parsed
from imgtool.cloud.sandbox.signatures.seen import Keys
from imgtool.cloud.sandbox.state import State
from imgtool.errors import Stated, UsageError
from imgtool.text import Text

REGION = "sandbox-1"
DOMAIN = "sandbox.localhost"
BUCKET = "images-1250000000"


class SandboxBusy(Stated):
    """Another sandbox works in this folder, or the port is taken."""

    exit_code = 2


@dataclass
class Sandbox:
    """One sandbox. folder: where it keeps everything; port: 0 for one that the system picks.

    While it serves: state, what it holds; received, each (upload, part) that came whole, in order.
    """

    folder: Path
    port: int = 0
    region: str = REGION
    bucket: str = BUCKET
    quota: int = 10
    faults: Faults = field(default_factory=Faults)
    keys: Keys = field(init=False)
    state: State = field(init=False, repr=False)
    received: list[tuple[str, int]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.keys = _keys(self.folder / "keys.json")

    @property
    def endpoint(self) -> str:
        """What follows the bucket in the host name of an object."""
        return f"cos.{self.region}.{DOMAIN}"

    def environment(self) -> dict[str, str]:
        """What a process needs to find the sandbox and be let in, secrets included."""
        address = f"127.0.0.1:{self.port}"
        bypass = ",".join(
            filter(None, (os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), "127.0.0.1"))
        )
        return {
            "TENCENTCLOUD_SECRET_ID": self.keys.secret_id,
            "TENCENTCLOUD_SECRET_KEY": self.keys.secret_key,
            "AWS_ACCESS_KEY_ID": self.keys.secret_id,
            "AWS_SECRET_ACCESS_KEY": self.keys.secret_key,
            "IMGTOOL_REGION": self.region,
            "IMGTOOL_SCHEME": "http",
            "IMGTOOL_COS_ENDPOINT": self.endpoint,
            "IMGTOOL_COS_CONNECT": address,
            "IMGTOOL_S3_ENDPOINT": f"http://{address}",
            "IMGTOOL_CVM_ENDPOINT": address,
            "IMGTOOL_BUCKET": self.bucket,
            "NO_PROXY": bypass,
            "no_proxy": bypass,
        }

    def write_environment(self) -> Path:
        """The same as a file for `source`, readable by its owner only."""
        path = self.folder / "env.sh"
        lines = [f"export {name}='{value}'\n" for name, value in self.environment().items()]
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.writelines(lines)
        return path

    async def serve(self, ready: threading.Event | None = None, stop: asyncio.Event | None = None) -> None:
        """Serve until `stop` is set, or for ever. Raises SandboxBusy."""
        from aiohttp import web

        from imgtool.cloud.sandbox.cvm_api import CvmApi, is_call
        from imgtool.cloud.sandbox.imports import Imports
        from imgtool.cloud.sandbox.storage import Storage

        with _locked(self.folder):
            self.state = state = State(self.folder)
            state.add_bucket(self.bucket)
            imports = Imports(state, self.region)
            storage = Storage(state, self.keys, self.region, self.faults)
            self.received = storage.received
            actions = Actions(state, Quota(self.quota), imports.add, self.faults)
            api = CvmApi(actions, self.keys, self.region, self.faults)

            async def handle(request: web.BaseRequest) -> web.StreamResponse:
                now = time.time() + self.faults.value("clock")
                assert isinstance(request, web.Request)  # noqa: S101 - what an application is given
                return await (api if is_call(request) else storage).answer(request, now)

            application = web.Application(client_max_size=16 << 20)
            application.router.add_route("*", r"/{tail:[\s\S]*}", handle)
            runner = web.AppRunner(application, access_log=None, read_bufsize=1 << 20, shutdown_timeout=0.5)
            await runner.setup()
            worker: asyncio.Task[None] | None = None
            try:
                try:
                    site = web.TCPSite(runner, "127.0.0.1", self.port)
                    await site.start()
                except OSError as error:
                    raise SandboxBusy(
                        Text(
                            en=f"Port {self.port} can't be listened on ({error.strerror}). Leave --port "
                            "out, or "
                            "choose another one.",
                            zh=f"无法监听端口 {self.port}（{error.strerror}）。请去掉 --port，或换一个端口。",
                        )
                    ) from error
                self.port = imports.port = runner.addresses[0][1]
                worker = asyncio.create_task(imports.work())
                if ready is not None:
                    ready.set()
                await (stop or asyncio.Event()).wait()
            finally:
                if worker is not None:
                    worker.cancel()
                    with suppress(asyncio.CancelledError):
                        await worker
                await runner.cleanup()
                state.close()

    @contextmanager
    def running(self) -> Iterator[Sandbox]:
        """Serve in a thread of its own as long as the block lasts. Raises SandboxBusy."""
        ready = threading.Event()
        failure: list[BaseException] = []
        loop = asyncio.new_event_loop()
        stop = asyncio.Event()

        def serve() -> None:
            try:
                loop.run_until_complete(self.serve(ready, stop))
            except BaseException as error:
                failure.append(error)
            finally:
                left = asyncio.all_tasks(loop)  # bodies that still come in, as asyncio.run ends them
                for task in left:
                    task.cancel()
                if left:
                    loop.run_until_complete(asyncio.wait(left))
                loop.run_until_complete(loop.shutdown_default_executor())
                loop.close()
                ready.set()

        thread = threading.Thread(target=serve, name="sandbox", daemon=True)
        thread.start()
        ready.wait()
        try:
            if failure:
                raise failure[0]
            yield self
        finally:
            if not failure:
                loop.call_soon_threadsafe(stop.set)
            thread.join()


def with_faults(texts: tuple[str, ...]) -> Faults:
    """The faults that a command line asks for. Raises UsageError."""
    return Faults([parsed(text) for text in texts])


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SandboxBusy(
                Text(
                    en=f"Another sandbox works in {folder}. Give another --dir, or end that one.",
                    zh=f"另一个沙箱正在使用 {folder}。请用 --dir 指定其他目录，或先结束它。",
                )
            ) from None
        yield
    finally:
        os.close(descriptor)


def _keys(path: Path) -> Keys:
    """The folder's own keys, made when there are none. They open nothing but this sandbox."""
    try:
        content: Mapping[str, str] = json.loads(path.read_text(encoding="utf-8"))
        return Keys(content["secret_id"], content["secret_key"])
    except FileNotFoundError:
        keys = Keys("AKID" + secrets.token_hex(16), secrets.token_hex(16))
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump({"secret_id": keys.secret_id, "secret_key": keys.secret_key}, file)
        return keys
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            Text(
                en=f"{path} is not a sandbox's key file. Remove it, or give another --dir.",
                zh=f"{path} 不是沙箱的密钥文件。请删除它，或用 --dir 指定其他目录。",
            )
        ) from error
