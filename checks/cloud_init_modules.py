"""What cloud-init is to do at the first boot, and which of it this image has turned off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.records import dataclass
from imgtool.remedy import if_known, in_guest, without_argument
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

MAIN = "/etc/cloud/cloud.cfg"
# cc_resolv_conf is for these only, unless `unverified_modules` names it (its `distros`)
RESOLV_CONF_FAMILIES = ("redhat", "suse")


@dataclass(frozen=True)
class Action:
    """One of the platform's first-boot actions (ref 11). what: that an instance goes without.

    left_out_by: the families whose own packages do not list the module.
    """

    module: str
    stage: str
    what: Text
    left_out_by: tuple[str, ...] = ()


ACTIONS = (
    Action(
        "scripts-user",
        "cloud_final_modules",
        Text(
            "the host name, /etc/hosts, the platform's agents and the user's own script are not set up",
            "主机名、/etc/hosts、平台组件以及用户自定义脚本都不会被初始化",
        ),
    ),
    Action(
        "runcmd",
        "cloud_config_modules",
        Text(
            "the commands that set the host name, /etc/hosts and the platform's agents are not run",
            "用于设置主机名、/etc/hosts 和平台组件的命令不会被执行",
        ),
    ),
    Action(
        "write-files",
        "cloud_init_modules",
        Text("the package mirrors of the platform are not set", "平台的软件源不会被设置"),
    ),
    Action(
        "ntp",
        "cloud_config_modules",
        Text("the platform's time servers are not set", "平台的 NTP 服务器不会被设置"),
        ("redhat",),
    ),
    Action(
        "set-passwords",
        "cloud_config_modules",
        Text("the password chosen for an instance is not set", "创建实例时指定的密码不会被设置"),
    ),
    Action(
        "users-groups",
        "cloud_init_modules",
        Text("the key chosen for an instance is not put in", "创建实例时绑定的密钥不会被写入"),
    ),
    Action(
        "ssh",
        "cloud_init_modules",
        Text(
            "neither keys nor SSH host keys of an instance are set up",
            "实例的密钥和 SSH 主机密钥都不会被设置",
        ),
    ),
)


@rule(
    "linux.cloud-init.modules",
    Text("cloud-init's first-boot actions", "cloud-init 首次启动动作"),
    severity=Severity.WARNING,
    source="ref 11",
    family="linux",
    requires=("linux.cloud-init.installed",),
    fixable=True,
)
def modules(image: Image) -> Iterator[Outcome]:
    """Nothing that the platform does through cloud-init at the first boot is turned off in this image.

    Each action is a module of cloud-init's, in one of three lists of /etc/cloud/cloud.cfg; whoever deletes a
    line turns the action off (ref 11): `scripts-user` (host name, hosts, agents, the user's own script),
    `write-files` (mirrors), `ntp`, `set-passwords`, `users-groups` and `ssh` (keys), and `network: {config:
    disabled}`. That may be meant: hence a warning, that says what an instance will go without.
    `preserve_hostname` keeps the image's own name. What a distribution's own package does not list (`ntp` on
    RHEL and its kin) nobody turned off. DNS servers come with an instance's network settings; where
    cloud-init is kept from these and does not list `resolv_conf` either, that is told as information.

    Evidence: the list and the file that sets it. Example: `/etc/cloud/cloud.cfg:57: cloud_config_modules: no
    set-passwords`. The fix puts the line back.
    """
    guest = image.linux
    if image.options.force_import:
        yield not_judged(Text("The import is forced, without cloud-init.", "强制导入，不使用 cloud-init。"))
        return
    if guest.cloud_init.kind == "coreos-cloudinit":
        yield not_judged(Text("coreos-cloudinit has no modules.", "coreos-cloudinit 没有模块。"))
        return
    config = guest.cloud_config
    if not config.modules:
        yield not_judged(
            Text(
                "No modules are listed at all; linux.cloud-init.datasource judges that.",
                "没有任何模块列表；由 linux.cloud-init.datasource 判定。",
            )
        )
        return
    found = [*_actions(guest), *_hostname(guest), *_network(guest), *_dns(guest)]
    yield from found
    if not any(outcome.severity is not Severity.INFO for outcome in found):
        yield kept(
            Text(
                "cloud-init does all that the platform asks of it.", "cloud-init 会执行平台所需的全部动作。"
            ),
            *(
                f"{action.module}: {config.modules[name]}"
                for action, name in named_actions()
                if name in config.modules
            ),
        )


def named_actions() -> list[tuple[Action, str]]:
    """The actions, with their modules' names as cloud-init itself spells them."""
    return [(action, action.module.replace("-", "_")) for action in ACTIONS]


def _actions(guest: LinuxGuest) -> Iterator[Outcome]:
    config = guest.cloud_config
    unknown = []
    for action, name in named_actions():
        if name in config.modules or guest.release.family in action.left_out_by:
            continue
        if unknown_to(guest, name):
            unknown.append(action)
            continue
        place = config.places.get(action.stage, MAIN)
        yield broken(
            Text(
                f"cloud-init's module {action.module} is turned off: {action.what.en}.",
                f"cloud-init 的 {action.module} 模块已被关闭：{action.what.zh}。",
            ),
            f"{place}: {action.stage}: no {action.module}",
            remedy=in_guest(_list_it(guest, action.stage, action.module, place)),
        )
    if unknown:
        version, names = guest.cloud_init.version or "of this version", [it.module for it in unknown]
        en, zh = "; ".join(it.what.en for it in unknown), "；".join(it.what.zh for it in unknown)
        yield broken(
            Text(
                f"cloud-init {version} has no module {', '.join(names)}: {en}.",
                f"cloud-init {version} 没有 {'、'.join(names)} 模块：{zh}。",
            ),
            *(f"{guest.cloud_init.package}/config: no cc_{it.replace('-', '_')}.py" for it in names),
            severity=Severity.INFO,
            fixable=False,
        )


def _list_it(guest: LinuxGuest, stage: str, module: str, place: str) -> str:
    """The line that puts a module at the head of a list, in the notation of the list that is there."""
    path = place.rpartition(":")[0] or MAIN
    lines = (guest.tree.text_if_there(path, 1 << 20) or "").splitlines()
    at = next((number for number, line in enumerate(lines) if line.startswith(f"{stage}:")), None)
    if at is None:
        return f"printf '\\n{stage}:\\n - {module}\\n' >> {path}"
    if "[" in lines[at]:
        return f"sed -i 's/^{stage}: *\\[/&{module}, /' {path}"
    first = next((line for line in lines[at + 1 :] if line.lstrip().startswith("-")), " -")
    indent = first[: len(first) - len(first.lstrip())]  # with another one YAML makes one word of two items
    return f"sed -i '/^{stage}:/a\\{indent}- {module}' {path}"


def unknown_to(guest: LinuxGuest, name: str) -> bool:
    """This version of cloud-init does not have the module."""
    package = guest.cloud_init.package
    folders = (
        f"{package}/{folder}" for folder in ("config", "CloudConfig") if package
    )  # the latter until 0.6
    there = next((folder for folder in folders if guest.tree.is_dir(folder)), "")
    return bool(there) and not guest.tree.exists(f"{there}/cc_{name}.py")


def _hostname(guest: LinuxGuest) -> Iterator[Outcome]:
    config = guest.cloud_config
    if config.flag("preserve_hostname", default=False):
        place = config.places.get("preserve_hostname", MAIN)
        yield broken(
            Text(
                "cloud-init is told to keep the image's host name: every instance has the same.",
                "cloud-init 被设置为保留镜像的主机名：所有实例将使用相同的主机名。",
            ),
            f"{place}: preserve_hostname: true",
            remedy=in_guest(
                f"sed -i 's/^preserve_hostname:.*/preserve_hostname: false/'"
                f" {place.rpartition(':')[0] or MAIN}"
            ),
        )


def _network(guest: LinuxGuest) -> Iterator[Outcome]:
    said = guest.network_disabled
    if not said:
        return
    yield broken(
        Text(
            "cloud-init is told to leave the network alone: an instance gets the address that the guest's own"
            " configuration asks for, by DHCP or not at all.",
            "cloud-init 被设置为不配置网络：实例只能按系统自身的网络配置获取地址（DHCP，否则无法联网）。",
        ),
        said,
        remedy=_enable_network(guest, said),
    )


@if_known
def _enable_network(guest: LinuxGuest, said: str) -> Text | None:
    from imgtool.guest.cloud_init import UPGRADED

    if not said.startswith("/"):
        return without_argument(guest, said)
    path = said.split(":", maxsplit=1)[0]
    if path == UPGRADED:
        return in_guest(f"rm {path}")
    if path == MAIN or (guest.tree.text_if_there(path, 1 << 20) or "").count(":") > 4:
        return Text(f"Take `network:` out of {path}.", f"请从 {path} 中删除 `network:` 配置。")
    return in_guest(f"rm {path}")


def _dns(guest: LinuxGuest) -> Iterator[Outcome]:
    """Where cloud-init leaves the network alone, DNS servers come by resolv_conf or by DHCP."""
    if not guest.network_disabled:
        return
    config = guest.cloud_config
    listed = "resolv_conf" in config.modules
    unverified = config.values.get("unverified_modules")
    named = isinstance(unverified, list) and any(
        isinstance(name, str) and name.replace("-", "_") == "resolv_conf" for name in unverified
    )
    if listed and (named or guest.release.family in RESOLV_CONF_FAMILIES):
        return
    place = config.places.get("unverified_modules" if listed else "cloud_init_modules", MAIN)
    lacks = "unverified_modules: no resolv_conf" if listed else "cloud_init_modules: no resolv_conf"
    commands = [] if listed else [_list_it(guest, "cloud_init_modules", "resolv_conf", place)]
    if guest.release.family not in RESOLV_CONF_FAMILIES and not named:
        commands.append(
            "echo 'unverified_modules: [resolv_conf]' > /etc/cloud/cloud.cfg.d/10_resolv_conf.cfg"
        )
    yield broken(
        Text(
            "cloud-init writes neither the network's settings nor /etc/resolv.conf: where there is no DHCP,"
            " an instance has no DNS servers.",
            "cloud-init 既不写入网络配置也不写入 /etc/resolv.conf：在非 DHCP 场景下，实例将没有 DNS 服务器。",
        ),
        f"{place}: {lacks}",
        severity=Severity.INFO,
        remedy=in_guest(*commands),
    )
