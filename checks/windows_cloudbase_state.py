"""What cloudbase-init remembers of earlier runs, and the scripts that it runs."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.rules import Outcome, Severity, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.cloudbase_init import CloudbaseInit, PluginState
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.image import Image

SCRIPT_POLICY = "Policies\\Microsoft\\Windows\\PowerShell"


@rule(
    "windows.cloudbase-init.state",
    Text("State of cloudbase-init", "cloudbase-init 状态"),
    severity=Severity.WARNING,
    source="ref 04, 11",
    family="windows",
    requires=("windows.cloudbase-init.installed",),
    fixable=True,
)
def state(image: Image) -> Iterator[Outcome]:
    """cloudbase-init has everything to do at the next start, and its local scripts run every time.

    What a plugin has done is recorded in the registry by instance: 1, done; 2, run at every start. A new
    instance has a new id, so its plugins run; a record without an instance counts for all and keeps them from
    it. The local scripts plugin must be recorded as 2 wherever it is recorded (ref 11), because the
    platform's script in LocalScripts, which ref 04 has one put there, applies later changes of password and
    address. A script that was downloaded keeps a mark that makes PowerShell refuse it ("Unblock", ref 04),
    and a group policy may forbid scripts, which no parameter of PowerShell gets around.

    Evidence: the registry values and the folder. Example: `SOFTWARE\\Cloudbase
    Solutions\\Cloudbase-Init\\…\\Plugins: LocalScriptsPlugin=1`. The fix is a `reg` command, or copying the
    script.
    """
    guest, limits = image.windows, image.profile.windows.cloudbase_init
    init = guest.cloudbase_init
    again = {name.lower() for name in limits.run_again}
    faults = [
        *_recorded(init, again),
        *_scripts(guest, init, limits.local_script),
        *_forbidden(guest),
    ]
    yield from faults
    if not faults:
        recorded = sorted({it.instance for it in init.states if it.instance})
        yield kept(
            Text("Everything runs at the next start.", "下次启动时将执行全部初始化。"),
            *([f"recorded for other instances: {', '.join(recorded)[:200]}"] if recorded else []),
        )


def _recorded(init: CloudbaseInit, again: set[str]) -> Iterator[Outcome]:
    from imgtool.guest.windows.cloudbase_init import DONE, NEXT_BOOT

    once = [it for it in init.states if it.plugin.lower() in again and it.value != NEXT_BOOT]
    if once:
        yield broken(
            Text(
                f"{once[0].plugin} is recorded as done: the platform's script would not run again.",
                f"{once[0].plugin} 被记录为已执行：平台脚本将不会再次运行。",
            ),
            *(f"{it.key}: {it.plugin}={it.value}" for it in once[:8]),
            remedy=_record(once[:8], f"/t REG_DWORD /d {NEXT_BOOT} /f"),
        )
    for_all = [
        it for it in init.states if not it.instance and it.value == DONE and it.plugin.lower() not in again
    ]
    if for_all:
        yield broken(
            Text(
                "Plugins are recorded as done for every instance: they would not run on a new one.",
                "部分插件被记录为对所有实例均已执行：在新实例上将不会运行。",
            ),
            *(f"{it.key}: {it.plugin}={it.value}" for it in for_all[:12]),
            remedy=_record(for_all[:12], "/f"),
        )


def _record(states: list[PluginState], change: str) -> Text:
    """The lines that change what is recorded of plugins, or, for a name that can't be written, where it is.

    Instances and plugins are keys and values of the image: their names are quoted, or not written at all.
    """
    from imgtool.guest.windows.commands import at_prompt, for_cmd

    verb = "add" if "/d " in change else "delete"
    lines = []
    for it in states:
        key, name = for_cmd(f"HKLM\\{it.key}"), for_cmd(it.plugin)
        if key is None or name is None:
            return Text(
                "In Windows, in regedit, set these values to 2, or delete them where they belong to no"
                " instance.",
                "请在 Windows 的注册表编辑器（regedit）中将上述值设为 2；不属于任何实例的值请删除。",
            )
        lines.append(f"reg {verb} {key} /v {name} {change}")
    return at_prompt(*lines)


def _scripts(guest: WindowsGuest, init: CloudbaseInit, pattern: str) -> Iterator[Outcome]:
    folder = f"{init.folder}/LocalScripts"
    names = guest.tree.list(folder) if guest.tree.is_dir(folder) else None
    scripts = [name for name in names or () if fnmatch.fnmatch(name.lower(), pattern.lower())]
    target = f"{init.windows_folder}\\LocalScripts"
    if scripts:
        path = f"{folder}/{scripts[0]}"
        if guest.is_from_the_internet(path):
            yield broken(
                Text(
                    f"{scripts[0]} is marked as downloaded: PowerShell refuses to run it.",
                    f"{scripts[0]} 带有下载标记：PowerShell 会拒绝运行。",
                ),
                f"{path}:Zone.Identifier",
                remedy=_unblock(guest, f"{target}\\{scripts[0]}"),
            )
        return
    yield broken(
        Text(
            "The platform's script is not in LocalScripts.",
            "LocalScripts 目录中没有平台脚本。",
        ),
        f"not there: {folder}" if names is None else f"{folder}: {', '.join(names)[:200] or 'empty'}",
        remedy=_copy_script(target, pattern),
    )


def _forbidden(guest: WindowsGuest) -> Iterator[Outcome]:
    """Group policy on scripts counts before what cloudbase-init asks PowerShell for."""
    from imgtool.guest.windows.commands import at_prompt

    policy = guest.software.key(SCRIPT_POLICY)
    if policy is None:
        return
    allowed = (policy.text("ExecutionPolicy") or "").strip()
    if policy.number("EnableScripts") != 0 and allowed.lower() not in ("allsigned", "restricted"):
        return
    yield broken(
        Text(
            "Group policy forbids PowerShell scripts: the platform's script would not run.",
            "组策略禁止运行 PowerShell 脚本：平台脚本将无法执行。",
        ),
        f"SOFTWARE\\{policy.path}: EnableScripts={policy.number('EnableScripts')},"
        f" ExecutionPolicy={allowed[:40] or None}",
        fixable=False,
        remedy=at_prompt(
            f'reg add "HKLM\\SOFTWARE\\{SCRIPT_POLICY}" /v EnableScripts /t REG_DWORD /d 1 /f',
            f'reg add "HKLM\\SOFTWARE\\{SCRIPT_POLICY}" /v ExecutionPolicy /d RemoteSigned /f',
            en="In Windows, in a Command Prompt as administrator (a domain's policy: in the domain)",
            zh="请在 Windows 中以管理员身份打开命令提示符（cmd），执行（域策略需在域中修改）",
        ),
    )


def _unblock(guest: WindowsGuest, script: str) -> Text:
    """Unblock-File came with PowerShell 3.0; an empty stream is no mark either."""
    from imgtool.guest.windows.boot_commands import build_of
    from imgtool.guest.windows.commands import (
        FIRST_WITH_UNBLOCK_FILE,
        at_prompt,
        for_cmd,
        for_powershell,
        in_powershell,
    )

    literal, quoted = for_powershell(script), for_cmd(f"{script}:Zone.Identifier")
    if literal is not None and build_of(guest) >= FIRST_WITH_UNBLOCK_FILE:
        return in_powershell(f"Unblock-File -LiteralPath {literal}")
    if quoted is not None:
        return at_prompt(f"type nul > {quoted}")
    return Text(
        "In Windows, in the script's properties, choose Unblock.",
        "请在 Windows 中打开该脚本的“属性”，勾选“解除锁定”。",
    )


def _copy_script(target: str, pattern: str) -> Text:
    from imgtool.guest.windows.commands import for_cmd, shown

    folder = for_cmd(target)
    if folder is None:
        return Text(
            f"Copy the platform's {pattern} (ref 04 of its documentation) into {shown(target)}.",
            f"请将平台提供的 {pattern} 脚本复制到 {shown(target)}。",
        )
    lines = f"if not exist {folder} mkdir {folder}\ncopy /y {pattern} {folder}"
    return Text(
        f"Put the platform's {pattern} (ref 04 of its documentation) into {shown(target)}, in a Command"
        " Prompt as"
        f" administrator, in the folder that the script lies in:\n{lines}",
        f"请将平台提供的 {pattern} 脚本复制到 {shown(target)}：以管理员身份打开命令提示符（cmd），"
        f"在脚本所在目录执行：\n{lines}",
    )
