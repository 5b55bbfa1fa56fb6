"""What a converter is: one module of `imgtool.converters` for each target format, found by discovery."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from imgtool.convert.output import shown
from imgtool.disk.commands import byte_count
from imgtool.errors import Stated, UsageError
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import ImageFile


class OverLimit(Stated):
    """The platform would not take the result: found, as a check finds it."""

    exit_code: ClassVar[int] = 1


@dataclass(frozen=True)
class Option:
    """A choice that a target format leaves. default: what is made when nothing is asked for."""

    name: str
    choices: tuple[str, ...]
    default: str
    meaning: Text


@dataclass(frozen=True)
class Job:
    """One conversion, as a converter gets it.

    source: probed and safe to open. out: the file to make, which does not exist. options: one value for each
    of the converter's options. writer: "imgtool", "qemu-img" or None for the converter's choice. limit: bytes
    that the output may have on storage. at: to be told, from the calling thread, how many bytes of the disk
    are done; it raises when the work is to stop.
    """

    source: ImageFile
    out: Path
    options: Mapping[str, str]
    compress: bool = False
    writer: str | None = None
    level: int = 1
    threads: int | None = None
    limit: int | None = None
    at: Callable[[int], None] = field(default=lambda done: None)


@dataclass(frozen=True)
class Made:
    """What a converter made.

    sha256 (hex) and crc64 (CRC-64/XZ, which object storages call CRC-64/ECMA): of the whole file, where the
    writer computed them.
    """

    writer: str
    sha256: str | None = None
    crc64: int | None = None


@dataclass(frozen=True)
class Converter:
    """A target format.

    name: what --to calls it. suffixes: of file names that mean it, lower case, the usual one first.
    accepted: what the platform accepts of it, and when to choose it. compresses: whether --compress means
    anything. verify(job, at): look at the output of a job with the format's own means; raises ImgtoolError.
    The engine compares the contents in any case.
    """

    name: str
    suffixes: tuple[str, ...]
    options: tuple[Option, ...]
    accepted: Text
    convert: Callable[[Job], Made]
    verify: Callable[[Job], None]
    compresses: bool = False
    writers: tuple[str, ...] = ("qemu-img",)

    def settings(self, asked: Mapping[str, str]) -> dict[str, str]:
        """A value for each option. Raises UsageError for one, or a value, that is not there."""
        known = {option.name: option for option in self.options}
        for name, value in asked.items():
            if name not in known:
                raise UsageError(
                    Text(
                        en=f"--{name} means nothing for {self.name}.",
                        zh=f"--{name} 对 {self.name} 格式无意义。",
                    )
                )
            if value not in known[name].choices:
                choices = ", ".join(known[name].choices)
                raise UsageError(
                    Text(
                        en=f"--{name} {value} can't be had for {self.name}; there are: {choices}.",
                        zh=f"{self.name} 格式不支持 --{name} {value}；可选：{choices}。",
                    )
                )
        return {name: asked.get(name, option.default) for name, option in known.items()}


def require_actual(allocated: int, limit: int) -> None:
    """Raise OverLimit when an output takes more bytes on storage than the profile allows."""
    if allocated > limit:
        raise OverLimit(
            Text(
                en=f"The output takes {byte_count(allocated)} and more, and the profile takes up to "
                f"{byte_count(limit)} (InvalidFormatSize). Try --compress or --shrink.",
                zh=f"输出已达 {byte_count(allocated)}，超出配置上限 "
                f"{byte_count(limit)}（InvalidFormatSize）。"
                "请尝试 --compress 或 --shrink。",
            )
        )


def discover() -> dict[str, Converter]:
    """Every converter there is, by name."""
    rooms = importlib.import_module("imgtool.converters")
    names = sorted(found.name for found in pkgutil.iter_modules(rooms.__path__))
    modules = [importlib.import_module(f"imgtool.converters.{name}") for name in names]
    converters = [module.CONVERTER for module in modules if hasattr(module, "CONVERTER")]
    return {converter.name: converter for converter in converters}


def choose(name: str | None, output: Path, converters: Mapping[str, Converter]) -> Converter:
    """The converter of that name, or the one that the output's suffix means. Raises UsageError."""
    if name is not None:
        if name in converters:
            return converters[name]
        raise UsageError(
            Text(
                en=f"{name} is not a format that is made; there are: {', '.join(sorted(converters))}.",
                zh=f"不支持转换为 {name} 格式；可选：{'、'.join(sorted(converters))}。",
            )
        )
    suffix = output.suffix.lower()
    for converter in converters.values():
        if suffix in converter.suffixes:
            return converter
    named = ", ".join(sorted(converters))
    known = ", ".join(suffix for converter in converters.values() for suffix in converter.suffixes)
    raise UsageError(
        Text(
            en=f"The name {shown(output)} does not tell the format. Use one of these suffixes: {known}. "
            f"imgtool convert also takes --to ({named}).",
            zh=f"无法从文件名 {shown(output)} 判断目标格式。请使用以下后缀之一：{known}；"
            f"imgtool convert 还可用 --to 指定（{named}）。",
        )
    )
