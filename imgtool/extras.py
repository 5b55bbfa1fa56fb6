"""Optional Python packages: what a command needs beyond imgtool's own, and how to get it."""

from __future__ import annotations

import re
import shlex
import sys
from importlib.util import find_spec

from imgtool.errors import MachineLacks
from imgtool.text import Text


class ExtraMissing(MachineLacks):
    """The packages of one of imgtool's extras are not installed. package: the extra's name."""

    def statement(self) -> Text:
        command = install_command(self.package)
        return Text(
            en=f"This needs the Python package {self.what}. Install it: {command}",
            zh=f"此操作需要 Python 包 {self.what}。请安装：{command}",
        )


def require(module: str, extra: str) -> None:
    """Raise ExtraMissing unless a module can be imported."""
    if find_spec(module) is None:
        raise ExtraMissing(module, extra)


def requirements(extra: str) -> list[str]:
    """What an extra brings, as pip takes it ("boto3>=1.36"); empty where imgtool is not installed."""
    from importlib import metadata

    try:
        lines = metadata.requires("imgtool") or []
    except metadata.PackageNotFoundError:
        return []
    asked = re.compile(rf"""extra\s*==\s*["']{re.escape(extra)}["']""")
    parts = (line.partition(";") for line in lines)
    return [name.strip() for name, _, marker in parts if asked.search(marker)]


def install_command(extra: str) -> str:
    """The shell's line that installs an extra for the Python that runs this.

    It names the packages themselves and never `imgtool[EXTRA]`: on the public index that name belongs to
    another project, which pip would install over this one.
    """
    wanted = requirements(extra) or [f".[{extra}]"]
    return shlex.join([sys.executable, "-m", "pip", "install", *wanted])
