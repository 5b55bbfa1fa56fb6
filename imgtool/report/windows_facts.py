"""Facts of a Windows for people: the lines of `imgtool inspect` that only a Windows has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imgtool.disk.volumes import name_in_chinese
from imgtool.text import Language, Text

SHOWN_UPDATES = 12
SHOWN_DEVICES = 2
NOT_INSTALLED = Text("not installed", "未安装")
_OTHER_DISK = Text("another disk", "其他磁盘")
_ON, _OFF = Text("on", "启用"), Text("off", "关闭")
_PORT = Text("port", "端口")
_PROFILES = {
    "Domain": Text("Domain", "域"),
    "Private": Text("Private", "专用"),
    "Public": Text("Public", "公用"),
}
_NOT_WRITTEN_OUT = Text("not written out (copied while it ran)", "未完整写入（复制自运行中的系统）")
_HIBERNATION = {
    "hibernated": Text("hibernated", "处于休眠状态"),
    "resumed": Text("resumed from, file left", "已从休眠恢复，文件仍在"),
    "empty": Text("file there, nothing in it", "有休眠文件，无内容"),
    "absent": Text("no file", "无休眠文件"),
}


def windows_values(windows: Mapping[str, Any], language: Language) -> Iterator[tuple[str, str]]:
    """Names of imgtool.report.facts, and what is to be said there; "" for nothing."""
    if not windows:
        return
    number = windows.get("control_set")
    yield "build", spaced(*(windows.get(it) for it in ("build", "edition", "installation", "service_pack")))
    yield "control_set", "" if number is None else f"ControlSet{number:03}"
    yield "domain", windows.get("domain") or ""
    yield "language", windows.get("language") or ""
    yield "time_zone", spaced(windows.get("time_zone"), "(RTC: UTC)" if windows.get("rtc_utc") else "")
    boot = windows.get("boot") or {}
    device = _device(boot.get("device") or "", language)
    yield "boot_entry", spaced(boot.get("loader"), f"({device})" if device else "")
    yield "drive_letters", ", ".join(_letter(it, language) for it in windows.get("drive_letters") or ())
    virtio = [it for it in windows.get("virtio") or () if it["start"]]
    said = ", ".join(f"{it['name']} ({it['start']})" for it in virtio)
    yield "virtio", said or NOT_INSTALLED.say(language)
    for role in ("boot", "network"):
        bound = (it for it in windows.get("drivers") or () if it["role"] == role)
        yield f"{role}_drivers", ", ".join(map(_driver, bound))
    init = windows.get("cloudbase_init") or {}
    if init:
        installed = spaced(init["version"], init["start"], init["account"])
        yield "cloudbase_init", installed if init["installed"] else NOT_INSTALLED.say(language)
    yield from _reached(windows, language)
    yield from _state(windows, language)
    yield from _installed(windows, language)


def _reached(windows: Mapping[str, Any], language: Language) -> Iterator[tuple[str, str]]:
    """How people get in."""
    found = windows.get("remote_desktop") or {}
    if found:
        parts = [
            _switch(found["enabled"], language),
            f"{_PORT.say(language)} {found['port']}",
            "NLA" if found["network_level_authentication"] else "",
        ]
        yield "remote_desktop", ", ".join(part for part in parts if part)
    rows = windows.get("firewall") or ()
    profiles = (f"{_PROFILES[it['profile']].say(language)} {_switch(it['enabled'], language)}" for it in rows)
    yield "firewall", ", ".join(profiles)


def _state(windows: Mapping[str, Any], language: Language) -> Iterator[tuple[str, str]]:
    """What it was left in."""
    from imgtool.guest.windows.settings import COMPLETE, SAN_POLICIES

    state = windows.get("hibernation")
    yield "hibernation", _HIBERNATION[state].say(language) if state else ""
    yield "page_file", windows.get("page_file") or ""
    pending = windows.get("pending") or {}
    image_state = pending.get("image_state") or ""
    waits = [*pending.get("setup", ()), *pending.get("reboot", ())]
    yield "pending", "; ".join([*waits, *([image_state] if image_state not in ("", COMPLETE) else [])])
    yield "registry", _NOT_WRITTEN_OUT.say(language) if windows.get("dirty_hives") else ""
    yield "bitlocker", ", ".join(volume_name(it, language) for it in windows.get("bitlocker_volumes") or ())
    policy = windows.get("san_policy")
    yield "san_policy", "" if policy is None else SAN_POLICIES.get(policy, str(policy))
    yield "product_key", windows.get("product_key") or ""


def _installed(windows: Mapping[str, Any], language: Language) -> Iterator[tuple[str, str]]:
    services = windows.get("services") or ()
    running = sum(1 for it in services if it["start"] in ("boot", "system", "auto"))
    counts = Text(
        f"{len(services)}, {running} of them start by themselves",
        f"{len(services)} 个，其中 {running} 个自动启动",
    )
    yield "services", counts.say(language) if services else ""
    yield "programs", ", ".join(_program(it) for it in windows.get("programs") or ())
    updates: Sequence[str] = windows.get("updates") or ()
    older = f"{len(updates) - SHOWN_UPDATES} + " if len(updates) > SHOWN_UPDATES else ""
    yield "updates", older + ", ".join(updates[-SHOWN_UPDATES:])


def _switch(on: bool, language: Language) -> str:
    return (_ON if on else _OFF).say(language)


def _driver(row: Mapping[str, Any]) -> str:
    """A driver with the first of its devices, by vendor and number: viostor (1AF4:1001, 1AF4:1042)."""
    named: list[str] = []
    for device in row["devices"]:
        found = re.search("VEN_([0-9A-F]{4})&DEV_([0-9A-F]{4})", device)
        named.append(f"{found[1]}:{found[2]}" if found else device)
    named = list(dict.fromkeys(named))
    more = [f"+{len(named) - SHOWN_DEVICES}"] if len(named) > SHOWN_DEVICES else []
    return f"{row['name']} ({', '.join([*named[:SHOWN_DEVICES], *more])})"


def _device(words: str, language: Language) -> str:
    """A device of the boot configuration, as imgtool.guest.windows.bcd words it."""
    if language == "en":
        return words
    words = re.sub(r"^partition at byte (\d+) of MBR disk (\w+)$", r"MBR 磁盘 \2 字节 \1 处的分区", words)
    return re.sub(r"^partition (\S+) of GPT disk (\S+)$", r"GPT 磁盘 \2 的分区 \1", words)


def _letter(row: Mapping[str, Any], language: Language) -> str:
    """What a drive letter stands for: a partition of this disk, of another, or a drive."""
    if row["partition"] is not None:
        return f"{row['letter']}: {volume_name('partition {partition}'.format(**row), language)}"
    if row["kind"] in ("mbr", "gpt"):
        where = _OTHER_DISK.say(language)
        return f"{row['letter']}: {where} ({row['disk_signature'] or row['partition_guid']})"
    device = (row["path"] or "").removeprefix("\\??\\").removeprefix("_??_").split("{")[0]
    return f"{row['letter']}: {device.split('#')[0] + ' ' + device.split('#')[1] if '#' in device else '?'}"


def volume_name(name: str, language: Language) -> str:
    """The name of a volume: "partition 2", or in Chinese."""
    return name_in_chinese(name) if language == "zh" else name


def _program(row: Mapping[str, Any]) -> str:
    """Name and version; many names have the version already."""
    name, version = row["name"], row["version"] or ""
    return name if version in name.split() else spaced(name, version)


def spaced(*words: str | None) -> str:
    """Those that are something, with a blank between them."""
    return " ".join(word for word in words if word)
