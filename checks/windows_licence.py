"""Whether a Windows stays activated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.rules import Outcome, Severity, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.releases import Release
    from imgtool.image import Image


AZURE_EDITIONS = ("serverturbine", "serverturbinecor")
FIRST_WITH_EVALUATION_EDITIONS = 9200
OTHER_KEY_SERVERS = (
    "kms.core.windows.net",
    "azkms.core.windows.net",
    "169.254.169.250",
    "169.254.169.251",
    "kms.windows.googlecloud.com",
    "kms.cloud.aliyuncs.com",
    "kms.myhuaweicloud.com",
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
    own again, which it does not reach when that is another cloud's; a multiple activation key or a retail key
    is used up once more, because the hardware has changed; an OEM's key holds on that OEM's machines only,
    the Azure Edition in Azure, and an evaluation ends. Evidence: the edition, how the product key was sold,
    the service that is asked. Example: `ServerStandard, OEM_DM`. The fix is a key of one's own, or a key
    management service, after the import.
    """
    from imgtool.guest.windows.commands import at_prompt, for_cmd
    from imgtool.guest.windows.settings import read_key_server, read_key_type

    guest = image.windows
    sold, server = read_key_type(guest), read_key_server(guest)
    edition = guest.release.edition
    seen = f"edition {edition or 'unknown'}, product key: {sold or 'unknown'}"
    after = {
        "en": "After the import, in Windows, in a Command Prompt as administrator",
        "zh": "请在导入后于 Windows 中以管理员身份打开命令提示符（cmd），执行",
    }
    new_key = at_prompt("slmgr.vbs /ipk XXXXX-XXXXX-XXXXX-XXXXX-XXXXX", "slmgr.vbs /ato", **after)
    if "eval" in edition.lower():
        yield broken(
            Text(
                "This is an evaluation: it shuts itself down after its time.",
                "这是评估版：到期后会自动关机。",
            ),
            seen,
            remedy=_leave_evaluation(guest.release),
        )
        return
    if edition.lower() in AZURE_EDITIONS:
        yield broken(
            Text(
                "This is the Azure Edition, which is licensed and activated in Azure only.",
                "这是 Azure Edition，仅可在 Azure 中授权与激活。",
            ),
            seen,
            remedy=Text(
                "Install Windows Server Standard or Datacenter, and move the workload to it.",
                "请安装 Windows Server 标准版或数据中心版，并将业务迁移过去。",
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
            remedy=new_key,
        )
        return
    if server.lower().startswith(OTHER_KEY_SERVERS):
        ours = image.profile.windows.cloudbase_init.recommended.get("kms_host")
        host = for_cmd(ours) if isinstance(ours, str) else None
        yield broken(
            Text(
                f"Windows asks another cloud's key management service ({server}) to activate it.",
                f"Windows 向其他云平台的密钥管理服务（{server}）请求激活。",
            ),
            seen,
            f"SoftwareProtectionPlatform: KeyManagementServiceName={server}",
            remedy=at_prompt(
                f"slmgr.vbs /skms {host}" if host else "slmgr.vbs /ckms", "slmgr.vbs /ato", **after
            ),
        )
        return
    yield kept(
        Text(
            "Nothing ties the activation to this hardware, as far as can be seen.",
            "未发现与原硬件绑定的激活信息。",
        ),
        seen,
    )


def _leave_evaluation(release: Release) -> Text:
    """Standard's evaluation becomes Standard or Datacenter, Datacenter's becomes Datacenter alone
    (Microsoft's "Upgrade and conversion options"); those of 2008 R2 and before take a key, those of clients
    nothing."""
    from imgtool.guest.windows.commands import at_prompt

    if release.kind == "client":
        return Text(
            "An evaluation of a client can't be converted: install a licensed Windows.",
            "客户端评估版无法转换为正式版：请安装已授权的 Windows。",
        )
    if release.build < FIRST_WITH_EVALUATION_EDITIONS:
        return at_prompt("slmgr.vbs /ipk XXXXX-XXXXX-XXXXX-XXXXX-XXXXX", "slmgr.vbs /ato")
    edition = "ServerDatacenter" if "datacenter" in release.edition.lower() else "ServerStandard"
    core = "Cor" if release.edition.lower().endswith("cor") else ""
    return at_prompt(
        "dism /online /Get-TargetEditions",
        f"dism /online /Set-Edition:{edition}{core} /ProductKey:XXXXX-XXXXX-XXXXX-XXXXX-XXXXX /AcceptEula",
        en="In Windows, with nothing waiting for a restart and not on a domain controller (demote it first),"
        " in a Command Prompt as administrator; the first command lists the editions that it can become",
        zh="请确认没有待重启的操作且该机器不是域控制器（否则先降级），在 Windows 中以管理员身份打开命令提示符"
        "（cmd），执行（第一条命令列出可转换的版本）",
    )
