"""Which disks LVM looks at: the filters of lvm.conf(5), for a disk by its name on the platform.

Of the patterns in a filter the first that matches a name counts; a device is taken when one of its names is,
left out when one is refused and none taken, and taken when nothing matches (lib/filters/filter-regex.c).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.disk.lvm import BadMetadata, parse
from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.disk.volumes import Volume

CONFIGS = ("etc/lvm/lvm.conf", "etc/lvm/lvmlocal.conf")  # the second has the last word
FILTERS = ("filter", "global_filter")
MOST_PATTERNS = 64
_SIMPLE = re.compile(r"[\w/^$.*+?|\[\]-]{0,200}")
_MOST_REPEATS = 3  # a pattern costs a power of a name's length


@dataclass(frozen=True)
class Refusal:
    """A filter that leaves a disk out. setting: as it stands in the file; certain: all of its patterns could
    be told."""

    setting: str
    certain: bool = True


def names_on_platform(member: Volume) -> tuple[str, ...]:
    """What a physical volume is called as a part of the platform's first disk, with udev's links to it."""
    number = str(member.partition.number) if member.partition is not None else ""
    part = f"-part{number}" if number else ""
    return (
        f"/dev/vda{number}",
        f"/dev/disk/by-path/pci-0000:00:05.0{part}",
        f"/dev/disk/by-path/virtio-pci-0000:00:05.0{part}",
        f"/dev/disk/by-id/lvm-pv-uuid-{member.signature.uuid}",
        *((f"/dev/disk/by-partuuid/{member.partition.uuid}",) if member.partition is not None else ()),
    )


def refusal(texts: list[str], names: tuple[str, ...]) -> Refusal | None:
    """The filter that leaves out a device of these names; None where none does.

    texts: of CONFIGS, as far as they are there. A text that is none is passed over, as LVM would stop at it.
    """
    settings: dict[str, list[str]] = {}
    for text in texts:
        try:
            devices = parse(text).get("devices")
        except (BadMetadata, RecursionError):
            continue
        if isinstance(devices, dict):
            for name in FILTERS:
                value = devices.get(name)
                if isinstance(value, str):
                    value = [value]
                if isinstance(value, list):
                    settings[name] = [str(it) for it in value[:MOST_PATTERNS]]
    unsure = None
    for name, patterns in settings.items():
        shown = f"{name} = [ {', '.join(patterns)} ]"[:300]
        taken = _takes(patterns, names)
        if taken is False:
            return Refusal(shown)
        if taken is None:
            unsure = Refusal(shown, certain=False)
    return unsure


def _takes(patterns: list[str], names: tuple[str, ...]) -> bool | None:
    """Whether a filter takes a device; None where a pattern is beyond what is tried here."""
    refused = unsure = False
    for name in names:
        for pattern in patterns:
            found = _matches(pattern, name)
            if found is None:
                unsure = True
            elif found:
                if pattern[:1] == "a":
                    return True
                refused = True
                break
    if not refused:
        return True
    return None if unsure else False


def _matches(pattern: str, name: str) -> bool | None:
    if len(pattern) < 3 or pattern[0] not in "ar":
        return None
    closing = {"(": ")", "[": "]", "{": "}"}.get(pattern[1], pattern[1])
    expression = pattern[2:].removesuffix(closing)
    if not _SIMPLE.fullmatch(expression) or sum(map(expression.count, "*+?")) > _MOST_REPEATS:
        return None
    try:
        return re.search(expression, name) is not None
    except re.error:
        return None
