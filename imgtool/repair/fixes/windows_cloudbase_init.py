"""cloudbase-init: its service, settings and memory; its installer laid down for the first boot."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

from imgtool.checks import windows_cloudbase_init as rules
from imgtool.guest.windows.first_boot import INSTALLER, waits
from imgtool.repair.first_boot import run_at_first_boot
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.repair.windows_drivers import SOFTWARE, SYSTEM, dword, service_key, set_values, sz
from imgtool.text import Text

if TYPE_CHECKING:
    from pathlib import Path

    from imgtool.guest.windows.cloudbase_init import CloudbaseInit

LARGEST_INSTALLER = 256 << 20
LARGEST_SCRIPT = 4 << 20
BEFORE = ".before-imgtool"
STARTS_ONCE = Text(
    en="The installer is laid down and runs once, at the next start of Windows: start the repaired "
    "image in a virtual machine, shut it down, and check it again before it is imported.",
    zh="安装包已放入镜像，会在 Windows 下次启动时运行一次：请先在虚拟机中启动修复后的镜像，"
    "正常关机并重新检查，再导入。",
)


@fix("windows.cloudbase-init.installed", prepares=True)
def lay_down_the_installer(work: Work) -> None:
    """The installer runs once, at the next start of Windows: it can only run inside."""
    if waits(work.image.windows):
        raise CannotMend(STARTS_ONCE)
    given = work.wishes.cloudbase_init
    found = _given(given, "*.msi") if given is not None else None
    if found is None:
        raise CannotMend(
            Text(
                en="Give the installer of cloudbase-init with --cloudbase-init MSI: it is laid down, and "
                "runs at the first start.",
                zh="请用 --cloudbase-init 指定 cloudbase-init 安装包：它会被放入镜像，并在首次启动时运行。",
            )
        )
    if found.stat().st_size > LARGEST_INSTALLER:
        raise CannotMend(Text(en=f"{found} is too large for an installer.", zh=f"{found} 过大，不是安装包。"))
    name = INSTALLER.rpartition("/")[2]
    command = (
        f'msiexec /i "%~dp0{name}" /qn /norestart /l*v "%SystemRoot%\\Temp\\cloudbase-init-setup.log" '
        "RUN_SERVICE_AS_LOCAL_SYSTEM=1 LOGGINGSERIALPORTNAME=COM1"
    )
    run_at_first_boot(work, (command,), {INSTALLER: found.read_bytes()})
    work.draft.leave(STARTS_ONCE)


@fix("windows.cloudbase-init.service")
def start_it_as_the_system(work: Work) -> None:
    """Start 2, as LocalSystem."""
    guest = work.image.windows
    found = guest.cloudbase_init.service
    if found is None or found.file is None or not guest.tree.is_file(found.file):
        raise CannotMend(
            Text(
                en="The service or its program is not there: cloudbase-init has to be installed again.",
                zh="服务或其程序不存在：需要重新安装 cloudbase-init。",
            )
        )
    key = service_key(guest, found.name)
    set_values(work, SYSTEM, key, {"Start": dword(2), "ObjectName": sz("LocalSystem")})
    work.draft.registry_delete(SYSTEM, f"{key}\\StartOverride")


@fix("windows.cloudbase-init.config")
def write_the_settings(work: Work) -> None:
    """The settings of the platform's page; the file as it was is kept beside."""
    from imgtool.guest.windows.cloudbase_config import DEFAULT, differences, read_config

    draft, init = work.draft, work.image.windows.cloudbase_init
    limits = work.image.profile.windows.cloudbase_init
    wanted = {**rules.in_folder(limits.required, init), **rules.in_folder(limits.recommended, init)}
    path = init.config_path
    if not draft.tree.is_file(path):
        lines = "".join(f"{name}={_said(value, ())}\r\n" for name, value in wanted.items())
        draft.write(path, f"[{DEFAULT}]\r\n{lines}".encode())
        return
    old = draft.read(path)
    config = read_config(old)
    text, encoding = readable(old, config.mistakes, rules.code_page(work.image.windows))
    for wrong in differences(read_config(text.encode()), wanted):
        text = with_setting(text, wrong.name, _said(wanted[wrong.name], _items(config, wrong.name)))
    draft.write(path, text.encode(encoding, "replace"))
    if not draft.tree.exists(path + BEFORE):
        draft.write(path + BEFORE, old)


def _items(config: object, name: str) -> tuple[str, ...]:
    from imgtool.guest.windows.cloudbase_config import Config, items_of

    assert isinstance(config, Config)  # noqa: S101 - it was read as one
    there = config.get(name)
    return tuple(items_of(there.value)) if there is not None else ()


def _said(value: str | tuple[str, ...], there: tuple[str, ...]) -> str:
    """A value as it is to be written; what a list holds beyond the items stays."""
    if isinstance(value, str):
        return value
    known = {item.rpartition(".")[2] for item in value}
    return ",".join((*value, *(item for item in there if item.rpartition(".")[2] not in known)))


def readable(data: bytes, mistakes: tuple[tuple[int, str], ...], page: str | None) -> tuple[str, str]:
    """The text, its unreadable lines made comments, and the 8-bit encoding that it is to be written in.

    That is the system's code page, which cloudbase-init opens the file in; page: its name in Python, None
    where it is not known.
    """
    encoding = page or "utf-8"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = data.decode("utf-16", "replace")
    elif data[1:2] == b"\0" and data[3:4] == b"\0":
        text = data.decode("utf-16-le", "replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            encoding = page or "latin-1"
            text = data.decode(encoding, "replace")
    lines = _lines(text)
    for number, _ in mistakes:
        lines[number - 1] = f"# {lines[number - 1].strip()}"
    return "\r\n".join(lines) + "\r\n", encoding


def _lines(text: str) -> list[str]:
    """As a program reads them, without an empty one behind the last line end."""
    lines = re.split(r"\r\n|\r|\n", text)
    return lines[:-1] if lines[-1] == "" else lines


def with_setting(text: str, name: str, value: str) -> str:
    """The text with an option in [DEFAULT] set, its old lines gone, those that go on below them as well."""
    from imgtool.guest.windows.cloudbase_config import DEFAULT, LATER_NAMES

    places = {(DEFAULT, name), LATER_NAMES.get(name, (DEFAULT, name))}
    kept: list[str] = []
    section, dropping = "", False
    for line in _lines(text):
        if line[:1] in " \t" and line.strip() and dropping:
            continue
        dropping = False
        if line.startswith("["):
            section = line[1:].partition("]")[0].strip()
        found = re.match(r"([^#;=:\s][^=:]*?)\s*[=:]", line)
        if found and (section, found[1].strip()) in places:
            dropping = True
            continue
        kept.append(line)
    at = next((number for number, line in enumerate(kept) if line.strip() == f"[{DEFAULT}]"), None)
    if at is None:
        kept[:0] = [f"[{DEFAULT}]"]
        at = 0
    kept.insert(at + 1, f"{name}={value}")
    return "\r\n".join(kept) + "\r\n"


@fix("windows.cloudbase-init.state")
def forget_what_was_done(work: Work) -> None:
    """Records that keep plugins from running, and the platform's script where it is given."""
    from imgtool.guest.windows.cloudbase_init import DONE, NEXT_BOOT

    init = work.image.windows.cloudbase_init
    limits = work.image.profile.windows.cloudbase_init
    again = {name.lower() for name in limits.run_again}
    for state in init.states:
        key = state.key.removeprefix("SOFTWARE\\")
        if state.plugin.lower() in again:
            if state.value != NEXT_BOOT:
                work.draft.registry_set(SOFTWARE, key, state.plugin, dword(NEXT_BOOT))
        elif not state.instance and state.value == DONE:
            work.draft.registry_set(SOFTWARE, key, state.plugin, dword(NEXT_BOOT))
    _script(work, init, limits.local_script)


def _script(work: Work, init: CloudbaseInit, pattern: str) -> None:
    folder = f"{init.folder}/LocalScripts"
    tree, given = work.draft.tree, work.wishes.cloudbase_init
    names = tree.list(folder) if tree.is_dir(folder) else []
    there = [name for name in names if fnmatch.fnmatch(name.lower(), pattern.lower())]
    for name in there:
        path = f"{folder}/{name}"
        if work.image.windows.is_from_the_internet(path):
            content = tree.read(path, LARGEST_SCRIPT)
            work.draft.remove(path)  # the mark goes with the old file
            work.draft.write(path, content)
    if there:
        return
    found = _given(given, pattern) if given is not None else None
    if found is not None:
        work.draft.write(f"{folder}/{found.name}", found.read_bytes())
    elif not work.draft.steps or work.draft.steps[-1].mends != work.draft.mending:
        raise CannotMend(
            Text(
                en=f"The platform hands out {pattern}; give the folder with it by --cloudbase-init DIR.",
                zh=f"脚本 {pattern} 由平台提供；请用 --cloudbase-init 指定其所在目录。",
            )
        )


def _given(given: Path, pattern: str) -> Path | None:
    if given.is_file():
        return given if fnmatch.fnmatch(given.name.lower(), pattern.lower()) else None
    found = [it for it in sorted(given.iterdir()) if fnmatch.fnmatch(it.name.lower(), pattern.lower())]
    return found[0] if found else None
