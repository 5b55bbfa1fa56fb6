"""The kernels that a Linux guest has, each with the files that belong to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imgtool.guest.version_order import version_key
from imgtool.records import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imgtool.guest.bootloader import BootEntry
    from imgtool.guest.tree import Tree

MOST_KERNELS = 200

_IMAGE = re.compile(r"(?:vmlinuz|vmlinux|kernel|bzImage|Image|linux|zImage)(?:[-_.](?P<version>.+))?")
_NOT_IMAGE = re.compile(r".*\.(?:hmac|sig|old|gz\.sig|config|map|symvers\.\w+|img|conf|png|bak|rpmsave)")
_INITRAMFS = (
    "initrd.img-{}",
    "initramfs-{}.img",
    "initrd-{}",
    "initrd-{}.img",
    "initramfs-{}",
    "initramfs.img-{}",
    "initrd-{}.gz",
)
_VERSION = re.compile(r"[0-9]+\.[0-9][\w.+~-]*")
_ARCHITECTURES = {
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "i386": "i386",
    "i486": "i386",
    "i586": "i386",
    "i686": "i386",
    "686": "i386",
    "aarch64": "arm64",
    "arm64": "arm64",
}


@dataclass(frozen=True)
class Kernel:
    """One kernel; all paths absolute in the guest's tree.

    version: as `uname -r` says. image: "" for a folder of modules without a kernel. initramfs: the last of
    `initrds`, which are all the files that are loaded one behind the other; None where there is none.
    architecture: x86_64, i386, arm64, or "" where it can't be told.
    """

    version: str
    image: str
    initramfs: str | None
    config: str | None
    modules_dir: str | None
    architecture: str
    initrds: tuple[str, ...] = ()


def find_kernels(tree: Tree) -> tuple[Kernel, ...]:
    """Every kernel in /boot, the newest version first. Raises GuestReadFailed where /boot can't be read."""
    found: dict[str, Kernel] = {}
    for path in _images(tree):
        kernel = _kernel(tree, path)
        found.setdefault(tree.realpath(path), kernel)
        if len(found) >= MOST_KERNELS:
            break
    return tuple(sorted(found.values(), key=lambda kernel: version_key(kernel.version), reverse=True))


def kernel_of_entry(tree: Tree, kernels: Iterable[Kernel], entry: BootEntry) -> Kernel | None:
    """The kernel that a boot entry starts, with the initramfs that this entry gives it.

    None where the entry starts no Linux kernel or its file is not there.
    """
    if entry.kernel is None or not tree.is_file(entry.kernel):
        return None
    real = tree.realpath(entry.kernel)
    same = [kernel for kernel in kernels if kernel.image and tree.realpath(kernel.image) == real]
    kernel = same[0] if same else _kernel(tree, real)
    return replace(kernel, initramfs=entry.initrds[-1] if entry.initrds else None, initrds=entry.initrds)


def modules_folder(tree: Tree, version: str) -> str | None:
    """The folder with the modules of a kernel version; None where there is none."""
    for folder in (f"/lib/modules/{version}", f"/usr/lib/modules/{version}"):
        if version and tree.is_dir(folder):
            return folder
    return None


def _images(tree: Tree) -> list[str]:
    """Kernels' files, links after what is no link: vmlinuz -> vmlinuz-6.1.0 is the same kernel."""
    if not tree.is_dir("/boot"):
        return []
    paths = []
    for name in tree.list("/boot"):
        if _IMAGE.fullmatch(name) and not _NOT_IMAGE.fullmatch(name):
            paths.append(f"/boot/{name}")
    # Boot Loader Specification, as kernel-install lays it out: /boot/<machine-id>/<version>/linux; and ostree
    paths += tree.glob("/boot/*/*/linux") + tree.glob("/boot/ostree/*/vmlinuz*")
    files = [path for path in paths[: 5 * MOST_KERNELS] if tree.is_file(path)]
    return sorted(files, key=lambda path: (tree.lstat(path).kind == "symlink", path))


def _kernel(tree: Tree, path: str) -> Kernel:
    from imgtool.guest.kernel_image import read_header

    folder, _, name = path.rpartition("/")
    match = _IMAGE.fullmatch(name)
    suffix = (match["version"] if match else None) or ""
    if name == "linux":
        suffix = folder.rsplit("/", 1)[-1]
    with tree.open(path) as stream:
        header = read_header(stream)
    # The header knows what `uname -r` says; a name such as vmlinuz-linux or vmlinuz-virt does not.
    version = (header.version if header else "") or suffix
    named = suffix if _VERSION.match(suffix) else ""
    if named and not (header and header.version and modules_folder(tree, header.version)):
        version = named
    initramfs = _initramfs(tree, folder, suffix or version, version)
    modules_dir = modules_folder(tree, version)
    config = next(
        (it for it in (f"{folder}/config-{suffix}", f"/boot/config-{version}") if tree.is_file(it)), None
    )
    return Kernel(
        version=version,
        image=path,
        initramfs=initramfs,
        config=config,
        modules_dir=modules_dir,
        architecture=(header.architecture if header else "") or _architecture(version),
        initrds=(initramfs,) if initramfs else (),
    )


def _initramfs(tree: Tree, folder: str, suffix: str, version: str) -> str | None:
    names = [name.format(word) for word in dict.fromkeys((suffix, version)) for name in _INITRAMFS if word]
    if folder != "/boot":
        names += ["initrd", "initrd.img", "initramfs.img"]
    return next((f"{folder}/{name}" for name in names if tree.is_file(f"{folder}/{name}")), None)


def _architecture(version: str) -> str:
    """The architecture that a version's last words name: 3.10.0-957.el7.x86_64, 5.10.0-8-amd64."""
    words = re.split(r"[.\-_]", version.replace("x86_64", "amd64"))
    return next((_ARCHITECTURES[word] for word in reversed(words) if word in _ARCHITECTURES), "")
