"""Settings of Windows that differ after the import: its clock, and disks that are added."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.rules import Outcome, Severity, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.image import Image


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
    from imgtool.guest.windows.commands import at_prompt
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
            remedy=at_prompt(
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
    `SanPolicy=2`. The fix is diskpart's `san policy=OnlineAll`.
    """
    from imgtool.guest.windows.commands import at_prompt
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
        remedy=at_prompt("echo san policy=OnlineAll| diskpart"),
    )
