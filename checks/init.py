"""What the boot ends in: process 1, and the target or runlevel that it brings up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.guest.init import DEFAULT_TARGET, USUAL
from imgtool.remedy import in_guest, install, without_argument
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.init import FirstProgram, Stop
    from imgtool.guest.initramfs import Initramfs
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

# Where a boot stops, in Chinese; targets are said as they are called
PLACES_ZH = {
    "the initramfs' shell": "initramfs 的 shell",
    "single-user mode": "单用户模式",
    "a halt": "关机",
    "a restart without end": "无限重启",
}


@rule(
    "linux.init",
    Text("End of the boot", "启动的终点"),
    severity=Severity.ERROR,
    source="field",
    family="linux",
    requires=("linux.kernel",),
)
def init(image: Image) -> Iterator[Outcome]:
    """The boot starts an init, and that goes on to where networks and logins are.

    A root that was made from a container, or whose systemd-sysv was removed, has no /sbin/init: the boot ends
    in a panic or in a bare shell. Whoever once reset a password may have left `init=/bin/bash`, `single`,
    `systemd.unit=rescue.target` or `rd.break` on the kernel command line; a default target (systemd) or
    runlevel (/etc/inittab) for rescue, or one that halts, does the same. Nobody answers on the network then,
    and cloud-init does not run. An initramfs with systemd in it starts the root's systemd without /sbin/init.

    Evidence: the argument, the link or the line. Example: `/etc/systemd/system/default.target ->
    /usr/lib/systemd/system/rescue.target`. The fix takes the argument out, names the usual target, or
    installs an init.
    """
    from imgtool.guest.init import first_program, stop_by_argument, stop_by_default

    guest = image.linux
    arguments = guest.kernel_arguments or ""
    if guest.release.family == "coreos":
        yield not_judged(Text("CoreOS brings its init with /usr.", "CoreOS 的 init 由 /usr 提供。"))
        return
    found = first_program(guest.tree, arguments, lambda: _initramfs(guest))
    if not found.path or found.shell:
        yield _no_init(guest, found)
        return
    if found.named and found.named != found.path:
        yield _named_in_vain(guest, found)
    if guest.services.init == "unknown":
        yield undecided(
            Text("The guest's init system is not known (/sbin/init).", "无法识别系统的 init（/sbin/init）。"),
            found.path,
        )
        return
    spoken = stop_by_argument(arguments, guest.services.init, guest.release.initramfs_tool)
    stop = spoken or stop_by_default(guest.tree, guest.services.init)
    if stop is not None:
        yield _stopped(guest, stop)
    elif not (found.named and found.named != found.path):
        yield kept(
            Text(f"The boot starts {found.path}.", f"系统启动后会运行 {found.path}。"),
            guest.tree.realpath(found.path),
        )


def _initramfs(guest: LinuxGuest) -> Initramfs | None:
    from imgtool.guest.initramfs import together

    kernel = guest.default_kernel
    if kernel is None or not kernel.initrds:
        return None
    return together(guest.initramfs(path) for path in kernel.initrds)


def _no_init(guest: LinuxGuest, found: FirstProgram) -> Outcome:
    if found.shell:
        argument = f"init={found.named}"
        return broken(
            Text(
                f"{argument} on the kernel command line: the boot ends in a shell on the screen.",
                f"内核命令行中有 {argument}：启动会停在控制台的 shell。",
            ),
            argument,
            remedy=without_argument(guest, argument),
        )
    return broken(
        Text(
            "The guest has no init: the boot ends in a panic or in a bare shell.",
            "系统中没有 init：启动会以内核崩溃或空 shell 告终。",
        ),
        f"not there, or not executable: {', '.join(USUAL)}",
        *([f"init={found.named}: not there"] if found.named else []),
        remedy=_install_init(guest),
    )


def _named_in_vain(guest: LinuxGuest, found: FirstProgram) -> Outcome:
    """initramfs-tools then takes the usual one; dracut and the kernel stop."""
    argument = f"init={found.named}"
    goes_on = guest.release.initramfs_tool == "mkinitramfs"
    return broken(
        Text(
            f"{argument} names a program that is not there"
            + (f"; {found.path} is started instead." if goes_on else ": the boot stops."),
            f"{argument} 指定的程序不存在"
            + (f"，将改为启动 {found.path}。" if goes_on else "：启动会中止。"),
        ),
        argument,
        severity=Severity.WARNING if goes_on else None,
        remedy=without_argument(guest, argument),
    )


def _stopped(guest: LinuxGuest, stop: Stop) -> Outcome:
    place = Text(stop.where, PLACES_ZH.get(stop.where, stop.where))
    return broken(
        Text(
            f"The boot ends in {place.en}: no network and no login come up.",
            f"启动会停在{place.zh}：网络与登录均不可用。",
        ),
        stop.said,
        remedy=_on(guest, stop),
    )


def _on(guest: LinuxGuest, stop: Stop) -> Text | None:
    if stop.kind == "argument":
        return without_argument(guest, stop.said)
    if stop.kind == "inittab":
        level = "2" if guest.release.family == "debian" else "3"
        return in_guest(f"sed -i 's/^\\([^#:]*\\):[^:]*:initdefault:/\\1:{level}:initdefault:/' {stop.path}")
    folder = next(
        (it for it in ("/usr/lib/systemd/system", "/lib/systemd/system") if guest.tree.is_dir(it)),
        "/usr/lib/systemd/system",
    )
    return in_guest(f"ln -sfn {folder}/multi-user.target {DEFAULT_TARGET}")


def _install_init(guest: LinuxGuest) -> Text | None:
    package = {"debian": "systemd-sysv", "suse": "systemd-sysvinit"}.get(guest.release.family, "systemd")
    commands = install(guest, package)
    return in_guest(*commands) if commands else None
