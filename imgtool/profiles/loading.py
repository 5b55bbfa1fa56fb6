"""From TOML to `Profile`: extending, checking every key, type and value, naming the line of a mistake."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from os.path import isfile
from pathlib import Path
from typing import Any, cast, get_args

from imgtool.errors import UsageError
from imgtool.profiles.limits import (
    CloudbaseInitLimits,
    DiskLimits,
    Distribution,
    ImageLimits,
    LinuxLimits,
    Profile,
    TableKind,
    VersionRule,
    WindowsLimits,
)
from imgtool.profiles.source import KeyPath, ProfileFile, mistake, nearest, read_profile_file
from imgtool.rules import Severity, Target
from imgtool.text import Text

_FOLDER = Path(__file__).parent
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_MAX_DEPTH = 8
_FORMATS = ("raw", "vhd", "qcow2", "vmdk", "vhdx", "vdi", "qed", "qcow", "iso")
_ARCHIVES = ("gzip", "xz", "zip", "tar", "bzip2", "zstd", "ova")
_FAMILIES = ("linux", "windows")


def shipped_profiles() -> list[str]:
    """The names of the profiles that come with imgtool."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def load_profile(name_or_path: str | Path, rules: Collection[str] | None = None) -> Profile:
    """Load a shipped profile by name, or any by its file; `rules`, where given, are the ids it may re-level.

    Raises UsageError for what is not there and for a wrong key, type or value, naming file and line.
    """
    files = _chain(_find(str(name_or_path)))
    profile = _Reader(files).profile()
    if rules is not None:
        check_rule_names(profile, rules)
    return profile


def check_rule_names(profile: Profile, rules: Collection[str]) -> None:
    """Raise UsageError when the profile gives a level to a rule that does not exist."""
    for name in profile.severities:
        if name not in rules:
            path, line = profile.places[name]
            hint = nearest(name, rules)
            raise mistake(
                path,
                line,
                Text(en=f"no rule is called {name!r}{hint.en}", zh=f"没有名为 {name!r} 的规则{hint.zh}"),
            )


def _find(name: str, beside: Path | None = None) -> Path:
    if "/" not in name and not name.endswith(".toml"):
        shipped = _FOLDER / f"{name}.toml"
        if isfile(shipped):
            return shipped
        if not isfile(name):  # Path.is_file raises for a name that is too long
            hint = nearest(name, shipped_profiles())
            raise UsageError(
                Text(
                    en=f"No profile is called {name!r}{hint.en}. A file is named by its path.",
                    zh=f"没有名为 {name!r} 的配置{hint.zh}。使用文件时请给出其路径。",
                )
            )
    return (beside / name) if beside else Path(name)


def _chain(path: Path) -> list[ProfileFile]:
    """The file and those it extends, nearest first."""
    files: list[ProfileFile] = []
    while True:
        if len(files) == _MAX_DEPTH or any(file.path.resolve() == path.resolve() for file in files):
            last = files[-1]
            reason = Text(en="'extends' leads back to itself or too far", zh="extends 循环引用或层级过深")
            raise mistake(last.path, last.line(("extends",)), reason)
        file = read_profile_file(path)
        files.append(file)
        if "extends" not in file.values:
            return files
        parent = file.values["extends"]
        line = file.line(("extends",))
        if not isinstance(parent, str) or not parent:
            reason = Text(en="'extends' must be a profile's name or file", zh="extends 须为配置名称或文件")
            raise mistake(path, line, reason)
        try:
            path = _find(parent, beside=path.parent)
        except UsageError as error:
            reason = Text(error.statement().en.rstrip("."), error.statement().zh.rstrip("。"))
            raise mistake(path, line, reason) from error


def _merge(under: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        kept = merged.get(key)
        merged[key] = _merge(kept, value) if isinstance(value, dict) and isinstance(kept, dict) else value
    return merged


class _Reader:
    """Takes values out of the merged files by key path, checking each."""

    def __init__(self, files: list[ProfileFile]) -> None:
        self.files = files
        self.values: dict[str, Any] = {}
        for file in reversed(files):
            self.values = _merge(self.values, file.values)

    def profile(self) -> Profile:
        self.keys((), ("name", "extends", "image", "disk", "linux", "windows", "severity"))
        severities = self.severities()
        return Profile(
            name=self.string(("name",)) if "name" in self.files[0].values else self.files[0].path.stem,
            image=self.image(),
            disk=self.disk(),
            linux=self.linux(),
            windows=self.windows(),
            severities=severities,
            places={name: self.place(("severity", name)) for name in severities},
        )

    def image(self) -> ImageLimits:
        self.keys(("image",), ("formats", "max_virtual_size", "max_actual_size", "archives_for_migrate"))
        return ImageLimits(
            formats=self.words(("image", "formats"), _FORMATS),
            max_virtual_size=self.size(("image", "max_virtual_size")),
            max_actual_size=self.size(("image", "max_actual_size")),
            archives_for_migrate=self.words(("image", "archives_for_migrate"), _ARCHIVES),
        )

    def disk(self) -> DiskLimits:
        self.keys(("disk",), ("boot_modes", "root_min_free", "root_min_free_inodes", "partition_tables"))
        targets = get_args(Target)
        self.keys(("disk", "partition_tables"), targets)
        tables: dict[str, dict[str, tuple[TableKind, ...]]] = {}
        for target in targets:
            here = ("disk", "partition_tables", target)
            self.keys(here, _FAMILIES)
            tables[target] = {
                family: cast("tuple[TableKind, ...]", self.words((*here, family), get_args(TableKind)))
                for family in _FAMILIES
            }
        return DiskLimits(
            boot_modes=self.words(("disk", "boot_modes"), ("bios", "uefi")),
            root_min_free=self.size(("disk", "root_min_free")),
            root_min_free_inodes=self.number(("disk", "root_min_free_inodes")),
            tables=tables,
        )

    def linux(self) -> LinuxLimits:
        self.keys(("linux",), ("architectures", "virtio", "cloud-init", "distributions"))
        self.keys(("linux", "virtio"), ("kernel_options", "initramfs_modules"))
        self.keys(("linux", "cloud-init"), ("datasources", "metadata_datasources"))
        return LinuxLimits(
            architectures=self.strings(("linux", "architectures")),
            virtio_modules_kernel=self.words(("linux", "virtio", "kernel_options")),
            virtio_modules_initramfs=self.words(("linux", "virtio", "initramfs_modules")),
            datasources=self.words(("linux", "cloud-init", "datasources")),
            metadata_datasources=self.words(("linux", "cloud-init", "metadata_datasources")),
            distributions=self.distributions(),
        )

    def distributions(self) -> dict[str, Distribution]:
        known: dict[str, Distribution] = {}
        for os_type in self.table(("linux", "distributions")):
            here = ("linux", "distributions", os_type)
            self.keys(here, ("ids", "derivatives", "version", "releases"))
            releases = self.releases(os_type)
            version = cast(VersionRule, self.word((*here, "version"), get_args(VersionRule)))
            for key, itself in (("ids", True), ("derivatives", False)):
                for name in self.words((*here, key)):
                    if name in known:
                        reason = Text(
                            en=f"{name!r} is already {known[name].os_type}",
                            zh=f"{name!r} 已归入 {known[name].os_type}",
                        )
                        raise self.wrong((*here, key), reason, name)
                    known[name] = Distribution(os_type, version, itself, releases.get(name))
        return known

    def releases(self, os_type: str) -> dict[str, dict[str, str]]:
        """By the id of a derivative that counts for itself: its releases to those that it is built from."""
        here = ("linux", "distributions", os_type)
        if "releases" not in self.table(here):
            return {}
        return {name: self.strings((*here, "releases", name)) for name in self.table((*here, "releases"))}

    def windows(self) -> WindowsLimits:
        known = (
            "releases",
            "releases_not_listed",
            "architectures",
            "os_versions",
            "virtio",
            "cloudbase-init",
        )
        self.keys(("windows",), known)
        virtio, init = ("windows", "virtio"), ("windows", "cloudbase-init")
        self.keys(virtio, ("storage", "system_disk", "network"))
        self.keys(init, ("account", "local_script", "run_again", "required", "recommended"))
        storage = self.words((*virtio, "storage"))
        return WindowsLimits(
            releases=self.words(("windows", "releases")),
            releases_not_listed=self.words(("windows", "releases_not_listed")),
            architectures=self.strings(("windows", "architectures")),
            os_versions=self.strings(("windows", "os_versions")),
            storage=storage,
            system_disk=self.word((*virtio, "system_disk"), storage),
            network=self.words((*virtio, "network")),
            cloudbase_init=CloudbaseInitLimits(
                account=self.string((*init, "account")),
                local_script=self.string((*init, "local_script")),
                run_again=self.words((*init, "run_again")),
                required=self.options((*init, "required")),
                recommended=self.options((*init, "recommended")),
            ),
        )

    def strings(self, path: KeyPath) -> dict[str, str]:
        return {word: self.string((*path, word)) for word in self.table(path)}

    def options(self, path: KeyPath) -> dict[str, str | tuple[str, ...]]:
        """Options of a configuration file: each a text, or a list of texts."""
        return {
            name: self.words((*path, name)) if isinstance(value, list) else self.string((*path, name))
            for name, value in self.table(path).items()
        }

    def severities(self) -> dict[str, Severity]:
        levels = tuple(level.value for level in Severity)
        table = self.table(("severity",)) if "severity" in self.values else {}
        severities = {}
        for name, level in table.items():
            if isinstance(level, dict):
                reason = Text(
                    en=f'a rule\'s id goes in quotes here: "{name}.{next(iter(level), "…")}"',
                    zh=f'规则编号须加引号："{name}.{next(iter(level), "…")}"',
                )
                raise self.wrong(("severity", name, next(iter(level), "")), reason)
            severities[name] = Severity(self.word(("severity", name), levels))
        return severities

    # Taking values by key path

    def get(self, path: KeyPath) -> Any:
        value: Any = self.values
        for depth, key in enumerate(path):
            if not isinstance(value, dict):
                raise self.wrong(path[:depth], Text(en="must be a table", zh="须为表"))
            if key not in value:
                reason = Text(
                    en=f'{".".join(path)} is missing; `extends = "tce"` takes TCE\'s value',
                    zh=f'缺少 {".".join(path)}；写上 extends = "tce" 即沿用 TCE 的取值',
                )
                raise mistake(self.files[0].path, self.files[0].line(path[:-1]), reason)
            value = value[key]
        return value

    def table(self, path: KeyPath) -> dict[str, Any]:
        value = self.get(path)
        if not isinstance(value, dict):
            raise self.must_be(path, value, Text(en="a table", zh="表"))
        return value

    def keys(self, path: KeyPath, known: Collection[str]) -> None:
        for key in self.table(path) if path else self.values:
            if key not in known:
                hint = nearest(key, known)
                whole = ".".join((*path, key))
                reason = Text(en=f"unknown key {whole!r}{hint.en}", zh=f"未知的键 {whole!r}{hint.zh}")
                raise self.wrong((*path, key), reason)

    def string(self, path: KeyPath) -> str:
        value = self.get(path)
        if not isinstance(value, str) or not value.strip():
            raise self.must_be(path, value, Text(en="text in quotes", zh="带引号的文本"))
        return value

    def word(self, path: KeyPath, allowed: Collection[str]) -> str:
        value = self.string(path)
        if value not in allowed:
            hint = nearest(value, allowed)
            name = ".".join(path)
            reason = Text(en=f"{name} can't be {value!r}{hint.en}", zh=f"{name} 不能为 {value!r}{hint.zh}")
            raise self.wrong(path, reason)
        return value

    def words(self, path: KeyPath, allowed: Collection[str] = ()) -> tuple[str, ...]:
        value = self.get(path)
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self.must_be(path, value, Text(en="a list of texts in quotes", zh="带引号文本的列表"))
        for item in value:
            if allowed and item not in allowed:
                hint = nearest(item, allowed)
                name = ".".join(path)
                reason = Text(
                    en=f"{name} can't hold {item!r}{hint.en}", zh=f"{name} 不能包含 {item!r}{hint.zh}"
                )
                raise self.wrong(path, reason, item)
        return tuple(dict.fromkeys(value))

    def number(self, path: KeyPath) -> int:
        value = self.get(path)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.must_be(path, value, Text(en="a whole number", zh="非负整数"))
        return value

    def size(self, path: KeyPath) -> int:
        """Bytes, from a whole number or from a text such as "500 GiB"."""
        value = self.get(path)
        if isinstance(value, str):
            found = re.fullmatch(r"(\d{1,15}) ?([KMGT]iB|B)", value)
            if found:
                return int(found.group(1)) * _UNITS[found.group(2)]
        elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        wanted = Text(
            en='a size such as "500 GiB" (B, KiB, MiB, GiB, TiB)',
            zh='大小，如 "500 GiB"（B、KiB、MiB、GiB、TiB）',
        )
        raise self.must_be(path, value, wanted)

    # Saying what is wrong, and where

    def must_be(self, path: KeyPath, value: object, wanted: Text) -> UsageError:
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:59] + "…"
        name = ".".join(path)
        reason = Text(
            en=f"{name} must be {wanted.en}, not {shown}", zh=f"{name} 须为{wanted.zh}，而不是 {shown}"
        )
        return self.wrong(path, reason)

    def wrong(self, path: KeyPath, reason: Text, value: object = None) -> UsageError:
        file, line = self.place(path, value)
        return mistake(file, line, reason)

    def place(self, path: KeyPath, value: object = None) -> tuple[Path, int]:
        """The file and line that a value came from: the nearest file that wrote it."""
        for file in self.files:
            if _written(file.values, path):
                return file.path, file.line(path, value) or 1
        return self.files[0].path, self.files[0].line(path) or 1


def _written(values: Any, path: KeyPath) -> bool:
    for key in path:
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True
