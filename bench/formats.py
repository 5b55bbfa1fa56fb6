"""`python -m bench.formats [-o docs/formats.md]`: what every target format costs on the real image.

Each row is `imgtool convert` of the golden Debian 12 image (raw, 4 GiB virtual) as a whole process, without
and with verification; the median of some runs. With -o, the table in that page is written anew.
"""

from __future__ import annotations

import datetime
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import machine
from bench.process import wall_times

RUNS = 3
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
WAYS = (
    ("qcow2, compressed", "out.qcow2", ("--compress",)),
    ("qcow2, compressed, `--writer qemu-img`", "out.qcow2", ("--compress", "--writer", "qemu-img")),
    ("qcow2, compressed, `--compat 0.10`", "out.qcow2", ("--compress", "--compat", "0.10")),
    ("qcow2", "out.qcow2", ()),
    ("VMDK, streamOptimized", "out.vmdk", ("--compress",)),
    ("VMDK, monolithicSparse", "out.vmdk", ()),
    ("VHD, dynamic", "out.vhd", ()),
    ("VHD, fixed", "out.vhd", ("--subformat", "fixed")),
    ("raw", "out.raw", ()),
)


def main(arguments: Sequence[str]) -> int:
    """Print the table, or write it into the page after -o. Exit code: 0, or 2 for wrong usage."""
    page = Path(arguments[1]) if len(arguments) == 2 and arguments[0] == "-o" else None
    if arguments and page is None:
        print(__doc__, file=sys.stderr)
        return 2
    table = measured()
    if page is None:
        print(table)
        return 0
    text = page.read_text()
    head, rest = text.split(BEGIN)
    page.write_text(f"{head}{BEGIN}\n{table}{END}{rest.split(END)[1]}")
    return 0


def measured() -> str:
    """The table and the line that says where it was measured."""
    imgtool = str(Path(sys.executable).with_name("imgtool"))
    build = [sys.executable, "-m", "fixtures", "path", "debian12-bios"]
    golden = subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    rows = [
        "| format | to upload | on storage | of the raw file | converting | with verification |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    length = Path(golden).stat().st_size
    with tempfile.TemporaryDirectory(prefix="imgtool-bench-") as folder:
        for title, name, given in WAYS:
            out = Path(folder, name)
            command = [imgtool, "convert", "--force", *given, golden, str(out)]
            times = wall_times([[*command, "--no-verify"], command], runs=RUNS, warm_up=0)
            without, verified = map(statistics.median, times)
            status = out.stat()
            rows.append(
                f"| {title} | {_mib(status.st_size)} | {_mib(status.st_blocks * 512)} | "
                f"{100 * status.st_size / length:.1f} % | {without:.1f} s | {verified:.1f} s |"
            )
            out.unlink()
    where = machine.describe()
    day = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    used = Path(golden).stat().st_blocks * 512
    return (
        "\n".join(rows)
        + f"\n\nMeasured on {day}: {where['processor']}; {where['system']}; {where['qemu']}. The "
        f"image has {_mib(length)}, of which {_mib(used)} are allocated. "
        f"{'One run' if RUNS == 1 else f'Medians of {RUNS} runs'}, at a load of {where['load']}.\n"
    )


def _mib(count: int) -> str:
    return f"{count / 2**20:,.0f} MiB"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
