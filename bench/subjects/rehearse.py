"""`imgtool rehearse`: how long the good Debian images take."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figure import Bar, Figure
from bench.process import Unexpected

TITLE = "`imgtool rehearse`"
METHOD = """\
The whole process: the static check, the first boot with config drive and metadata service until the guest has
reported from inside, the power button, and the second boot until the login prompt. One machine with two
processors at a time, by the accelerator that this machine has (the result says which). An image that does not
rehearse to all-pass has no figure.

- **first boot**, **second boot**: seconds from power-on, as the report says them."""
IMAGES = {
    "BIOS": "debian12-bios",
    "UEFI": "debian12-uefi",
    "XFS on LVM": "debian12-lvm-xfs",
    "dracut": "debian12-dracut",
}
LONGEST = 150  # seconds


def measure() -> Iterator[Figure]:
    """One run of each image, with the bar of a machine without KVM."""
    for name, recipe in IMAGES.items():
        build = [sys.executable, "-m", "fixtures", "path", recipe]
        image = Path(subprocess.run(build, check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
        with tempfile.TemporaryDirectory(prefix="imgtool-bench-") as folder:
            report = Path(folder) / "report.json"
            command = [sys.executable, "-m", "imgtool", "rehearse", "--report", str(report), str(image)]
            began = time.monotonic()
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            taken = time.monotonic() - began
            if done.returncode != 0:
                raise Unexpected(f"{recipe} does not rehearse to all-pass:\n{done.stdout}{done.stderr}")
            told = json.loads(report.read_text())["images"][0]
        times = {it["id"]: it.get("time_s") for it in told["findings"]}
        by = told["rehearsal"]["accelerator"]
        yield Figure(f"{name}, whole", "s", (taken,), Bar("<=", LONGEST), note=by)
        yield Figure(f"{name}, first boot", "s", (times["rehearsal.first-boot"],))
        yield Figure(f"{name}, second boot", "s", (times["rehearsal.second-boot"],))
