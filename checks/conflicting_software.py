"""Software that was made for another hypervisor or another cloud."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.remedy import in_guest, quoted
from imgtool.rules import Outcome, Severity, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.foreign_agents import Found
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image


@rule(
    "linux.conflicting-software",
    Text("Software of other platforms", "其他平台的软件"),
    severity=Severity.WARNING,
    source="ref 06",
    family="linux",
    requires=("disk.root",),
    fixable=True,
)
def conflicting_software(image: Image) -> Iterator[Outcome]:
    """No tools of another hypervisor and no agents of another cloud are installed.

    VMware Tools, Xen tools and VirtualBox additions bring drivers and settings of their own, which get in the
    way of the platform's (ref 06); another cloud's agent changes accounts, network and host name by a
    metadata service that does not exist here, or waits for it. What its own package keeps from running on
    another hypervisor (open-vm-tools has `ConditionVirtualization=vmware`), or what is not started, is told
    as information.

    Evidence: the files, and the services that the boot starts. Example: `/usr/lib/vmware-tools`. The fix
    removes the package, or runs the product's own remover.
    """
    from imgtool.guest.foreign_agents import find_products

    guest = image.linux
    found = find_products(guest.tree, guest.services)
    for each in found:
        yield _judged(guest, each)
    if not found:
        yield kept(Text("No software of other platforms is installed.", "未安装其他平台的软件。"))


def _judged(guest: LinuxGuest, found: Found) -> Outcome:
    name = found.product.name
    if found.product.kind == "tools":
        what = Text("tools of another hypervisor", "其他虚拟化平台的工具")
    else:
        what = Text("an agent of another cloud", "其他云平台的代理程序")
    still = ("; it does not run here", "；在此平台上不会运行") if found.idle else ("", "")
    return broken(
        Text(
            f"{name} is installed: {what.en}{still[0]}.",
            f"已安装 {name}：{what.zh}{still[1]}。",
        ),
        *found.evidence,
        *found.starts,
        severity=Severity.INFO if found.idle else None,
        remedy=_remove(guest, found),
        fixable=found.packaged or None,
    )


def _remove(guest: LinuxGuest, found: Found) -> Text:
    product = found.product
    if found.uninstall and not found.packaged:
        return in_guest(quoted(found.uninstall) + _arguments(product.name))
    names = {"debian": product.debian, "redhat": product.redhat, "suse": product.suse}.get(
        guest.release.family, ""
    )
    command = guest.release.remove_command(*names.split()) if found.packaged else ""
    if command:
        return in_guest(command)
    return Text(
        f"Uninstall {product.name} on the source as its maker says, then export again.",
        f"请在源机器上按厂商说明卸载 {product.name}，再重新导出。",
    )


def _arguments(name: str) -> str:
    return {
        "Parallels Tools": " -r",
        "Alibaba CloudMonitor": " stop && /usr/local/cloudmonitor/cloudmonitorCtl.sh uninstall",
        "Huawei Cloud password-reset agent": " remove",
    }.get(name, "")
