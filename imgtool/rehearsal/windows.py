"""What a rehearsal of a Windows showed, as findings.

It has no console. That it is up is shown by its own report, which cloudbase-init runs as user data, or by
the words of a logon or a desktop read off its screen; nothing else is taken for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from imgtool.rehearsal.machine import ADDRESS
from imgtool.rehearsal.naming import Naming
from imgtool.rehearsal.observed import Observed
from imgtool.rehearsal.reading import INSTALL, languages
from imgtool.rehearsal.screens import NO_WINDOWS
from imgtool.rehearsal.stages import STAGES
from imgtool.rules import Finding, Severity, Status
from imgtool.text import Text

POWER_BUTTON = Text(
    "Let the power button shut Windows down (powercfg /setacvalueindex scheme_current sub_buttons "
    "pbuttonaction 3), also while nobody is logged on (policy ShutdownWithoutLogon).",
    "请将电源按钮设为关机（powercfg /setacvalueindex scheme_current sub_buttons pbuttonaction 3），"
    "并允许未登录时关机（策略 ShutdownWithoutLogon）。",
)
WORDS_SHOWN = 5
_LOOK = Text(
    "Look at the screenshot; --timeout gives a slow boot more time.",
    "请查看截图；启动较慢时可用 --timeout 延长时限。",
)
_CLOUDBASE = Text(
    "Look at cloudbase-init's log in the image, and at what imgtool check says of its configuration.",
    "请查看镜像内 cloudbase-init 的日志，以及 imgtool check 对其配置的检查结果。",
)
_LOOKS = {
    "black": Text("a black screen", "黑屏"),
    "plain": Text("a screen of one colour", "单色屏幕"),
    "picture": Text("a picture", "图像"),
    "": Text("text", "文本屏幕"),
}


def is_up(seen: Observed) -> bool:
    """Whether it is shown that it came up."""
    first = seen.first
    return first.ending.kind in ("up", "screen") and bool(first.report or first.logon)


def until_logon(seen: Observed, naming: Naming, how_it_ended: Text) -> Iterator[Finding]:
    """From power-on until it is up. how_it_ended: the boot, in words."""
    first = seen.first
    age, logon = first.ending.age, first.logon
    started = first.watch.when("firmware")
    up = is_up(seen)
    if started is not None or up:
        mode = seen.mode.upper()
        message = Text(f"{mode} firmware started the boot loader.", f"{mode} 固件启动了引导程序。")
        yield naming.passed(
            "firmware",
            message,
            evidence=[started.line] if started else [],
            age=started.age if started else age,
        )
    if up:
        message = Text(
            f"Windows is up, {age:.1f} s after power-on.", f"Windows 启动完成（加电后 {age:.1f} s）。"
        )
        evidence = [f"{logon.age:.1f} s: {logon.line}"] if logon else [first.report.get("kernel", "")]
        yield naming.passed("login", message, evidence=evidence, age=age)
        return
    yield _not_up(seen, naming, how_it_ended)


def _not_up(seen: Observed, naming: Naming, how_it_ended: Text) -> Finding:
    first = seen.first
    ending, stage = first.ending, STAGES["login"]
    if ending.sighting is not None:
        return naming.sighted(ending.sighting, "login")
    rule = next(filter(naming.is_broken, NO_WINDOWS), "")
    words = [row for row in first.screen if row.strip()][:WORDS_SHOWN]
    shows, age = _LOOKS[first.shown], f"{ending.age:.1f} s"
    if rule or ending.kind in ("off", "loop"):
        message = Text(
            f"Windows did not come up: {shows.en} stands still, {age} after power-on.",
            f"Windows 未能启动：加电 {age} 后屏幕静止（{shows.zh}）。",
        )
        return naming.failed(
            "login",
            message if ending.kind in ("screen", "silent") else how_it_ended,
            remedy=_LOOK,
            evidence=words,
            age=ending.age,
            rule=rule or stage.id,
        )
    message = Text(
        f"Whether Windows came up can't be told: after {age} the screen still changes ({shows.en}).",
        f"无法判断 Windows 是否启动成功：{age} 后屏幕仍在变化（{shows.zh}）。",
    )
    if ending.kind == "screen":
        obeys = seen.shutdown is not None
        en = "it obeys the power button" if obeys else "the power button does nothing"
        zh = "电源按钮有效" if obeys else "电源按钮无效"
        message = Text(
            f"Whether Windows came up can't be told: {shows.en} stands still, {age} after power-on, without "
            f"the words of a logon; {en}.",
            f"无法判断 Windows 是否启动成功：加电 {age} 后屏幕静止（{shows.zh}），"
            f"没有识别到登录界面的文字；{zh}。",
        )
    remedy = _LOOK if languages() else INSTALL
    return Finding(
        stage.id,
        Status.UNKNOWN,
        Severity.ERROR,
        stage.title,
        message,
        evidence=tuple(words),
        remedy=remedy,
        time_s=ending.age,
    )


def handed_over(seen: Observed, naming: Naming) -> Iterator[Finding]:
    """What became of that which the platform hands to a first boot, as the guest itself tells it."""
    report, age = seen.first.report, seen.first.ending.age
    names = ("network", "hostname", "password")
    if not report:
        if is_up(seen):
            yield _unseen("first-boot")
        else:
            yield naming.skipped("first-boot")
        yield from map(naming.skipped, names)
        return
    message = Text("cloudbase-init ran the user data.", "cloudbase-init 已执行 user data。")
    yield naming.passed("first-boot", message, age=age)
    address = report.get("address", "")
    told, given = report.get("hostname", ""), seen.instance.hostname
    yield _value(
        naming,
        "network",
        right=address == ADDRESS and seen.first.by_network,
        what=Text("the address that it was given, and the metadata service", "所分配的地址与元数据服务"),
        shown=f"{address or '-'}",
        age=age,
    )
    yield _value(
        naming,
        "hostname",
        right=told.lower() == given.lower(),
        what=Text("the host name that it was given", "下发的主机名"),
        shown=told or "-",
        age=age,
    )
    if report.get("password") == "yes":
        message = Text("Administrator can log on with the password.", "Administrator 可使用下发的密码登录。")
        yield naming.passed("password", message, age=age)
    elif report.get("password") == "no":
        message = Text(
            "When the user data ran, Administrator could not log on with the password; it may have been set "
            "later.",
            "执行 user data 时，Administrator 尚不能使用下发的密码登录；密码可能在此之后设置。",
        )
        yield _open("password", message)
    else:
        yield _unseen("password")


def _value(naming: Naming, name: str, *, right: bool, what: Text, shown: str, age: float) -> Finding:
    if right:
        message = Text(f"The guest has {what.en}.", f"已具备{what.zh}。")
        return naming.passed(name, message, evidence=[shown], age=age)
    message = Text(f"The guest does not have {what.en}.", f"未具备{what.zh}。")
    return naming.failed(
        name, message, remedy=_CLOUDBASE, evidence=[shown], age=age, rule="windows.cloudbase-init.config"
    )


def _unseen(name: str) -> Finding:
    message = Text(
        "What became of this could not be observed: the guest did not report it.",
        "结果无法观察：虚拟机没有报告。",
    )
    return _open(name, message)


def _open(name: str, message: Text) -> Finding:
    stage = STAGES[name]
    return Finding(stage.id, Status.UNKNOWN, Severity.ERROR, stage.title, message, remedy=_CLOUDBASE)
