"""What the screens of Windows say, as data: failures, and the words that only a logon or a desktop has.

A Windows shows itself on a graphical screen only, whose words are read by optical character recognition
(imgtool.rehearsal.reading); so patterns take what that mistakes: 0 for O, blanks, the form of an apostrophe.
Sources: Microsoft's own texts of 2008 R2 to 2022, English and Chinese.
"""

from __future__ import annotations

import re

from imgtool.rehearsal.sign import sign
from imgtool.text import Text

NO_WINDOWS = ("windows.boot", "windows.virtio.storage", "disk.partition-table", "disk.boot-mode", "disk.root")
_STORAGE = ("windows.virtio.storage", "windows.boot")
_RECOVERY = Text(
    en="Repair the boot files from a Windows recovery medium: bootrec /fixmbr, bootrec /fixboot, "
    "bcdboot C:\\Windows.",
    zh="请用 Windows 恢复介质修复引导文件：bootrec /fixmbr、bootrec /fixboot、bcdboot C:\\Windows。",
)
_AT_ITS_SOURCE = Text(
    en="Start the system where it comes from, find the cause, shut it down in order and export it again.",
    zh="请在来源平台启动该系统，排除原因，正常关机后重新导出。",
)

WINDOWS_SIGNS = (
    sign(
        "Windows boot manager fails",
        r"BOOTMGR is (?:missing|compressed)|NTLDR is missing|Error loading operating system"
        r"|Missing operating system|Windows failed to start|An operating system wasn't found"
        r"|A disk read error occurred|BOOTMGR image is corrupt"
        r"|Boot Configuration Data file|to read the boot configuration data|Windows 未能启动|启动配置数据",
        ("windows.boot", "disk.boot-mode"),
        "end",
        Text(
            en="The Windows boot manager does not find what it starts.",
            zh="Windows 启动管理器找不到要启动的内容。",
        ),
        _RECOVERY,
    ),
    sign(
        "Windows finds no boot device",
        r"INACCESSIBLE[ _]?BOOT[ _]?DEVICE|STOP: ?[0O][xX][0OQD]{4,6}7B\b",
        _STORAGE,
        "end",
        Text(
            en="Windows stops: it has no driver for the disk that it starts from.",
            zh="Windows 蓝屏停止：没有启动磁盘的驱动程序。",
        ),
        Text(
            en="Put the virtio storage driver (viostor) into the image, to be started at boot: imgtool fix.",
            zh="请将 virtio 存储驱动（viostor）加入镜像并设为引导启动：imgtool fix。",
        ),
    ),
    sign(
        "Windows stop screen",
        r"Your (?:PC|device) ran int. a pr.blem|has been detected and [Ww]indows has been shut"
        r"|STOP: ?[0O][xX][0-9A-FOQ]{6}|Stop code: ?[A-Z]"
        r"|[你您]的(?:电脑|设备|计算机)遇到了?问题|终止代码|检测到问题，?.{0,10}Windows",
        ("rehearsal.kernel", *_STORAGE),
        "end",
        Text(en="Windows stops with a stop screen.", zh="Windows 出现蓝屏，停止运行。"),
        _AT_ITS_SOURCE,
        where="screen",
    ),
    sign(
        "Windows recovery",
        r"(?:PC|[Dd]evice) needs t. be repaired|couldn.?t repair your PC"
        r"|Your (?:PC|[Dd]evice) did(?:n.?t| not) start correctly"
        r"|Choose an option|System Recovery Options|Preparing Automatic Repair|Diagnosing your PC"
        r"|(?:电脑|设备)(?:需要修复|未正确启动)|无法修复你的电脑|选择一个选项|系统恢复选项|正在准备自动修复|正在诊断你的电脑",
        ("rehearsal.login", "windows.boot", "windows.virtio.storage"),
        "end",
        Text(
            en="Windows does not start and shows its recovery environment, where nobody can choose anything.",
            zh="Windows 无法正常启动，停在恢复环境，而平台上无人可以操作。",
        ),
        _RECOVERY,
        where="screen",
    ),
    sign(
        "Windows setup waits",
        r"password for the built-in administrator",
        ("rehearsal.login", "windows.pending"),
        "end",
        Text(
            en="Windows' setup waits for a person to choose a password.",
            zh="Windows 安装程序在等待人工设置密码。",
        ),
        Text(
            en="Finish the setup before the export, or give Sysprep an answer file (unattend.xml).",
            zh="请在导出前完成安装，或为 Sysprep 提供应答文件（unattend.xml）。",
        ),
        where="screen",
    ),
)

# "Press Ctrl+Alt+Del to restart" is said by boot code that failed: what the keys are for belongs to it.
LOGON = re.compile(
    r"ctrl ?\+ ?alt ?\+ ?del\S* ?(?:to (?:un|log ?on|sign ?in)|解锁|登录)"
    r"|recycle bin|回收站|server manager|服务器管理器|other user|其他用户|switch user|切换用户",
    re.IGNORECASE,
)
