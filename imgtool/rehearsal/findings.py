"""What a rehearsal found, as findings of the report, in the order in which the boot came by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imgtool.rehearsal import windows
from imgtool.rehearsal.boot_watch import CAME_UP, Ending
from imgtool.rehearsal.handed_over import handed_over
from imgtool.rehearsal.naming import Naming
from imgtool.rehearsal.observed import Observed
from imgtool.rehearsal.signs import SILENT_AFTER
from imgtool.rehearsal.stages import STAGES
from imgtool.rehearsal.watch import Seen, Sighting, Watch
from imgtool.rules import Finding, Rule, Severity, Status
from imgtool.text import Text

SHUTDOWN_LIMIT = 120.0  # seconds
_UNTIL_LOGIN = ("firmware", "loader", "kernel", "root", "login")
# What the first boot says of itself is told as what became of what was handed over.
_TOLD_ELSEWHERE = ("cloud-init fails", "no data source")
_LOOK = Text(
    "Look at the screenshot and the console's last lines; --timeout gives a slow boot more time.",
    "请查看截图和控制台末尾输出；启动较慢时可用 --timeout 延长时限。",
)
_NOT_DONE = Text(
    "It asked for a login, but its first boot did not come to an end in time.",
    "系统已显示登录提示，但首次启动初始化未在时限内完成。",
)
_SLOW = Text(
    "The system waits in emergency mode, since a device did not come within 90 s. The static check finds "
    "nothing wrong with its mounts, and this machine emulates: it may only have been too slow.",
    "系统停在应急模式：某个设备未在 90 秒内出现。静态检查未发现挂载配置有问题，而本机使用软件模拟，"
    "可能只是速度过慢。",
)
_SLOW_LOOK = Text(
    "Rehearse again on a machine with KVM, or while this one has nothing else to do.",
    "请在支持 KVM 的机器上，或在本机空闲时重新预演。",
)
_EXPLAINED_BY: Mapping[str, tuple[str, ...]] = {
    "menu": ("linux.bootloader",),
    "off": ("linux.init",),
    "loop": ("linux.init",),
}


def findings_of(seen: Observed, rules: Mapping[str, Rule], statics: Mapping[str, Finding]) -> list[Finding]:
    """All findings of a rehearsal. statics: those of the static check, by rule, the gravest of each."""
    naming = Naming(rules, statics)
    return [
        *_until_login(seen, naming),
        *_faults(seen, naming),
        *handed_over(seen, naming),
        *_console(seen, naming),
        _shutdown(seen, naming),
        _second_boot(seen, naming),
    ]


def _until_login(seen: Observed, naming: Naming) -> Iterator[Finding]:
    first = seen.first
    if seen.windows:
        yield from windows.until_logon(seen, naming, how_it_ended(first.ending))
        return
    came_far = bool(first.report) or "login" in first.watch.reached
    failed = False
    for name in _UNTIL_LOGIN:
        when = first.watch.when(name)
        # Up is what stays up: one that asked for a login and then panics, or powers off, is not.
        reached = first.ending.kind in CAME_UP if name == "login" else came_far or when is not None
        if reached:
            yield _reached(name, when or Seen(first.ending.age, ""), seen, naming)
        elif not failed:
            failed = True
            yield _not_reached(name, seen, naming)
        else:
            yield naming.skipped(name)


def _reached(name: str, when: Seen, seen: Observed, naming: Naming) -> Finding:
    within, report, mode = f"{when.age:.1f} s", seen.first.report, seen.mode.upper()
    what = {
        "firmware": Text(f"{mode} firmware started the boot loader", f"{mode} 固件启动了引导程序"),
        "loader": Text("The boot loader started a kernel", "引导程序启动了内核"),
        "kernel": _with("The kernel runs", "内核已运行", report.get("kernel") or when.name),
        "root": _with("The root is mounted", "根文件系统已挂载", report.get("root", "")),
        "login": _with(
            "The system is up", "系统启动完成", seen.first.watch.login_host or report.get("hostname", "")
        ),
    }[name]
    return naming.passed(
        name,
        Text(f"{what.en}, {within} after power-on.", f"{what.zh}（加电后 {within}）。"),
        evidence=[f"{within}: {when.line}"] if when.line else [],
        age=when.age,
    )


def _with(en: str, zh: str, name: str) -> Text:
    return Text(f"{en} ({name})", f"{zh}（{name}）") if name else Text(en, zh)


def _not_reached(name: str, seen: Observed, naming: Naming) -> Finding:
    first = seen.first
    ending, watch = first.ending, first.watch
    if ending.sighting is not None:
        slow = _perhaps_slow(name, seen, watch, ending.sighting, naming)
        return slow or naming.sighted(ending.sighting, name, partitions=first.partitions)
    stage = STAGES[name]
    rules = _EXPLAINED_BY.get(ending.kind, ())
    if ending.kind == "silent":
        rules = SILENT_AFTER.get(watch.furthest, ())
    rule = next((it for it in rules if naming.is_broken(it)), stage.rule)
    if ending.kind in ("off", "loop", "timeout") and not naming.is_broken(rule):
        rule = stage.id  # nothing shows that it was this
    last = watch.reached.get(watch.furthest)
    evidence = [f"{last.age:.1f} s: {last.line}"] if last else []
    evidence += [row for row in first.screen if row][-3:]
    menu = Text(
        "Give the menu a timeout: GRUB_TIMEOUT=1 in /etc/default/grub, then grub-mkconfig.",
        "请为菜单设置超时：在 /etc/default/grub 中设置 GRUB_TIMEOUT=1，然后运行 grub-mkconfig。",
    )
    return naming.failed(
        name,
        _NOT_DONE if ending.kind == "timeout" and watch.furthest == "login" else how_it_ended(ending),
        remedy=menu if ending.kind == "menu" else _LOOK,
        evidence=evidence,
        age=ending.age,
        rule=rule,
    )


def _perhaps_slow(
    name: str, seen: Observed, watch: Watch, sighting: Sighting, naming: Naming
) -> Finding | None:
    """Of a guest under an emulator that gave up a device after 90 s, which the image may well have."""
    late = sighting.sign.name == "emergency mode" and "device timed out" in watch.sightings
    if not seen.emulated or not late or any(map(naming.is_broken, sighting.sign.rules)):
        return None
    stage = STAGES[name]
    return Finding(
        stage.id,
        Status.UNKNOWN,
        Severity.ERROR,
        stage.title,
        _SLOW,
        evidence=tuple(f"{it.age:.1f} s: {it.line}" for it in watch.sightings.values()),
        remedy=_SLOW_LOOK,
        time_s=sighting.age,
    )


def how_it_ended(ending: Ending) -> Text:
    within = f"{ending.age:.1f} s"
    return {
        "timeout": Text(
            f"After {within} the boot had still not come this far.", f"{within} 后启动仍未到达该阶段。"
        ),
        "off": Text(
            f"The machine powered itself off {within} after power-on.", f"虚拟机在加电 {within} 后自行关机。"
        ),
        "loop": Text(
            f"The machine restarts over and over: four times within {within}.",
            f"虚拟机反复重启：{within} 内重启四次。",
        ),
        "menu": Text(
            f"A boot menu waits for a person, since {within} after power-on.",
            f"启动菜单自加电 {within} 起一直等待人工选择。",
        ),
        "silent": Text(
            f"Nothing more comes of the boot; given up {within} after power-on.",
            f"启动过程再无任何动静；加电 {within} 后放弃等待。",
        ),
    }.get(ending.kind, Text("The boot did not come this far.", "启动未到达该阶段。"))


def _faults(seen: Observed, naming: Naming) -> Iterator[Finding]:
    """Known failures that the boot survived."""
    if seen.first.ending.sighting is not None:
        return
    for sighting in seen.first.watch.sightings.values():
        if sighting.sign.weight != "fault" or sighting.sign.name in _TOLD_ELSEWHERE:
            continue
        severe = any(map(naming.is_broken, sighting.sign.rules))
        yield naming.sighted(sighting, "login", severity=Severity.ERROR if severe else Severity.WARNING)


def _console(seen: Observed, naming: Naming) -> Iterator[Finding]:
    first = seen.first
    if first.flooded:
        yield naming.failed(
            "console",
            Text(
                "The guest floods the serial console: more than 16 MiB in one boot.",
                "虚拟机大量刷写串口控制台：单次启动超过 16 MiB。",
            ),
            remedy=Text(
                "Take debug arguments off the kernel command line.", "请去掉内核命令行中的调试参数。"
            ),
            age=first.ending.age,
            severity=Severity.WARNING,
            rule=STAGES["console"].id,
        )
    elif first.silent_console and not seen.windows and first.ending.kind in CAME_UP:
        yield naming.failed(
            "console",
            Text(
                "The guest does not use the serial console: a failed boot could only be seen on the screen.",
                "虚拟机没有使用串口控制台：启动失败时只能在屏幕上查看。",
            ),
            remedy=Text(
                "Add console=tty0 console=ttyS0,115200 to the kernel arguments.",
                "请在内核参数中加入 console=tty0 console=ttyS0,115200。",
            ),
            age=first.ending.age,
            severity=Severity.INFO,
        )


def _shutdown(seen: Observed, naming: Naming) -> Finding:
    if seen.pressed is None:
        return naming.skipped("shutdown")
    if seen.shutdown is not None:
        taken = f"{seen.shutdown:.1f} s"
        return naming.passed(
            "shutdown",
            Text(f"The power button shut the guest down in {taken}.", f"按下电源按钮后 {taken} 正常关机。"),
            age=seen.pressed + seen.shutdown,
        )
    if seen.windows and not windows.is_up(seen):
        return naming.skipped("shutdown")
    return naming.failed(
        "shutdown",
        Text(
            f"The guest did not power off within {SHUTDOWN_LIMIT:.0f} s of the power button.",
            f"按下电源按钮后 {SHUTDOWN_LIMIT:.0f} 秒内未关机。",
        ),
        remedy=windows.POWER_BUTTON
        if seen.windows
        else Text(
            "Install acpid, or let systemd-logind handle the power key (HandlePowerKey=poweroff).",
            "请安装 acpid，或让 systemd-logind 处理电源键（HandlePowerKey=poweroff）。",
        ),
        age=seen.pressed + SHUTDOWN_LIMIT,
        severity=Severity.WARNING,
        rule=STAGES["shutdown"].id if seen.windows else "",
    )


def _second_boot(seen: Observed, naming: Naming) -> Finding:
    ending, watch = seen.second, seen.second_watch
    if ending is None or watch is None:
        return naming.skipped("second-boot")
    if ending.sighting is not None:
        slow = _perhaps_slow("second-boot", seen, watch, ending.sighting, naming)
        return slow or naming.sighted(ending.sighting, "second-boot")
    age = f"{ending.age:.1f} s"
    login = watch.reached.get("login") or watch.logon
    told = seen.second_report.get("hostname", "")
    evidence = [login.line] if login else [told] if told else []
    if ending.kind == "screen" and login is None:
        stage = STAGES["second-boot"]
        message = Text(
            f"Whether it came up again can't be told: the screen stands still, {age} after power-on, and "
            "nothing that was read on it tells.",
            f"无法判断是否再次启动成功：加电 {age} 后屏幕静止，识别出的内容不足以判断。",
        )
        return Finding(
            stage.id, Status.UNKNOWN, Severity.ERROR, stage.title, message, remedy=_LOOK, time_s=ending.age
        )
    # Of a first boot that asked for a login before it had its new name, the second has that.
    names = ("", seen.first.watch.login_host, seen.first.report.get("hostname", ""), seen.instance.hostname)
    if ending.kind in ("up", "screen") and (watch.login_host or told).split(".")[0] in {
        name.split(".")[0] for name in names
    }:
        message = Text(f"It came up again, {age} after power-on.", f"再次启动成功（加电后 {age}）。")
        return naming.passed("second-boot", message, evidence=evidence, age=ending.age)
    return naming.failed(
        "second-boot",
        Text(
            f"The second boot did not come up as the first did (given up after {age}).",
            f"第二次启动未能像首次那样完成（{age} 后放弃）。",
        ),
        remedy=Text(
            "Look at the console's last lines for what the first boot changed.",
            "请查看控制台末尾输出，找出首次启动所做的更改。",
        ),
        evidence=evidence,
        age=ending.age,
    )
