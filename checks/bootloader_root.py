"""The root that the boot loader names to the kernel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.checks.btrfs import judged_rootflags

from imgtool.remedy import GRUB_DEFAULTS, drop_argument, if_known, in_guest, quoted
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.volumes import Volume
    from imgtool.guest.bootloader import BootEntry
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

# ref 06: the platform's disks are vda, vdb, ...
PLATFORM_DISK = "vda"
MADE_FROM = (GRUB_DEFAULTS, f"{GRUB_DEFAULTS}.d/*.cfg", "/etc/kernel/cmdline")
LARGEST_DEFAULTS = 1 << 20  # bytes
BY_PARTUUID = "GRUB_DISABLE_LINUX_PARTUUID=false"  # of grub-mkconfig, for entries without an initramfs
# Discoverable Partitions Specification: what systemd mounts as / where nothing names it
AUTO_ROOTS = (
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",  # x86-64
    "b921b045-1df0-41c3-af44-4c6f280d3fae",  # arm64
    "44479540-f297-41b2-9af7-d131d5f0458a",  # x86
)


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
    A kernel that is given no initramfs knows neither UUID nor LABEL nor logical volumes: only PARTUUID=,
    PARTLABEL= and device names. A `root=/dev/sda1` that is left where the next kernel's entry is made from
    (/etc/default/grub, /etc/kernel/cmdline) is a warning: that entry would not start.

    Evidence: the entry's file and line with its `root=`. Example: `/boot/grub/grub.cfg:86: root=/dev/sda1`.
    The fix puts the UUID of the root in its place, or the PARTUUID where there is no initramfs.
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
            remedy=_remedy(guest, others[0], root_of(others[0].arguments)),
        )
    later = list(_left_for_later(guest))
    if later and not _hardware(root_of(entry.arguments)) and not others:
        yield broken(
            Text(
                en="The next kernel's entry will name the root by the old machine's disk.",
                zh="以后安装的内核，其启动项会以原机器的设备名指定根设备。",
            ),
            *(said for said, _ in later[:8]),
            severity=Severity.WARNING,
            remedy=_named_later(guest, later),
        )


def _left_for_later(guest: LinuxGuest) -> Iterator[tuple[str, str]]:
    """(file and line, root) of what the entries of kernels to come would be told: it comes last, and wins."""
    files = [path for pattern in MADE_FROM for path in guest.tree.glob(pattern)]
    for path in files:
        text = (guest.tree.text_if_there(path, LARGEST_DEFAULTS) or "") if guest.tree.is_file(path) else ""
        for number, line in enumerate(text.splitlines(), start=1):
            told = re.fullmatch(r"\s*GRUB_CMDLINE_LINUX(?:_DEFAULT)?=(.*)", line)
            words = line if path.startswith("/etc/kernel/") else told[1] if told else ""
            spec = root_of(re.sub("[\"']", " ", words))
            if _hardware(spec):
                yield f"{path}:{number}: root={spec}", spec


def wrong_roots(guest: LinuxGuest) -> list[str]:
    """What `root=` says, in any entry of the menu or for those to come, that must be the root's lasting name
    instead."""
    entries = [entry for entry in guest.bootloader.entries if entry.kernel]
    default = guest.bootloader.default
    found = [spec for entry in entries if _hardware(spec := root_of(entry.arguments))]
    found += [spec for _, spec in _left_for_later(guest)]
    if default is not None and (spec := root_of(default.arguments)):
        judged = _judged(guest, default, spec)
        found += [spec] if judged.kind == "broken" and judged.fixable is not False else []
    return list(dict.fromkeys(found))


def lasting_name(guest: LinuxGuest) -> str | None:
    """What `root=` should say in every entry of the menu; None where no lasting name is known.

    A name that the kernel itself knows is known to every initramfs of its time as well.
    """
    from imgtool.guest.devices import best_name
    from imgtool.guest.kernel_alone import mounts_root_alone, name_for_kernel

    default, kernel = guest.bootloader.default, guest.default_kernel
    if default is not None and kernel is not None and mounts_root_alone(guest, default):
        return name_for_kernel(guest.root.volume, kernel.version)
    return best_name(guest.root.volume)


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
    from imgtool.guest.kernel_alone import kernel_knows, mounts_root_alone

    evidence = f"{entry.source}: root={spec}"
    if not spec:
        return _without(guest, entry)
    alone = mounts_root_alone(guest, entry)
    if alone and not kernel_knows(spec):
        return _beyond_kernel(guest, entry, spec)
    name = kernel_name(spec)
    if name is not None and name.disk == PLATFORM_DISK:
        meant = resolve(spec, guest.disk)
        if meant == guest.root.volume:
            better = "PARTUUID" if alone else "UUID"
            return broken(
                Text(
                    en=f"root={spec} is right on the platform if this is its first disk;"
                    f" a {better} always is.",
                    zh=f"root={spec} 仅在此盘为平台上第一块磁盘时正确；建议改用 {better}。",
                ),
                evidence,
                severity=Severity.WARNING,
                remedy=_remedy(guest, entry, spec),
            )
        return broken(
            Text(
                en=f"root={spec} is not the root of this image ({guest.root.volume.name}).",
                zh=f"root={spec} 不是此镜像的根分区（{guest.root.volume.name_zh}）。",
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
                zh=f"root={spec} 指向 {meant.name_zh}，而系统位于 {guest.root.volume.name_zh}。",
            ),
            evidence,
            severity=Severity.WARNING,
            fixable=False,
        )
    return kept(
        Text(en=f"root={spec} is {meant.name} of this disk.", zh=f"root={spec} 即此磁盘的 {meant.name_zh}。"),
        evidence,
    )


def _beyond_kernel(guest: LinuxGuest, entry: BootEntry, spec: str) -> Outcome:
    """A name that only an initramfs would know, and there is none."""
    return broken(
        Text(
            en=f"The kernel is given no initramfs, and does not know root={spec} by itself: without one it"
            " knows PARTUUID=, PARTLABEL= and device names only, and finds no root.",
            zh=f"启动项没有 initramfs，而内核自身无法识别 root={spec}："
            "此时仅支持 PARTUUID=、PARTLABEL= 和设备名，将找不到根文件系统。",
        ),
        f"{entry.source}: root={spec}",
        f"{entry.source}: no initrd",
        remedy=_remedy(guest, entry, spec),
        fixable=lasting_name(guest) is not None,
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
                zh=f"此磁盘上没有 root={spec}；根文件系统位于 {guest.root.volume.name_zh}。",
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


def _systemd_finds_it(guest: LinuxGuest, entry: BootEntry) -> bool:
    """systemd in the initramfs looks for the root by its type, on the disk that systemd-boot came from
    (systemd-gpt-auto-generator(8)). Raises CannotRead."""
    return guest.bootloader.kind == "systemd-boot" and any(
        name.endswith("/systemd-gpt-auto-generator")
        for path in entry.initrds
        if guest.tree.is_file(path)
        for name in guest.initramfs(path).members
    )


def _without(guest: LinuxGuest, entry: BootEntry) -> Outcome:
    auto = [it for it in guest.disk.table.partitions if it.type in AUTO_ROOTS]
    if auto and _systemd_finds_it(guest, entry):
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
def _named_later(guest: LinuxGuest, later: list[tuple[str, str]]) -> Text | None:
    name = lasting_name(guest)
    edits = dict.fromkeys(
        f"sed -i 's|root={spec}\\b|root={name}|g' {quoted(said.partition(':')[0])}" for said, spec in later
    )
    return in_guest(*edits) if name else None


@if_known
def _remedy(guest: LinuxGuest, entry: BootEntry, spec: str) -> Text | None:
    """The line that puts the root's lasting name into the file that `root=` stands in."""
    from imgtool.guest.kernel_alone import mounts_root_alone

    name, alone = lasting_name(guest), mounts_root_alone(guest, entry)
    instead = _initramfs(guest) if alone else ""
    if name is None:
        return Text.same(instead) if instead else None
    path = re.sub(r":[0-9]+$", "", entry.source)
    text = guest.tree.text_if_there(path, 10 << 20) or ""
    if f"root={spec}" in text:
        edit = f"sed -i 's|root={spec}\\b|root={name}|g' {path}"
    else:
        edit = f'grubby --update-kernel=ALL --remove-args=root --args="root={name}"'
    later = guest.release.bootloader_command(path) if guest.bootloader.kind == "grub2" else ""
    en, zh = [f"  {edit}"], [f"  {edit}"]
    if later:
        switch = "GRUB_DISABLE_LINUX_UUID=true"
        en.append(f"Take root= and {switch} out of /etc/default/grub as well, so that {later} keeps it.")
        zh.append(f"并从 /etc/default/grub 中删除 root= 和 {switch}，以便 {later} 保持该设置。")
    if later and alone:
        en[-1] = f"Write {BY_PARTUUID} into /etc/default/grub as well, so that {later} keeps it."
        zh[-1] = f"并在 /etc/default/grub 中写入 {BY_PARTUUID}，以便 {later} 保持该设置。"
    if instead:
        en += ["Or give the kernel an initramfs in its place:", f"  {instead}"]
        zh += ["或者改为向内核提供 initramfs：", f"  {instead}"]
    return Text.same(edit) if len(en) == 1 else Text("\n".join(en), "\n".join(zh))


@if_known
def _initramfs_line(guest: LinuxGuest) -> Text | None:
    kernel, loader = guest.default_kernel, guest.bootloader
    if kernel is None:
        return None
    later = guest.release.bootloader_command(loader.config_path or "") if loader.kind == "grub2" else ""
    made = guest.release.initramfs_command(kernel.version)
    return Text.same(f"{made} && {later}") if made and later else None


def _initramfs(guest: LinuxGuest) -> str:
    """The line that makes an initramfs and has the boot loader give it to the kernel; "" for none known."""
    line = _initramfs_line(guest)
    return line.en if line else ""
