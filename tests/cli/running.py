"""Running imgtool as people do: as a process, with an environment, a terminal, a plug-in."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[2]
IMGTOOL = (sys.executable, "-m", "imgtool")


def environment(**changes: str | None) -> dict[str, str]:
    """Ours, in English and without what decides about colours and widths; None takes a variable away."""
    ours: Mapping[str, str | None] = {
        **os.environ,
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(PROJECT),
        "NO_COLOR": None,
        "FORCE_COLOR": None,
        "COLUMNS": None,
        **changes,
    }
    return {name: value for name, value in ours.items() if value is not None}


def imgtool(
    *arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None, **given: Any
) -> subprocess.CompletedProcess[str]:
    """Run it to its end; it never takes long."""
    return subprocess.run(
        [*IMGTOOL, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
        env=env or environment(),
        stdin=subprocess.DEVNULL,
        **given,
    )


def start(*arguments: str | Path, env: dict[str, str], **given: Any) -> subprocess.Popen[str]:
    """Start it in a process group of its own, its signals as they are by default, as a shell does: who runs
    the tests in the background has SIGINT ignored, and imgtool leaves what is ignored as it is.
    """
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **given}
    return subprocess.Popen(
        ["env", "--default-signal=INT,HUP", *IMGTOOL, *map(str, arguments)],
        text=True,
        env=env,
        start_new_session=True,
        **streams,
    )


def _hearing_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def plug_in(folder: Path, rules: str) -> dict[str, str]:
    """The environment in which a package with these rules is installed: their module is `made_up_rules`."""
    info = folder / "made_up-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[imgtool.checks]\nmade_up = made_up_rules\n")
    opening = """
        import os, signal, time
        from pathlib import Path
        from imgtool.rules import Severity, broken, kept, rule
        from imgtool.text import Text
    """
    content = textwrap.dedent(opening) + textwrap.dedent(rules)
    (folder / "made_up_rules.py").write_text(content)
    return environment(PYTHONPATH=f"{PROJECT}{os.pathsep}{folder}")


def qcow2(path: Path, size: str = "64M") -> Path:
    """An empty disk: an image without a fault, but without partitions too."""
    return empty("qcow2", path, size)


def empty(format_: str, path: Path, size: str = "64M") -> Path:
    """An empty disk in a format. VMDK is one that qemu-nbd has to read."""
    subprocess.run(["qemu-img", "create", "-q", "-f", format_, str(path), size], check=True)
    return path
