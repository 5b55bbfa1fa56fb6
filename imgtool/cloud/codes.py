"""What the platform's error codes mean and what to do, read from codes.toml."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from imgtool.text import Text


@dataclass(frozen=True)
class Explanation:
    """One code."""

    meaning: Text
    action: Text


_UNKNOWN = Explanation(
    Text("imgtool does not know this code.", "imgtool 不认识该错误码。"),
    Text(
        "Give the RequestId to the operator of the cloud; the same command goes on where it stopped.",
        "请将 RequestId 提供给云平台的运维人员；再次运行同一命令会从中断处继续。",
    ),
)
_TABLES = {"CVM": "cvm", "COS": "storage", "S3": "storage", "import": "import"}


def explain(service: str, code: str) -> Explanation:
    """A code of "CVM", "COS", "S3" or "import" (ref 01); one that is not listed as the one above it ("A"
    for "A.B").
    """
    table = codes(_TABLES[service])
    while code:
        if code in table:
            return table[code]
        code = code.rpartition(".")[0]
    return _UNKNOWN


@cache
def codes(table: str) -> Mapping[str, Explanation]:
    """All codes of a table: cvm, import or storage."""
    content = _content()
    actions = {name: Text(*pair) for name, pair in content["actions"].items()}
    return {
        code: Explanation(Text(en, zh), actions[action]) for code, (en, zh, action) in content[table].items()
    }


@cache
def _content() -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    text = files("imgtool.cloud").joinpath("codes.toml").read_text(encoding="utf-8")
    content: dict[str, Any] = tomllib.loads(text)
    return content
