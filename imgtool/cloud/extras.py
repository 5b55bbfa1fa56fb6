"""Optional Python packages: what a command needs beyond imgtool's own, and how to get it."""

from __future__ import annotations

from importlib.util import find_spec

from imgtool.errors import MachineLacks
from imgtool.text import Text


class ExtraMissing(MachineLacks):
    """An extra of imgtool (`pip install 'imgtool[EXTRA]'`) is not installed."""

    def statement(self) -> Text:
        return Text(
            en=f"This needs the Python package {self.what}. Install it: pip install "
            f"'imgtool[{self.package}]'",
            zh=f"此操作需要 Python 包 {self.what}。请安装：pip install 'imgtool[{self.package}]'",
        )


def require(module: str, extra: str) -> None:
    """Raise ExtraMissing unless a module can be imported."""
    if find_spec(module) is None:
        raise ExtraMissing(module, extra)
