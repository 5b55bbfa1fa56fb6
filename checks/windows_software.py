"""Software in Windows that belongs to another platform or stands in the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.rules import Outcome, Severity, broken, kept, rule
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.windows.class_filters import ClassFilters
    from imgtool.guest.windows.foreign_software import Found
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.image import Image

SHOWN_DRIVERS = 8
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
    fixable=True,
)
def conflicting(image: Image) -> Iterator[Outcome]:
    """No guest tools, agents or security software get in the way of the platform's.

    VMware Tools, Xen tools and VirtualBox Guest Additions bring drivers that fail or filter disk and network
    on another hypervisor; ref 07 has them uninstalled before the export, since their uninstallers often
    refuse to run afterwards. Agents of other clouds look for that cloud's metadata and may overwrite address
    or password. Security software is named because it may keep cloudbase-init from setting the password (ref
    11): that is information only. A driver that was removed, or disabled, and still stands among the filters
    of a class that the system disk hangs on stops the next start with 0x7B: an error.

    Evidence: uninstall keys, services, filters. Example: `SOFTWARE\\…\\Uninstall\\{…}: VMware Tools 11.3.0`.
    The fix is to uninstall it on the source.
    """
    from imgtool.guest.windows.class_filters import BOOT_CLASSES, cannot_load, read_class_filters
    from imgtool.guest.windows.foreign_software import find_foreign

    guest = image.windows
    dangling = [
        it
        for it in read_class_filters(guest, BOOT_CLASSES)
        if any(cannot_load(guest, name) for name in it.drivers)
    ]
    if dangling:
        yield _left_over(guest, dangling)
    found = find_foreign(guest)
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
            fixable=bool(each.services) and not each.programs and not security,
            remedy=_allow() if security else _uninstall(guest, each),
        )
    if not found and not dangling:
        yield kept(Text("Nothing of another platform is installed.", "未发现其他平台的软件。"))


def _left_over(guest: WindowsGuest, dangling: list[ClassFilters]) -> Outcome:
    """Filters of drivers that can't be loaded: Windows does not start the devices behind them."""
    from imgtool.guest.windows.class_filters import BOOT_CLASSES, cannot_load, clear_filters
    from imgtool.guest.windows.commands import shown

    names = {name.lower(): shown(name) for it in dangling for name in it.drivers if cannot_load(guest, name)}
    classes = list(dict.fromkeys(BOOT_CLASSES[it.class_guid.lower()] for it in dangling))
    drivers = [*list(names.values())[:SHOWN_DRIVERS], *(["…"] if len(names) > SHOWN_DRIVERS else [])]
    # the system disk is no IDE disk there, but the CD with an instance's settings is one
    lost = Text("disk (0x7B)", "系统盘（0x7B）")
    if classes == ["HDC"]:
        lost = Text("CD drive, and so no settings for the instance", "光驱，因而读不到实例的配置")
    return broken(
        Text(
            f"Filters of {', '.join(classes)} name drivers that are gone or disabled ({', '.join(drivers)}):"
            f" Windows would not find its {lost.en}.",
            f"{'、'.join(classes)} 的过滤驱动中有已不存在或已禁用的驱动（{'、'.join(drivers)}）："
            f"Windows 将找不到{lost.zh}。",
        ),
        *(it.proof for it in dangling),
        severity=Severity.ERROR,
        remedy=clear_filters(dangling, names),
    )


def _uninstall(guest: WindowsGuest, found: Found) -> Text:
    """A product code and a key's name are a stranger's text: they are quoted, or not written at all."""
    from imgtool.guest.windows.bcd import GUID
    from imgtool.guest.windows.commands import at_prompt, for_cmd, shown

    if not found.programs:
        return _disable(guest, found)
    removed, asked, named = [], [], []
    for program in found.programs:
        product = program.key.rpartition("\\")[2]
        key = for_cmd(f"HKLM\\{program.key}")
        if program.by_installer and GUID.fullmatch(product):
            removed.append(f'msiexec /x "{product}" /qn /norestart')
        elif key is not None:
            asked.append(f"reg query {key} /v UninstallString")
        else:
            named.append(shown(program.name))
    said = []
    if removed:
        said.append(
            at_prompt(
                *removed,
                en="On the source, before the export, in a Command Prompt as administrator",
                zh="请在导出前于源机器上以管理员身份打开命令提示符（cmd），执行",
            )
        )
    if asked:
        said.append(
            at_prompt(
                *asked,
                en="On the source, before the export, run what this shows (Command Prompt as administrator)",
                zh="请在导出前于源机器上以管理员身份打开命令提示符（cmd），执行以下命令所显示的卸载程序",
            )
        )
    if named:
        said.append(
            Text(
                f"On the source, before the export, uninstall in Programs and Features: {', '.join(named)}.",
                f"请在导出前于源机器的“程序和功能”中卸载：{'、'.join(named)}。",
            )
        )
    return Text("\n".join(it.en for it in said), "\n".join(it.zh for it in said))


def _disable(guest: WindowsGuest, found: Found) -> Text:
    """Drivers go off the filter lists first: a filter that is disabled and still listed stops the next
    start."""
    from imgtool.guest.windows.class_filters import clear_filters, read_class_filters, without
    from imgtool.guest.windows.commands import at_prompt, start_service

    names = {it.name.lower() for it in found.services}
    filters = [it for it in read_class_filters(guest) if any(name.lower() in names for name in it.drivers)]
    cleared = [without(it, names) for it in filters]
    if None in cleared:
        return clear_filters(filters, names)
    lines = [line for line in cleared if line is not None]
    for service in found.services:
        if service.start is not None:
            lines += start_service(service, "disabled")
    lines += [f'schtasks /change /tn "{task}" /disable' for task in found.tasks]
    return at_prompt(
        *lines,
        en="It has no uninstaller (any more). Keep what is left from starting, as the last step before the"
        " export, since the source may need it, in a Command Prompt as administrator",
        zh="它（已）没有卸载程序。请在导出前的最后一步禁止其残留服务启动（源机器可能仍需要它们），"
        "以管理员身份打开命令提示符（cmd），执行",
    )


def _allow() -> Text:
    return Text(
        "Let it allow cloudbase-init to set passwords and addresses, or uninstall it.",
        "请将 cloudbase-init 的相关操作加入其白名单，或卸载该软件。",
    )
