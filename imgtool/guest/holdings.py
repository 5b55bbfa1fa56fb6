"""What a volume holds, told from the names at its top: a system, a boot partition, an installer, data."""

from __future__ import annotations

from typing import Literal

from imgtool.guest.filesystem import Filesystem, NotInGuest, Stat
from imgtool.guest.tree import Tree, shown
from imgtool.records import dataclass
from imgtool.text import Text

What = Literal["linux", "windows", "ostree", "usr", "boot", "esp", "installer", "empty", "data"]

RELEASE_FILES = tuple(
    f"/etc/{name}"
    for name in (
        "os-release",
        "redhat-release",
        "centos-release",
        "system-release",
        "SuSE-release",
        "debian_version",
        "lsb-release",
        "alpine-release",
        "arch-release",
        "gentoo-release",
        "slackware-version",
    )
)
SKELETON = ("bin", "sbin", "lib", "usr", "var", "root", "home", "proc", "sys", "dev", "tmp", "opt")
INIT = (
    "/sbin/init",
    "/usr/sbin/init",
    "/lib/systemd/systemd",
    "/usr/lib/systemd/systemd",
    "/bin/systemd",
    "/init",
)
INSTALLER = (
    "/casper/filesystem.squashfs",
    "/casper/vmlinuz",
    "/live/filesystem.squashfs",
    "/LiveOS/squashfs.img",
    "/install.amd",
    "/images/pxeboot",
    "/images/install.img",
    "/.disk/info",
    "/isolinux",
    "/sources/install.wim",
    "/sources/install.esd",
)
BOOT_NAMES = ("grub", "grub2", "loader", "extlinux", "syslinux", "efi")
KERNEL_NAMES = ("vmlinuz", "vmlinux", "bzImage", "initrd", "initramfs")
SHOWN_NAMES = 8


@dataclass(frozen=True)
class Holding:
    """What a volume holds; words: the same with the names that were seen, in English, as evidence."""

    what: What
    words: str


def holding(tree: Tree) -> Holding:
    """Judge a volume by itself, nothing mounted. Raises GuestReadFailed where its top can't be read."""
    names = tree.list("/")
    what = _what(tree, names)
    ordinary = [name for name in names if name not in ("lost+found", "System Volume Information")]
    listed = ", ".join(shown(name)[:64] for name in ordinary[:SHOWN_NAMES])
    more = ", …" if len(ordinary) > SHOWN_NAMES else ""
    words = {
        "linux": "a Linux system",
        "windows": "a Windows system",
        "ostree": "an OSTree system",
        "usr": "a /usr of its own",
        "boot": f"a boot partition ({listed}{more})",
        "esp": f"an EFI system partition ({listed}{more})",
        "installer": f"an installer ({listed}{more})",
        "empty": "no files",
        "data": f"files ({listed}{more})",
    }
    return Holding(what, words[what])


def _what(tree: Tree, names: list[str]) -> What:
    if not [
        name for name in names if name not in ("lost+found", "System Volume Information", "$RECYCLE.BIN")
    ]:
        return "empty"
    if not tree.filesystem.case_sensitive and _is_windows(tree):
        return "windows"
    if _is_linux(tree, names):
        return "linux"
    if "ostree" in names and tree.is_dir("/ostree/deploy"):
        return "ostree"
    if any(tree.exists(path) for path in INSTALLER):
        return "installer"
    if is_usr(tree):
        return "usr"
    lower = [name.lower() for name in names]
    if tree.filesystem.type == "vfat" and "efi" in lower:
        return "esp"
    has_kernel = any(name.startswith(KERNEL_NAMES) for name in names)
    if has_kernel or any(name in ("grub", "grub2") and tree.is_dir(f"/{name}") for name in names):
        return "boot"
    return "data"


def _is_windows(tree: Tree) -> bool:
    """Its registry, or what is left of it: one of the two hives, or the kernel beside their folder."""
    config = "/Windows/System32/config"
    hives = [tree.is_file(f"{config}/{name}") for name in ("SYSTEM", "SOFTWARE")]
    return any(hives) and (all(hives) or tree.is_file("/Windows/System32/ntoskrnl.exe"))


def _is_linux(tree: Tree, names: list[str]) -> bool:
    """A root has /etc and a skeleton; and it says what it is, or has an init, or mounts others (a /usr of its
    own leaves links behind that lead nowhere)."""
    if not tree.is_dir("/etc") or len(set(SKELETON) & set(names)) < 3:
        return False
    return (
        any(_there(tree, path) for path in RELEASE_FILES)
        or _there(tree, "/usr/lib/os-release")
        or any(_there(tree, path) for path in INIT)
        or (_there(tree, "/etc/fstab") and _there(tree, "/etc/passwd"))
    )


def is_usr(tree: Tree) -> bool:
    """Whether the volume is what a system mounts at /usr."""
    return _there(tree, "/lib/os-release") and tree.is_dir("/bin") and not tree.exists("/etc/passwd")


def _there(tree: Tree, path: str) -> bool:
    """Whether a file or a link of that name exists, wherever the link leads."""
    try:
        tree.lstat(path)
    except NotInGuest:
        return False
    return True


class Subtree:
    """A directory of a filesystem as a filesystem of its own."""

    def __init__(self, filesystem: Filesystem, root: int) -> None:
        self._filesystem = filesystem
        self.root = root
        self.type = filesystem.type
        self.uuid = filesystem.uuid
        self.label = filesystem.label
        self.case_sensitive = filesystem.case_sensitive

    def lookup(self, directory: int, name: str) -> int | None:
        """As the filesystem under it."""
        return self._filesystem.lookup(directory, name)

    def names(self, directory: int) -> list[str]:
        """As the filesystem under it."""
        return self._filesystem.names(directory)

    def stat(self, node: int) -> Stat:
        """As the filesystem under it."""
        return self._filesystem.stat(node)

    def readlink(self, node: int) -> str:
        """As the filesystem under it."""
        return self._filesystem.readlink(node)

    def read(self, node: int, offset: int, length: int) -> bytes:
        """As the filesystem under it."""
        return self._filesystem.read(node, offset, length)


def ostree_deployment(tree: Tree) -> Subtree:
    """The deployment that the boot loader's first entry names; else the only one there is.

    Raises NotInGuest where there is none. https://ostreedev.github.io/ostree/deployment/
    """
    links = tree.glob("/ostree/boot.[01]/*/*/0")
    plain = [path for path in tree.glob("/ostree/deploy/*/deploy/*") if tree.is_dir(f"{path}/etc")]
    for path in (*links, *plain):
        if tree.is_dir(path):
            node = tree.filesystem.root
            for name in tree.realpath(path).strip("/").split("/"):
                below = tree.filesystem.lookup(node, name)
                if below is None:
                    break
                node = below
            else:
                return Subtree(tree.filesystem, node)
    raise NotInGuest(Text(en="It holds no OSTree deployment.", zh="其中没有 OSTree 部署。"))
