"""What a console says when a boot goes wrong, as data: the pattern, the rules that explain it, what it means
on the platform, what to do.

Sources: the messages of GRUB 2, Linux (init/do_mounts.c, kernel/panic.c), initramfs-tools, dracut, systemd
and cloud-init themselves; each was seen in a real boot or stands in those sources.
"""

from __future__ import annotations

import re

from imgtool.rehearsal.screens import WINDOWS_SIGNS
from imgtool.rehearsal.sign import Sign, sign
from imgtool.text import Text

BOOT_RULES = (
    "linux.kernel",
    "linux.virtio.initramfs",
    "linux.virtio.kernel",
    "linux.virtio.loading",
    "linux.bootloader.root",
)
ROOT_RULES = (
    "linux.virtio.initramfs",
    "linux.virtio.kernel",
    "linux.virtio.loading",
    "linux.bootloader.root",
    "linux.kernel",
    "disk.other-disks",
    "disk.filesystem.clean",
    "linux.init",
)
MOUNT_RULES = (
    "linux.fstab.data-disk",
    "linux.fstab.device-names",
    "linux.fstab",
    "disk.other-disks",
    "disk.filesystem.clean",
    "linux.init",
)
CLOUD_INIT_RULES = (
    "linux.cloud-init.installed",
    "linux.cloud-init.enabled",
    "linux.cloud-init.datasource",
    "linux.cloud-init.modules",
)
NO_START = ("disk.partition-table", "disk.boot-mode", "disk.root", "linux.bootloader", "linux.kernel")
# dracut waits for minutes without a word: what explains a silence after each stage.
SILENT_AFTER = {
    "": NO_START,
    "firmware": NO_START,
    "loader": BOOT_RULES,
    "kernel": ROOT_RULES,
    "root": MOUNT_RULES,
}

_CHECK = Text(
    en="imgtool check IMAGE tells what is wrong, with the commands that mend it.",
    zh="运行 imgtool check IMAGE 查看具体原因及修复命令。",
)
_INITRAMFS = Text(
    en="Put virtio_blk and virtio_pci into the initramfs and name the root by UUID (imgtool check IMAGE has "
    "the commands for this guest).",
    zh="请将 virtio_blk 与 virtio_pci 加入 initramfs，并以 UUID 指定根文件系统（imgtool check IMAGE "
    "会给出针对该系统的命令）。",
)
_MOUNTS = Text(
    en="Take the entry out of /etc/fstab, or give it the options nofail,x-systemd.device-timeout=10.",
    zh="请从 /etc/fstab 中删除该条目，或为其添加选项 nofail,x-systemd.device-timeout=10。",
)

SIGNS: tuple[Sign, ...] = (
    # -- firmware
    sign(
        "no bootable device",
        r"No bootable device|Boot failed: (?:not a bootable disk|could not read the boot disk)",
        ("disk.boot-mode",),
        "end",
        Text(
            en="The BIOS found nothing to start on the disk.",
            zh="BIOS 在磁盘上没有找到可引导的内容。",
        ),
        Text(
            en="Install a boot loader for BIOS (grub-install), or declare the boot mode that the image has.",
            zh="请安装 BIOS 引导程序（grub-install），或声明与镜像一致的启动模式。",
        ),
        where="firmware",
    ),
    sign(
        "no UEFI loader",
        r"BdsDxe: (?:failed to (?:load|start) Boot|No bootable option)|UEFI Interactive Shell|^Shell> *$",
        ("disk.boot-mode",),
        "end",
        Text(
            en="The UEFI firmware found no boot loader that it can start on the disk.",
            zh="UEFI 固件在磁盘上没有找到可启动的引导程序。",
        ),
        Text(
            en="Put a loader at \\EFI\\BOOT\\BOOTX64.EFI of the EFI system partition "
            "(grub-install --removable), or declare boot mode BIOS if the image is made for it.",
            zh="请在 EFI 系统分区放置 \\EFI\\BOOT\\BOOTX64.EFI（grub-install --removable）；"
            "若镜像为 BIOS 启动，请声明启动模式 BIOS。",
        ),
    ),
    # -- boot loader
    sign(
        "GRUB rescue",
        r"grub rescue>",
        ("linux.bootloader", "disk.boot-mode", "disk.partitions.bounds"),
        "end",
        Text(
            en="GRUB does not find its own files and stands at its rescue prompt.",
            zh="GRUB 找不到自身文件，停在 grub rescue 提示符。",
        ),
        Text(
            en="Install GRUB again on this disk: grub-install, then grub-mkconfig.",
            zh="请在该磁盘上重新安装 GRUB：先 grub-install，再 grub-mkconfig。",
        ),
    ),
    sign(
        "GRUB prompt",
        r"^grub> *$|Minimal BASH-like line editing is supported",
        ("linux.bootloader", "disk.boot-mode"),
        "end",
        Text(
            en="GRUB has no configuration to follow and stands at its prompt.",
            zh="GRUB 没有可用的配置，停在 grub> 提示符。",
        ),
        Text(en="Write GRUB's configuration: grub-mkconfig -o …", zh="请生成 GRUB 配置：grub-mkconfig -o …"),
    ),
    sign(
        "GRUB finds no kernel",
        r"error: .*you need to load the kernel first"
        r"|error: file [`'](?:/boot)?/(?:vmlinu|bzImage)\S* not found",
        ("linux.kernel", "linux.bootloader"),
        "end",
        Text(
            en="GRUB did not find the kernel that its configuration names.",
            zh="GRUB 找不到其配置所指定的内核。",
        ),
        _CHECK,
    ),
    sign(
        "GRUB finds no initramfs",
        r"error: file [`'](?:/boot)?/init\S* not found",
        ("linux.kernel",),
        "hint",
        Text(
            en="GRUB did not find the initramfs that its configuration names.",
            zh="GRUB 找不到其配置所指定的 initramfs。",
        ),
        _CHECK,
    ),
    sign(
        "GRUB password",
        r"^Enter username: *$",
        ("linux.bootloader",),
        "end",
        Text(
            en="GRUB asks for a user name and password before it starts anything; nobody can give them.",
            zh="GRUB 在启动前要求输入用户名和密码，而平台上无人可以输入。",
        ),
        Text(
            en="Take the superusers setting out of GRUB's configuration, or mark the entry --unrestricted.",
            zh="请从 GRUB 配置中删除 superusers 设置，或为菜单项添加 --unrestricted。",
        ),
    ),
    sign(
        "disk passphrase",
        r"Please (?:unlock|enter passphrase for) disk|Enter passphrase for (?:/|hd|LUKS|\()",
        ("disk.encrypted",),
        "end",
        Text(
            en="The boot waits for the passphrase of an encrypted disk: nobody can give it there.",
            zh="启动在等待加密磁盘的口令，而平台上无人可以输入。",
        ),
        Text(en="Decrypt the disk before the import.", zh="请在导入前解密磁盘。"),
    ),
    # -- kernel
    sign(
        "no root device for the kernel",
        r"Kernel panic - not syncing: VFS: Unable to mount root fs|VFS: Cannot open root device",
        BOOT_RULES,
        "end",
        Text(
            en="The kernel has nothing to mount as its root and stops.",
            zh="内核没有可挂载的根文件系统，停止运行。",
        ),
        _INITRAMFS,
    ),
    sign(
        "kernel panic",
        r"Kernel panic - not syncing",
        ("rehearsal.kernel", *ROOT_RULES),
        "end",
        Text(en="The kernel panics.", zh="内核发生 panic。"),
        _CHECK,
    ),
    # -- initramfs
    sign(
        "initramfs shell",
        r"^[({]initramfs[)}] *$|ALERT! +\S+ +does not exist|Gave up waiting for (?:root|suspend)",
        ROOT_RULES,
        "end",
        Text(
            en="The initramfs did not find the root filesystem and stands in its emergency shell.",
            zh="initramfs 没有找到根文件系统，停在应急 shell。",
        ),
        _INITRAMFS,
        asks="cat /proc/partitions",
    ),
    sign(
        "initramfs waits",
        r"Begin: Waiting for root file system",
        ROOT_RULES,
        "hint",
        Text(
            en="The initramfs waits for a root filesystem that does not come.",
            zh="initramfs 在等待根文件系统，但它没有出现。",
        ),
        _INITRAMFS,
    ),
    sign(
        "dracut shell",
        r"^(?:dracut|switch_root):/[^#]*# *$|Warning: Could not boot\.|rdsosreport\.txt"
        r"|dracut: FATAL: |Warning: /dev/\S+ does not exist",
        ROOT_RULES,
        "end",
        Text(
            en="dracut did not find the root filesystem and gives up.",
            zh="dracut 没有找到根文件系统，放弃启动。",
        ),
        _INITRAMFS,
        asks="cat /proc/partitions",
    ),
    sign(
        "dracut waits",
        r"dracut-initqueue.*: Warning: dracut-initqueue: ?(?:timeout|starting timeout)"
        r"|[Ss]tart job is running for (?:/dev/|dev-|dracut initqueue).*no limit\)"
        r"|Job (?:dev-\S+\.device|dracut-initqueue\.service)/start running \(.*no limit\)",
        (*ROOT_RULES, *MOUNT_RULES),
        "hint",
        Text(
            en="The boot waits for a device that does not come.",
            zh="启动在等待一个没有出现的设备。",
        ),
        _INITRAMFS,
    ),
    sign(
        "LVM group incomplete",
        r"Couldn't find device with uuid|Volume group \"[^\"]+\" not found|Cannot process volume group",
        ("disk.other-disks", "linux.bootloader.root"),
        "hint",
        Text(
            en="An LVM group that the boot needs is not complete on this disk.",
            zh="启动所需的 LVM 卷组在该磁盘上不完整。",
        ),
        _CHECK,
    ),
    # -- filesystems
    sign(
        "mount waits",
        r"(?:[Ss]tart job is running for .*|Job \S+\.(?:device|mount|swap)/start running )"
        r"\([0-9a-z ]+ / 1min 30s\)",
        MOUNT_RULES,
        "hint",
        Text(
            en="A mount of /etc/fstab waits for its device, for 90 seconds.",
            zh="/etc/fstab 中的挂载在等待其设备，最长 90 秒。",
        ),
        _MOUNTS,
    ),
    sign(
        "device timed out",
        r"Timed out waiting for device|Job dev-\S+\.device/start timed out",
        MOUNT_RULES,
        "fault",
        Text(
            en="The boot waited 90 seconds for a device that is not there.",
            zh="启动为一个不存在的设备等待了 90 秒。",
        ),
        _MOUNTS,
    ),
    sign(
        "emergency mode",
        r"You are in (?:emergency|rescue) mode|Give root password for maintenance|Press Enter for maintenance"
        r"|Cannot open access to console, the root account is locked",
        MOUNT_RULES,
        "end",
        Text(
            en="The system waits in emergency mode; nobody can reach it over the network.",
            zh="系统未能正常启动，停在应急模式，无法通过网络访问。",
        ),
        _MOUNTS,
    ),
    sign(
        "fsck by hand",
        r"UNEXPECTED INCONSISTENCY; RUN fsck MANUALLY"
        r"|fsck (?:failed|exited) with (?:exit |status )?(?:status |code )?[4-9]",
        ("disk.filesystem.clean",),
        "end",
        Text(
            en="A filesystem is damaged, and the system asks for a repair by hand.",
            zh="文件系统已损坏，系统要求人工修复。",
        ),
        Text(
            en="Repair it before the import: fsck -f on the unmounted volume.",
            zh="请在导入前对未挂载的卷执行 fsck -f 修复。",
        ),
    ),
    sign(
        "filesystem damage",
        r"EXT4-fs error \(device"
        r"|XFS \(\S+\): (?:Corruption|Metadata corruption|Filesystem has been shut down)"
        r"|BTRFS (?:critical|error) .*corrupt",
        ("disk.filesystem.clean",),
        "fault",
        Text(en="The kernel met a damaged filesystem.", zh="内核发现文件系统损坏。"),
        Text(
            en="Repair it before the import: fsck -f, or xfs_repair, on the unmounted volume.",
            zh="请在导入前对未挂载的卷执行 fsck -f 或 xfs_repair 修复。",
        ),
    ),
    # -- cloud-init
    sign(
        "cloud-init fails",
        r"cloud-init\[\d+\]: .*Traceback|ModuleNotFoundError: No module named"
        r"|ImportError: No module named|DistributionNotFound:"
        r"|Failed to start .*(?:cloud-init|Cloud-init|[Ii]nitial cloud-init job|Cloud-config)",
        CLOUD_INIT_RULES,
        "fault",
        Text(
            en="cloud-init fails: the instance is not set up.",
            zh="cloud-init 运行失败：实例不会被初始化。",
        ),
        Text(
            en="Install cloud-init again, with the Python packages that it needs.",
            zh="请重新安装 cloud-init 及其所需的 Python 依赖包。",
        ),
    ),
    sign(
        "no data source",
        r"Datasource DataSourceNone|Used fallback datasource",
        ("linux.cloud-init.datasource",),
        "fault",
        Text(
            en="cloud-init did not take the config drive: it found none of its data sources.",
            zh="cloud-init 没有读取配置驱动器：它没有找到任何数据源。",
        ),
        Text(
            en="Name ConfigDrive in datasource_list of /etc/cloud/cloud.cfg.d/.",
            zh="请在 /etc/cloud/cloud.cfg.d/ 的 datasource_list 中加入 ConfigDrive。",
        ),
    ),
    *WINDOWS_SIGNS,
)

# What goes well: the stage that a line shows, earliest first. A group is the name of what was found.
MILESTONES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("firmware", re.compile(r"Booting from Hard Disk|BdsDxe: starting Boot|GRUB loading|GNU GRUB +version")),
    ("loader", re.compile(r"Loading Linux|Loading initial ramdisk|Booting [`'\u201c]")),
    ("kernel", re.compile(r"Linux version (\S+)|Kernel panic - not syncing")),
    (
        "root",
        re.compile(
            r"^Welcome to (?!GRUB)(.+)!$|INIT: version"
            r"|(?:EXT[234]-fs|XFS|BTRFS)\S* \((\S+)\): (?:mounted filesystem|Ending clean mount)"
        ),
    ),
    ("login", re.compile(r"^(\S+) login: *$")),
)
# A login prompt that the kernel, or cloud-init's last word, was written behind before anybody saw it wait.
TALKED_OVER = re.compile(r"^(\S+) login: *\[ *\d+\.\d+\]")
MENU = re.compile(
    r"(?:Use|Press) the .* keys to (?:select|change)|The highlighted entry|GNU GRUB +version|Boot Menu"
)
GOES_ON = re.compile(r"executed automatically in|Automatic boot in|Loading Linux|Loading initial ramdisk")
