"""`imgtool fix` of a Debian image without virtio in its initramfs, against virt-customize."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.figure import Bar, Figure, ratio
from bench.machine import libguestfs_environment
from bench.process import wall_times
from imgtool.virtualization import kvm_usable

TITLE = "Making a Debian image without virtio in its initramfs bootable"
METHOD = """\
The golden image of `fixtures/` (Debian 12, 4 GiB virtual) with the virtio modules taken out of its initramfs,
raw. `imgtool fix IMAGE -o OUT.raw` reads it, plans, starts the appliance, puts the drivers behind the
initramfs, writes the repaired image out, compares it with what the appliance left, and checks it again; every
run must end with exit code 0: the output passes. `virt-customize -a COPY --run-command 'update-initramfs -u'`
rebuilds the initramfs with the guest's own tool, in place, on a copy that is made before the clock starts; it
neither writes another image nor checks anything. Both under TCG where KVM is not usable.

- **The plan alone**: `imgtool fix --plan`, which reads and changes nothing."""
RUNS = 3
CUSTOMIZE_RUNS = 1  # it takes minutes without KVM
PLANS = 5


def measure() -> Iterator[Figure]:
    """The figures of the design's table for `fix`."""
    imgtool = str(Path(sys.executable).with_name("imgtool"))
    faulty = _image("debian12-bios/no-virtio-initramfs")
    with tempfile.TemporaryDirectory(prefix="imgtool-bench-") as folder:
        out, copy = Path(folder, "out.raw"), Path(folder, "copy.raw")
        (plans,) = wall_times([[imgtool, "fix", "--plan", faulty]], runs=PLANS)
        yield Figure("fix --plan", "s", tuple(plans))
        fix = [imgtool, "fix", "--force", faulty, "-o", str(out)]
        (fixed,) = wall_times([fix], runs=RUNS)
        out.unlink()
        customized = []
        for _ in range(CUSTOMIZE_RUNS):
            subprocess.run(["cp", "--sparse=always", faulty, copy], check=True)
            command = ["virt-customize", "--format", "raw", "-a", str(copy)]
            command += ["--run-command", "update-initramfs -u"]
            ((took,),) = wall_times([command], runs=1, warm_up=0, env=libguestfs_environment())
            customized.append(took)
            copy.unlink()
        how = "with KVM" if kvm_usable() else "under TCG"
        yield Figure(f"fix, {how}", "s", tuple(fixed))
        yield Figure(f"virt-customize, {how}", "s", tuple(customized))
        yield ratio("fix / virt-customize", fixed, customized, Bar("<=", 0.3))


def _image(name: str) -> str:
    if shutil.which("virt-customize") is None:
        raise FileNotFoundError("virt-customize is not installed (libguestfs-tools)")
    build = [sys.executable, "-m", "fixtures", "path", name]
    return subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
