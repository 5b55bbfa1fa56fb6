"""cloudbase-init.conf as cloudbase-init itself reads it, and its settings compared with those demanded.

Syntax: oslo.config's iniparser: sections, `key = value` or `key: value`, continuation lines begin with a
blank, whole-line comments with # or ;. The file is opened in the system's own 8-bit code page: UTF-16 and a
byte order mark stop it. Defaults and later names of options: cloudbaseinit/conf/*.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MOST_MISTAKES = 16
DEFAULT = "DEFAULT"

Encoding = Literal["text", "utf-8 with byte order mark", "utf-16"]

DEFAULTS: Mapping[str, str] = {
    "allow_reboot": "true",
    "username": "Admin",
    "groups": "Administrators",
    "inject_user_password": "true",
    "config_drive_raw_hhd": "true",
    "config_drive_cdrom": "true",
    "config_drive_vfat": "true",
    "first_logon_behaviour": "clear_text_injected_only",
    "metadata_base_url": "http://169.254.169.254/",
    "ec2_metadata_base_url": "http://169.254.169.254/",
    "retry_count": "5",
    "retry_count_interval": "4",
    "mtu_use_dhcp_config": "true",
    "ntp_use_dhcp_config": "false",
    "netbios_host_name_compatibility": "true",
    "activate_windows": "false",
    "debug": "false",
}
"""What an option is where no file sets it. Options that are not here have no value then."""

LATER_NAMES: Mapping[str, tuple[str, str]] = {
    "metadata_base_url": ("openstack", "metadata_base_url"),
    "ec2_metadata_base_url": ("ec2", "metadata_base_url"),
    "config_drive_raw_hhd": ("config_drive", "raw_hdd"),
    "config_drive_cdrom": ("config_drive", "cdrom"),
    "config_drive_vfat": ("config_drive", "vfat"),
}
"""Section and name that an option has had since cloudbase-init 0.9.12; they count before the old name."""

OF_THE_PAGE = re.compile("(?:PS )?C")
"""What two lines of the page come to be called that are no settings: `C:\\powershell` and a prompt."""
NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)?$")
TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


@dataclass(frozen=True)
class Setting:
    """A value and the line it begins on."""

    value: str
    line: int


@dataclass(frozen=True)
class Config:
    """settings: by section and name, the last one of each. mistakes: lines that cloudbase-init stops at."""

    encoding: Encoding
    settings: Mapping[tuple[str, str], Setting]
    mistakes: tuple[tuple[int, str], ...]

    def get(self, name: str) -> Setting | None:
        """The setting of an option, under its later name or the old one."""
        return self.settings.get(self.place(name))

    def place(self, name: str) -> tuple[str, str]:
        """Section and name that count for an option in this file: the later ones, where they are set."""
        later = LATER_NAMES.get(name)
        return later if later is not None and later in self.settings else (DEFAULT, name)


def read_config(data: bytes) -> Config:
    """Whatever its encoding is, so that what it says can be told; cloudbase-init reads one kind only."""
    encoding: Encoding = "text"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding, text = "utf-16", data.decode("utf-16", "replace")
    elif data[:3] == b"\xef\xbb\xbf":
        encoding, text = "utf-8 with byte order mark", data[3:].decode("utf-8", "replace")
    elif data[1:4:2] == b"\0\0" and all(data[:3:2]):
        encoding, text = "utf-16", data.decode("utf-16-le", "replace")
    else:
        text = data.decode("utf-8", "replace")
    lines: dict[tuple[str, str], tuple[int, list[str]]] = {}
    mistakes: list[tuple[int, str]] = []
    section, last = "", None
    for number, raw in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        line = raw.rstrip()
        if not line:
            last = None
            continue
        if line[0] in " \t":
            if last is not None:
                lines[last][1].append(line.strip())
            elif line.strip():
                mistakes.append((number, line.strip()[:120]))
            continue
        if line[0] in "#;":
            continue
        if line[0] == "[":
            section, last = line[1:].partition("]")[0].strip(), None
            if "]" not in line or not section:
                mistakes.append((number, line[:120]))
            continue
        at = min((found for found in (line.find("="), line.find(":")) if found >= 0), default=-1)
        if at <= 0 or not section:
            mistakes.append((number, line[:120]))
            last = None
            continue
        last = (section, line[:at].strip())
        lines[last] = number, [_unquoted(line[at + 1 :].strip())]
    settings = {name: Setting("\n".join(parts), line) for name, (line, parts) in lines.items()}
    return Config(encoding, settings, tuple(mistakes[:MOST_MISTAKES]))


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


@dataclass(frozen=True)
class Difference:
    """An option that is not as demanded. found: None where nothing sets it (and its default differs)."""

    name: str
    found: Setting | None
    wanted: str
    lacking: tuple[str, ...] = ()

    @property
    def evidence(self) -> str:
        """What is there and what is to be there, in one line."""
        where = "not set" if self.found is None else f"line {self.found.line}"
        if self.lacking:
            return f"{self.name} ({where}): lacks {', '.join(self.lacking)}"
        if self.found is None:
            default = DEFAULTS.get(self.name)
            return f"{self.name} ({where}{f', so {default}' if default else ''}): wanted {self.wanted}"
        return f"{self.name} ({where}): {self.found.value[:120]}; wanted {self.wanted}"


def differences(config: Config, wanted: Mapping[str, str | tuple[str, ...]]) -> list[Difference]:
    """The options that are not as demanded. A tuple is a list whose every item must be there, in any order:
    classes count by their own name, since cloudbase-init has moved their modules."""
    found = []
    for name, value in wanted.items():
        there = config.get(name)
        said = there.value if there is not None else DEFAULTS.get(name)
        if isinstance(value, tuple):
            have = {_class(item) for item in items_of(said or "")}
            lacking = tuple(item for item in value if _class(item) not in have)
            if lacking:
                found.append(Difference(name, there, ", ".join(value), lacking))
        elif said is None or not _same(said, value):
            found.append(Difference(name, there, value))
    return found


def items_of(value: str) -> list[str]:
    """The items of a list: commas or line ends between them."""
    return [item.strip() for item in re.split(r"[,\n]", value) if item.strip()]


def extras(config: Config, wanted: Mapping[str, str | tuple[str, ...]]) -> list[str]:
    """What the configuration has beyond what is demanded: items of lists by class name, other options."""
    more: list[str] = []
    for name, value in wanted.items():
        there = config.get(name)
        if isinstance(value, tuple) and there is not None:
            known = {_class(item) for item in value}
            more += [_class(item) for item in items_of(there.value) if _class(item) not in known]
    known_places = {(DEFAULT, name) for name in wanted} | {
        LATER_NAMES[it] for it in wanted if it in LATER_NAMES
    }
    for section, name in config.settings:
        if (section, name) not in known_places and not OF_THE_PAGE.fullmatch(name):
            more.append(name if section == DEFAULT else f"[{section}] {name}")
    return more


def _class(item: str) -> str:
    return item.rpartition(".")[2] if "cloudbaseinit." in item else item


def _same(one: str, other: str) -> bool:
    """By meaning: booleans, numbers, and paths and addresses whatever their case and last slash."""
    one, other = one.strip(), other.strip()
    for words in (TRUE, FALSE):
        if one.lower() in words and other.lower() in words:
            return True
    if NUMBERS.match(one) and NUMBERS.match(other):
        return float(one) == float(other)
    if "," in other:
        return sorted(items_of(one.lower())) == sorted(items_of(other.lower()))
    return one.lower().rstrip("\\/") == other.lower().rstrip("\\/")
