"""cloudbase-init, which sets an instance's name, address and password at its first start."""

from __future__ import annotations

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
MOST_KEPT = 40
"""Items of a list that are written out again; cloudbase-init has some thirty plugins."""
ENCODINGS = {
    "utf-16": Text.same("UTF-16"),
    "utf-8 with byte order mark": Text("UTF-8 with a byte order mark", "UTF-8，且带有字节序标记（BOM）"),
}


@rule(
    "windows.cloudbase-init.installed",
    Text("Installation of cloudbase-init", "cloudbase-init 安装"),
    severity=Severity.ERROR,
    source="ref 01, 04",
    family="windows",
    platform_code="CloudInitNotInstalled",
    requires=("disk.root",),
)
def installed(image: Image) -> Iterator[Outcome]:
    """cloudbase-init is installed, and all that it runs with is there.

    The platform sets an instance's name, address and password through cloudbase-init, and refuses an image
    without (CloudInitNotInstalled). It is looked for where its service says, then where its installer puts
    it; it needs its service program, its own Python for this architecture and its packages. Evidence: the
    folder and what is missing in it. Example: `C:\\Program Files\\Cloudbase Solutions\\Cloudbase-Init: no
    Python`. The fix is to run its installer, which can only be done inside Windows: `imgtool fix
    --cloudbase-init MSI` lays it down to run once, at the next start, and until Windows was started and shut
    down this rule fails, because the platform would refuse the image.
    """
    guest = image.windows
    init = guest.cloudbase_init
    if init.folder is None or init.missing:
        from imgtool.guest.windows.first_boot import waits

        if waits(guest):
            yield _laid_down()
            return
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


def _laid_down() -> Outcome:
    from imgtool.guest.windows.first_boot import INSTALLER, SCRIPT, SERVICE

    return broken(
        Text(
            "cloudbase-init is not installed yet: its installer is laid down, and runs at the next start.",
            "cloudbase-init 尚未安装：安装包已放入镜像，将在下次启动时运行。",
        ),
        f"{SCRIPT}: installs {INSTALLER}",
        f"the service {SERVICE} starts it",
        remedy=Text(
            "Start a copy of the image once in a virtual machine; wait until C:\\imgtool is gone (the"
            " installer's log is in C:\\Windows\\Temp), shut Windows down, and check the image again.",
            "请在虚拟机中启动一次镜像副本，等待 C:\\imgtool 消失（安装日志在 C:\\Windows\\Temp），"
            "正常关机后重新检查。",
        ),
    )


def _install(guest: WindowsGuest) -> Text:
    name = INSTALLER.get(guest.release.architecture, INSTALLER["x86_64"])
    command = f"msiexec /i {name} /qn RUN_SERVICE_AS_LOCAL_SYSTEM=1 LOGGINGSERIALPORTNAME=COM1"
    return Text(
        f"In Windows, as a member of Administrators: run {name} (https://cloudbase.it/cloudbase-init/) with"
        ' "Run Cloudbase-Init service as LocalSystem" and COM1, without Sysprep at the end; or unattended,'
        " in a"
        f" Command Prompt as administrator, in the folder that it lies in:\n{command}",
        f"请在 Windows 中以 Administrators 成员身份运行 {name}（https://cloudbase.it/cloudbase-init/），勾选"
        "“Run Cloudbase-Init service as LocalSystem”，串口选 COM1，结束时不要运行 Sysprep；或以管理员身份打开"
        f"命令提示符（cmd），在其所在目录静默安装：\n{command}",
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
    from imgtool.guest.windows.commands import at_prompt, start_service
    from imgtool.guest.windows.services import AUTO, said_of

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
    if found.start != AUTO or found.overridden not in (None, AUTO):
        wrong = True
        said = said_of(found.start if found.start != AUTO else found.overridden)
        yield broken(
            Text(
                f"The service cloudbase-init does not start by itself ({said.en}).",
                f"cloudbase-init 服务不会自动启动（{said.zh}）。",
            ),
            found.proof,
            remedy=at_prompt(*start_service(found, "auto")),
        )
    if found.account.lower() not in LOCAL_SYSTEM:
        wrong = True
        yield broken(
            Text(
                f"The service cloudbase-init runs as {found.account}, not as LocalSystem.",
                f"cloudbase-init 服务以 {found.account} 而不是 LocalSystem 身份运行。",
            ),
            f"SYSTEM\\{found.key}: ObjectName={found.account}",
            remedy=at_prompt("sc.exe config cloudbase-init obj= LocalSystem"),
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
            remedy=_write(init, {**in_folder(limits.required, init), **in_folder(limits.recommended, init)}),
        )
        return
    unreadable = _unreadable(guest, init, found)
    if unreadable is not None:
        yield unreadable
        return
    required, recommended = in_folder(limits.required, init), in_folder(limits.recommended, init)
    wrong, slight = differences(found, required), differences(found, recommended)
    more = extras(found, {**required, **recommended})
    beyond = [f"beyond the platform's: {', '.join(more)[:300]}"] if more else []
    if wrong:
        yield broken(
            _named(wrong, Severity.ERROR),
            *_evidence(init, wrong),
            *beyond,
            remedy=_set(init, found, wrong, required),
        )
    if slight:
        yield broken(
            _named(slight, Severity.WARNING),
            *_evidence(init, slight),
            *([] if wrong else beyond),
            severity=Severity.WARNING,
            remedy=_set(init, found, slight, recommended),
        )
    if not wrong and not slight:
        yield kept(
            Text("It holds the settings of the platform.", "包含平台要求的各项设置。"),
            init.config_path,
            *beyond,
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


def _unreadable(guest: WindowsGuest, init: CloudbaseInit, found: Config) -> Outcome | None:
    if found.encoding != "text":
        return broken(
            Text(
                f"The configuration is {ENCODINGS[found.encoding].en}, which cloudbase-init can't read.",
                f"配置文件的编码为 {ENCODINGS[found.encoding].zh}，cloudbase-init 无法读取。",
            ),
            f"{init.config_path}: {found.encoding}",
            remedy=_as_ansi(guest, init, found),
        )
    page = code_page(guest)
    if page is not None and not _decodes(guest, init, page):
        return broken(
            Text(
                f"The configuration has characters that the system's code page ({page}) does not have:"
                " cloudbase-init can't read it.",
                f"配置文件含有系统代码页（{page}）无法解码的字符，cloudbase-init 无法读取。",
            ),
            f"{init.config_path}: no text in code page {page}",
            remedy=_as_ansi(guest, init, found),
        )
    if found.mistakes:
        return broken(
            Text(
                "The configuration has lines that are no settings: cloudbase-init stops at the first of"
                " them.",
                "配置文件中有无法解析的行：cloudbase-init 读到第一处即会停止。",
            ),
            *(f"{init.config_path}:{line}: {text}" for line, text in found.mistakes),
            remedy=_edit(init, "take these lines out or mend them", "删除或修正这些行"),
        )
    return None


def code_page(guest: WindowsGuest) -> str | None:
    """The 8-bit code page that Windows is set to, as Python calls it; None where that is not known here."""
    import codecs

    key = guest.control_set.key("Control\\Nls\\CodePage")
    number = (key.text("ACP") or "").strip() if key is not None else ""
    if not number.isdecimal() or not number.isascii():
        return None
    try:
        return codecs.lookup(f"cp{number}").name
    except LookupError:
        return None


def _decodes(guest: WindowsGuest, init: CloudbaseInit, page: str) -> bool:
    """Whether cloudbase-init's Python gets through the file, which it opens in that code page."""
    from imgtool.guest.windows.cloudbase_init import LARGEST_CONFIG

    try:
        guest.tree.read(init.config_path, LARGEST_CONFIG).decode(page)
    except UnicodeDecodeError:
        return False
    return True


def _as_ansi(guest: WindowsGuest, init: CloudbaseInit, found: Config) -> Text:
    """The file in the system's own 8-bit code page, which is what cloudbase-init opens it in."""
    from imgtool.guest.windows.boot_commands import build_of
    from imgtool.guest.windows.commands import FIRST_WITH_POWERSHELL, for_powershell, in_powershell

    path = for_powershell(_config_file(init))
    if path is None or build_of(guest) < FIRST_WITH_POWERSHELL:
        return _edit(init, "save it with the encoding ANSI", "以 ANSI 编码保存")
    encoding = {"utf-16": "Unicode"}.get(found.encoding, "UTF8")
    return in_powershell(
        f"(Get-Content -LiteralPath {path} -Encoding {encoding}) | Set-Content -LiteralPath {path}"
        " -Encoding Default"
    )


def _edit(init: CloudbaseInit, what: str, what_zh: str) -> Text:
    from imgtool.guest.windows.commands import for_cmd, shown

    path = for_cmd(_config_file(init))
    if path is None:
        name = shown(_config_file(init))
        return Text(f"In {name}: {what}.", f"请在 {name} 中{what_zh}。")
    return Text(
        f"In Windows, in a Command Prompt as administrator, open the file, and {what}:\nnotepad {path}",
        f"请在 Windows 中以管理员身份打开命令提示符（cmd），用以下命令打开文件并{what_zh}：\nnotepad {path}",
    )


def _config_file(init: CloudbaseInit) -> str:
    """The file that the service reads, as Windows writes it."""
    return init.as_windows(init.config_path)


def _named(wrong: list[Difference], severity: Severity) -> Text:
    names, names_zh = ", ".join(it.name for it in wrong), "、".join(it.name for it in wrong)
    if severity is Severity.ERROR:
        return Text(
            f"Settings that the first start depends on are missing or different: {names}.",
            f"首次启动所依赖的设置缺失或不符：{names_zh}。",
        )
    return Text(
        f"Settings are missing or different from the platform's page: {names}.",
        f"以下设置缺失或与平台文档不符：{names_zh}。",
    )


def _evidence(init: CloudbaseInit, wrong: list[Difference]) -> list[str]:
    return [init.config_path, *(it.evidence for it in wrong[:SHOWN])]


def _set(
    init: CloudbaseInit, config: Config, wrong: list[Difference], wanted: Mapping[str, str | tuple[str, ...]]
) -> Text:
    return _write(init, {it.name: wanted[it.name] for it in wrong}, {it.name: it for it in wrong}, config)


def _write(
    init: CloudbaseInit,
    wanted: Mapping[str, str | tuple[str, ...]],
    wrong: Mapping[str, Difference] | None = None,
    config: Config | None = None,
) -> Text:
    """The lines of the file as they are to be, in the sections where they count; what a list holds beyond
    them stays."""
    from imgtool.guest.windows.cloudbase_config import DEFAULT, items_of
    from imgtool.guest.windows.commands import shown

    sections: dict[str, list[str]] = {DEFAULT: []}
    for name, value in wanted.items():
        difference = wrong.get(name) if wrong is not None else None
        there = difference.found if difference is not None else None
        said = value
        if isinstance(value, tuple):
            kept_items = [item[:200] for item in items_of(there.value) if item.isprintable()] if there else []
            kept_items = kept_items[:MOST_KEPT]
            lacking = difference.lacking if difference is not None else value
            said = ",".join([*kept_items, *lacking])
        section, own_name = config.place(name) if config is not None else (DEFAULT, name)
        sections.setdefault(section, []).append(f"{own_name}={said}")
    blocks = {section: lines for section, lines in sections.items() if lines}
    text = "\n".join(
        f"  [{section}]\n" + "\n".join(f"  {line}" for line in lines) for section, lines in blocks.items()
    )
    path = shown(_config_file(init))
    return Text(
        f"In {path}, saved as ANSI, in place of what these settings are there:\n{text}",
        f"请在 {path} 中写入以下设置（替换原有的同名设置，以 ANSI 编码保存）：\n{text}",
    )
