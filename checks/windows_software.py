"""Software in Windows that belongs to another platform or stands in the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.rules import Outcome, Severity, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.foreign_software import Found
    from imgtool.image import Image

KINDS = {
    "guest tools": Text("the guest tools of another hypervisor", "其他虚拟化平台的客户机工具"),
    "cloud agent": Text("an agent of another cloud", "其他云平台的代理程序"),
    "security software": Text("security software", "安全软件"),
}


@rule(
    "windows.conflicting-software",
    Text("Software of other platforms", "冲突软件"),
    severity=Severity.WARNING,
    source="ref 07, 11",
    family="windows",
    requires=("disk.root",),
)
def conflicting(image: Image) -> Iterator[Outcome]:
    """No guest tools, agents or security software get in the way of the platform's.

    VMware Tools, Xen tools and VirtualBox Guest Additions bring drivers that fail or filter disk and network
    on another hypervisor; ref 07 has them uninstalled before the export, since their uninstallers often
    refuse to run afterwards. Agents of other clouds look for that cloud's metadata and may overwrite address
    or password. Security software is named because it may keep cloudbase-init from setting the password (ref
    11): that is information only.

    Evidence: uninstall keys and services. Example: `SOFTWARE\\…\\Uninstall\\{…}: VMware Tools 11.3.0`. The
    fix is to uninstall it on the source.
    """
    from imgtool.guest.windows.foreign_software import find_foreign

    guest = image.windows
    found = find_foreign(guest.services, guest.programs)
    for each in found:
        security = each.foreign.kind == "security software"
        kind = KINDS[each.foreign.kind]
        yield broken(
            Text(
                f"{each.foreign.name} is installed: {kind.en}.",
                f"已安装 {each.foreign.name}（{kind.zh}）。",
            ),
            *each.proofs,
            severity=Severity.INFO if security else None,
            remedy=_allow() if security else _uninstall(each),
        )
    if not found:
        yield kept(Text("Nothing of another platform is installed.", "未发现其他平台的软件。"))


def _uninstall(found: Found) -> Text:
    if found.program is not None:
        product = found.program.key.rpartition("\\")[2]
        command = (
            f"msiexec /x {product} /qn /norestart"
            if product.startswith("{")
            else f'(Get-ItemProperty "HKLM:\\{found.program.key}").UninstallString'
        )
        return Text(
            f"On the source, before the export (the command uninstalls it, or shows what does):\n{command}",
            f"请在导出前于源机器上卸载（执行以下命令卸载或查看卸载程序）：\n{command}",
        )
    lines = "\n".join(
        f"sc.exe config {it.name} start= disabled" for it in found.services if it.start is not None
    )
    return Text(
        f"It has no uninstaller (any more); keep what is left from starting:\n{lines}",
        f"它（已）没有卸载程序；请禁止其残留服务启动：\n{lines}",
    )


def _allow() -> Text:
    return Text(
        "Let it allow cloudbase-init to set passwords and addresses, or uninstall it.",
        "请将 cloudbase-init 的相关操作加入其白名单，或卸载该软件。",
    )
