"""Services switched on and off as systemctl, chkconfig and update-rc.d do it: by links, in a guest that is
off."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.guest.services import UNIT_FOLDERS
from imgtool.repair.draft import CannotMend
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.services import Services
    from imgtool.guest.tree import Tree
    from imgtool.repair.draft import Draft
    from imgtool.repair.registration import Work

UNITS = "/etc/systemd/system"
DEV_NULL = "/dev/null"
LEVELS = "2345"
_LIMIT = 1 << 20
_INSTALL = re.compile(r"^(WantedBy|RequiredBy|Alias|Also)[ \t]*=[ \t]*(.*)$", re.MULTILINE)
_CHKCONFIG = re.compile(r"^#\s*chkconfig:\s*([0-9-]+)\s+([0-9]{1,2})\s+([0-9]{1,2})", re.MULTILINE)
_LSB_START = re.compile(r"^#\s*Default-Start:\s*([0-9S ]+)$", re.MULTILINE)
_NAME = re.compile(r"[\w@.:-]{1,200}")
_DEPTH = 4


def enable(work: Work, name: str) -> None:
    """Have the boot start a service. name: as Services.find takes it. Raises CannotMend."""
    enable_in(work.draft, work.guest.services, name)


def disable(work: Work, name: str) -> None:
    """Keep the boot from starting a service, also when something else asks for it."""
    disable_in(work.draft, work.guest.services, name)


def enable_in(draft: Draft, services: Services, name: str) -> None:
    """As `enable`, in a draft of the guest with these services."""
    if services.init == "systemd":
        unit = name if "." in name else f"{name}.service"
        unmask_in(draft, unit)
        if _has_unit(draft.tree, unit):
            _link_unit(draft, unit, 0)
            return
        name = unit.removesuffix(".service")
    elif services.init == "upstart" and draft.tree.is_file(f"/etc/init/{name}.conf"):
        draft.remove(f"/etc/init/{name}.override")
        drop = re.compile(r"^[ \t]*manual[ \t]*$\n?", re.MULTILINE)
        draft.edit(f"/etc/init/{name}.conf", lambda text: drop.sub("", text))
        return
    elif services.init == "openrc":
        _require_script(draft.tree, name)
        draft.symlink(f"/etc/runlevels/default/{name}", f"/etc/init.d/{name}")
        return
    _link_script(draft, name)


def disable_in(draft: Draft, services: Services, name: str) -> None:
    """As `disable`, in a draft of the guest with these services."""
    tree = draft.tree
    if services.init == "systemd":
        unit = name if "." in name else f"{name}.service"
        for folder in UNIT_FOLDERS[:1]:
            for kind in ("wants", "requires"):
                for link in tree.glob(f"{folder}/*.{kind}/{unit}"):
                    draft.remove(link)
        own = f"{UNITS}/{unit}"
        if tree.glob(own) and tree.lstat(own).kind == "file":
            return  # a unit of the administrator's own is not overwritten by a mask
        draft.symlink(own, DEV_NULL)
        return
    if services.init == "upstart" and tree.is_file(f"/etc/init/{name}.conf"):
        draft.write(f"/etc/init/{name}.override", "manual\n")
    if services.init == "openrc":
        for link in tree.glob(f"/etc/runlevels/*/{name}"):
            draft.remove(link)
        return
    for folder in script_levels(tree):
        for link in tree.glob(f"{folder}/S[0-9][0-9]{name}"):
            draft.remove(link)


def script_levels(tree: Tree, levels: str = "0123456S") -> list[str]:
    """The folders of SysV links that are there: /etc/rc3.d, /etc/rc.d/rc3.d or /etc/init.d/rc3.d."""
    found: dict[str, str] = {}
    for level in levels:
        for pattern in ("/etc/rc{}.d", "/etc/rc.d/rc{}.d", "/etc/init.d/rc{}.d"):
            folder = pattern.format(level)
            if tree.is_dir(folder):
                found.setdefault(tree.realpath(folder), folder)
    return list(found)


def unmask_in(draft: Draft, unit: str) -> None:
    """Let a systemd unit be started again."""
    path = f"{UNITS}/{unit}"
    if draft.tree.glob(path):
        found = draft.tree.lstat(path)
        is_mask = found.kind == "symlink" and draft.tree.readlink(path) == DEV_NULL
        if is_mask or (found.kind == "file" and found.size == 0):
            draft.remove(path)


def _has_unit(tree: Tree, unit: str) -> bool:
    return any(tree.is_file(f"{folder}/{unit}") for folder in UNIT_FOLDERS)


def _link_unit(draft: Draft, unit: str, depth: int) -> None:
    """The links of the unit's [Install] section."""
    tree = draft.tree
    path = next((f"{folder}/{unit}" for folder in UNIT_FOLDERS if tree.is_file(f"{folder}/{unit}")), "")
    text = tree.text_if_there(path, _LIMIT) or ""
    asked = [(key, word) for key, words in _INSTALL.findall(text) for word in words.split()[:16]]
    asked = [(key, word) for key, word in asked if _NAME.fullmatch(word)]
    for key, word in asked:
        if key in ("WantedBy", "RequiredBy"):
            folder = f"{UNITS}/{word}.{'wants' if key == 'WantedBy' else 'requires'}"
            draft.symlink(f"{folder}/{unit}", path)
        elif key == "Alias":
            draft.symlink(f"{UNITS}/{word}", path)
        elif depth < _DEPTH and _has_unit(tree, word):
            _link_unit(draft, word, depth + 1)
    if not asked:
        raise CannotMend(
            Text(
                en=f"{path} does not say what is to start it (it has no [Install] section).",
                zh=f"{path} 没有 [Install] 段，无法启用。",
            )
        )


def _require_script(tree: Tree, name: str) -> str:
    for path in (f"/etc/init.d/{name}", f"/etc/rc.d/init.d/{name}"):
        if tree.is_file(path):
            return path
    raise CannotMend(Text(en=f"There is no service {name} in the guest.", zh=f"系统中没有服务 {name}。"))


def _link_script(draft: Draft, name: str) -> None:
    """S links in the runlevels that the script's own header names; K links there go."""
    tree = draft.tree
    script = _require_script(tree, name)
    if not tree.stat(script).mode & 0o111:
        draft.chmod(script, tree.stat(script).mode | 0o755)
    text = tree.text_if_there(script, _LIMIT) or ""
    own, lsb = _CHKCONFIG.search(text), _LSB_START.search(text)
    levels = own[1] if own and own[1].isdigit() else lsb[1].replace(" ", "") if lsb else LEVELS
    order = f"{int(own[2]):02d}" if own else "95"
    folders = script_levels(tree, levels)
    if not folders:
        raise CannotMend(Text(en="The guest has no folders of SysV links.", zh="系统没有 SysV 链接目录。"))
    for folder in folders:
        for old in tree.glob(f"{folder}/[SK][0-9][0-9]{name}"):
            if old.rsplit("/", 1)[1] != f"S{order}{name}":
                draft.remove(old)
        depth = "../../" if folder.startswith("/etc/rc.d/") and not script.startswith("/etc/rc.d/") else "../"
        target = f"{depth}init.d/{name}" if not folder.startswith("/etc/init.d/") else f"../{name}"
        draft.symlink(f"{folder}/S{order}{name}", target)
