"""The files that a boot and every login need: there, of the right type, writable by root alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from imgtool.errors import CannotRead, ImgtoolError
from imgtool.records import dataclass
from imgtool.remedy import in_guest
from imgtool.rules import Outcome, Severity, broken, kept, rule, undecided
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.guest.filesystem import Stat
    from imgtool.guest.linux import LinuxGuest
    from imgtool.guest.tree import Tree
    from imgtool.image import Image

WITHOUT_OWNERS = ("vfat", "ntfs", "exfat")  # filesystems whose files have no owner and no mode
CONFIGURATIONS = (
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/grub/grub.conf",
    "/boot/grub/menu.lst",
)
LINK = "/etc/grub2.cfg"
GROUP_LIMIT = 1 << 20
ACCOUNTS_LIMIT = 16 << 20


@dataclass(frozen=True)
class KeyFile:
    """One file. secret: it holds passwords; needed: the guest must have it."""

    path: str
    secret: bool = False
    needed: bool = True


@rule(
    "linux.key-files",
    Text("Key system files", "系统关键文件"),
    severity=Severity.ERROR,
    source="ref 06",
    family="linux",
    requires=("disk.root",),
    fixable=True,
)
def key_files(image: Image) -> Iterator[Outcome]:
    """The boot loader's configuration, fstab, passwd and shadow are there, and only root can write them.

    A file that others may write lets anyone who logs in take the machine over; a shadow file that others
    may read gives the password hashes away; a file that is missing or no regular file keeps the guest from
    booting or people from logging in (ref 06). What is right is what the distribution ships: shadow is 0000
    on RHEL and its kin, 0640 with group shadow on Debian, Ubuntu and SUSE. Files on a FAT volume have no
    mode. passwd and shadow must have a line for root, and lines that end as Linux reads them; a link
    /etc/grub2.cfg that leads nowhere is a warning, because GRUB's tools go by it.

    Evidence: type, mode and owner, as `ls -l` would show them. Example: `/etc/fstab: 0666 uid 0 gid 0`. The
    fix is the chown and chmod lines for this distribution. A boot loader's configuration that is not there
    at all is for linux.bootloader to say.
    """
    guest = image.linux
    good: list[str] = []
    for file in files_of(guest):
        try:
            outcome = _judge(guest, file, good)
        except CannotRead as error:
            outcome = undecided(error.statement())
        if outcome is not None:
            yield outcome
    yield from _accounts(guest)
    yield from _links(guest)
    if good:
        yield kept(Text("These files are as they should be.", "这些文件符合要求。"), *good)


def _accounts(guest: LinuxGuest) -> Iterator[Outcome]:
    """Root is there to log in as. CoreOS keeps its accounts elsewhere."""
    if guest.release.family == "coreos":
        return
    for path in ("/etc/passwd", "/etc/shadow"):
        try:
            if not guest.tree.is_file(path):
                continue
        except CannotRead:
            continue  # told above, as is a file that is not there
        try:
            data = guest.tree.read(path, ACCOUNTS_LIMIT)
        except CannotRead as error:
            yield undecided(error.statement())
            continue
        number, line = next(
            ((n, it) for n, it in enumerate(data.split(b"\n"), start=1) if it.startswith(b"root:")), (0, b"")
        )
        if not line:
            yield broken(
                Text(f"{path} has no line for root.", f"{path} 中没有 root 的行。"),
                f"{path}: {data.count(b':')} fields, none of root",
                remedy=_restore(guest.tree, KeyFile(path)),
                fixable=False,
            )
        elif line.endswith(b"\r"):
            yield broken(
                Text(
                    f"{path} has Windows line ends: the last field of every line is not what it seems,"
                    " and nobody"
                    " logs in.",
                    f"{path} 使用了 Windows 换行符：每行最后一个字段都会出错，导致无法登录。",
                ),
                f"{path}:{number}: ends in a carriage return",
                remedy=in_guest(f"sed -i 's/\\r$//' {path}"),
                fixable=False,
            )


def _links(guest: LinuxGuest) -> Iterator[Outcome]:
    """/etc/grub2.cfg, by which grub2-mkconfig and grubby are told where the configuration is (ref 06)."""
    tree = guest.tree
    if guest.release.family in ("redhat", "suse") and tree.glob(LINK) and not tree.exists(LINK):
        config = next((path for path in CONFIGURATIONS if tree.is_file(path)), "")
        if not config:
            return  # linux.bootloader says that there is none
        yield broken(
            Text(f"{LINK} is a link that leads nowhere.", f"{LINK} 是一个失效的链接。"),
            f"{LINK} -> {tree.readlink(LINK)[:200]}",
            severity=Severity.WARNING,
            remedy=in_guest(f"ln -sfn {config} {LINK}"),
            fixable=False,
        )


def files_of(guest: LinuxGuest) -> list[KeyFile]:
    """The files that are judged in this guest."""
    return [
        KeyFile("/etc/fstab", needed=guest.release.family != "coreos"),
        KeyFile("/etc/passwd"),
        KeyFile("/etc/group"),
        KeyFile("/etc/shadow", secret=True),
        KeyFile("/etc/gshadow", secret=True, needed=False),
        *(KeyFile(path, needed=False) for path in _bootloader_config(guest)),
    ]


def _judge(guest: LinuxGuest, file: KeyFile, good: list[str]) -> Outcome | None:
    """What is wrong with a file; None where nothing is."""
    tree = guest.tree
    if not tree.exists(file.path):
        return _missing(tree, file) if file.needed or tree.glob(file.path) else None
    stat = tree.stat(file.path)
    shown = f"{file.path}: {stat.mode:04o} uid {stat.uid} gid {stat.gid}"
    if stat.kind != "file":
        return broken(
            Text(
                f"{file.path} is no regular file but a {stat.kind}.",
                f"{file.path} 不是普通文件，而是 {stat.kind}。",
            ),
            f"{file.path}: {stat.kind}",
            remedy=_restore(tree, file),
            fixable=False,
        )
    if _without_owners(guest, file.path):
        good.append(f"{file.path}: on a filesystem without owners and modes")
        return None
    wrong = _wrong(guest, file, stat)
    if not wrong:
        good.append(shown)
        return None
    commands = _mend(guest, file)
    return broken(
        Text(
            f"{file.path} {' and '.join(reason.en for reason in wrong)}.",
            f"{file.path} {'，且'.join(reason.zh for reason in wrong)}。",
        ),
        shown,
        remedy=Text(f"In the guest, as root:\n{commands}", f"请在系统内以 root 执行：\n{commands}"),
    )


def _wrong(guest: LinuxGuest, file: KeyFile, stat: Stat) -> list[Text]:
    found: list[Text] = []
    if stat.uid != 0:
        found.append(Text(f"belongs to user {stat.uid}, not to root", f"属于用户 {stat.uid} 而非 root"))
    if stat.mode & 0o002:
        found.append(Text("can be written by every user", "可被任何用户写入"))
    elif stat.mode & 0o020:
        found.append(Text(f"can be written by group {stat.gid}", f"可被组 {stat.gid} 写入"))
    if file.secret and stat.mode & 0o004:
        found.append(Text("can be read by every user", "可被任何用户读取"))
    if file.secret and stat.mode & 0o040 and stat.gid not in (0, _group(guest.tree, "shadow")):
        found.append(Text(f"can be read by group {stat.gid}", f"可被组 {stat.gid} 读取"))
    return found


def is_open(guest: LinuxGuest, file: KeyFile) -> bool:
    """Whether the file is there and others than root may change it or read its secrets. Raises CannotRead."""
    tree = guest.tree
    if not tree.is_file(file.path) or _without_owners(guest, file.path):
        return False
    return bool(_wrong(guest, file, tree.stat(file.path)))


def right_mode(guest: LinuxGuest, file: KeyFile) -> tuple[int, int]:
    """The mode and the group that the distribution ships the file with; its owner is root."""
    if not file.secret:
        return (0o600 if file.path.endswith(("grub.cfg", "grub2.cfg", "grub.conf")) else 0o644), 0
    if guest.release.packaged_as_fedora:
        return 0o000, 0
    shadow = _group(guest.tree, "shadow")
    return (0o600, 0) if shadow is None else (0o640, shadow)


def _mend(guest: LinuxGuest, file: KeyFile) -> str:
    path = shlex.quote(file.path)
    mode, group = right_mode(guest, file)
    return f"chown root:{'shadow' if group else 'root'} {path}\nchmod {mode:04o} {path}"


def _missing(tree: Tree, file: KeyFile) -> Outcome:
    dangling = tree.glob(file.path)
    return broken(
        Text(
            f"{file.path} is a link that leads nowhere." if dangling else f"{file.path} is not there.",
            f"{file.path} 是一个失效的链接。" if dangling else f"{file.path} 不存在。",
        ),
        f"{file.path}: {'dangling link' if dangling else 'missing'}",
        remedy=_restore(tree, file),
        fixable=False,
    )


def _restore(tree: Tree, file: KeyFile) -> Text:
    backup = f"{file.path}-"  # what passwd(1) and its kin leave behind
    command = {
        "/etc/shadow": "pwconv",
        "/etc/gshadow": "grpconv",
        # a link that leads nowhere, or a folder, would stay in the way
        "/etc/fstab": 'mv /etc/fstab /etc/fstab.old; echo "UUID=$(findmnt -no UUID /) /'
        ' $(findmnt -no FSTYPE /) defaults 0 1" > /etc/fstab',
    }.get(file.path, "")
    if tree.is_file(backup):
        command = f"cp -p {backup} {file.path}"
    if not command:
        return Text(f"Put {file.path} back from a backup.", f"请从备份恢复 {file.path}。")
    return Text(
        f"Make it anew, in the guest, as root:\n{command}", f"请在系统内以 root 重新生成：\n{command}"
    )


def _bootloader_config(guest: LinuxGuest) -> list[str]:
    """The configuration in use, and those that a later boot may use; each file once, whatever its names."""
    try:
        config = guest.bootloader.config_path
    except ImgtoolError:
        config = None  # linux.bootloader says why
    found: dict[str, str] = {}
    for path in (config, *CONFIGURATIONS):
        if path and guest.tree.is_file(path):
            found.setdefault(guest.tree.realpath(path), path)
    return list(found.values())


def _without_owners(guest: LinuxGuest, path: str) -> bool:
    """The file lies on a mount such as the EFI system partition."""
    real = guest.tree.realpath(path)
    mounts = guest.tree.mounts
    inner = max(
        (point for point in mounts if real == point or real.startswith(point.rstrip("/") + "/")), key=len
    )
    return mounts[inner].signature.type in WITHOUT_OWNERS


def _group(tree: Tree, name: str) -> int | None:
    """The number of a group of the guest."""
    for line in (tree.text_if_there("/etc/group", limit=GROUP_LIMIT) or "").splitlines():
        fields = line.split(":")
        if fields[0] == name and len(fields) > 2 and fields[2].isdecimal() and len(fields[2]) < 11:
            return int(fields[2])
    return None
