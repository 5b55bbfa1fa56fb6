"""Facts of an image for people: `imgtool inspect` as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imgtool.report.amounts import size
from imgtool.report.text import WIDEST, Line, line
from imgtool.report.visible import cells, one_line, wrapped
from imgtool.report.windows_facts import NOT_INSTALLED, spaced, volume_name, windows_values
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
    "boot_drivers": Text("Boot drivers", "启动驱动"),
    "network_drivers": Text("Network drivers", "网卡驱动"),
    "cloudbase_init": Text("cloudbase-init", "cloudbase-init"),
    "remote_desktop": Text("Remote Desktop", "远程桌面"),
    "firewall": Text("Firewall", "防火墙"),
    "hibernation": Text("Hibernation", "休眠"),
    "page_file": Text("Page file", "页面文件"),
    "pending": Text("Pending", "待处理"),
    "registry": Text("Registry", "注册表"),
    "bitlocker": Text("BitLocker", "BitLocker"),
    "san_policy": Text("New disks", "新磁盘策略"),
    "product_key": Text("Product key", "产品密钥"),
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
_NO_TABLE = Text("none", "无")


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
        spaced(facts["format"], facts.get("variant"), f"({', '.join(features)})" if features else ""),
    )
    yield "virtual_size", "" if virtual is None else f"{size(virtual)} ({virtual} B)"
    yield "actual_size", "" if actual is None else f"{size(actual)} ({actual} B)"
    yield "snapshots", ", ".join(facts.get("snapshots") or ())
    yield "partition_table", _NO_TABLE.say(language) if table == "none" else (table or "").upper()
    yield "boot_mode", "" if facts["boot_mode"] == "unknown" else facts["boot_mode"].upper()
    yield "system", system.get("pretty_name") or spaced(system["distro"], system["version"])
    yield "import_os", spaced(system["import_os_type"], system["import_os_version"])
    yield "arch", system["arch"] or ""
    windows = facts.get("windows") or {}
    yield "root", volume_name(linux.get("root") or windows.get("root") or "", language)
    yield "hostname", linux.get("hostname") or windows.get("hostname") or ""
    yield "boot_loader", linux.get("boot_loader") or ""
    yield "default_kernel", linux.get("default_kernel") or ""
    yield "kernels", ", ".join(linux.get("kernels") or ())
    yield "kernel_arguments", linux.get("kernel_arguments") or ""
    cloud_init = linux.get("cloud_init")
    if cloud_init:
        sources = ", ".join(cloud_init["datasources"])
        found = spaced(cloud_init["version"], f"({sources})" if sources else "")
        yield "cloud_init", found if cloud_init["installed"] else NOT_INSTALLED.say(language)
    yield from windows_values(facts.get("windows") or {}, language)
    yield "mounts", ", ".join(spaced(it["mount_point"], it["spec"]) for it in linux.get("fstab") or ())


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
