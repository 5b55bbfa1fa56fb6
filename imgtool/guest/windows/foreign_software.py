"""Software of other platforms, as data: what migrations stumble over, and how it is recognised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from imgtool.guest.windows.programs import Program
    from imgtool.guest.windows.services import Service


@dataclass(frozen=True)
class Foreign:
    """kind: guest tools of another hypervisor, another cloud's agent, or security software.

    services: names in lower case; programs: what a program's name begins with, in lower case.
    """

    name: str
    kind: Literal["guest tools", "cloud agent", "security software"]
    services: tuple[str, ...]
    programs: tuple[str, ...]


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
    """One that is on the system. proofs: the keys that show it; program: its entry to uninstall, if it has
    one; services: those of it that are there."""

    foreign: Foreign
    proofs: tuple[str, ...]
    program: Program | None
    services: tuple[Service, ...]


def find_foreign(services: Mapping[str, Service], programs: tuple[Program, ...]) -> tuple[Found, ...]:
    """What is installed: services and drivers that are not disabled, and programs."""
    found = []
    for each in KNOWN:
        active = tuple(
            services[name]
            for name in each.services
            if name in services and services[name].effective_start != 4
        )
        program = next((it for it in programs if it.name.lower().startswith(each.programs)), None)
        if each.programs == ():
            program = None
        if active or program is not None:
            proofs = [f"{program.key}: {program.name} {program.version}".rstrip()] if program else []
            proofs += [it.proof for it in active]
            found.append(Found(each, tuple(proofs[:6]), program, active))
    return tuple(found)
