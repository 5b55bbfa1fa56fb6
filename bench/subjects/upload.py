"""Uploading: `imgtool upload` against the COS SDK's own uploader, to the same server."""

from __future__ import annotations

import os
import random
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench.figure import Bar, Figure, ratio
from bench.process import Unexpected, peak_memory, wall_times
from bench.scratch import scratch
from imgtool.process import end, spawn_bound

TITLE = "Uploading"
METHOD = """\
`imgtool upload` (parts of 8 MiB, 4 threads; a journal of the parts, CRC-64 of every part and of
the whole compared with the server's) against the COS SDK's own `upload_file`, which compares nothing, with
its defaults (parts of 1 MiB, 5 threads) and with our parts and threads. Each run is a whole process that
uploads 512 MiB of random bytes to the sandbox on the same machine, another process; they take turns, and one
round goes ahead uncounted. The server has the same work with each. The bar is held against the faster of the
SDK's two.

- **Memory**: of an upload of a sparse file of 500 GiB, as far as it comes in 20 s; its parts have 53 MB."""
SIZE = 512 << 20
RUNS = 5
MIB = 1 << 20
SDK = """
import os, sys
from qcloud_cos import CosConfig, CosS3Client
host, port = os.environ["IMGTOOL_COS_CONNECT"].split(":")
config = CosConfig(
    Endpoint=os.environ["IMGTOOL_COS_ENDPOINT"], Scheme="http", IP=host, Port=int(port),
    SecretId=os.environ["TENCENTCLOUD_SECRET_ID"], SecretKey=os.environ["TENCENTCLOUD_SECRET_KEY"],
)
more = {"PartSize": 8, "MAXThread": 4} if sys.argv[2] == "tuned" else {}
CosS3Client(config).upload_file(os.environ["IMGTOOL_BUCKET"], "sdk-" + sys.argv[2], sys.argv[1], **more)
"""
# An upload's own process ends by itself after a while, so that its memory can be measured.
FOR_A_WHILE = """
import os, signal, sys, threading
threading.Timer(20, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
sys.argv[0] = "imgtool"
from imgtool.cli import main
main()
"""


def measure() -> Iterator[Figure]:
    """The figures of the design's table for uploads."""
    with scratch() as place:
        file = place / "image"
        chance = random.Random(64)  # noqa: S311 - data, not secrets
        with file.open("wb") as out:
            for _ in range(SIZE // (16 * MIB)):
                out.write(chance.randbytes(16 * MIB))
        with _sandbox(place / "sandbox") as env:
            # its journal goes with success, and the object must not be taken for the file that is there
            # already
            ours = [sys.executable, "-c", _OURS, str(file)]
            sdk = [[sys.executable, "-c", SDK, str(file), kind] for kind in ("default", "tuned")]
            times = wall_times([ours, *sdk], runs=RUNS, env=env)
            rates = [[SIZE / MIB / seconds for seconds in each] for each in times]
            for name, rate in zip(("imgtool", "SDK, defaults", "SDK, 8 MiB parts"), rates, strict=True):
                yield Figure(name, "MiB/s", tuple(rate))
            best = min(times[1:], key=statistics.median)
            yield ratio("imgtool / SDK, throughput", best, times[0], Bar(">=", 0.9))
            file.unlink()
            huge = place / "huge"
            with huge.open("wb") as out:
                out.truncate(500 << 30)
            command = [
                sys.executable,
                "-c",
                FOR_A_WHILE,
                "upload",
                str(huge),
                f"cos://{env['IMGTOOL_BUCKET']}/huge",
            ]
            peak = peak_memory(command, env=env, expected=128 + signal.SIGTERM) / MIB
            yield Figure("peak memory, 500 GiB", "MiB", (peak,), Bar("<=", 256))


_OURS = """
import os, sys, uuid
sys.argv = ["imgtool", "upload", sys.argv[1], f"cos://{os.environ['IMGTOOL_BUCKET']}/ours-{uuid.uuid4()}"]
from imgtool.cli import main
main()
"""


@contextmanager
def _sandbox(folder: Path) -> Iterator[Mapping[str, str]]:
    """A sandbox in a process of its own; the environment that leads to it."""
    # bound: a bench that is killed leaves no server behind
    server = spawn_bound(
        [sys.executable, "-m", "imgtool", "sandbox", "--dir", str(folder)],
        stdout=subprocess.PIPE,
    )
    try:
        assert server.stdout is not None  # noqa: S101
        if not server.stdout.readline():
            raise Unexpected("the sandbox did not start")
        lines = (folder / "env.sh").read_text().splitlines()
        pairs = (line.removeprefix("export ").partition("=") for line in lines)
        yield dict(os.environ) | {name: value.strip("'") for name, _, value in pairs}
    finally:
        end(server)
