"""cloudbase-init, which sets an instance's name, address and password at its first start."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from imgtool.guest.filesystem import NotInGuest
from imgtool.rules import Outcome, Severity, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.cloudbase_config import Config, Difference
    from imgtool.guest.windows.cloudbase_init import CloudbaseInit
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.image import Image

INSTALLER = {"x86_64": "CloudbaseInitSetup_Stable_x64.msi", "i386": "CloudbaseInitSetup_Stable_x86.msi"}
LOCAL_SYSTEM = ("", "localsystem", "nt authority\\system", ".\\localsystem")
SHOWN = 24


@rule(
    "windows.cloudbase-init.installed",
    Text("Installation of cloudbase-init", "cloudbase-init 安装"),
    severity=Severity.ERROR,
    source="ref 01, 04",
    family="windows",
    platform_code="CloudInitNotInstalled",
    requires=("disk.root",),
    fixable=True,
)
def installed(image: Image) -> Iterator[Outcome]:
    """cloudbase-init is installed, and all that it runs with is there.

    The platform sets an instance's name, address and password through cloudbase-init, and refuses an image
    without (CloudInitNotInstalled). It is looked for where its service says, then where its installer puts
    it; it needs its service program, its own Python for this architecture and its packages. Evidence: the
    folder and what is missing in it. Example: `C:\\Program Files\\Cloudbase Solutions\\Cloudbase-Init: no
    Python`. The fix is to run its installer.
    """
    guest = image.windows
    init = guest.cloudbase_init
    if init.folder is None:
        from imgtool.guest.windows.cloudbase_init import PLACES

        yield broken(
            Text("cloudbase-init is not installed.", "未安装 cloudbase-init。"),
            *(f"not there: {place}" for place in PLACES),
            *([init.service.proof] if init.service is not None else []),
            remedy=_install(guest),
        )
        return
    if init.missing:
        yield broken(
            Text("cloudbase-init is not complete and can't run.", "cloudbase-init 不完整，无法运行。"),
            *(f"not there: {path}" for path in init.missing),
            remedy=_install(guest),
        )
        return
    from imgtool.guest.windows.program_file import read_program_file

    python = f"{init.folder}/Python/python.exe"
    program = read_program_file(guest.tree, python)
    machine = program.machine if program is not None else "no program"
    runs_on = {"x86_64": ("x86_64", "i386"), "i386": ("i386",)}.get(guest.release.architecture, ())
    if machine not in runs_on:
        yield broken(
            Text(
                f"cloudbase-init is not for this Windows ({guest.release.architecture}).",
                f"cloudbase-init 与该 Windows（{guest.release.architecture}）不匹配。",
            ),
            f"{python}: {machine or 'for another machine'}",
            remedy=_install(guest),
        )
        return
    yield kept(
        Text("cloudbase-init is installed.", "已安装 cloudbase-init。"),
        f"{init.folder}: version {init.version or 'unknown'}",
    )


def _install(guest: WindowsGuest) -> Text:
    name = INSTALLER.get(guest.release.architecture, INSTALLER["x86_64"])
    return Text(
        f"In Windows, as a member of Administrators: run {name} (https://cloudbase.it/cloudbase-init/) with"
        ' "Run'
        ' Cloudbase-Init service as LocalSystem" and COM1, without Sysprep at the end; unattended:\n'
        f"msiexec /i {name} /qn RUN_SERVICE_AS_LOCAL_SYSTEM=1 LOGGINGSERIALPORTNAME=COM1",
        f"请在 Windows 中以 Administrators 成员身份运行 {name}（https://cloudbase.it/cloudbase-init/），勾选"
        "“Run"
        " Cloudbase-Init service as LocalSystem”，串口选 COM1，结束时不要运行 Sysprep；静默安装：\n"
        f"msiexec /i {name} /qn RUN_SERVICE_AS_LOCAL_SYSTEM=1 LOGGINGSERIALPORTNAME=COM1",
    )


@rule(
    "windows.cloudbase-init.service",
    Text("Service of cloudbase-init", "cloudbase-init 服务"),
    severity=Severity.ERROR,
    source="ref 04, 11",
    family="windows",
    requires=("windows.cloudbase-init.installed",),
    fixable=True,
)
def service(image: Image) -> Iterator[Outcome]:
    """The service cloudbase-init starts by itself, as LocalSystem.

    A service that is disabled or started by hand does nothing at the first start. The installer's default
    account, a user `cloudbase-init` of its own, fails as soon as somebody changes its password; the platform
    wants LocalSystem (ref 04, 11). Evidence: the service key. Example:
    `SYSTEM\\ControlSet001\\Services\\cloudbase-init: Start=4 (disabled)`. The fix is `sc.exe config`.
    """
    guest = image.windows
    found = guest.cloudbase_init.service
    if found is None:
        yield broken(
            Text("There is no service cloudbase-init.", "没有 cloudbase-init 服务。"),
            f"not there: SYSTEM\\{guest.control_set.path}\\Services\\cloudbase-init",
            remedy=_install(guest),
        )
        return
    wrong = False
    if found.effective_start != 2:
        wrong = True
        yield broken(
            Text(
                f"The service cloudbase-init does not start by itself ({found.start_word}).",
                f"cloudbase-init 服务不会自动启动（{found.start_word}）。",
            ),
            found.proof,
            remedy=_service("sc.exe config cloudbase-init start= auto"),
        )
    if found.account.lower() not in LOCAL_SYSTEM:
        wrong = True
        yield broken(
            Text(
                f"The service cloudbase-init runs as {found.account}, not as LocalSystem.",
                f"cloudbase-init 服务以 {found.account} 而不是 LocalSystem 身份运行。",
            ),
            f"SYSTEM\\{found.key}: ObjectName={found.account}",
            remedy=_service("sc.exe config cloudbase-init obj= LocalSystem"),
        )
    if found.file is None or not guest.tree.is_file(found.file):
        wrong = True
        yield broken(
            Text(
                "The program of the service cloudbase-init is not there.", "cloudbase-init 服务的程序不存在。"
            ),
            f"SYSTEM\\{found.key}: ImagePath={found.image_path[:200]}",
            remedy=_install(guest),
        )
    if not wrong:
        yield kept(
            Text("The service starts by itself, as LocalSystem.", "服务自动启动，身份为 LocalSystem。"),
            found.proof,
        )


def _service(command: str) -> Text:
    return Text(f"In Windows, as administrator:\n{command}", f"请在 Windows 中以管理员身份执行：\n{command}")


@rule(
    "windows.cloudbase-init.config",
    Text("Configuration of cloudbase-init", "cloudbase-init 配置"),
    severity=Severity.ERROR,
    source="ref 04",
    family="windows",
    requires=("windows.cloudbase-init.installed",),
    fixable=True,
)
def config(image: Image) -> Iterator[Outcome]:
    """cloudbase-init.conf holds the settings of the platform's page, each of them.

    They are compared key by key with those of ref 04, which the profile holds: a list (plugins, services,
    groups) must hold the page's items in any order and may hold others; paths, numbers and truth values count
    by their meaning; where the file is silent, cloudbase-init's own default counts. What the first start
    needs to find its data and to apply it is an error when it differs, the rest a warning. cloudbase-init
    can't read a file in UTF-16, with a byte order mark, or with a line that is no setting: then it does
    nothing at all.

    Evidence: each setting that is missing or different, with its line. Example: `plugins (line 21): lacks
    cloudbaseinit.plugins.common.userdata.UserDataPlugin`. The fix is to write these settings into the file.
    """
    from imgtool.guest.windows.cloudbase_config import differences, extras

    guest, limits = image.windows, image.profile.windows.cloudbase_init
    init = guest.cloudbase_init
    try:
        found = init.config
    except NotInGuest:
        yield broken(
            Text("cloudbase-init has no configuration.", "缺少 cloudbase-init 的配置文件。"),
            f"not there: {init.config_path}",
            remedy=_write(init, in_folder(limits.required, init), {}),
        )
        return
    unreadable = _unreadable(init, found)
    if unreadable is not None:
        yield unreadable
        return
    required, recommended = in_folder(limits.required, init), in_folder(limits.recommended, init)
    wrong, slight = differences(found, required), differences(found, recommended)
    if wrong:
        yield broken(
            _named(wrong, Severity.ERROR), *_evidence(init, wrong), remedy=_set(init, wrong, required)
        )
    if slight:
        yield broken(
            _named(slight, Severity.WARNING),
            *_evidence(init, slight),
            severity=Severity.WARNING,
            remedy=_set(init, slight, recommended),
        )
    if not wrong and not slight:
        more = extras(found, required)
        yield kept(
            Text("It holds the settings of the platform.", "包含平台要求的各项设置。"),
            init.config_path,
            *([f"beyond them: {', '.join(more)[:300]}"] if more else []),
        )


def in_folder(
    wanted: Mapping[str, str | tuple[str, ...]], init: CloudbaseInit
) -> dict[str, str | tuple[str, ...]]:
    """The settings with the page's folder replaced by the one that it is installed in."""
    from imgtool.guest.windows.cloudbase_init import PLACES, windows_path

    usual, own = windows_path(PLACES[0]), init.windows_folder
    return {
        name: value.replace(usual, own) if isinstance(value, str) else value for name, value in wanted.items()
    }


def _unreadable(init: CloudbaseInit, found: Config) -> Outcome | None:
    path = init.windows_folder + "\\conf\\cloudbase-init.conf"
    if found.encoding != "text":
        return broken(
            Text(
                f"The configuration is {found.encoding}, which cloudbase-init can't read.",
                f"配置文件的编码为 {found.encoding}，cloudbase-init 无法读取。",
            ),
            f"{init.config_path}: {found.encoding}",
            remedy=Text.same(f"(Get-Content '{path}') | Set-Content -Encoding ascii '{path}'"),
        )
    if found.mistakes:
        return broken(
            Text(
                "The configuration has lines that are no settings: cloudbase-init stops at the first of"
                " them.",
                "配置文件中有无法解析的行：cloudbase-init 读到第一处即会停止。",
            ),
            *(f"{init.config_path}:{line}: {text}" for line, text in found.mistakes),
            remedy=Text(
                f"Take these lines out or mend them: notepad '{path}'",
                f"请删除或修正这些行：notepad '{path}'",
            ),
        )
    return None


def _named(wrong: list[Difference], severity: Severity) -> Text:
    names = ", ".join(it.name for it in wrong)
    if severity is Severity.ERROR:
        return Text(
            f"Settings that the first start depends on are missing or different: {names}.",
            f"首次启动所依赖的设置缺失或不符：{names}。",
        )
    return Text(
        f"Settings are missing or different from the platform's page: {names}.",
        f"以下设置缺失或与平台文档不符：{names}。",
    )


def _evidence(init: CloudbaseInit, wrong: list[Difference]) -> list[str]:
    return [init.config_path, *(it.evidence for it in wrong[:SHOWN])]


def _set(init: CloudbaseInit, wrong: list[Difference], wanted: Mapping[str, str | tuple[str, ...]]) -> Text:
    return _write(init, {it.name: wanted[it.name] for it in wrong}, {it.name: it for it in wrong})


def _write(
    init: CloudbaseInit,
    wanted: Mapping[str, str | tuple[str, ...]],
    wrong: Mapping[str, Difference],
) -> Text:
    """The lines of the file as they are to be; what a list holds beyond them stays."""
    from imgtool.guest.windows.cloudbase_config import items_of

    lines = []
    for name, value in wanted.items():
        said = value
        if isinstance(value, tuple):
            there = wrong[name].found if name in wrong else None
            kept_items = items_of(there.value) if there is not None else []
            lacking = wrong[name].lacking if name in wrong else value
            said = ",".join([*kept_items, *lacking])
        lines.append(f"{name}={said}")
    text = "\n".join(lines)
    path = init.windows_folder + "\\conf\\cloudbase-init.conf"
    return Text(
        f"In {path}, in section [DEFAULT] (saved as ANSI):\n{text}",
        f"请在 {path} 的 [DEFAULT] 段中写入（以 ANSI 编码保存）：\n{text}",
    )


@rule(
    "windows.cloudbase-init.state",
    Text("State of cloudbase-init", "cloudbase-init 状态"),
    severity=Severity.WARNING,
    source="ref 04, 11",
    family="windows",
    requires=("windows.cloudbase-init.installed",),
    fixable=True,
)
def state(image: Image) -> Iterator[Outcome]:
    """cloudbase-init has everything to do at the next start, and its local scripts run every time.

    What a plugin has done is recorded in the registry by instance: 1, done; 2, run at every start. A new
    instance has a new id, so its plugins run; a record without an instance counts for all and keeps them from
    it. The local scripts plugin must be recorded as 2 wherever it is recorded (ref 11), because the
    platform's script in LocalScripts, which ref 04 has one put there, applies later changes of password and
    address. A script that was downloaded keeps a mark that makes PowerShell refuse it ("Unblock", ref 04).

    Evidence: the registry values and the folder. Example: `SOFTWARE\\Cloudbase
    Solutions\\Cloudbase-Init\\…\\Plugins: LocalScriptsPlugin=1`. The fix is a `reg` command, or copying the
    script.
    """
    guest, limits = image.windows, image.profile.windows.cloudbase_init
    init = guest.cloudbase_init
    again = {name.lower() for name in limits.run_again}
    faults = [
        *_recorded(init, again),
        *_scripts(guest, init, limits.local_script),
    ]
    yield from faults
    if not faults:
        recorded = sorted({it.instance for it in init.states if it.instance})
        yield kept(
            Text("Everything runs at the next start.", "下次启动时将执行全部初始化。"),
            *([f"recorded for other instances: {', '.join(recorded)[:200]}"] if recorded else []),
        )


def _recorded(init: CloudbaseInit, again: set[str]) -> Iterator[Outcome]:
    from imgtool.guest.windows.cloudbase_init import DONE, NEXT_BOOT

    once = [it for it in init.states if it.plugin.lower() in again and it.value != NEXT_BOOT]
    if once:
        yield broken(
            Text(
                f"{once[0].plugin} is recorded as done: the platform's script would not run again.",
                f"{once[0].plugin} 被记录为已执行：平台脚本将不会再次运行。",
            ),
            *(f"{it.key}: {it.plugin}={it.value}" for it in once[:8]),
            remedy=Text.same(
                "\n".join(
                    f'reg add "HKLM\\{it.key}" /v {it.plugin} /t REG_DWORD /d {NEXT_BOOT} /f'
                    for it in once[:8]
                )
            ),
        )
    for_all = [
        it for it in init.states if not it.instance and it.value == DONE and it.plugin.lower() not in again
    ]
    if for_all:
        yield broken(
            Text(
                "Plugins are recorded as done for every instance: they would not run on a new one.",
                "部分插件被记录为对所有实例均已执行：在新实例上将不会运行。",
            ),
            *(f"{it.key}: {it.plugin}={it.value}" for it in for_all[:12]),
            remedy=Text.same(f'reg delete "HKLM\\{for_all[0].key}" /f'),
        )


def _scripts(guest: WindowsGuest, init: CloudbaseInit, pattern: str) -> Iterator[Outcome]:
    folder = f"{init.folder}/LocalScripts"
    names = guest.tree.list(folder) if guest.tree.is_dir(folder) else None
    scripts = [name for name in names or () if fnmatch.fnmatch(name.lower(), pattern.lower())]
    target = f"{init.windows_folder}\\LocalScripts"
    if scripts:
        path = f"{folder}/{scripts[0]}"
        if guest.is_from_the_internet(path):
            yield broken(
                Text(
                    f"{scripts[0]} is marked as downloaded: PowerShell refuses to run it.",
                    f"{scripts[0]} 带有下载标记：PowerShell 会拒绝运行。",
                ),
                f"{path}:Zone.Identifier",
                remedy=Text.same(f"Unblock-File '{target}\\{scripts[0]}'"),
            )
        return
    yield broken(
        Text(
            "The platform's script is not in LocalScripts.",
            "LocalScripts 目录中没有平台脚本。",
        ),
        f"not there: {folder}" if names is None else f"{folder}: {', '.join(names)[:200] or 'empty'}",
        remedy=Text(
            f"Copy the platform's {pattern} (ref 04 of its documentation) into {target}:\n"
            f"New-Item -ItemType Directory -Force '{target}'; Copy-Item {pattern} '{target}'",
            f"请将平台提供的 {pattern} 脚本复制到 {target}：\n"
            f"New-Item -ItemType Directory -Force '{target}'; Copy-Item {pattern} '{target}'",
        ),
    )
