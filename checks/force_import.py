"""The forced import: a script of the guest's own does what cloud-init would do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead
from imgtool.remedy import enable_service, in_guest, quoted
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.boot_scripts import BootScript
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

READS_SETTINGS = re.compile(r"os\.conf\b")
# The CD that the settings come on, by its label or as the first CD drive (ref 02)
CD = re.compile(r"config-2|/dev/(cdrom|sr0|scd0|disk/by-label)")
MOUNTS = re.compile(r"\b(u?mount|isoinfo|bsdtar|7z)\b")
# What os.conf has, and by what a script shows that it applies it
APPLIED = (
    (Text("the password", "密码"), re.compile(r"chpasswd|usermod\b.{0,200}-p|/etc/shadow"), "password"),
    (Text("the address", "IP 地址"), re.compile(r"eth0_ip_addr|local-ipv4|dhclient|dhcp"), "eth0_ip_addr"),
    (Text("the host name", "主机名"), re.compile(r"\bhostname\b"), "hostname"),
    (Text("the DNS servers", "DNS 服务器"), re.compile(r"dns_nameserver"), "dns_nameserver"),
)


@rule(
    "linux.force-import.script",
    Text("Set-up script of a forced import", "强制导入的配置脚本"),
    severity=Severity.ERROR,
    source="ref 02",
    family="linux",
    requires=("disk.root",),
    fixable=True,
)
def script(image: Image) -> Iterator[Outcome]:
    """With --force-import: a script runs at boot, mounts the CD config-2 and applies its os.conf.

    A forced import goes without cloud-init; the platform gives an instance's address, name and password on a
    CD, in qcloud_action/os.conf (os_action/os.conf in one sentence of ref 02), and the guest has to read it
    by itself. Without such a script an instance has neither network nor password. Looked at are init scripts,
    the programs of units, rc.local, Upstart jobs and cron's @reboot, with what they call. A script that
    leaves a part of os.conf out is a warning. A complete cloud-init that starts does instead (ref 02).

    Evidence: the script, and what has the boot run it. Example: `/etc/init.d/os_config: disabled`. The fix
    installs the script of ref 02, or enables the one that is there.
    """
    if not image.options.force_import:
        yield not_judged(Text("The import is not forced.", "不是强制导入。"))
        return
    guest = image.linux
    if guest.services.init == "unknown":
        yield undecided(
            Text("The guest's init system is not known (/sbin/init).", "无法识别系统的 init（/sbin/init）。")
        )
        return
    from imgtool.guest.boot_scripts import find_boot_scripts

    found = find_boot_scripts(guest.tree, guest.services, READS_SETTINGS)
    fitting = [it for it in found if CD.search(it.text) and MOUNTS.search(it.text)]
    running = [it for it in fitting if it.starts]
    if running:
        yield from _applies(running[0])
        return
    if _cloud_init_does(image, guest):
        yield kept(
            Text("cloud-init is there and sets instances up.", "已安装 cloud-init，由其完成实例配置。"),
            guest.cloud_init.entry,
        )
        return
    if fitting:
        yield _not_run(guest, fitting[0])
        return
    yield broken(
        Text(
            "No script that runs at boot mounts the CD config-2 and reads os.conf: an instance has neither"
            " address nor password.",
            "没有开机脚本挂载 config-2 光盘并读取 os.conf：实例将没有 IP 地址和密码。",
        ),
        "looked at: /etc/init.d, /etc/systemd/system, rc.local, /etc/init, crontabs",
        *(f"{it.path}: reads os.conf, but mounts no CD" for it in found[:4]),
        remedy=_install(guest),
    )


def _applies(running: BootScript) -> Iterator[Outcome]:
    from imgtool.guest.tree import shown

    evidence = (running.path, f"started by {running.starter}")
    lacking = [(what, key) for what, sign, key in APPLIED if not sign.search(running.text)]
    if not lacking:
        yield kept(
            Text("A boot script applies the settings of os.conf.", "开机脚本会应用 os.conf 中的配置。"),
            *evidence,
        )
        return
    yield broken(
        Text(
            f"{shown(running.path)} runs at boot, but does not apply"
            f" {', '.join(what.en for what, _ in lacking)}.",
            f"{shown(running.path)} 会开机运行，但未应用{'、'.join(what.zh for what, _ in lacking)}。",
        ),
        *evidence,
        *(f"not used: {key}" for _, key in lacking),
        severity=Severity.WARNING,
        remedy=Text(
            f"Add to {shown(running.path)} what it lacks: ref 02 has an example of each part.",
            f"请在 {shown(running.path)} 中补充缺少的部分，可参考《强制导入镜像》中的示例脚本。",
        ),
        fixable=False,
    )


def _not_run(guest: LinuxGuest, script: BootScript) -> Outcome:
    from imgtool.guest.tree import shown

    commands = []
    if "Windows line ends" in script.why:
        commands.append(f"sed -i 's/\\r$//' {quoted(script.path)}")
    elif "not executable" in script.why:
        commands.append(f"chmod +x {quoted(script.path)}")
    if script.service:
        service = guest.services.find(script.service)
        if not service.starts:
            commands.append(enable_service(guest, service))
    elif "rc-local" in script.why:
        commands.append("systemctl unmask rc-local.service")
    return broken(
        Text(
            f"{shown(script.path)} would apply os.conf, but the boot does not run it.",
            f"{shown(script.path)} 可应用 os.conf，但启动时不会运行。",
        ),
        script.why,
        remedy=in_guest(*commands) if commands else None,
    )


def _cloud_init_does(image: Image, guest: LinuxGuest) -> bool:
    """A complete cloud-init that starts and looks at the config drive."""
    try:
        if guest.cloud_init.kind != "cloud-init" or not guest.cloud_init_starts:
            return False
        names = guest.cloud_config.datasource_list
        return names is None or all(name in names for name in image.profile.linux.datasources)
    except CannotRead:
        return False


def _install(guest: LinuxGuest) -> Text:
    if guest.services.init == "systemd":
        unit = (
            "[Unit]\\nAfter=local-fs.target\\nBefore=network-pre.target\\nWants=network-pre.target\\n"
            "[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/usr/local/sbin/os_config start\\n"
            "[Install]\\nWantedBy=multi-user.target\\n"
        )
        commands = [
            "install -m 0755 os_config /usr/local/sbin/os_config",
            f"printf '{unit}' > /etc/systemd/system/os_config.service",
            "systemctl enable os_config.service",
        ]
    else:
        debian = guest.release.family == "debian"
        add = "update-rc.d os_config defaults" if debian else "chkconfig --add os_config"
        commands = ["install -m 0755 os_config /etc/init.d/os_config", add]
    lines = "\n".join(commands)
    return Text(
        "Write the script os_config after the example of ref 02 (mount the CD labelled config-2, read"
        " qcloud_action/os.conf, set password, host name, address and DNS), then, in the guest, as root:\n"
        + lines,
        "请参照《强制导入镜像》的示例编写脚本 os_config（挂载卷标为 config-2 的光盘，读取"
        " qcloud_action/os.conf，设置密码、主机名、IP 与 DNS），然后在系统内以 root 执行：\n" + lines,
    )
