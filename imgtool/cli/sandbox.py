"""`imgtool sandbox`: a local stand-in for object storage and the CVM API."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from imgtool.cli import options
from imgtool.cli.session import Session
from imgtool.errors import UsageError
from imgtool.text import Text


@click.command("sandbox", short_help="Run a local stand-in for object storage and the CVM API.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Port of 127.0.0.1; a free one by default."
)
@click.option(
    "--dir",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where it keeps everything; a temporary folder by default.",
)
@click.option(
    "--region", metavar="NAME", default="sandbox-1", show_default=True, help="The region that it is."
)
@click.option(
    "--bucket",
    metavar="NAME-APPID",
    default="images-1250000000",
    show_default=True,
    help="A bucket that is there from the start.",
)
@click.option(
    "--quota", type=click.IntRange(1), default=10, show_default=True, help="How many images it holds."
)
@click.option(
    "--fault",
    "faults",
    metavar="FAULT",
    multiple=True,
    help="Let something go wrong: drop@3, 503*4, slow=1M, wrong-crc, expired, rate*3, clock=+360 … Repeat.",
)
@options.language
@options.debug
@click.pass_obj
def command(
    session: Session,
    *,
    port: int,
    folder: Path | None,
    region: str,
    bucket: str,
    quota: int,
    faults: tuple[str, ...],
) -> int:
    """Run a local server that speaks COS, S3 and the CVM API, until Ctrl-C.

    The official SDKs work against it. What it holds survives a restart with the same --dir. Its keys
    are its own; it writes them to env.sh in its folder:

    \b
    imgtool sandbox --dir ~/sandbox
    source ~/sandbox/env.sh && imgtool prepare image.vmdk --bucket $IMGTOOL_BUCKET --name test

    \b
    Faults, KIND[@PART][=VALUE][*TIMES]: drop (cut a part's connection), drop-after (take the part,
    don't answer), 503, slow, wrong-crc, expired, clock. Of the API, KIND[@ACTION][*TIMES]: rate
    (RequestLimitExceeded), api-drop, api-cut, api-error (do it, lose the answer), unlisted, no-boot-mode.
    """
    import asyncio
    import sqlite3
    import tempfile

    from imgtool.extras import require

    require("aiohttp", "sandbox")
    from imgtool.cloud.sandbox.server import Sandbox, with_faults

    with tempfile.TemporaryDirectory(prefix="imgtool-sandbox-") as temporary:
        try:
            sandbox = Sandbox(folder or Path(temporary), port, region, bucket, quota, with_faults(faults))
            asyncio.run(_serve(sandbox, session))
        except (OSError, sqlite3.DatabaseError) as error:
            raise _unusable(folder or Path(temporary), error) from error
    return 0


def _unusable(folder: Path, error: Exception) -> UsageError:
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return UsageError(
        Text(
            en=f"{folder} can't be the sandbox's folder: {why}. Give another --dir.",
            zh=f"{folder} 无法用作沙箱目录：{why}。请用 --dir 指定其他目录。",
        )
    )


async def _serve(sandbox: object, session: Session) -> None:
    import asyncio
    import threading

    from imgtool.cli.ending import Ended
    from imgtool.cloud.sandbox.server import Sandbox
    from imgtool.signals import ENDING_SIGNALS

    assert isinstance(sandbox, Sandbox)  # noqa: S101
    ready = threading.Event()
    ended: list[int] = []
    stop = asyncio.Event()

    def end(number: int) -> None:
        ended.append(number)
        stop.set()

    for number in ENDING_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    serving = asyncio.create_task(sandbox.serve(ready, stop))
    while not ready.is_set() and not serving.done():
        await asyncio.sleep(0.01)
    if ready.is_set():
        path = shlex.quote(str(sandbox.write_environment()))
        click.echo(
            session.say(
                Text(
                    en=f"Listening on http://127.0.0.1:{sandbox.port}; settings and keys: source {path}",
                    zh=f"正在监听 http://127.0.0.1:{sandbox.port}；配置与密钥：source {path}",
                )
            )
        )
    await serving
    if ended:
        raise Ended(ended[0])
