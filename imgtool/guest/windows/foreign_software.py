"""Software of other platforms, as data: what migrations stumble over, and how it is recognised."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.guest.windows.programs import Program
    from imgtool.guest.windows.services import Service


@dataclass(frozen=True)
class Foreign:
    """kind: guest tools of another hypervisor, another cloud's agent, or security software.

    services: names in lower case; programs: what a program's name begins with, in lower case; tasks: names of
    scheduled tasks.
    """

    name: str
    kind: Literal["guest tools", "cloud agent", "security software"]
    services: tuple[str, ...]
    programs: tuple[str, ...]
    tasks: tuple[str, ...] = ()


TASKS = "/Windows/System32/Tasks"
"""Where Windows keeps scheduled tasks, each a file of XML in UTF-16."""
LARGEST_TASK = 1 << 20
MOST_PROOFS = 6
KNOWN = (
    Foreign(
        "VMware Tools",
        "guest tools",
        ("vmtools", "vmvss", "vgauthservice", "vmmemctl", "vmusbmouse"),
        ("vmware tools",),
    ),
    Foreign(
        "VirtualBox Guest Additions",
        "guest tools",
        ("vboxservice", "vboxguest", "vboxsf", "vboxmouse"),
        (
            "oracle vm virtualbox guest additions",
            "virtualbox guest additions",
            "oracle virtualbox guest additions",
        ),
    ),
    Foreign(
        "Xen tools",
        "guest tools",
        (
            "xensvc",
            "xenservice",
            "xenagent",
            "xenbus",
            "xenvbd",
            "xennet",
            "xenvif",
            "xeniface",
            "xenfilt",
            "xenpci",
            "rhelfltr",
            "rhelnet",
            "rhelscsi",
        ),
        (
            "citrix xenserver",
            "citrix tools for virtual machines",
            "xenserver tools",
            "citrix hypervisor",
            "xen pv drivers",
            "xcp-ng",
            "aws pv drivers",
            "gplpv",
        ),
    ),
    Foreign(
        "Parallels Tools", "guest tools", ("prl_tools", "prl_tg", "prltoolsservice"), ("parallels tools",)
    ),
    Foreign(
        "Hyper-V Integration Components",
        "guest tools",
        (),
        ("microsoft hyper-v integration", "hyper-v integration"),
    ),
    Foreign(
        "Alibaba Cloud agent",
        "cloud agent",
        (
            "aliyunservice",
            "aliyunuserserviceagent",
            "aegisservice",
            "alibaba security aegis detect service",
            "alibaba security aegis update service",
        ),
        ("aliyun assist", "aliyun_assist", "aliyunservice", "alibaba cloud assistant", "alibaba security"),
    ),
    Foreign(
        "AWS agents",
        "cloud agent",
        ("amazonssmagent", "awsliteagent", "ec2config", "amazoncloudwatchagent", "amazon ec2launch"),
        (
            "amazon ssm agent",
            "ec2configservice",
            "amazon ec2launch",
            "amazon cloudwatch agent",
            "aws-cfn-bootstrap",
        ),
        ("Amazon Ec2 Launch - Instance Initialization",),
    ),
    Foreign(
        "Azure agent",
        "cloud agent",
        (
            "windowsazureguestagent",
            "rdagent",
            "windowsazuretelemetryservice",
            "windowsazurenetagentsvc",
        ),
        ("windows azure vm agent", "microsoft azure vm agent", "azure vm agent"),
    ),
    Foreign(
        "Google Cloud agent",
        "cloud agent",
        ("gceagent", "gceagentmanager", "gcewindowscompatmanager", "google_osconfig_agent"),
        ("google compute engine",),
    ),
    Foreign(
        "Huawei Cloud agent",
        "cloud agent",
        ("uvpmonitor", "hostguard", "cloudresetpwdagent", "cloudresetpwdupdateagent"),
        ("huawei cloud", "uvp vmtools"),
    ),
    Foreign("Oracle Cloud agent", "cloud agent", ("ocaum",), ("oracle cloud agent",)),
    Foreign(
        "Nutanix Guest Tools",
        "guest tools",
        ("nutanix guest agent",),
        ("nutanix guest tools", "nutanix guest agent"),
    ),
    Foreign(
        "oVirt guest agent",
        "guest tools",
        ("rhev-agent", "ovirtguestservice", "ovirt-guest-agent"),
        ("rhev-agent", "ovirt guest"),
    ),
    Foreign(
        "360",
        "security software",
        ("zhudongfangyu", "360rp"),
        ("360安全卫士", "360杀毒", "360 total security"),
    ),
    Foreign("Huorong", "security software", ("hipsdaemon",), ("火绒", "huorong")),
    Foreign("Kingsoft", "security software", ("kxescore",), ("金山毒霸",)),
    Foreign(
        "Safedog",
        "security software",
        ("safedogguardcenter", "safedogcloudhelper"),
        ("服务器安全狗", "网站安全狗", "安全狗"),
    ),
    Foreign(
        "Symantec Endpoint Protection",
        "security software",
        ("sepmasterservice",),
        ("symantec endpoint protection",),
    ),
    Foreign("Trend Micro", "security software", ("ntrtscan", "ds_agent"), ("trend micro",)),
    Foreign("McAfee", "security software", ("mcshield", "masvc"), ("mcafee",)),
    Foreign("Kaspersky", "security software", ("klnagent",), ("kaspersky",)),
    Foreign("CrowdStrike Falcon", "security software", ("csfalconservice",), ("crowdstrike",)),
    Foreign("Sophos", "security software", ("sophos endpoint defense service",), ("sophos endpoint",)),
    Foreign("ESET", "security software", ("ekrn",), ("eset ",)),
    Foreign("QAX Tianqing", "security software", ("qaxservice",), ("奇安信", "360天擎")),
)


@dataclass(frozen=True)
class Found:
    """One that is on the system. proofs: the keys and files that show it; programs: its entries to uninstall;
    services, tasks: those of it that are there and not disabled."""

    foreign: Foreign
    proofs: tuple[str, ...]
    programs: tuple[Program, ...]
    services: tuple[Service, ...]
    tasks: tuple[str, ...] = ()


def find_foreign(guest: WindowsGuest) -> tuple[Found, ...]:
    """What is installed: services and tasks that are not disabled, and programs. Raises CannotRead."""
    found = []
    for each in KNOWN:
        services = tuple(
            service
            for name in each.services
            if (service := guest.services.get(name)) is not None and not service.disabled
        )
        programs = tuple(it for it in guest.programs if it.name.lower().startswith(each.programs or ("\0",)))
        tasks = tuple(it for it in each.tasks if _is_enabled(guest, f"{TASKS}/{it}"))
        if services or programs or tasks:
            proofs = [f"{it.key}: {it.name} {it.version}".rstrip() for it in programs[:MOST_PROOFS]]
            proofs += [it.proof for it in services]
            proofs += [f"{TASKS}/{it}" for it in tasks]
            found.append(Found(each, tuple(proofs[:MOST_PROOFS]), programs[:MOST_PROOFS], services, tasks))
    return tuple(found)


def _is_enabled(guest: WindowsGuest, path: str) -> bool:
    """Whether a scheduled task is there and its settings do not disable it."""
    if not guest.tree.is_file(path):
        return False
    text = guest.tree.read(path, LARGEST_TASK).replace(b"\0", b"")
    settings = re.search(rb"<Settings>.*?</Settings>", text, re.DOTALL)
    return settings is None or b"<Enabled>false</Enabled>" not in settings[0]
