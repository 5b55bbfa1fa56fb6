"""`imgtool check` of a real Debian 12 image: time, memory, against virt-inspector, and as the disk grows."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.figure import Bar, Figure, ratio
from bench.machine import libguestfs_environment
from bench.process import peak_memory, wall_times
from imgtool.virtualization import kvm_usable

TITLE = "`imgtool check` of a real Debian 12 image"
METHOD = """\
The golden image of `fixtures/` (Debian 12 on ext4, MBR, 4 GiB virtual; a bootable system of real packages),
as qcow2 and as a sparse raw file. Each run is a whole process, `imgtool check IMAGE` with its text report
going to /dev/null, timed from before the start to the end; the runs of what is compared take turns. The
image is in the page cache (one round goes ahead uncounted), as it is after a download or a build. Every run
must end with exit code 0: the image passes.

- **Against `virt-inspector`**: `virt-inspector --format=qcow2 -a IMAGE` on the same file, in turns with
  five checks after each; its appliance is built beforehand (one run ahead, uncounted). Under TCG where KVM is
  not usable.
- **Memory**: the sum of the peak resident sets of the process and all its descendants (`VmHWM`, sampled
  every millisecond, in runs of their own): an upper bound, since shared pages count more than once.
- **Growth**: a copy of the image with its virtual size set to 500 GiB by `qemu-img resize`; the partition
  table stays as it is."""
RUNS = 15
MEMORY_RUNS = 5
INSPECTOR_RUNS = 3
CHECKS_BESIDE = 5  # after each run of virt-inspector
GROWN = "500G"


def measure() -> Iterator[Figure]:
    """The figures of the design's table for `check`."""
    imgtool = str(Path(sys.executable).with_name("imgtool"))
    golden = _golden_image()
    with tempfile.TemporaryDirectory(prefix="imgtool-bench-") as folder:
        small, grown = {}, {}
        for kind in ("qcow2", "raw"):
            small[kind], grown[kind] = Path(folder, f"disk.{kind}"), Path(folder, f"grown.{kind}")
            for copy in (small[kind], grown[kind]):
                _qemu_img("convert", "-f", golden.suffix[1:], "-O", kind, golden, copy)
            _qemu_img("resize", "-q", "-f", kind, grown[kind], GROWN)
        commands = {kind: [imgtool, "check", str(path)] for kind, path in small.items()}
        grown_commands = {kind: [imgtool, "check", str(path)] for kind, path in grown.items()}

        times = dict(
            zip(
                ("qcow2", "raw", "grown qcow2", "grown raw"),
                wall_times([*commands.values(), *grown_commands.values()], runs=RUNS),
                strict=True,
            )
        )
        for kind in commands:
            yield Figure(f"check, {kind}", "s", tuple(times[kind]), Bar("<=", 0.35))
        for kind, command in commands.items():
            peaks = tuple(peak_memory(command) / 2**20 for _ in range(MEMORY_RUNS))
            yield Figure(f"peak memory, {kind}", "MiB", peaks, Bar("<=", 200))
        for kind in grown_commands:
            yield Figure(f"check, {kind}, 500 GiB virtual", "s", tuple(times[f"grown {kind}"]))
            yield ratio(f"500 GiB / 4 GiB, {kind}", times[f"grown {kind}"], times[kind], Bar("<=", 1.3))

        inspector = ["virt-inspector", "--format=qcow2", "-a", str(small["qcow2"])]
        turns = [inspector, *[commands["qcow2"]] * CHECKS_BESIDE]
        inspected, *checked = wall_times(turns, runs=INSPECTOR_RUNS, env=libguestfs_environment())
        beside = [seconds for command in checked for seconds in command]
        how = "with KVM" if kvm_usable() else "under TCG"
        yield Figure(f"virt-inspector, qcow2, {how}", "s", tuple(inspected))
        yield Figure("check, qcow2, in turns with it", "s", tuple(beside))
        bar = Bar(">=", 10 if kvm_usable() else 80)
        yield ratio("virt-inspector / check, qcow2", inspected, beside, bar)


def _golden_image() -> Path:
    build = [sys.executable, "-m", "fixtures", "path", "debian12-bios"]
    return Path(subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())


def _qemu_img(*args: str | Path) -> None:
    subprocess.run(["qemu-img", *args], check=True)
