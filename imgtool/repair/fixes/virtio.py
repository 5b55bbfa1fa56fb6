"""The virtio drivers put into an initramfs, and told to the tool that makes the next one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from imgtool.checks import virtio as rules
from imgtool.guest.compression import Budget
from imgtool.guest.initramfs import MOST_BYTES, Initramfs, read_initramfs
from imgtool.repair.guest_code import require_same_machine
from imgtool.repair.initramfs_archive import Member, put_behind
from imgtool.repair.registration import CannotMend, Work, fix
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.kernels import Kernel
    from imgtool.guest.linux import LinuxGuest
    from imgtool.guest.modules import KernelModules
    from imgtool.repair.draft import Draft

# Beside what the rule asks for: the network, and disks that are attached as SCSI ones.
ALSO = ("virtio_net", "virtio_scsi")
LARGEST_MODULE = 16 << 20
LARGEST_INDEX = 16 << 20
SECONDS = 20.0
LOAD_LIST = "conf/modules"
NASH_INIT = "init"
HOOKS = ("lib/dracut/hooks/pre-trigger", "usr/lib/dracut/hooks/pre-trigger", "pre-trigger")
HOOK = "00-imgtool-virtio.sh"
BY_ALIAS = tuple(f"{top}/udev/rules.d/80-drivers.rules" for top in ("usr/lib", "lib", "etc"))
"""udev's rule that has the driver of each device that appears loaded, by the modules' aliases."""
NOT_TRIED = Text(
    en="What is added follows how this maker of initramfs files loads drivers (nash, or udev alone), and was "
    "not tried on a real system: boot the result (imgtool rehearse) before it is imported.",
    zh="所添加内容依照此类 initramfs（nash 或仅用 udev）加载驱动的方式编写，但未在真实系统上验证："
    "导入前请先用 imgtool rehearse 启动验证。",
)
_ARRAY = re.compile(r"(?:(?<=[\s(])|^)#[^\n]*|\)|[^\s)]+")
_INSMOD = re.compile(r"^[ \t]*(insmod|modprobe)\b.*$", re.MULTILINE)
WITHOUT_GUEST_CODE = Text(
    en="Leave --rebuild-initramfs out: what is added without them works on any machine.",
    zh="请去掉 --rebuild-initramfs：默认方式不依赖客户机架构。",
)


@fix("linux.virtio.initramfs")
def add_drivers(work: Work) -> None:
    """An archive with the drivers behind each initramfs that lacks them, or the guest's own tool run."""
    guest, wanted = work.guest, work.image.profile.linux.virtio_modules_initramfs
    kernels = [kernel for kernel in rules.judged_kernels(guest) if kernel.initrds]
    lacking = [kernel for kernel in kernels if _lacks(guest, kernel, wanted)]
    if not lacking:
        return
    if work.wishes.rebuild_initramfs:
        require_same_machine(guest, WITHOUT_GUEST_CODE)
    # before the guest's own tool runs, which reads it
    remember(guest, work.draft, (*wanted, *ALSO))
    for kernel in lacking:
        if work.wishes.rebuild_initramfs:
            _rebuild(work, kernel)
        else:
            _add(work, kernel, wanted)


def _lacks(guest: LinuxGuest, kernel: Kernel, wanted: tuple[str, ...]) -> bool:
    return bool(rules.lacking(guest, kernel, wanted))


def _rebuild(work: Work, kernel: Kernel) -> None:
    target = work.guest.tree.realpath(kernel.initrds[-1])
    command = work.guest.release.initramfs_command(kernel.version, target)
    if not command:
        raise CannotMend(
            Text(en="The guest has no tool that makes an initramfs.", zh="客户机没有生成 initramfs 的工具。")
        )
    work.draft.run(command)


def _add(work: Work, kernel: Kernel, wanted: tuple[str, ...]) -> None:
    guest, draft = work.guest, work.draft
    path = kernel.initrds[-1]
    budget = Budget(MOST_BYTES, SECONDS)
    listed = read_initramfs(guest.tree, path, budget, keep=(LOAD_LIST, NASH_INIT))
    if not listed.archives:
        raise CannotMend(Text(en=f"{path} holds no archive.", zh=f"{path} 中没有归档。"))
    modules = guest.modules(kernel)
    names = _with_needs(modules, (*rules.required(modules, wanted), *_of(modules, ALSO)))
    if not names:
        raise CannotMend(
            Text(
                en=f"The modules of kernel {kernel.version} are not in the guest.",
                zh=f"客户机中没有内核 {kernel.version} 的模块。",
            )
        )
    members = list(_with_folders(_members(guest, kernel, listed, names), listed))
    tried = _is_of_initramfs_tools(listed) or _hooks(listed) is not None
    put_behind(draft, path, listed, members, None if tried else NOT_TRIED)


def _of(modules: KernelModules, names: Iterable[str]) -> list[str]:
    return [name for name in names if modules.place(name) == "module"]


def _with_needs(modules: KernelModules, names: Iterable[str]) -> list[str]:
    """The modules and those that they depend on, each behind what it needs."""
    found: list[str] = []
    for name in names:
        # modules.dep lists the nearest first
        for it in (*reversed(modules.needs.get(name, ())), name):
            if it not in found and it in (modules.files or {}):
                found.append(it)
    return found


def _members(guest: LinuxGuest, kernel: Kernel, listed: Initramfs, names: list[str]) -> Iterator[Member]:
    modules, tree = guest.modules(kernel), guest.tree
    files, source = modules.files or {}, modules.folder or ""
    if "bin/nash" in listed.members:  # mkinitrd of RHEL 5: modules lie in /lib, and its script names them
        lacking = [name for name in names if listed.path_of(name, kernel.version) is None]
        lacking = [name for name in lacking if name not in ALSO]
        for name in lacking:
            yield Member(f"lib/{name}.ko", tree.read(files[name], LARGEST_MODULE))
        yield Member(NASH_INIT, _nash_script(listed.kept.get(NASH_INIT, b""), lacking), 0o755)
        return
    folder = f"{_folder(listed)}/{kernel.version}"
    for name in names:
        if listed.path_of(name, kernel.version) is None:
            inside = files[name].removeprefix(source).lstrip("/")
            yield Member(f"{folder}/{inside}", tree.read(files[name], LARGEST_MODULE))
    for index in tree.glob(f"{source}/modules.*"):
        if tree.is_file(index):
            yield Member(f"{folder}/{index.rsplit('/', 1)[1]}", tree.read(index, LARGEST_INDEX))
    yield from _loading(listed, names)


def _loading(listed: Initramfs, names: list[str]) -> Iterator[Member]:
    """What has the drivers loaded for sure; udev does it too, by the indexes.

    Raises CannotMend where nothing in the initramfs would load them.
    """
    hooks = _hooks(listed)
    if _is_of_initramfs_tools(listed):
        before = listed.kept.get(LOAD_LIST, b"").decode("utf-8", "surrogateescape")
        there = {line.split()[0] for line in before.splitlines() if line.strip()}
        lines = [name for name in names if name not in there]
        text = before + ("" if not before or before.endswith("\n") else "\n") + "\n".join(lines) + "\n"
        yield Member(LOAD_LIST, text.encode("utf-8", "surrogateescape"))
    elif hooks is not None:  # dracut
        script = "".join(f"modprobe -q {name} 2>/dev/null\n" for name in names)
        yield Member(f"{hooks}/{HOOK}", f"#!/bin/sh\n{script}:\n".encode(), 0o755)
    elif not any(path in listed.members for path in BY_ALIAS):
        raise CannotMend(
            Text(
                en="What loads drivers in this initramfs is not known (no initramfs-tools, dracut, nash or "
                "udev), so adding them may not help. Use --rebuild-initramfs.",
                zh="无法确定此 initramfs 如何加载驱动（未见 initramfs-tools、dracut、nash 或 udev），"
                "仅添加驱动可能无效。请使用 --rebuild-initramfs。",
            )
        )


def _is_of_initramfs_tools(listed: Initramfs) -> bool:
    return "conf/initramfs.conf" in listed.members or LOAD_LIST in listed.members


def _hooks(listed: Initramfs) -> str | None:
    """dracut's folder of scripts that run before udev is asked to look for devices."""
    return next((path for path in HOOKS if path in listed.members), None)


def _folder(listed: Initramfs) -> str:
    """Where the initramfs keeps its modules: a folder lib in the archive would take the place of a link."""
    for found in listed.modules.values():
        for path in found.values():
            if "/modules/" in path:
                return path.split("/modules/")[0] + "/modules"
    lib = listed.members.get("lib")
    return "usr/lib/modules" if lib is not None and lib.is_link else "lib/modules"


def _with_folders(members: Iterable[Member], listed: Initramfs) -> Iterator[Member]:
    """The folders that lead to each member and are not in the initramfs yet, each before what is in it."""
    made: set[str] = set()
    for member in members:
        parts = member.name.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            if folder not in made and folder not in listed.members:
                made.add(folder)
                yield Member(folder, None)
        yield member


def _nash_script(script: bytes, names: list[str]) -> bytes:
    """The script with the drivers loaded behind those that it loads already."""
    text = script.decode("utf-8", "surrogateescape")
    loads = list(_INSMOD.finditer(text))
    if not loads:
        raise CannotMend(
            Text(
                en="The initramfs' script loads no modules, so where to load these is not known. Use "
                "--rebuild-initramfs.",
                zh="initramfs 的脚本未加载任何模块，无法确定加载位置。请使用 --rebuild-initramfs。",
            )
        )
    lines = "".join(f'\necho "Loading {name}.ko module"\ninsmod /lib/{name}.ko' for name in names)
    end = loads[-1].end()
    if re.search(r"^[ \t]*mkblkdevs\b", text[:end], re.MULTILINE) and "mkblkdevs" not in text[end:]:
        lines += "\nmkblkdevs"  # its disk's node, which the script makes before it loads its last module
    return (text[:end] + lines + text[end:]).encode("utf-8", "surrogateescape")


# the guest's own configuration, so that the next initramfs has the drivers too


def remember(guest: LinuxGuest, draft: Draft, names: tuple[str, ...]) -> None:
    """Tell the tool that makes this guest's initramfs files, in its own configuration."""
    tree = guest.tree
    if tree.is_dir("/etc/initramfs-tools"):
        _remember_lines(draft, "/etc/initramfs-tools/modules", names)
    if tree.is_dir("/etc/dracut.conf.d") or tree.is_file("/etc/dracut.conf"):
        words = " ".join(names)
        draft.write("/etc/dracut.conf.d/90-imgtool-virtio.conf", f'add_drivers+=" {words} "\n')
    if tree.is_file("/etc/mkinitcpio.conf"):
        draft.edit("/etc/mkinitcpio.conf", lambda text: _in_array(text, names))
    if guest.release.family == "suse" and tree.is_file("/etc/sysconfig/kernel"):
        draft.edit(
            "/etc/sysconfig/kernel", lambda text: _with_words(text, r'INITRD_MODULES="([^"]*)"', names)
        )
    if tree.is_file("/etc/modprobe.conf"):
        _remember_aliases(draft)


def _remember_lines(draft: Draft, path: str, names: tuple[str, ...]) -> None:
    text = draft.text(path) if draft.tree.is_file(path) else ""
    there = {line.split()[0] for line in text.splitlines() if line.split()}
    lines = [name for name in names if name not in there]
    if lines:
        end = "" if not text or text.endswith("\n") else "\n"
        draft.write(path, text + end + "".join(f"{name}\n" for name in lines))


def _with_words(text: str, pattern: str, names: tuple[str, ...]) -> str:
    """The names that are not in a list yet, behind its others."""
    found = re.search(rf"(?m)^{pattern}", text)
    if found is None:
        return text
    lacking = [name for name in names if name not in found[1].split()]
    words = " ".join((*found[1].split(), *lacking))
    return text[: found.start(1)] + words + text[found.end(1) :]


def _in_array(text: str, names: tuple[str, ...]) -> str:
    """mkinitcpio's MODULES, an array of bash over any number of lines with comments, or a word in quotes."""
    quoted = _with_words(text, r'MODULES="([^"]*)"', names)
    starts = list(re.finditer(r"(?m)^[ \t]*MODULES\+?=\(", text))
    if not starts:
        end = "" if not text or text.endswith("\n") else "\n"
        if re.search(r'(?m)^MODULES="', text):
            return quoted
        return f"{text}{end}MODULES+=({' '.join(names)})\n"
    there: list[str] = []
    at = starts[-1].end()  # of several the last counts
    for found in _ARRAY.finditer(text, at):
        if found[0] == ")":
            lacking = [name for name in names if name not in there]
            behind = text[at : found.start()]
            gap = "\n" if "#" in behind.rpartition("\n")[2] else "" if behind[-1:] in ("", " ", "\n") else " "
            words = gap + " ".join(lacking) + ("\n" if "\n" in behind + gap else "")
            return text[: found.start()] + words + text[found.start() :] if lacking else text
        there += [] if found[0].startswith("#") else [found[0].strip("\"'")]
    return text


def _remember_aliases(draft: Draft) -> None:
    """mkinitrd of RHEL 5 takes what is an alias of scsi_hostadapter."""
    path, line = "/etc/modprobe.conf", "alias scsi_hostadapter_virtio virtio_blk"
    text = draft.text(path)
    if not re.search(r"(?m)^alias\s+scsi_hostadapter\S*\s+virtio_blk\s*$", text):
        end = "" if not text or text.endswith("\n") else "\n"
        draft.write(path, f"{text}{end}{line}\n")
