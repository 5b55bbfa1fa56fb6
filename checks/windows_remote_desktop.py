"""Remote Desktop, by which people log in to a Windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.rules import Outcome, Severity, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.firewall import Rule
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.guest.windows.remote_desktop import RemoteDesktop
    from imgtool.image import Image


MOST_DELETED = 16
"""Rules that a command each is told for; with more of them words are shorter."""
TERMINAL_SERVER = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server"
STATION = f"{TERMINAL_SERVER}\\WinStations\\RDP-Tcp"
POLICY = "Policies\\Microsoft\\Windows NT\\Terminal Services"
FIREWALL_RULES = (
    "HKLM\\SYSTEM\\CurrentControlSet\\Services\\SharedAccess\\Parameters\\FirewallPolicy\\FirewallRules"
)


@rule(
    "windows.remote-desktop",
    Text("Remote Desktop", "远程桌面"),
    severity=Severity.WARNING,
    source="field",
    family="windows",
    requires=("disk.root",),
    fixable=True,
)
def remote_desktop(image: Image) -> Iterator[Outcome]:
    """One can log in to the instance: Remote Desktop is on, it listens, and the firewall lets people in.

    Without it the console is the only way in. A new network is Public to Windows, so that a rule for the
    Domain or Private profile alone leaves the port closed; a rule that blocks counts before one that allows,
    and a rule for some addresses lets in those alone. Group policy counts before the system's own settings. A
    listener that is bound to one network adapter does not find it after the move. A port other than 3389 is
    told with the evidence: the security group must allow it.

    Evidence: fDenyTSConnections, the service TermService, what each of the firewall's profiles does. Example:
    `fDenyTSConnections=1`. The fix is a command for each.
    """
    from imgtool.guest.windows.commands import at_prompt
    from imgtool.guest.windows.remote_desktop import RDP_PORT, read_remote_desktop

    guest = image.windows
    found = read_remote_desktop(guest)
    seen = (*found.proofs, f"port {found.port}")
    why: list[Text] = []
    lines: list[str] = []
    words: list[Text | None] = []
    for reason, commands, in_words in _faults(guest, found):
        why.append(reason)
        lines += commands
        words.append(in_words)
    if why:
        told = [it for it in words if it is not None]
        said = at_prompt(*lines) if lines else None
        yield broken(
            Text(
                f"Nobody can log in by Remote Desktop: {'; '.join(it.en for it in why)}.",
                f"无法通过远程桌面登录：{'；'.join(it.zh for it in why)}。",
            ),
            *seen,
            fixable=bool(lines),
            remedy=_joined([*told, *([said] if said is not None else [])]),
        )
        return
    if found.public.verdict == "limited":
        yield _limited(found, seen)
        return
    other = found.port != RDP_PORT
    yield kept(
        Text(
            f"Remote Desktop is on, at port {found.port}"
            + (": allow it in the security group." if other else "."),
            f"远程桌面已启用，端口 {found.port}" + ("：请在安全组中放行。" if other else "。"),
        ),
        *seen,
    )


def _joined(parts: list[Text]) -> Text:
    return Text("\n".join(it.en for it in parts), "\n".join(it.zh for it in parts))


Reason = tuple[Text, list[str], "Text | None"]


def _faults(guest: WindowsGuest, found: RemoteDesktop) -> Iterator[Reason]:
    """Why nobody gets in, with the commands that mend it, or what to do where no command can."""
    from imgtool.guest.windows.commands import start_service

    if not found.enabled:
        key = f"HKLM\\SOFTWARE\\{POLICY}" if found.denied_by_policy else TERMINAL_SERVER
        reason = (
            Text("group policy denies it", "被组策略禁止")
            if found.denied_by_policy
            else Text("it is switched off", "未启用")
        )
        by_domain = Text(
            "A domain's policy sets it again: change it there.", "若为域策略，修改后会被还原：请在域中修改。"
        )
        line = f'reg add "{key}" /v fDenyTSConnections /t REG_DWORD /d 0 /f'
        yield reason, [line], by_domain if found.denied_by_policy else None
    service = guest.services.get("termservice")
    if service is None:
        yield (
            Text("its service TermService is not there", "缺少 TermService 服务"),
            [],
            Text(
                "Repair Windows by an upgrade from the installation disk of its own release: TermService"
                " is a part"
                " of it.",
                "TermService 是系统组件：请用同版本安装光盘执行升级安装以修复 Windows。",
            ),
        )
    elif found.service_disabled:
        yield Text("its service is disabled", "服务被禁用"), start_service(service, "demand"), None
    if found.listener_off:
        yield (
            Text("its listener RDP-Tcp is disabled", "侦听器 RDP-Tcp 被禁用"),
            [f'reg add "{STATION}" /v fEnableWinStation /t REG_DWORD /d 1 /f'],
            None,
        )
    if found.adapter:
        yield (
            Text(
                "it listens on one network adapter, which the instance does not have", "仅侦听原有的某块网卡"
            ),
            [f'reg add "{STATION}" /v LanAdapter /t REG_DWORD /d 0 /f'],
            None,
        )
    if not found.public.reachable:
        yield _firewall(found)


def _firewall(found: RemoteDesktop) -> Reason:
    public = found.public
    blocks = Text(
        f"a firewall rule keeps connections to port {found.port} out on a public network",
        f"防火墙规则在公用网络上阻止访问端口 {found.port}",
    )
    why = {
        "blocked": blocks,
        "shut": Text(
            "the firewall takes no connections at all on a public network", "防火墙在公用网络上阻止所有连接"
        ),
    }.get(
        public.verdict,
        Text(
            f"the firewall lets nothing in to port {found.port} on a public network",
            f"防火墙在公用网络上不允许访问端口 {found.port}",
        ),
    )
    if public.by_policy:
        return (
            why,
            [],
            Text(
                "Group policy decides that: let its firewall (Public profile) allow the port, or take the"
                " machine out"
                " of that policy (`gpedit.msc` for a local one), before the export.",
                "该设置由组策略决定：请在导出前修改策略，在其防火墙（公用配置文件）中放行该端口，"
                "或使该机器不再应用此策略（本地策略用 `gpedit.msc`）。",
            ),
        )
    if public.verdict == "shut":
        return why, ["netsh advfirewall set publicprofile firewallpolicy blockinbound,allowoutbound"], None
    if public.verdict == "blocked":
        return _unblock(why, public.rules)
    return why, [_allow(found.port)], None


def _allow(port: int) -> str:
    return (
        'netsh advfirewall firewall add rule name="Remote Desktop" dir=in action=allow protocol=TCP'
        f" localport={port}"
    )


def _unblock(why: Text, rules: tuple[Rule, ...]) -> Reason:
    """The rules that block, deleted by the name of their value: a stranger's, quoted or told in words."""
    from imgtool.guest.windows.commands import for_cmd

    lines = []
    for it in rules:
        name = for_cmd(it.id)
        if name is None or len(rules) > MOST_DELETED:
            words = Text(
                "Disable the inbound rules that block it, in Windows Defender Firewall with Advanced Security"
                " (`wf.msc`).",
                "请在高级安全 Windows 防火墙（`wf.msc`）中禁用阻止它的入站规则。",
            )
            return why, [], words
        lines.append(f'reg delete "{FIREWALL_RULES}" /v {name} /f')
    return why, lines, None


def _limited(found: RemoteDesktop, seen: tuple[str, ...]) -> Outcome:
    from imgtool.guest.windows.commands import at_prompt, shown

    remotes = [shown(it) for it in found.public.remotes]
    return broken(
        Text(
            f"The firewall lets Remote Desktop in from some addresses only: {', '.join(remotes)}.",
            f"防火墙仅允许部分地址访问远程桌面：{'、'.join(remotes)}。",
        ),
        *seen,
        fixable=False,
        remedy=at_prompt(
            _allow(found.port),
            en="If you will not come from there, in Windows, in a Command Prompt as administrator",
            zh="如果将从其他地址登录，请在 Windows 中以管理员身份打开命令提示符（cmd），执行",
        ),
    )
