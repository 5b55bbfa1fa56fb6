"""What a kernel has built in and what it has as modules: from its configuration, its folder of modules, and
where no configuration is kept as a file, from the one inside the kernel itself (CONFIG_IKCONFIG)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from imgtool.errors import CannotRead
from imgtool.guest.compression import Budget
from imgtool.records import dataclass, field

if TYPE_CHECKING:
    from imgtool.guest.kernels import Kernel
    from imgtool.guest.tree import Tree

Value = Literal["y", "m", "n"]
Place = Literal["builtin", "module", "absent", "unknown"]

LARGEST_INDEX = 8 << 20
_OWN_INITRAMFS = re.compile(r'^CONFIG_INITRAMFS_SOURCE="(?!")', re.MULTILINE)
_OPTION = re.compile(r"^CONFIG_(\w+)=([ym])$", re.MULTILINE)
_FILESYSTEMS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "jfs", "reiserfs")
_SUFFIX = re.compile(r"\.ko(?:\.(?:xz|zst|gz|bz2))?$")


@dataclass(frozen=True)
class KernelModules:
    """The modules of one kernel.

    config: its options that are y or m; None where no configuration was found, config_source: the file.
    builtin: names in modules.builtin; None where there is no such list. files: a module's name, with
    underscores, to its path in the tree; None where the kernel has no folder of modules. needs: the modules
    that one of the virtio family depends on.
    """

    folder: str | None
    config: dict[str, str] | None
    config_source: str
    builtin: frozenset[str] | None
    files: dict[str, str] | None
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def option(self, name: str) -> Value | None:
        """CONFIG_<name>; None where the configuration is not known."""
        if self.config is None:
            return None
        value = self.config.get(name)
        return "y" if value == "y" else "m" if value == "m" else "n"

    def place(self, module: str) -> Place:
        """Where the kernel has a module; `module` with underscores.

        "absent" only when that is proven: by the configuration, or by complete lists of both kinds.
        """
        if self.builtin is not None and module in self.builtin:
            return "builtin"
        option = self.option(self._option_of(module))
        if option == "y":
            return "builtin"
        if self.files is not None and module in self.files:
            return "module"
        if option == "n" or (self.files is not None and (option == "m" or self.builtin is not None)):
            return "absent"
        return "unknown"

    def _option_of(self, module: str) -> str:
        """The option that builds a module of the virtio family, or a filesystem; most agree with the name."""
        if module in _FILESYSTEMS:
            return f"{module.upper()}_FS"
        if module == "virtio_ring" and "VIRTIO_RING" not in (self.config or {}):
            return "VIRTIO"  # since Linux 3.4
        return module.upper()


def parse_builtin(text: str) -> frozenset[str]:
    """Names, with underscores, from a modules.builtin."""
    return frozenset(module_name(line) for line in text.splitlines() if line.strip())


def module_name(path: str) -> str:
    """virtio_blk for kernel/drivers/block/virtio-blk.ko.xz."""
    return _SUFFIX.sub("", path.strip().rsplit("/", 1)[-1]).replace("-", "_")


def parse_config(text: str) -> dict[str, str]:
    """The options that are y or m; INITRAMFS_SOURCE is y where the kernel carries an initramfs."""
    own = {"INITRAMFS_SOURCE": "y"} if _OWN_INITRAMFS.search(text) else {}
    return dict(_OPTION.findall(text)) | own


def read_modules(tree: Tree, kernel: Kernel, budget: Budget | None = None) -> KernelModules:
    """The facts of one kernel. Raises CannotRead where a file of it is there and can't be read."""
    config, source = _config(tree, kernel, budget or Budget(1 << 30, 5.0))
    folder = kernel.modules_dir
    builtin = tree.text_if_there(f"{folder}/modules.builtin", LARGEST_INDEX) if folder else None
    return KernelModules(
        folder=folder,
        config=config,
        config_source=source,
        builtin=None if builtin is None else parse_builtin(builtin),
        files=_files(tree, folder) if folder else None,
        needs=_needs(tree, folder) if folder else {},
    )


def _files(tree: Tree, folder: str) -> dict[str, str] | None:
    """From modules.dep, as depmod wrote it; without one, the virtio modules that lie where they always do."""
    index = tree.text_if_there(f"{folder}/modules.dep", LARGEST_INDEX)
    if index:
        found = {}
        for line in index.splitlines():
            path = line.partition(":")[0].strip()
            if not path.startswith("#") and _SUFFIX.search(path):
                # RHEL 6 and older write whole paths
                found[module_name(path)] = path if path.startswith("/") else f"{folder}/{path}"
        virtio = {name for name in found if name.startswith("virtio")}
        return {name: path for name, path in found.items() if name not in virtio or tree.is_file(path)}
    patterns = ("drivers/block/virtio*.ko*", "drivers/net/virtio*.ko*", "drivers/virtio/virtio*.ko*")
    if not tree.is_dir(f"{folder}/kernel"):
        return None
    paths = [path for pattern in patterns for path in tree.glob(f"{folder}/kernel/{pattern}")]
    return {module_name(path): path for path in paths if _SUFFIX.search(path)}


def _needs(tree: Tree, folder: str) -> dict[str, tuple[str, ...]]:
    index = tree.text_if_there(f"{folder}/modules.dep", LARGEST_INDEX) or ""
    found = {}
    for line in index.splitlines():
        path, _, needed = line.partition(":")
        name = module_name(path)
        if name.startswith("virtio"):
            found[name] = tuple(module_name(it) for it in needed.split()[:64])
    return found


def _config(tree: Tree, kernel: Kernel, budget: Budget) -> tuple[dict[str, str] | None, str]:
    for path in (kernel.config, f"{kernel.modules_dir}/config" if kernel.modules_dir else None):
        text = tree.text_if_there(path, LARGEST_INDEX) if path else None
        if path and text and "CONFIG_" in text:
            return parse_config(text), path
    if not kernel.image:
        return None, ""
    from imgtool.guest.kernel_image import embedded_config

    try:
        with tree.open(kernel.image) as stream:
            text = embedded_config(stream, budget)
    except CannotRead:
        return None, ""
    return (parse_config(text), f"{kernel.image} (CONFIG_IKCONFIG)") if text else (None, "")
