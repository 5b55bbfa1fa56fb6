"""What the boot loader starts: its configuration, the root it names to the kernel, the console."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.checks.btrfs import judged_rootflags

from imgtool.remedy import drop_argument, if_known, in_guest
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.volumes import Volume
    from imgtool.guest.bootloader import BootEntry, BootLoader
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

# ref 06: the platform's disks are vda, vdb, ...
PLATFORM_DISK = "vda"
# Discoverable Partitions Specification: what systemd mounts as / where nothing names it
AUTO_ROOTS = (
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",  # x86-64
    "b921b045-1df0-41c3-af44-4c6f280d3fae",  # arm64
    "44479540-f297-41b2-9af7-d131d5f0458a",  # x86
)
USABLE_CONSOLES = re.compile(r"(tty[0-9]*|ttyS0|ttyAMA0|null)(,.*)?")
NAMES = {
    "grub2": "GRUB 2",
    "grub-legacy": "GRUB legacy",
    "systemd-boot": "systemd-boot",
    "extlinux": "extlinux",
}


@rule(
    "linux.bootloader",
    Text("Boot loader", "引导程序"),
    severity=Severity.ERROR,
    source="ref 06",
    family="linux",
    requires=("disk.root",),
)
def bootloader(image: Image) -> Iterator[Outcome]:
    """The boot loader's configuration is there, can be read, and its default entry starts a Linux kernel.

    GRUB 2 (with Boot Loader Specification entries), GRUB legacy, systemd-boot and extlinux are followed as
    they would be on an ordinary boot. Without a configuration GRUB stops at its prompt. Whether the files of
    the default entry are there is judged by linux.kernel; other entries whose files are gone are a warning.

    Evidence: the configuration and the default entry, with its line. Example: `/boot/grub/grub.cfg:86: Debian
    GNU/Linux`. The fix is the distribution's own command that writes the configuration.
    """
    guest = image.linux
    loader = guest.bootloader
    if loader.kind == "none":
        yield _none(guest)
        return
    default = loader.default
    problems = [problem.en for problem in loader.problems]
    name = NAMES[loader.kind]
    if default is None:
        yield broken(
            Text(
                en=f"{name}'s configuration {loader.config_path} has no entry to start.",
                zh=f"{name} 的配置 {loader.config_path} 中没有可启动的菜单项。",
            ),
            *problems,
            remedy=_rewrite(guest, loader),
        )
        return
    if default.kernel is None:
        yield undecided(
            Text(
                en=f"The default entry starts no Linux kernel directly: {default.title}.",
                zh=f"默认菜单项不直接启动 Linux 内核：{default.title}。",
            ),
            default.source,
        )
        return
    yield kept(
        Text(en=f"{name} starts {default.title!r} by default.", zh=f"{name} 默认启动“{default.title}”。"),
        f"{default.source}: {default.title}",
        f"linux {default.kernel} {default.arguments}".strip(),
        *(f"initrd {path}" for path in default.initrds),
    )
    for problem in loader.problems:
        yield broken(problem, severity=Severity.WARNING, remedy=_rewrite(guest, loader))
    gone = [(entry, path) for entry in loader.entries if entry != default for path in _gone(guest, entry)]
    lost = sorted({path for _, path in gone} - set(_gone(guest, default)))
    if lost:
        yield broken(
            Text(
                en=f"Entries of the boot menu name files that are not there: {', '.join(lost[:4])}.",
                zh=f"启动菜单中的其他项引用了不存在的文件：{', '.join(lost[:4])}。",
            ),
            *(f"{entry.source}: {entry.title}: {path}" for entry, path in gone[:8] if path in lost),
            severity=Severity.WARNING,
            remedy=_without_entries(guest, loader, [entry for entry, path in gone if path in lost]),
        )


def _none(guest: LinuxGuest) -> Outcome:
    missing = [entry for entry in guest.root.missing_mounts if entry.mount_point in ("/boot", "/boot/efi")]
    if missing:
        return not_judged(
            Text(
                en=f"{missing[0].mount_point} is on a device that is not in this image; linux.fstab says so.",
                zh=f"{missing[0].mount_point} 所在的设备不在此镜像中，见 linux.fstab。",
            )
        )
    return broken(
        Text(
            en="No boot loader configuration was found: not GRUB's, systemd-boot's or extlinux's.",
            zh="未找到引导程序的配置（GRUB、systemd-boot、extlinux 均无）。",
        ),
        "/boot/grub/grub.cfg, /boot/grub2/grub.cfg, /boot/grub/menu.lst, /boot/loader: none",
        remedy=_write(guest),
    )


@if_known
def _write(guest: LinuxGuest) -> Text | None:
    from imgtool.guest.boot_mode import read_boot_mode

    if read_boot_mode(guest.disk).boot_code == "grub-legacy":
        return _write_menu(guest)
    redhat_or_suse = guest.release.family in ("redhat", "suse")
    command = guest.release.bootloader_command(f"/boot/{'grub2' if redhat_or_suse else 'grub'}/grub.cfg")
    return Text.same(command) if command else None


def _write_menu(guest: LinuxGuest) -> Text | None:
    """GRUB legacy has no tool that writes its menu afresh."""
    from imgtool.guest.devices import best_name
    from imgtool.guest.grub_legacy import menu

    root = best_name(guest.root.volume)
    kernel = next((it for it in guest.kernels if it.image and it.modules_dir), None)
    if root is None or kernel is None:
        return None
    name = "grub.conf" if guest.release.family == "redhat" else "menu.lst"
    lines = " ".join(map(shlex.quote, menu(guest.tree, guest.disk, kernel, root)))
    return in_guest(f"printf '%s\\n' {lines} > /boot/grub/{name}")


def _gone(guest: LinuxGuest, entry: BootEntry) -> list[str]:
    paths = [path for path in (entry.kernel, *entry.initrds) if path]
    return [path for path in paths if not guest.tree.is_file(path)]


def _without_entries(guest: LinuxGuest, loader: BootLoader, entries: list[BootEntry]) -> Text | None:
    """Boot Loader Specification entries are files of their own, which no command writes afresh."""
    files = dict.fromkeys(entry.source for entry in entries if entry.source.endswith(".conf"))
    if files:
        return Text.same(f"rm {' '.join(map(shlex.quote, list(files)[:8]))}")
    return _rewrite(guest, loader)


@if_known
def _rewrite(guest: LinuxGuest, loader: BootLoader) -> Text | None:
    config = loader.config_path or ""
    command = guest.release.bootloader_command(config)
    if not command or loader.kind != "grub2":
        return None
    if "/efi/" in config.lower() and not loader.entries:
        # the few lines in the EFI system partition that say where the configuration is
        manager = guest.release.package_manager
        command = {
            "debian": f"grub-install --efi-directory=/boot/efi && {command}",
            "redhat": f"rm {config} && {manager} reinstall -y grub2-common && {command}",
            "suse": "update-bootloader --reinit",
        }.get(guest.release.family, command)
    return Text.same(command)


@rule(
    "linux.bootloader.root",
    Text("Root device on the kernel command line", "内核命令行中的根设备"),
    severity=Severity.ERROR,
    source="ref 06",
    family="linux",
    requires=("linux.bootloader",),
    fixable=True,
)
def root(image: Image) -> Iterator[Outcome]:
    """`root=` of the default entry names this image's root by something that stays: UUID, LABEL or a volume.

    The platform's disk is `/dev/vda` (ref 06): a `root=/dev/sda1` or `/dev/xvda1` names nothing there, and
    the boot ends in the initramfs' shell. `/dev/vda1` works as long as the disk is the first one: a warning.
    A UUID, label or logical volume must be one that is on this disk. So must those that `rd.lvm.lv=` names:
    dracut waits for each, and stops without it, as after a swap volume was removed. On btrfs,
    `rootflags=subvol=` must name the subvolume that holds the system, unless that is the default one.

    Evidence: the entry's file and line with its `root=`. Example: `/boot/grub/grub.cfg:86: root=/dev/sda1`.
    The fix puts the UUID of the root in its place.
    """
    guest = image.linux
    loader = guest.bootloader
    entry = loader.default
    if entry is None or entry.kernel is None:
        yield not_judged(Text(en="There is no default entry.", zh="没有默认菜单项。"))
        return
    judged = _judged(guest, entry, root_of(entry.arguments))
    yield judged
    if judged.kind == "kept" or judged.severity is Severity.WARNING:
        yield from _awaited_volumes(guest, entry)
        yield from judged_rootflags(guest, entry)
    others = [it for it in loader.entries if it != entry and it.kernel and _hardware(root_of(it.arguments))]
    if others and not _hardware(root_of(entry.arguments)):
        yield broken(
            Text(
                en="Other entries of the boot menu name the root by a device that becomes another one.",
                zh="启动菜单中的其他项以会改变的设备名指定根设备。",
            ),
            *(f"{it.source}: root={root_of(it.arguments)}" for it in others[:8]),
            severity=Severity.WARNING,
        )


def wrong_roots(guest: LinuxGuest) -> list[str]:
    """What `root=` says, in any entry of the menu, that must be the root's lasting name instead."""
    entries = [entry for entry in guest.bootloader.entries if entry.kernel]
    default = guest.bootloader.default
    found = [spec for entry in entries if _hardware(spec := root_of(entry.arguments))]
    if default is not None and (spec := root_of(default.arguments)):
        judged = _judged(guest, default, spec)
        found += [spec] if judged.kind == "broken" and judged.fixable is not False else []
    return list(dict.fromkeys(found))


def root_of(arguments: str) -> str:
    """The value of the last root= that the kernel is given; "" for none."""
    words = [word.replace('"', "").replace("'", "") for word in arguments.split()]
    return next((word[5:] for word in reversed(words) if word.startswith("root=")), "")


def _hardware(spec: str) -> bool:
    from imgtool.guest.devices import kernel_name

    name = kernel_name(spec)
    return (name is not None and name.disk != PLATFORM_DISK) or bool(re.fullmatch(r"[0-9a-fA-F]{3,4}", spec))


def _judged(guest: LinuxGuest, entry: BootEntry, spec: str) -> Outcome:
    from imgtool.guest.devices import is_passing_link, kernel_name, resolve

    evidence = f"{entry.source}: root={spec}"
    if not spec:
        return _without(guest, entry)
    name = kernel_name(spec)
    if name is not None and name.disk == PLATFORM_DISK:
        meant = resolve(spec, guest.disk)
        if meant == guest.root.volume:
            return broken(
                Text(
                    en=f"root={spec} is right on the platform if this is its first disk; a UUID always is.",
                    zh=f"root={spec} 仅在此盘为平台上第一块磁盘时正确；建议改用 UUID。",
                ),
                evidence,
                severity=Severity.WARNING,
                remedy=_remedy(guest, entry, spec),
            )
        return broken(
            Text(
                en=f"root={spec} is not the root of this image ({guest.root.volume.name}).",
                zh=f"root={spec} 不是此镜像的根分区（{guest.root.volume.name}）。",
            ),
            evidence,
            remedy=_remedy(guest, entry, spec),
        )
    if _hardware(spec) or is_passing_link(spec):
        return broken(
            Text(
                en=f"root={spec} names the old machine's disk; on the platform it is /dev/{PLATFORM_DISK}.",
                zh=f"root={spec} 是原机器上的设备名；平台上磁盘为 /dev/{PLATFORM_DISK}。",
            ),
            evidence,
            remedy=_remedy(guest, entry, spec),
        )
    meant = resolve(spec, guest.disk)
    if isinstance(meant, str):
        return _nowhere(guest, entry, spec)
    if meant != guest.root.volume and meant.signature.uuid != guest.root.volume.signature.uuid:
        return broken(
            Text(
                en=f"root={spec} is {meant.name}; the system was found on {guest.root.volume.name}.",
                zh=f"root={spec} 指向 {meant.name}，而系统位于 {guest.root.volume.name}。",
            ),
            evidence,
            severity=Severity.WARNING,
            fixable=False,
        )
    return kept(
        Text(en=f"root={spec} is {meant.name} of this disk.", zh=f"root={spec} 即此磁盘的 {meant.name}。"),
        evidence,
    )


def _nowhere(guest: LinuxGuest, entry: BootEntry, spec: str) -> Outcome:
    evidence = f"{entry.source}: root={spec}"
    told = re.match(
        r"(UUID|LABEL|PARTUUID|PARTLABEL)=[^/]+$|/dev/disk/by-(uuid|label|partuuid|partlabel)/", spec
    )
    volume = spec.startswith("/dev/") and (spec.startswith("/dev/mapper/") or spec.count("/") == 3)
    if (told or volume) and not _hiding(guest) and not spec.startswith("/dev/mapper/luks"):
        return broken(
            Text(
                en=f"root={spec} is nowhere on this disk; the root is on {guest.root.volume.name}.",
                zh=f"此磁盘上没有 root={spec}；根文件系统位于 {guest.root.volume.name}。",
            ),
            evidence,
            *_have(guest.root.volume),
            remedy=_remedy(guest, entry, spec),
        )
    return undecided(
        Text(
            en=f"Whether root={spec} is on this disk can't be told.",
            zh=f"无法判断 root={spec} 是否在此磁盘上。",
        ),
        evidence,
    )


def _hiding(guest: LinuxGuest) -> bool:
    """Whether something on the disk can't be looked into that may hold more volumes."""
    return any(
        volume.unreadable is not None or volume.signature.type in ("crypto_LUKS", "linux_raid_member")
        for volume in guest.disk.volumes
    )


def _awaited_volumes(guest: LinuxGuest, entry: BootEntry) -> Iterator[Outcome]:
    """Logical volumes that dracut waits for (dracut.cmdline(7)) and that this disk does not have."""
    if guest.release.initramfs_tool not in ("dracut", "mkinitrd"):
        return
    if not all(group.complete for group in guest.disk.groups) or _hiding(guest):
        return  # disk.other-disks and disk.encrypted say what is wrong there
    words = dict.fromkeys(entry.arguments.split())
    if "rd.lvm=0" in words:
        return
    names = {name for volume in guest.disk.volumes for name in volume.device_names}
    for word in words:
        key, _, name = word.partition("=")
        if key != "rd.lvm.lv" or name.count("/") != 1 or f"/dev/{name}" in names:
            continue
        yield broken(
            Text(
                en=f"The initramfs waits for the logical volume {name}, which is nowhere on this disk.",
                zh=f"initramfs 会等待逻辑卷 {name}，而此磁盘上没有该卷。",
            ),
            f"{entry.source}: {word}",
            remedy=_drop(guest, word),
            fixable=False,
        )


@if_known
def _drop(guest: LinuxGuest, argument: str) -> Text | None:
    command = drop_argument(guest, argument)
    return Text.same(command) if command else None


def _have(volume: Volume) -> tuple[str, ...]:
    signature = volume.signature
    return (
        f"{volume.name}: {signature.type} UUID={signature.uuid} LABEL={signature.label}".rstrip("= LABE"),
    )


def _without(guest: LinuxGuest, entry: BootEntry) -> Outcome:
    auto = [it for it in guest.disk.table.partitions if it.type in AUTO_ROOTS]
    if auto:
        return kept(
            Text(
                en=f"There is no root=; systemd finds it by its partition type (partition {auto[0].number}).",
                zh=f"没有 root=；systemd 按分区类型找到根分区（分区 {auto[0].number}）。",
            ),
            f"{entry.source}: {entry.arguments}",
        )
    return undecided(
        Text(
            en="The default entry has no root=; the initramfs may have one of its own.",
            zh="默认菜单项没有 root= 参数；initramfs 中可能自带。",
        ),
        f"{entry.source}: {entry.arguments}",
    )


@if_known
def _remedy(guest: LinuxGuest, entry: BootEntry, spec: str) -> Text | None:
    """The line that puts the root's lasting name into the file that `root=` stands in."""
    from imgtool.guest.devices import best_name

    name = best_name(guest.root.volume)
    if name is None:
        return None
    path = re.sub(r":[0-9]+$", "", entry.source)
    text = guest.tree.text_if_there(path, 10 << 20) or ""
    if f"root={spec}" in text:
        edit = f"sed -i 's|root={spec}\\b|root={name}|g' {path}"
    else:
        edit = f'grubby --update-kernel=ALL --remove-args=root --args="root={name}"'
    later = guest.release.bootloader_command(path)
    if not later or guest.bootloader.kind != "grub2":
        return Text.same(edit)
    return Text(
        en=f"  {edit}\nTake root= and GRUB_DISABLE_LINUX_UUID=true out of /etc/default/grub as well, "
        f"so that {later} keeps it.",
        zh=f"  {edit}\n并从 /etc/default/grub 中删除 root= 和 GRUB_DISABLE_LINUX_UUID=true，"
        f"以便 {later} 保持该设置。",
    )


@rule(
    "linux.bootloader.console",
    Text("Kernel console", "内核控制台"),
    severity=Severity.INFO,
    source="field",
    family="linux",
    requires=("linux.bootloader",),
)
def console(image: Image) -> Iterator[Outcome]:
    """The kernel's console is one that the platform's machines have: the screen (tty0) or the serial port
    (ttyS0).

    A `console=hvc0` (Xen) or `ttyS1` shows nothing on the platform: the machine runs, but nobody sees why it
    does not. Without any `console=` the kernel uses the screen.

    Evidence: the arguments. Example: `console=hvc0`. The fix is
    `console=tty0 console=ttyS0,115200`.
    """
    entry = image.linux.bootloader.default
    if entry is None or entry.kernel is None:
        yield not_judged(Text(en="There is no default entry.", zh="没有默认菜单项。"))
        return
    named = [word[8:] for word in entry.arguments.split() if word.startswith("console=")]
    if not named or any(USABLE_CONSOLES.fullmatch(it) for it in named):
        yield kept(
            Text(en="The console is usable on the platform.", zh="控制台在平台上可用。"),
            " ".join(f"console={it}" for it in named) or f"{entry.source}: no console=, so the screen",
        )
        return
    yield broken(
        Text(
            en=f"The only console, {', '.join(named)}, is not there on the platform.",
            zh=f"平台上没有唯一指定的控制台 {', '.join(named)}。",
        ),
        f"{entry.source}: {' '.join(f'console={it}' for it in named)}",
        remedy=Text.same("console=tty0 console=ttyS0,115200"),
    )
