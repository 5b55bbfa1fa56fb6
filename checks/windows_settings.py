"""Settings of Windows that decide how an instance is reached, and what differs after the import."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.rules import Outcome, Severity, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.image import Image

TERMINAL_SERVER = "HKLM\\SYSTEM\\CurrentControlSet\\Control\\Terminal Server"


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
    """One can log in to the instance: Remote Desktop is on, its service starts, and the firewall lets it in.

    Without it the console is the only way in. A new network is Public to Windows, so that a rule for the
    Domain or Private profile alone leaves the port closed. Group policy counts before the system's own
    settings. A port other than 3389 is told with the evidence: the security group must allow it.

    Evidence: fDenyTSConnections, the service TermService, the firewall's profiles and rules. Example:
    `fDenyTSConnections=1`. The fix is two commands.
    """
    from imgtool.guest.windows.settings import RDP_PORT, read_remote_desktop

    found = read_remote_desktop(image.windows)
    seen = (*found.proofs, f"port {found.port}")
    lines: list[str] = []
    why: list[Text] = []
    if not found.enabled:
        why.append(Text("it is switched off", "未启用"))
        lines.append(f'reg add "{TERMINAL_SERVER}" /v fDenyTSConnections /t REG_DWORD /d 0 /f')
    if found.service_disabled:
        why.append(Text("its service is disabled", "服务被禁用"))
        lines.append("sc.exe config TermService start= demand")
    if "Public" in found.blocked_in:
        why.append(
            Text(
                f"the firewall lets nothing in to port {found.port} on a public network",
                f"防火墙在公用网络上不允许访问端口 {found.port}",
            )
        )
        lines.append(
            'netsh advfirewall firewall add rule name="Remote Desktop" dir=in action=allow protocol=TCP'
            f" localport={found.port}"
        )
    if not why:
        other = found.port != RDP_PORT
        yield kept(
            Text(
                f"Remote Desktop is on, at port {found.port}"
                + (": allow it in the security group." if other else "."),
                f"远程桌面已启用，端口 {found.port}" + ("：请在安全组中放行。" if other else "。"),
            ),
            *seen,
        )
        return
    yield broken(
        Text(
            f"Nobody can log in by Remote Desktop: {'; '.join(it.en for it in why)}.",
            f"无法通过远程桌面登录：{'；'.join(it.zh for it in why)}。",
        ),
        *seen,
        remedy=Text.same("\n".join(lines)),
    )


@rule(
    "windows.clock",
    Text("Clock", "时钟"),
    severity=Severity.INFO,
    source="field",
    family="windows",
    requires=("disk.root",),
    fixable=True,
)
def clock(image: Image) -> Iterator[Outcome]:
    """Windows takes the hardware clock as local time, as platforms give it to Windows.

    RealTimeIsUniversal, which some set for a Linux beside it, makes it UTC: then the time is wrong by the
    time zone until the network corrects it, and certificates and domain logins may fail meanwhile. Evidence:
    the value and the time zone. Example: `RealTimeIsUniversal=1`. The fix deletes the value.
    """
    from imgtool.guest.windows.settings import read_clock

    found = read_clock(image.windows)
    zone = f"time zone: {found.zone or 'unknown'}"
    if found.utc:
        yield broken(
            Text(
                "Windows takes the hardware clock as UTC; the platform gives Windows local time.",
                "Windows 将硬件时钟视为 UTC，而平台为 Windows 提供本地时间。",
            ),
            "Control\\TimeZoneInformation: RealTimeIsUniversal=1",
            zone,
            remedy=Text.same(
                'reg delete "HKLM\\SYSTEM\\CurrentControlSet\\Control\\TimeZoneInformation" /v'
                " RealTimeIsUniversal /f"
            ),
        )
        return
    yield kept(Text("The hardware clock is taken as local time.", "硬件时钟按本地时间处理。"), zone)


@rule(
    "windows.san-policy",
    Text("Policy for new disks", "新磁盘策略"),
    severity=Severity.INFO,
    source="ref 04, field",
    family="windows",
    requires=("disk.root",),
    fixable=True,
)
def san_policy(image: Image) -> Iterator[Outcome]:
    """Disks that are added to an instance come online by themselves.

    Enterprise and Datacenter editions keep disks on shared buses offline until an administrator brings them
    online. The platform's configuration has cloudbase-init set the policy OnlineAll (`san_policy`, ref 04),
    at the first start. This tells what the policy is now. Evidence: partmgr's SanPolicy. Example:
    `SanPolicy=2`. The fix is
    diskpart's `san policy=OnlineAll`.
    """
    from imgtool.guest.windows.settings import SAN_POLICIES, read_san_policy

    policy = read_san_policy(image.windows)
    seen = f"Services\\partmgr\\Parameters: SanPolicy={policy}"
    if policy is None or policy == 1:
        yield kept(Text("New disks come online.", "新磁盘会自动联机。"), seen)
        return
    name = SAN_POLICIES.get(policy, str(policy))
    yield broken(
        Text(
            f"Added disks may stay offline (policy {name}) until cloudbase-init sets the policy.",
            f"新增磁盘可能保持脱机（策略 {name}），直到 cloudbase-init 设置该策略。",
        ),
        seen,
        remedy=Text.same('"san policy=OnlineAll" | diskpart'),
    )


@rule(
    "windows.activation",
    Text("Activation", "激活"),
    severity=Severity.INFO,
    source="ref 01, field",
    family="windows",
    requires=("disk.root",),
)
def activation(image: Image) -> Iterator[Outcome]:
    """Whether Windows will still be activated on other hardware.

    The platform does not activate imported systems (ref 01). A client of a key management service asks its
    own again; a multiple activation key or a retail key is used up once more, because the hardware has
    changed; an OEM's key holds on that OEM's machines only, and an evaluation ends. Evidence: the edition,
    and how the product key was sold. Example: `ServerStandard, OEM_DM`. The fix is a key of one's own, or a
    key management service, after the import.
    """
    from imgtool.guest.windows.settings import read_key_type

    guest = image.windows
    sold = read_key_type(guest)
    edition = guest.release.edition
    seen = f"edition {edition or 'unknown'}, product key: {sold or 'unknown'}"
    if "eval" in edition.lower():
        yield broken(
            Text(
                "This is an evaluation: it shuts itself down after its time.",
                "这是评估版：到期后会自动关机。",
            ),
            seen,
            remedy=Text.same(
                "dism /online /Set-Edition:ServerStandard /ProductKey:XXXXX-XXXXX-XXXXX-XXXXX-XXXXX"
                " /AcceptEula"
            ),
        )
        return
    if sold and "GVLK" not in sold:
        yield broken(
            Text(
                f"The product key ({sold}) is bound to hardware: Windows will ask to be activated again.",
                f"产品密钥（{sold}）与硬件绑定：Windows 将要求重新激活。",
            ),
            seen,
            remedy=Text.same("slmgr.vbs /ipk XXXXX-XXXXX-XXXXX-XXXXX-XXXXX\nslmgr.vbs /ato"),
        )
        return
    yield kept(
        Text(
            "Nothing ties the activation to this hardware, as far as can be seen.",
            "未发现与原硬件绑定的激活信息。",
        ),
        seen,
    )
