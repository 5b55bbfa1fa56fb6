"""Facts of an image for people: `imgtool inspect` as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imgtool.report.phrases import size
from imgtool.report.text import WIDEST, Line, line
from imgtool.report.visible import cells, one_line, wrapped
from imgtool.text import Language, Text

_NAMES: Mapping[str, Text] = {
    "format": Text("Format", "格式"),
    "virtual_size": Text("Virtual size", "虚拟大小"),
    "actual_size": Text("Size on disk", "实际占用"),
    "snapshots": Text("Snapshots", "内部快照"),
    "partition_table": Text("Partition table", "分区表"),
    "boot_mode": Text("Boot mode", "启动模式"),
    "system": Text("System", "操作系统"),
    "import_os": Text("Import as", "导入为"),
    "arch": Text("Architecture", "架构"),
    "root": Text("Root", "根文件系统"),
    "hostname": Text("Host name", "主机名"),
    "boot_loader": Text("Boot loader", "引导程序"),
    "default_kernel": Text("Default kernel", "默认内核"),
    "kernels": Text("Kernels", "内核"),
    "build": Text("Build", "内部版本"),
    "control_set": Text("Control set", "控制集"),
    "domain": Text("Domain", "域"),
    "language": Text("Language", "语言"),
    "time_zone": Text("Time zone", "时区"),
    "boot_entry": Text("Boot entry", "启动条目"),
    "drive_letters": Text("Drive letters", "盘符"),
    "virtio": Text("virtio drivers", "virtio 驱动"),
    "cloudbase_init": Text("cloudbase-init", "cloudbase-init"),
    "remote_desktop": Text("Remote Desktop", "远程桌面"),
    "services": Text("Services", "服务"),
    "programs": Text("Programs", "已安装程序"),
    "updates": Text("Updates", "已安装更新"),
    "kernel_arguments": Text("Kernel arguments", "内核参数"),
    "cloud_init": Text("cloud-init", "cloud-init"),
    "mounts": Text("Mounts", "挂载"),
    "unread": Text("Could not be read", "无法读取"),
    "partitions": Text("Partitions", "分区"),
    "volumes": Text("Volumes", "卷"),
}
SHOWN_UPDATES = 12
_NOT_INSTALLED = Text("not installed", "未安装")
_NO_TABLE = Text("none", "无")
_OTHER_DISK = Text("another disk", "其他磁盘")


def layout(
    path: str, facts: Mapping[str, Any], unread: Mapping[str, Text], language: Language, width: int
) -> Iterator[Line]:
    """The facts as lines: names on the left, values on the right, tables for partitions and volumes."""
    width = max(20, min(width, WIDEST))
    yield line((one_line(path), "bold"))
    named = [(_NAMES[key].say(language), value) for key, value in _values(facts, language) if value]
    indent = max((cells(name) for name, _ in named), default=0) + 4
    for name, value in named:
        yield from _value(name, value, indent, width)
    for key, rows in (("partitions", _partitions(facts)), ("volumes", _volumes(facts))):
        if rows:
            yield line("  ", (_NAMES[key].say(language), "dim"))
            yield from _table(rows)
    if unread:
        yield line("  ", (_NAMES["unread"].say(language), "bold magenta"))
        for reason in unread.values():
            for row in wrapped(one_line(reason.say(language)), width - 4):
                yield line("    ", row)


def _values(facts: Mapping[str, Any], language: Language) -> Iterator[tuple[str, str]]:
    system, linux = facts["os"], facts.get("linux") or {}
    virtual, actual = facts["virtual_size"], facts["actual_size"]
    table = facts["partition_table"]
    features = facts.get("features") or []
    yield (
        "format",
        _spaced(facts["format"], facts.get("variant"), f"({', '.join(features)})" if features else ""),
    )
    yield "virtual_size", "" if virtual is None else f"{size(virtual)} ({virtual} B)"
    yield "actual_size", "" if actual is None else f"{size(actual)} ({actual} B)"
    yield "snapshots", ", ".join(facts.get("snapshots") or ())
    yield "partition_table", _NO_TABLE.say(language) if table == "none" else (table or "").upper()
    yield "boot_mode", "" if facts["boot_mode"] == "unknown" else facts["boot_mode"].upper()
    yield "system", system.get("pretty_name") or _spaced(system["distro"], system["version"])
    yield "import_os", _spaced(system["import_os_type"], system["import_os_version"])
    yield "arch", system["arch"] or ""
    windows = facts.get("windows") or {}
    yield "root", _volume_name(linux.get("root") or windows.get("root") or "", language)
    yield "hostname", linux.get("hostname") or windows.get("hostname") or ""
    yield "boot_loader", linux.get("boot_loader") or ""
    yield "default_kernel", linux.get("default_kernel") or ""
    yield "kernels", ", ".join(linux.get("kernels") or ())
    yield "kernel_arguments", linux.get("kernel_arguments") or ""
    cloud_init = linux.get("cloud_init")
    if cloud_init:
        sources = ", ".join(cloud_init["datasources"])
        found = _spaced(cloud_init["version"], f"({sources})" if sources else "")
        yield "cloud_init", found if cloud_init["installed"] else _NOT_INSTALLED.say(language)
    yield from _windows(facts.get("windows") or {}, language)
    yield "mounts", ", ".join(_spaced(it["mount_point"], it["spec"]) for it in linux.get("fstab") or ())


def _windows(windows: Mapping[str, Any], language: Language) -> Iterator[tuple[str, str]]:
    if not windows:
        return
    number = windows.get("control_set")
    yield "build", _spaced(windows.get("build"), windows.get("edition"), windows.get("installation"))
    yield "control_set", "" if number is None else f"ControlSet{number:03}"
    yield "domain", windows.get("domain") or ""
    yield "language", windows.get("language") or ""
    yield "time_zone", _spaced(windows.get("time_zone"), "(RTC: UTC)" if windows.get("rtc_utc") else "")
    boot = windows.get("boot") or {}
    yield "boot_entry", _spaced(boot.get("loader"), f"({boot['device']})" if boot.get("device") else "")
    yield "drive_letters", ", ".join(_letter(it, language) for it in windows.get("drive_letters") or ())
    drivers = [it for it in windows.get("virtio") or () if it["start"]]
    yield (
        "virtio",
        ", ".join(f"{it['name']} ({it['start']})" for it in drivers) or _NOT_INSTALLED.say(language),
    )
    init = windows.get("cloudbase_init") or {}
    if init:
        said = _spaced(init["version"], init["start"], init["account"])
        yield "cloudbase_init", said if init["installed"] else _NOT_INSTALLED.say(language)
    rdp = windows.get("remote_desktop") or {}
    yield "remote_desktop", f"{'+' if rdp['enabled'] else '-'} {rdp['port']}" if rdp else ""
    services = windows.get("services") or ()
    running = sum(1 for it in services if it["start"] in ("boot", "system", "auto"))
    yield "services", f"{len(services)} ({running} boot/system/auto)" if services else ""
    yield "programs", ", ".join(_program(it) for it in windows.get("programs") or ())
    updates = windows.get("updates") or ()
    older = f"{len(updates) - SHOWN_UPDATES} + " if len(updates) > SHOWN_UPDATES else ""
    yield "updates", older + ", ".join(updates[-SHOWN_UPDATES:])


def _letter(row: Mapping[str, Any], language: Language) -> str:
    """What a drive letter stands for: a partition of this disk, of another, or a drive."""
    if row["partition"] is not None:
        return f"{row['letter']}: {_volume_name('partition {partition}'.format(**row), language)}"
    if row["kind"] in ("mbr", "gpt"):
        where = _OTHER_DISK.say(language)
        return f"{row['letter']}: {where} ({row['disk_signature'] or row['partition_guid']})"
    device = (row["path"] or "").removeprefix("\\??\\").removeprefix("_??_").split("{")[0]
    return f"{row['letter']}: {device.split('#')[0] + ' ' + device.split('#')[1] if '#' in device else '?'}"


def _volume_name(name: str, language: Language) -> str:
    """The name of a volume: "partition 2", or in Chinese."""
    return re.sub(r"\bpartition (\d+)", r"分区 \1", name) if language == "zh" else name


def _program(row: Mapping[str, Any]) -> str:
    """Name and version; many names have the version already."""
    name, version = row["name"], row["version"] or ""
    return name if version in name.split() else _spaced(name, version)


def _spaced(*words: str | None) -> str:
    return " ".join(word for word in words if word)


def _value(name: str, value: str, indent: int, width: int) -> Iterator[Line]:
    rows = wrapped(one_line(value), max(width - indent, 16))
    yield line("  ", (name, "dim"), " " * (indent - 2 - cells(name)), rows[0])
    for row in rows[1:]:
        yield line(" " * indent, row)


def _partitions(facts: Mapping[str, Any]) -> list[Sequence[str]]:
    return [
        (
            str(it["number"]),
            size(it["length"]),
            f"@ {size(it['start'])}",
            it["type"],
            it["filesystem"] or "",
            it["label"] or "",
            it["uuid"] or "",
            "*" if it["active"] else "",
        )
        for it in facts.get("partitions") or ()
    ]


def _volumes(facts: Mapping[str, Any]) -> list[Sequence[str]]:
    return [
        (it["name"], size(it["size"]), it["filesystem"] or "", it["label"] or "", it["uuid"] or "")
        for it in facts.get("volumes") or ()
        if it["kind"] != "partition"
    ]


def _table(rows: Sequence[Sequence[str]]) -> Iterator[Line]:
    shown = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(cells(row[number]) for row in shown) for number in range(len(shown[0]))]
    for row in shown:
        columns = [
            cell + " " * (width - cells(cell)) for cell, width in zip(row, widths, strict=True) if width
        ]
        yield line("    ", "  ".join(columns))
