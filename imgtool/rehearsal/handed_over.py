"""What became of that which the platform hands to a first boot, as findings: told by the guest itself."""

from __future__ import annotations

from collections.abc import Iterator

from imgtool.rehearsal import windows
from imgtool.rehearsal.boot_watch import CAME_UP
from imgtool.rehearsal.machine import ADDRESS
from imgtool.rehearsal.naming import Naming
from imgtool.rehearsal.observed import Observed
from imgtool.rehearsal.stages import STAGES
from imgtool.rules import Finding, Severity, Status
from imgtool.text import Text

FORCED = "linux.force-import.script"
_CLOUD_INIT_RULES = (
    "linux.cloud-init.installed",
    "linux.cloud-init.enabled",
    "linux.cloud-init.datasource",
    "linux.cloud-init.modules",
)
_SCRIPT = Text(
    en="Put a boot-time script into the image that mounts the CD labelled config-2 and applies "
    "qcloud_action/os.conf, and enable it: imgtool fix --force-import.",
    zh="请在镜像中放置并启用开机脚本：挂载卷标为 config-2 的光盘，并应用 qcloud_action/os.conf"
    "（imgtool fix --force-import）。",
)
_CONSOLE = Text(
    "Add console=tty0 console=ttyS0,115200 to the kernel arguments and rehearse again, or log in once it is "
    "imported.",
    "请在内核参数中加入 console=tty0 console=ttyS0,115200 后重新预演，或在导入后登录确认。",
)
_DATASOURCE = Text(
    "Name ConfigDrive first in datasource_list of /etc/cloud/cloud.cfg.d/.",
    "请在 /etc/cloud/cloud.cfg.d/ 的 datasource_list 中首先列出 ConfigDrive。",
)
_MODULES = Text(
    "Turn the module on again in /etc/cloud/cloud.cfg (set_hostname, set-passwords, ssh).",
    "请在 /etc/cloud/cloud.cfg 中重新启用相应模块（set_hostname、set-passwords、ssh）。",
)


def handed_over(seen: Observed, naming: Naming) -> Iterator[Finding]:
    """One finding for each thing that was handed over."""
    report = seen.first.report
    if seen.windows:
        yield from windows.handed_over(seen, naming)
        return
    names = ["devices", "network", "hostname", "password", "key", "services"]
    if seen.force_import:
        names.remove("key")  # os.conf has none
    if not report:
        if seen.force_import and seen.first.ending.kind == "up" and not seen.first.refused:
            yield _not_observed()  # logged in, and then nothing came
        elif seen.first.ending.kind in CAME_UP:
            yield _nothing_done(seen, naming)
        else:
            yield naming.skipped("first-boot")
        yield from map(naming.skipped, names)
        return
    yield _carried_out(seen, naming)
    yield _devices(seen, naming)
    yield _network(seen, naming)
    told = report.get("hostname", "")
    yield _value(seen, naming, "hostname", right=told.split(".")[0] == seen.instance.hostname, shown=told)
    yield _value(seen, naming, "password", right=report.get("password") == "yes", shown="/etc/shadow")
    if not seen.force_import:
        keys = report.get("key", "")
        yield _value(seen, naming, "key", right=bool(keys), shown=keys or "authorized_keys: -")
    yield _services(seen, naming)


def _not_observed() -> Finding:
    """Nothing was told from inside, as by a guest that asks for a login on its screen only."""
    stage = STAGES["first-boot"]
    message = Text(
        "What became of the first boot's settings could not be observed: nobody could log in on the serial "
        "console to ask.",
        "首次启动的配置是否生效无法观察：无法在串口控制台登录查询。",
    )
    return Finding(stage.id, Status.UNKNOWN, Severity.ERROR, stage.title, message, remedy=_CONSOLE)


def _nothing_done(seen: Observed, naming: Naming) -> Finding:
    """It came up, and nothing of what was handed over was carried out."""
    first, age = seen.first, seen.first.ending.age
    if seen.force_import:
        message = Text(
            "The password of os.conf does not log in: no script applied it.",
            "无法用 os.conf 中的密码登录：没有脚本应用它。",
        )
        return naming.failed("first-boot", message, remedy=_SCRIPT, age=age, rule=FORCED)
    for name in ("no data source", "cloud-init fails"):
        if name in first.watch.sightings:
            return naming.sighted(first.watch.sightings[name], "first-boot")
    return naming.failed(
        "first-boot",
        Text(
            "The system is up, but cloud-init did not run the user data: no password, no key, no address.",
            "系统已启动，但 cloud-init 没有执行 user data：没有密码、密钥和地址。",
        ),
        remedy=Text(
            "Install and enable cloud-init, and leave its user scripts on (scripts-user).",
            "请安装并启用 cloud-init，并保留其用户脚本模块（scripts-user）。",
        ),
        age=age,
        rule=next(filter(naming.is_broken, _CLOUD_INIT_RULES), _CLOUD_INIT_RULES[0]),
    )


def _carried_out(seen: Observed, naming: Naming) -> Finding:
    age, source = seen.first.ending.age, seen.first.report.get("datasource", "")
    if seen.force_import:
        message = Text("The image's own script applied os.conf.", "镜像自带的脚本已应用 os.conf。")
        return naming.passed("first-boot", message, age=age)
    if "ConfigDrive" in source:
        message = Text(
            "cloud-init took the config drive and ran the user data.",
            "cloud-init 读取了配置驱动器，并执行了 user data。",
        )
        return naming.passed("first-boot", message, evidence=[source], age=age)
    return naming.failed(
        "first-boot",
        Text("cloud-init did not take the config drive.", "cloud-init 没有读取配置驱动器。"),
        remedy=_DATASOURCE,
        evidence=[source or "/var/lib/cloud/instance/datasource: -"],
        age=age,
    )


def _devices(seen: Observed, naming: Naming) -> Finding:
    report, age = seen.first.report, seen.first.ending.age
    disks, cards = report.get("disks", "").split(), report.get("interfaces", "").split()
    evidence = [f"/sys/block: {' '.join(disks)}", f"/sys/class/net: {' '.join(cards)}"]
    if "vda" in disks and cards == ["eth0"]:
        message = Text("The disk is vda, the network card eth0.", "磁盘为 vda，网卡为 eth0。")
        return naming.passed("devices", message, evidence=evidence, age=age)
    names = " ".join(cards)
    return naming.failed(
        "devices",
        Text(f"The network card is not eth0: {names or 'none'}.", f"网卡名称不是 eth0：{names or '无'}。"),
        remedy=Text(
            "Add net.ifnames=0 biosdevname=0 to the kernel arguments, and remove persistent-net rules.",
            "请在内核参数中加入 net.ifnames=0 biosdevname=0，并删除 persistent-net 规则。",
        ),
        evidence=evidence,
        age=age,
        severity=Severity.WARNING,
    )


def _network(seen: Observed, naming: Naming) -> Finding:
    report, age = seen.first.report, seen.first.ending.age
    address = report.get("address", "")
    evidence = [f"eth0: {address or '-'}", f"default: {report.get('gateway') or '-'}"]
    if seen.force_import:
        if address == ADDRESS:
            message = Text(
                f"eth0 has the address of os.conf, {address}.", f"eth0 使用了 os.conf 中的地址 {address}。"
            )
            return naming.passed("network", message, evidence=evidence, age=age)
        message = Text(
            f"eth0 has not the address of os.conf, {ADDRESS}.", f"eth0 没有使用 os.conf 中的地址 {ADDRESS}。"
        )
        return naming.failed("network", message, remedy=_SCRIPT, evidence=evidence, age=age, rule=FORCED)
    if address == ADDRESS and seen.first.by_network:
        message = Text(
            f"eth0 has its address, {address}, and reaches the metadata service.",
            f"eth0 已获得地址 {address}，并能访问元数据服务。",
        )
        return naming.passed("network", message, evidence=evidence, age=age)
    return naming.failed(
        "network",
        Text(
            "The guest does not reach the metadata service with the address that it was given.",
            "虚拟机无法使用所分配的地址访问元数据服务。",
        ),
        remedy=Text(
            "Leave eth0 to cloud-init or to DHCP: no static address, nothing bound to a MAC address.",
            "请让 eth0 由 cloud-init 或 DHCP 配置：不要使用静态地址，也不要绑定 MAC 地址。",
        ),
        evidence=evidence,
        age=age,
    )


_VALUES = {
    "hostname": Text("the host name", "主机名"),
    "password": Text("the password", "密码"),
    "key": Text("the SSH key", "SSH 密钥"),
}


def _value(seen: Observed, naming: Naming, name: str, *, right: bool, shown: str) -> Finding:
    what, age = _VALUES[name], seen.first.ending.age
    if right:
        message = Text(f"The guest has {what.en} that it was given.", f"{what.zh}与下发的一致。")
        return naming.passed(name, message, evidence=[shown], age=age)
    return naming.failed(
        name,
        Text(f"The guest does not have {what.en} that it was given.", f"{what.zh}与下发的不一致。"),
        remedy=_SCRIPT if seen.force_import else _MODULES,
        evidence=[shown],
        age=age,
        rule=FORCED if seen.force_import else "",
    )


def _services(seen: Observed, naming: Naming) -> Finding:
    failed = seen.first.report.get("failed", "").split()
    age = seen.first.ending.age
    if not failed:
        message = Text("No service has failed.", "没有启动失败的服务。")
        return naming.passed("services", message, age=age)
    names = ", ".join(failed[:8])
    ssh = any(name.startswith(("ssh.", "sshd.")) for name in failed)
    return naming.failed(
        "services",
        Text(f"These units failed: {names}.", f"以下单元启动失败：{names}。"),
        remedy=Text.same(f"systemctl status {failed[0]}"),
        evidence=failed[:8],
        age=age,
        severity=Severity.WARNING,
        rule="linux.sshd" if ssh else "",
    )
