"""cloud-init: there and able to run, started by the boot, and told to read the platform's config drive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead
from imgtool.remedy import drop_argument
from imgtool.rules import Outcome, Severity, broken, kept, not_judged, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.cloud_config import CloudConfig
    from imgtool.guest.cloud_init import CloudInit, Disabled
    from imgtool.guest.linux import LinuxGuest
    from imgtool.image import Image

FOLDER = "/etc/cloud/cloud.cfg.d"
OWN_FILE = f"{FOLDER}/zz-datasource.cfg"
MODULE_LISTS = ("cloud_init_modules", "cloud_config_modules", "cloud_final_modules")
# The distribution's package for a module: Debian and SUSE, then RHEL and its kin; {py} is python3 or python
PYTHON_PACKAGES = {
    "yaml": ("yaml", "pyyaml"),
    "pyyaml": ("yaml", "pyyaml"),
    "pyserial": ("serial", "pyserial"),
}


@rule(
    "linux.cloud-init.installed",
    Text("Installation of cloud-init", "cloud-init 安装"),
    severity=Severity.ERROR,
    source="ref 01, 05, 11",
    family="linux",
    platform_code="CloudInitNotInstalled",
    requires=("disk.root",),
    fixable=True,
)
def installed(image: Image) -> Iterator[Outcome]:
    """cloud-init is installed and can run: its program, its Python, its package and what that imports.

    The platform hands a new instance its name, address, password and keys through cloud-init, and refuses
    an image without it (CloudInitNotInstalled), unless the import is forced (ref 02). Two ways are known in
    which an installed cloud-init does not run (ref 11): a Python package that it needs was removed, or
    `/usr/bin/python` was pointed at another Python, which does not have the package.

    Evidence: the program, its first line, and where the package is or is not. Example:
    `/usr/bin/cloud-init: #!/usr/bin/python -> python3.6, cloudinit is in /usr/lib/python2.7/site-packages`.
    The fix is the guest's own package manager's line, or the interpreter written out in the program's first
    line.
    """
    if image.options.force_import:
        yield not_judged(
            Text(
                "The import is forced: cloud-init is not asked for (ref 02).",
                "强制导入：不要求 cloud-init（参考 02）。",
            )
        )
        return
    guest = image.linux
    facts = guest.cloud_init
    if facts.kind == "none":
        yield broken(
            Text("cloud-init is not installed.", "未安装 cloud-init。"),
            "no cloud-init in /usr/bin, /usr/local/bin",
            *(f"a cloudinit package without its program: {path}" for path in facts.elsewhere[:3]),
            remedy=_install(guest, "cloud-init"),
        )
    elif facts.kind == "coreos-cloudinit" or facts.complete:
        version = f" {facts.version}" if facts.version else ""
        yield kept(
            Text(
                f"{facts.kind}{version} is installed and complete.", f"{facts.kind}{version} 已安装且完整。"
            ),
            *_seen(facts),
        )
    else:
        yield _incomplete(guest, facts)


def _incomplete(guest: LinuxGuest, facts: CloudInit) -> Outcome:
    """Why cloud-init can't run, the outermost reason first."""
    entry = facts.entry
    program = facts.python.path if facts.python else facts.interpreter
    if not facts.executable:
        return broken(
            Text(f"{entry} is not executable.", f"{entry} 没有执行权限。"),
            *_seen(facts),
            remedy=Text.same(f"chmod 0755 {entry}"),
        )
    if not facts.interpreter:
        return broken(
            Text(
                f"cloud-init's interpreter {facts.first_line} is not there.",
                f"cloud-init 的解释器 {facts.first_line} 不存在。",
            ),
            *_seen(facts),
            remedy=_other_python(guest, facts) or _install(guest, "cloud-init", again=True),
        )
    if not facts.package:
        return broken(
            Text(
                f"The Python that runs cloud-init ({program}) does not have the cloudinit package.",
                f"运行 cloud-init 的 Python（{program}）中没有 cloudinit 包。",
            ),
            *_seen(facts),
            remedy=_other_python(guest, facts) or _install(guest, "cloud-init", again=True),
        )
    names = ", ".join(facts.missing)
    return broken(
        Text(
            f"cloud-init can't start: its Python lacks {names}.",
            f"cloud-init 无法启动：其 Python 缺少 {names}。",
        ),
        *_seen(facts),
        *(f"not in {program}: {name}" for name in facts.missing),
        remedy=_install(guest, *missing_packages(guest, facts), again=True),
    )


def _seen(facts: CloudInit) -> list[str]:
    lines = [f"{facts.entry}: #!{facts.first_line[:120]}" if facts.first_line else facts.entry]
    if facts.package:
        lines.append(f"{facts.package} (version {facts.version or 'unknown'})")
    elif facts.elsewhere:
        lines += [f"found in another Python: {path}" for path in facts.elsewhere[:3]]
    return lines


def _other_python(guest: LinuxGuest, facts: CloudInit) -> Text | None:
    """Name the Python that has the package in the program's first line (ref 11, case 2)."""
    program = other_python(guest, facts)
    if program is None:
        return None
    package = facts.elsewhere[0]
    command = f"sed -i '1s|.*|#!{program}|' {facts.entry}"
    return Text(
        f"Name the Python that has it ({package}) in the program's first line:\n{command}",
        f"请在程序首行直接指定具有该包（{package}）的 Python：\n{command}",
    )


def other_python(guest: LinuxGuest, facts: CloudInit) -> str | None:
    """The program of another Python of the guest that has the cloudinit package; no link, but the file."""
    for package in facts.elsewhere:
        version = next(
            (part.removeprefix("python") for part in package.split("/") if part.startswith("python")), ""
        )
        for program in (f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
            if version and guest.tree.is_file(program):
                return guest.tree.realpath(program)
    return None


def missing_packages(guest: LinuxGuest, facts: CloudInit) -> list[str]:
    """The distribution's packages of the modules that cloud-init can't import."""
    return [_package(guest, facts, name) for name in facts.missing]


def _package(guest: LinuxGuest, facts: CloudInit, module: str) -> str:
    python = "python3" if facts.python is None or facts.python.version.startswith("3") else "python"
    debian, redhat = PYTHON_PACKAGES.get(module.lower(), (module, module))
    if guest.release.packaged_as_fedora:
        return f"{python}-{redhat}" if module != "yaml" or python == "python3" else "PyYAML"
    return f"{python}-{debian if guest.release.family == 'debian' else module.replace('yaml', 'PyYAML')}"


def _install(guest: LinuxGuest, *packages: str, again: bool = False) -> Text:
    names = " ".join(packages)
    release = guest.release
    command = release.install_again_command(*packages) if again else release.install_command(*packages)
    if not command:
        return Text(
            f"Install {names} with the guest's package manager.", f"请用系统的软件包管理器安装 {names}。"
        )
    prepare = "apt-get update && " if guest.release.package_manager == "apt-get" else ""
    return Text(
        f"In the guest, as root:\n{prepare}{command}", f"请在系统内以 root 执行：\n{prepare}{command}"
    )


@rule(
    "linux.cloud-init.enabled",
    Text("Start of cloud-init at boot", "cloud-init 开机启动"),
    severity=Severity.ERROR,
    source="ref 11",
    family="linux",
    requires=("linux.cloud-init.installed",),
    fixable=True,
)
def enabled(image: Image) -> Iterator[Outcome]:
    """The boot starts cloud-init: its services are enabled, and nothing switches it off.

    An installed cloud-init that does not run leaves a new instance without its address, name and password
    (ref 11). What switches it off: the file /etc/cloud/cloud-init.disabled, the kernel argument
    `cloud-init=disabled`, the policy `disabled` for ds-identify, and services that are disabled or masked.
    Under systemd, cloud-init's generator starts cloud-init.target, which wants the services; under Upstart
    and SysV the jobs and the links in rc*.d count.

    Evidence: the file, the argument or the unit. Example: `/etc/systemd/system/cloud-init.service ->
    /dev/null`. The fix is the command that enables it again.
    """
    guest = image.linux
    if image.options.force_import:
        yield not_judged(Text("The import is forced, without cloud-init.", "强制导入，不使用 cloud-init。"))
        return
    if guest.cloud_init.kind == "coreos-cloudinit":
        yield not_judged(
            Text("coreos-cloudinit is a part of the system itself.", "coreos-cloudinit 是系统自带组件。")
        )
        return
    from imgtool.guest.cloud_init import service_states, what_disables

    if guest.services.init == "unknown":
        yield undecided(
            Text("The guest's init system is not known (/sbin/init).", "无法识别系统的 init（/sbin/init）。")
        )
        return
    arguments = guest.kernel_arguments
    reasons = what_disables(guest.tree, guest.services, arguments or "", guest.cloud_config)
    if reasons:
        first = reasons[0]
        whole = first.what in ("argument", "file", "policy")
        shown = reasons[:1] if whole else reasons
        yield broken(
            _why(first, len(shown)),
            *(reason.proof for reason in shown),
            remedy=_enable(guest, shown),
        )
        return
    yield kept(
        Text("The boot starts cloud-init.", "系统启动时会运行 cloud-init。"),
        *(state.proof for state in service_states(guest.services) if state.starts),
        *(() if arguments is not None else ("the kernel command line could not be read",)),
    )


def _why(reason: Disabled, count: int) -> Text:
    name = reason.name
    if reason.what == "argument":
        return Text(
            f"The kernel argument {name} switches cloud-init off.",
            f"内核参数 {name} 禁用了 cloud-init。",
        )
    if reason.what == "file":
        return Text(f"The file {name} switches cloud-init off.", f"文件 {name} 禁用了 cloud-init。")
    if reason.what == "policy":
        return Text("ds-identify's policy switches cloud-init off.", "ds-identify 的策略禁用了 cloud-init。")
    others = f" and {count - 1} more" if count > 1 else ""
    zh = f"等 {count} 项" if count > 1 else ""
    if reason.what == "masked":
        return Text(f"{name}{others} can't start: masked.", f"{name}{zh} 无法启动：已被屏蔽（masked）。")
    if reason.what == "missing":
        return Text(f"{name}{others} can't start: not there.", f"{name}{zh} 无法启动：不存在。")
    are = "are" if count > 1 else "is"
    return Text(f"{name}{others} {are} not enabled.", f"{name}{zh} 未启用。")


def _enable(guest: LinuxGuest, reasons: list[Disabled]) -> Text | None:
    first = reasons[0]
    if first.what == "file":
        return Text.same(f"rm {first.proof}")
    if first.what == "policy":
        return Text.same("sed -i '/^[ \\t]*policy[ \\t]*:/d' /etc/cloud/ds-identify.cfg")
    if first.what == "argument":
        return _without_argument(guest, first.name)
    if any(reason.what == "missing" for reason in reasons):
        return _install(guest, "cloud-init", again=True)
    names = " ".join(reason.name for reason in reasons)
    init = guest.services.init
    if init == "systemd":
        masked = " ".join(reason.name for reason in reasons if reason.what == "masked")
        command = (f"systemctl unmask {masked} && " if masked else "") + f"systemctl enable {names}"
    elif init == "upstart":
        jobs = [reason for reason in reasons if reason.proof.startswith("/etc/init/")]
        scripts = [reason for reason in reasons if reason not in jobs]
        lines = [f"rm -f /etc/init/{reason.name}.override" for reason in jobs]
        command = "\n".join([*lines, *(f"chkconfig {reason.name} on" for reason in scripts)])
    elif init == "openrc":
        command = "\n".join(f"rc-update add {reason.name} default" for reason in reasons)
    elif guest.release.family == "debian":
        command = "\n".join(f"update-rc.d {reason.name} enable" for reason in reasons)
    else:
        command = "\n".join(f"chkconfig {reason.name} on" for reason in reasons)
    return Text(f"In the guest, as root:\n{command}", f"请在系统内以 root 执行：\n{command}")


@rule(
    "linux.cloud-init.datasource",
    Text("cloud-init data sources", "cloud-init 数据源"),
    severity=Severity.ERROR,
    source="ref 01, 04, 14",
    family="linux",
    requires=("linux.cloud-init.installed",),
    fixable=True,
)
def datasource(image: Image) -> Iterator[Outcome]:
    """cloud-init looks at the config drive, on which the platform puts an instance's settings.

    The settings come on a CD labelled config-2 (ref 02), which cloud-init's data source ConfigDrive reads;
    the metadata service (ref 14) is a second source. The list is `datasource_list`: /etc/cloud/cloud.cfg
    first, then /etc/cloud/cloud.cfg.d/*.cfg by name, and the last file that has it counts; without one, the
    list built into cloud-init does, which has ConfigDrive. The kernel argument `ds=` and ds-identify.cfg
    can force one source. A file that is no valid YAML is ignored by cloud-init. That cloud.cfg is such a
    file, or is not there, is an error of its own: it lists the modules that do the work.

    Evidence: the list, and the file and line that set it. Example: `/etc/cloud/cloud.cfg.d/90_dpkg.cfg:2:
    datasource_list: [ NoCloud, None ]`. The fix is a file of one line that comes last.
    """
    guest = image.linux
    if image.options.force_import:
        yield not_judged(Text("The import is forced, without cloud-init.", "强制导入，不使用 cloud-init。"))
        return
    if guest.cloud_init.kind == "coreos-cloudinit":
        yield not_judged(
            Text(
                "coreos-cloudinit looks for the config drive by itself.",
                "coreos-cloudinit 会自行查找 config drive。",
            )
        )
        return
    config = guest.cloud_config
    yield from _ignored_files(config)
    yield from _no_modules(guest, config)
    yield from _list(image, guest, config)


def _ignored_files(config: CloudConfig) -> Iterator[Outcome]:
    from imgtool.guest.cloud_config import MAIN

    for file in config.ignored[:16]:
        main = file.path == MAIN
        yield broken(
            Text(
                f"{file.path} is not valid, and cloud-init ignores it"
                + (": it runs none of its modules." if main else "."),
                f"{file.path} 无效，cloud-init 会忽略它" + ("：不会运行任何模块。" if main else "。"),
            ),
            f"{file.path}: {file.why[:200]}",
            severity=None if main else Severity.WARNING,
            remedy=Text(
                f"Mend the file, then check it:\ncloud-init schema --config-file {file.path}",
                f"请修复该文件，然后检查：\ncloud-init schema --config-file {file.path}",
            ),
            fixable=False,
        )


def _no_modules(guest: LinuxGuest, config: CloudConfig) -> Iterator[Outcome]:
    """Without cloud.cfg nothing lists the modules, unless another file does."""
    from imgtool.guest.cloud_config import MAIN

    if guest.tree.exists(MAIN) or any(config.values.get(name) for name in MODULE_LISTS):
        return
    yield broken(
        Text(
            f"{MAIN} is not there: cloud-init runs none of its modules.",
            f"{MAIN} 不存在：cloud-init 不会运行任何模块。",
        ),
        f"{MAIN}: not there",
        remedy=_install(guest, "cloud-init", again=True),
        fixable=False,
    )


def _list(image: Image, guest: LinuxGuest, config: CloudConfig) -> Iterator[Outcome]:
    from imgtool.guest.cloud_init import builtin_datasources, forced_datasource

    required = image.profile.linux.datasources
    metadata = image.profile.linux.metadata_datasources
    wanted = (*required, *metadata[:1])
    forced = forced_datasource(guest.kernel_arguments or "", config)
    if forced is not None and forced[0] not in required:
        yield broken(
            Text(
                f"cloud-init is forced to use the data source {forced[0][:60]} alone.",
                f"cloud-init 被强制只使用数据源 {forced[0][:60]}。",
            ),
            forced[1][:200],
            remedy=_unforce(guest, forced[1]),
            fixable=not forced[1].startswith("cc:"),
        )
        return
    names = config.datasource_list
    place = config.places.get("datasource_list", "")
    if names is None:
        builtin = builtin_datasources(guest.tree, guest.cloud_init.package)
        if builtin is None and guest.cloud_init.package:
            yield undecided(
                Text(
                    "No data sources are configured, and cloud-init's built-in list could not be read.",
                    "未配置数据源，且无法读取 cloud-init 的内置列表。",
                ),
                f"{guest.cloud_init.package}/settings.py",
                remedy=_write_list(guest, wanted, place),
            )
            return
        names = builtin if builtin is not None else required
        place = f"built into cloud-init ({guest.cloud_init.package}/settings.py)"
    shown = f"{place}: datasource_list: [ {', '.join(names)[:200]} ]"
    missing = [name for name in required if name not in names]
    if missing:
        yield broken(
            Text(
                f"cloud-init does not look at {', '.join(missing)}, where the platform puts its settings.",
                f"cloud-init 不读取 {', '.join(missing)}，而平台正是通过它下发实例配置。",
            ),
            shown,
            remedy=_write_list(guest, wanted, place),
        )
        return
    if metadata and not any(name in names for name in metadata):
        yield broken(
            Text(
                "The config drive is among the data sources, the metadata service"
                f" ({' or '.join(metadata)}) is not: it is the second source where there is no config drive.",
                f"数据源中有 config drive，但没有 metadata 服务（{' 或 '.join(metadata)}）："
                "后者在没有 config drive 时作为备用。",
            ),
            shown,
            severity=Severity.INFO,
            remedy=_write_list(guest, wanted, place),
        )
        return
    yield kept(
        Text("cloud-init looks at the config drive.", "cloud-init 会读取 config drive。"),
        shown,
    )


def _write_list(guest: LinuxGuest, names: tuple[str, ...], place: str) -> Text:
    """A file of its own that comes after the one that sets the list now."""
    own = own_file(place)
    folder = "" if guest.tree.is_dir(FOLDER) else f"mkdir -p {FOLDER} && "
    command = f"{folder}echo 'datasource_list: [ {', '.join((*names, 'None'))} ]' > {own}"
    return Text(f"In the guest, as root:\n{command}", f"请在系统内以 root 执行：\n{command}")


def own_file(place: str) -> str:
    """The file to write the list to. place: the "file:line" that sets it now, "" for none."""
    current = place.rpartition(":")[0]
    if current.startswith(f"{FOLDER}/") and current > OWN_FILE:
        return current.removesuffix(".cfg") + "_datasource.cfg"  # "_" sorts behind "."
    return OWN_FILE


def _unforce(guest: LinuxGuest, said: str) -> Text:
    if said.startswith("/etc/"):
        return Text.same("sed -i '/^[ \\t]*datasource[ \\t]*:/d' /etc/cloud/ds-identify.cfg")
    return _without_argument(guest, said)


def _without_argument(guest: LinuxGuest, argument: str) -> Text:
    try:
        command = drop_argument(guest, argument)
    except CannotRead:
        command = ""
    en = f"Take {argument[:80]} out of the kernel command line"
    zh = f"请从内核命令行去掉 {argument[:80]}"
    return Text(f"{en}:\n{command}", f"{zh}：\n{command}") if command else Text(f"{en}.", f"{zh}。")
