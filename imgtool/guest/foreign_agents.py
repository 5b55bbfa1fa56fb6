"""Software of other hypervisors and other clouds that a guest may have: where each of them shows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from imgtool.records import dataclass

if TYPE_CHECKING:
    from imgtool.guest.services import Services
    from imgtool.guest.tree import Tree

Kind = Literal["tools", "agent"]
_LIMIT = 64 << 10


@dataclass(frozen=True)
class Product:
    """A product and what it puts on a disk.

    paths: any one of them proves it (`*` and `?` as in a shell); services: what it has the boot start;
    packages: of the distributions that have it, by family; uninstall: its own programs that remove it.
    """

    name: str
    kind: Kind
    paths: tuple[str, ...]
    services: tuple[str, ...] = ()
    debian: str = ""
    redhat: str = ""
    suse: str = ""
    uninstall: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """A product that is there. evidence: its paths; starts: the services of it that the boot starts.

    idle: none of its services starts on this platform: all wait for the hypervisor that they were made for.
    packaged: the distribution's package brought it. uninstall: its own remover, "" for none.
    """

    product: Product
    evidence: tuple[str, ...]
    starts: tuple[str, ...]
    idle: bool
    packaged: bool
    uninstall: str


PRODUCTS = (
    Product(
        "VMware Tools",
        "tools",
        ("/usr/lib/vmware-tools", "/usr/bin/vmware-uninstall-tools.pl", "/etc/vmware-tools/locations"),
        ("vmware-tools", "vmware-tools-thinprint"),
        uninstall=("/usr/bin/vmware-uninstall-tools.pl",),
    ),
    Product(
        "open-vm-tools",
        "tools",
        ("/usr/bin/vmtoolsd",),
        ("open-vm-tools", "vmtoolsd", "vgauthd"),
        debian="open-vm-tools",
        redhat="open-vm-tools",
        suse="open-vm-tools",
    ),
    Product(
        "VirtualBox Guest Additions",
        "tools",
        ("/opt/VBoxGuestAdditions-*", "/usr/sbin/VBoxService", "/usr/bin/VBoxService"),
        ("vboxadd", "vboxadd-service", "vboxservice", "virtualbox-guest-utils"),
        debian="virtualbox-guest-utils",
        redhat="virtualbox-guest-additions",
        suse="virtualbox-guest-tools",
        uninstall=("/opt/VBoxGuestAdditions-*/uninstall.sh",),
    ),
    Product(
        "Xen guest tools",
        "tools",
        ("/usr/sbin/xe-daemon", "/usr/sbin/xe-linux-distribution", "/usr/bin/xe-update-guest-attrs"),
        ("xe-daemon", "xe-linux-distribution", "xendaemon"),
        debian="xe-guest-utilities",
        redhat="xe-guest-utilities",
        suse="xen-tools-domU",
    ),
    Product(
        "Parallels Tools",
        "tools",
        ("/usr/bin/prltoolsd", "/usr/lib/parallels-tools"),
        ("prltoolsd",),
        uninstall=("/usr/lib/parallels-tools/install",),
    ),
    Product(
        "Hyper-V daemons",
        "tools",
        ("/usr/sbin/hv_kvp_daemon", "/usr/sbin/hypervkvpd", "/usr/lib/hyper-v/bin/hv_kvp_daemon"),
        ("hypervkvpd", "hv-kvp-daemon", "hv_kvp_daemon"),
        debian="hyperv-daemons",
        redhat="hyperv-daemons",
        suse="hyper-v",
    ),
    Product(
        "Azure Linux Agent",
        "agent",
        ("/usr/sbin/waagent", "/usr/bin/waagent"),
        ("walinuxagent", "waagent"),
        debian="walinuxagent",
        redhat="WALinuxAgent",
        suse="python-azure-agent",
    ),
    Product(
        "Amazon SSM Agent",
        "agent",
        ("/usr/bin/amazon-ssm-agent", "/snap/bin/amazon-ssm-agent", "/snap/bin/amazon-ssm-agent.ssm-cli"),
        ("amazon-ssm-agent", "snap.amazon-ssm-agent.amazon-ssm-agent"),
        debian="amazon-ssm-agent",
        redhat="amazon-ssm-agent",
        suse="amazon-ssm-agent",
    ),
    Product(
        "Amazon EC2 Instance Connect",
        "agent",
        ("/opt/aws/bin/eic_run_authorized_keys", "/usr/share/ec2-instance-connect/eic_run_authorized_keys"),
        ("ec2-instance-connect",),
        debian="ec2-instance-connect",
        redhat="ec2-instance-connect",
    ),
    Product(
        "Google guest agent",
        "agent",
        (
            "/usr/bin/google_guest_agent",
            "/usr/bin/google_metadata_script_runner",
            "/usr/bin/google_accounts_daemon",
        ),
        ("google-guest-agent", "google-startup-scripts", "google-accounts-daemon"),
        debian="google-guest-agent",
        redhat="google-guest-agent",
        suse="google-guest-agent",
    ),
    Product(
        "Alibaba Cloud Assistant",
        "agent",
        ("/usr/local/share/aliyun-assist", "/usr/sbin/aliyun-service"),
        ("aliyun", "aliyun-service"),
        redhat="aliyun_assist",
    ),
    Product(
        "Alibaba CloudMonitor",
        "agent",
        ("/usr/local/cloudmonitor", "/etc/init.d/cloudmonitor"),
        ("cloudmonitor",),
        uninstall=("/usr/local/cloudmonitor/cloudmonitorCtl.sh",),
    ),
    Product(
        "Alibaba Security Center agent",
        "agent",
        ("/usr/local/aegis", "/etc/init.d/aegis"),
        ("aegis",),
    ),
    Product(
        "Huawei Cloud password-reset agent",
        "agent",
        ("/CloudrResetPwdAgent", "/CloudResetPwdUpdateAgent"),
        ("cloudResetPwdAgent", "cloudResetPwdUpdateAgent"),
        uninstall=("/CloudrResetPwdAgent/bin/cloudResetPwdAgent.script",),
    ),
    Product(
        "Huawei Cloud UniAgent",
        "agent",
        ("/usr/local/uniagentd", "/usr/local/telescope"),
        ("uniagentd", "telescoped"),
    ),
    Product(
        "Huawei Cloud HostGuard",
        "agent",
        ("/usr/local/hostguard",),
        ("hostguard",),
    ),
    Product(
        "Oracle Cloud Agent",
        "agent",
        ("/usr/libexec/oracle-cloud-agent", "/var/lib/oracle-cloud-agent"),
        ("oracle-cloud-agent", "snap.oracle-cloud-agent.oracle-cloud-agent"),
        redhat="oracle-cloud-agent",
    ),
    Product(
        "DigitalOcean agent",
        "agent",
        ("/opt/digitalocean/bin/do-agent", "/opt/digitalocean/bin/droplet-agent"),
        ("do-agent", "droplet-agent"),
        debian="do-agent droplet-agent",
        redhat="do-agent droplet-agent",
    ),
)


def find_products(tree: Tree, services: Services) -> tuple[Found, ...]:
    """The products that are on the guest, in the order of PRODUCTS. Raises GuestReadFailed."""
    return tuple(found for product in PRODUCTS if (found := _find(tree, services, product)) is not None)


def _find(tree: Tree, services: Services, product: Product) -> Found | None:
    paths: list[str] = []
    for pattern in product.paths:
        paths += tree.glob(pattern) if "*" in pattern else [pattern] if tree.exists(pattern) else []
    if not paths:
        return None
    states = [services.find(name) for name in product.services]
    starts = [state for state in states if state.starts]
    conditions = [_waits_for_its_own(tree, services, state.name) for state in starts]
    remover = next((path for pattern in product.uninstall for path in tree.glob(pattern)), "")
    return Found(
        product,
        evidence=tuple(paths[:4]),
        starts=tuple(f"{state.name}: {state.proof}" for state in starts),
        idle=(bool(starts) and all(conditions)) or (bool(states) and not starts),
        packaged=_packaged(tree, product),
        uninstall=remover,
    )


def _waits_for_its_own(tree: Tree, services: Services, name: str) -> bool:
    """A unit that runs only under another hypervisor than the platform's KVM (systemd.unit(5))."""
    path = services.unit_path(name if "." in name else f"{name}.service")
    text = (tree.text_if_there(path, _LIMIT) if path else None) or ""
    wanted = re.findall(r"^ConditionVirtualization=\|?(.*)$", text, re.MULTILINE)
    kinds = [kind.strip().lower() for kind in wanted if kind.strip()]
    if any(path_ for path_ in re.findall(r"^ConditionPathExists=(/dev/vmbus/\S*)", text, re.MULTILINE)):
        return True
    return bool(kinds) and all(
        kind in ("vmware", "microsoft", "oracle", "xen", "parallels") for kind in kinds
    )


def _packaged(tree: Tree, product: Product) -> bool:
    """dpkg has it; an rpm database is not read, and there the folders of a foreign installer decide."""
    names = product.debian.split()
    if tree.is_dir("/var/lib/dpkg/info"):
        return any(
            tree.exists(f"/var/lib/dpkg/info/{name}{architecture}.list")
            for name in names
            for architecture in ("", ":amd64", ":arm64", ":i386")
        )
    return bool(product.redhat or product.suse)
