"""The Linux system on a disk: each fact is read when first asked for, by its own module, and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgtool.errors import CannotRead, ImgtoolError
from imgtool.lazy import fact

if TYPE_CHECKING:
    from imgtool.background import Work
    from imgtool.disk.disk import Disk
    from imgtool.guest.architecture import Program
    from imgtool.guest.bootloader import BootLoader
    from imgtool.guest.cloud_cache import CloudCache
    from imgtool.guest.cloud_config import CloudConfig
    from imgtool.guest.cloud_init import CloudInit
    from imgtool.guest.compression import Budget
    from imgtool.guest.fstab import FstabEntry
    from imgtool.guest.identity import Identity
    from imgtool.guest.initramfs import Initramfs
    from imgtool.guest.kernels import Kernel
    from imgtool.guest.modules import KernelModules
    from imgtool.guest.network import Network
    from imgtool.guest.release import Release
    from imgtool.guest.root import Root
    from imgtool.guest.services import Services
    from imgtool.guest.tree import Tree


class LinuxGuest:
    """Facts of one Linux root. Every fact may raise CannotRead; it says which file and why."""

    def __init__(self, root: Root, disk: Disk) -> None:
        self.root = root
        self.disk = disk
        self._initramfs: dict[str, Initramfs | CannotRead] = {}
        self._begun: tuple[str, Work[Initramfs], Budget] | None = None
        self._modules: dict[Kernel, KernelModules] = {}

    @property
    def tree(self) -> Tree:
        """The guest's files, with its own mounts laid over its root."""
        return self.root.tree

    @fact
    def release(self) -> Release:
        """The distribution: os-release or its older relatives."""
        from imgtool.guest.release import read_release

        return read_release(self.tree)

    @fact
    def architecture(self) -> str:
        """x86_64, i386, arm64 ...: what the programs in the root were built for."""
        from imgtool.guest.architecture import read_architecture

        return read_architecture(self.tree)

    @fact
    def programs(self) -> tuple[Program, ...]:
        """Some of the guest's basic programs, and what each was built for."""
        from imgtool.guest.architecture import read_programs

        return read_programs(self.tree)

    @fact
    def fstab(self) -> tuple[FstabEntry, ...]:
        """The lines of /etc/fstab that name something to mount."""
        from imgtool.guest.fstab import SIZE_LIMIT, parse_fstab

        # not Tree.text: a byte order mark is a fault here
        return parse_fstab(self.tree.read("/etc/fstab", SIZE_LIMIT).decode("utf-8", "replace"))

    @fact
    def own_disks(self) -> frozenset[str]:
        """The names that this disk had where the image was made: {"sda", "vda" ...} or what fstab says."""
        from imgtool.guest.devices import own_disks

        return own_disks(self.fstab)

    @fact
    def cloud_init(self) -> CloudInit:
        """What of cloud-init is installed."""
        from imgtool.guest.cloud_init import read_cloud_init

        return read_cloud_init(self.tree)

    @fact
    def cloud_config(self) -> CloudConfig:
        """How cloud-init is configured."""
        from imgtool.guest.cloud_config import read_cloud_config

        return read_cloud_config(self.tree)

    @fact
    def cloud_init_starts(self) -> bool:
        """cloud-init is complete, and the boot starts it."""
        from imgtool.guest.cloud_init import what_disables

        if not self.cloud_init.complete or self.services.init == "unknown":
            return False
        if self.cloud_init.kind == "coreos-cloudinit":
            return True
        arguments = self.kernel_arguments or ""
        return not what_disables(self.tree, self.services, arguments, self.cloud_config)

    @property
    def network_disabled(self) -> str:
        """What keeps cloud-init from configuring the network; "" for nothing."""
        from imgtool.guest.cloud_init import network_disabled

        return network_disabled(self.tree, self.kernel_arguments or "", self.cloud_config)

    @fact
    def services(self) -> Services:
        """Which services the init system starts."""
        from imgtool.guest.services import read_services

        return read_services(self.tree)

    @fact
    def network(self) -> Network:
        """How the network is brought up."""
        from imgtool.guest.network import read_network

        return read_network(self.tree, self.services, self.kernel_arguments or "", self.release)

    @fact
    def cloud_cache(self) -> CloudCache:
        """What cloud-init left of another instance's life."""
        from imgtool.guest.cloud_cache import read_cloud_cache

        return read_cloud_cache(self.tree)

    @fact
    def bootloader(self) -> BootLoader:
        """The boot loader's configuration: its entries and the one that it starts by default."""
        from imgtool.guest.bootloader import read_bootloader

        return read_bootloader(self.tree, self.disk)

    @property
    def kernel_arguments(self) -> str | None:
        """The default kernel's command line; None where the boot loader does not tell it."""
        try:
            entry = self.bootloader.default
        except ImgtoolError:
            return None
        return entry.arguments if entry else None

    @fact
    def kernels(self) -> tuple[Kernel, ...]:
        """Every kernel that is installed, newest first."""
        from imgtool.guest.kernels import find_kernels

        return find_kernels(self.tree)

    @fact
    def default_kernel(self) -> Kernel | None:
        """The kernel that the boot loader starts by default; None where its file is not there."""
        from imgtool.guest.kernels import kernel_of_entry

        entry = self.bootloader.default
        return kernel_of_entry(self.tree, self.kernels, entry) if entry else None

    @fact
    def identity(self) -> Identity:
        """What the machine has of its own that a clone should not inherit."""
        from imgtool.guest.identity import read_identity

        return read_identity(self.tree)

    def modules(self, kernel: Kernel) -> KernelModules:
        """What a kernel has built in and what it has as modules."""
        from imgtool.guest.modules import read_modules

        if kernel not in self._modules:
            self._modules[kernel] = read_modules(self.tree, kernel)
        return self._modules[kernel]

    def begin_initramfs(self, path: str) -> None:
        """Have the initramfs at `path` unpacked in the background, for `initramfs` to wait for.

        Done where the filesystem's reader bears a second thread, and once in a guest's life; else this does
        nothing. Raises CannotRead.
        """
        from imgtool.background import begin
        from imgtool.guest.compression import Budget
        from imgtool.guest.initramfs import MOST_BYTES, MOST_SECONDS, list_members

        if self._begun is None and path not in self._initramfs and self.tree.bears_threads(path):
            packed, budget = self.tree.open(path), Budget(MOST_BYTES, MOST_SECONDS)
            shared = getattr(self.disk.blocks, "bears_processes", False)
            unpacking = begin(lambda: list_members(packed, path, budget), "initramfs", in_process=shared)
            self._begun = path, unpacking, budget

    def close(self) -> None:
        """End what is at work in the background."""
        if self._begun is not None:
            self._begun[2].cancel()
            self._begun[1].end()

    def initramfs(self, path: str) -> Initramfs:
        """The members of the initramfs at `path` in the tree. Raises CannotRead."""
        if path not in self._initramfs:
            try:
                self._initramfs[path] = self._unpacked(path)
            except CannotRead as error:
                self._initramfs[path] = error
        found = self._initramfs[path]
        if isinstance(found, CannotRead):
            raise found.with_traceback(None)
        return found

    def _unpacked(self, path: str) -> Initramfs:
        from imgtool.guest.initramfs import read_initramfs

        if self._begun is not None and self._begun[0] == path:
            return self._begun[1].result()
        return read_initramfs(self.tree, path, self._budget)

    @fact
    def _budget(self) -> Budget:
        """What unpacking may cost, all initramfs files together but for the one that was begun ahead."""
        from imgtool.guest.compression import Budget
        from imgtool.guest.initramfs import MOST_BYTES, MOST_SECONDS

        return Budget(MOST_BYTES, MOST_SECONDS)
