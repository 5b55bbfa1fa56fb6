"""The boot loader: its configuration, and what that starts."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.remedy import if_known, in_guest
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.bootloader import BootEntry, BootLoader
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

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
