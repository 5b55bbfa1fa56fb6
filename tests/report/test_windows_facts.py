"""What `imgtool inspect` shows people of a Windows."""

from __future__ import annotations

from typing import Any

import pytest

from imgtool.report.facts import layout
from imgtool.report.text import plain
from imgtool.text import Language

NOTHING: dict[str, Any] = {
    "format": "raw",
    "virtual_size": None,
    "actual_size": None,
    "partition_table": "mbr",
    "boot_mode": "bios",
    "os": {
        "distro": "windows",
        "version": "2016",
        "arch": "x86_64",
        "import_os_type": "Windows",
        "import_os_version": "2016",
    },
}
NONE = {"partition": None, "disk_signature": None, "partition_guid": None, "path": None}
LETTERS = [
    {**NONE, "letter": "C", "kind": "mbr", "partition": 2, "disk_signature": "6a2d1f0e"},
    {**NONE, "letter": "D", "kind": "mbr", "disk_signature": "1a2b3c4d"},
    {**NONE, "letter": "E", "kind": "path", "path": "\\??\\IDE#CdRomQEMU_DVD-ROM#5&3a&0#{53f5630d-b6bf}"},
    {**NONE, "letter": "F", "kind": "unknown"},
]


def shown(language: Language, **windows: Any) -> str:
    return plain(list(layout("x", {**NOTHING, "windows": windows}, {}, language, 200)))


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "C: partition 2, D: another disk (1a2b3c4d), E: IDE CdRomQEMU_DVD-ROM, F: ?"),
        ("zh", "C: 分区 2, D: 其他磁盘 (1a2b3c4d), E: IDE CdRomQEMU_DVD-ROM, F: ?"),
    ],
)
def test_each_drive_letter_is_shown_with_what_it_stands_for(language: Language, said: str) -> None:
    assert said in shown(language, root="partition 2", drive_letters=LETTERS)


def test_a_version_that_the_name_has_is_not_said_twice() -> None:
    programs = [
        {"name": "7-Zip 19.00", "version": "19.00", "publisher": None},
        {"name": "Agent", "version": "1.0", "publisher": None},
        {"name": "Tool", "version": None, "publisher": None},
    ]
    assert "7-Zip 19.00, Agent 1.0, Tool" in shown("en", programs=programs)


def test_the_systems_own_volume_is_named_in_the_readers_language() -> None:
    assert "分区 2" in shown("zh", root="partition 2")
    assert "partition 2" in shown("en", root="partition 2")


FIREWALL = [
    {"profile": "Domain", "enabled": True, "remote_desktop": "open"},
    {"profile": "Public", "enabled": False, "remote_desktop": "off"},
]
WINDOWS: dict[str, Any] = {
    "build": "7601",
    "edition": "ServerStandard",
    "service_pack": "Service Pack 1",
    "boot": {"loader": "\\x.exe", "device": "partition at byte 17825792 of MBR disk 6a2d1f0e"},
    "drivers": [
        {"name": "lsi_sas", "role": "boot", "devices": [f"PCI\\VEN_1000&DEV_005{it}" for it in range(4)]},
        {"name": "netvsc", "role": "network", "devices": ["VMBUS\\{F8615163}"]},
    ],
    "remote_desktop": {"enabled": False, "port": 3390, "network_level_authentication": True},
    "firewall": FIREWALL,
    "hibernation": "hibernated",
    "page_file": "?:\\pagefile.sys",
    "pending": {"setup": ["SYSTEM\\Setup: SetupType=2"], "reboot": [], "image_state": "IMAGE_STATE_X"},
    "dirty_hives": ["SYSTEM: not written out"],
    "bitlocker_volumes": ["partition 3"],
    "san_policy": 2,
    "product_key": "OEM:SLP",
    "services": [{"start": "auto"}, {"start": "demand"}, {"start": None}],
}


@pytest.mark.parametrize(
    ("language", "said"),
    [
        (
            "en",
            """Build            7601 ServerStandard Service Pack 1
  Boot entry       \\x.exe (partition at byte 17825792 of MBR disk 6a2d1f0e)
  virtio drivers   not installed
  Boot drivers     lsi_sas (1000:0050, 1000:0051, +2)
  Network drivers  netvsc (VMBUS\\{F8615163})
  Remote Desktop   off, port 3390, NLA
  Firewall         Domain on, Public off
  Hibernation      hibernated
  Page file        ?:\\pagefile.sys
  Pending          SYSTEM\\Setup: SetupType=2; IMAGE_STATE_X
  Registry         not written out (copied while it ran)
  BitLocker        partition 3
  New disks        OfflineShared
  Product key      OEM:SLP
  Services         3, 1 of them start by themselves""",
        ),
        (
            "zh",
            """内部版本     7601 ServerStandard Service Pack 1
  启动条目     \\x.exe (MBR 磁盘 6a2d1f0e 字节 17825792 处的分区)
  virtio 驱动  未安装
  启动驱动     lsi_sas (1000:0050, 1000:0051, +2)
  网卡驱动     netvsc (VMBUS\\{F8615163})
  远程桌面     关闭, 端口 3390, NLA
  防火墙       域 启用, 公用 关闭
  休眠         处于休眠状态
  页面文件     ?:\\pagefile.sys
  待处理       SYSTEM\\Setup: SetupType=2; IMAGE_STATE_X
  注册表       未完整写入（复制自运行中的系统）
  BitLocker    分区 3
  新磁盘策略   OfflineShared
  产品密钥     OEM:SLP
  服务         3 个，其中 1 个自动启动""",
        ),
    ],
)
def test_what_a_windows_was_left_in_is_told_in_words(language: Language, said: str) -> None:
    assert said in shown(language, **WINDOWS)
