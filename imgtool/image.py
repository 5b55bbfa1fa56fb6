"""One disk image under judgement: everything that rules and reports ask about it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from imgtool.errors import CannotRead, ImgtoolError
from imgtool.lazy import fact
from imgtool.records import dataclass, field
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.disk.probe import ImageFile
    from imgtool.guest.engine import Engine
    from imgtool.guest.linux import LinuxGuest
    from imgtool.guest.root import RootSearch
    from imgtool.guest.windows.guest import WindowsGuest
    from imgtool.profiles import Profile
    from imgtool.rules import Target


@dataclass(frozen=True)
class Options:
    """What the person asked for beyond the image itself.

    boot_mode: the mode declared for the import, or None; force_import: the image goes in without cloud-init
    (ref 02); deep: also run what takes long (`qemu-img check`); debug: let internal errors through;
    engine: who reads filesystems; tell: takes what is worth a word while it happens; architecture: the one
    declared for the import (ref 21: x86_64, arm_64), or None.
    """

    target: Target = "import"
    boot_mode: Literal["bios", "uefi"] | None = None
    force_import: bool = False
    deep: bool = False
    debug: bool = False
    engine: Literal["auto", "native", "libguestfs"] = "auto"
    tell: Callable[[Text], None] = field(default=lambda words: None, compare=False)
    architecture: str | None = None


class Image:
    """One image: each layer is read when first asked for, once, and closed with the image.

    Every fact may raise ImgtoolError (CannotRead and its kin); the rule that asked is then `unknown`.
    """

    def __init__(self, path: Path, profile: Profile, options: Options | None = None) -> None:
        self.path = path
        self.profile = profile
        self.options = options or Options()
        self._open = ExitStack()

    def __enter__(self) -> Image:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def target(self) -> Target:
        """What the image is for: import, migrate or data-disk."""
        return self.options.target

    @fact
    def file(self) -> ImageFile:
        """The image file: format, sizes, what is dangerous or damaged about it."""
        from imgtool.disk.probe import probe

        return probe(self.path)

    @fact
    def disk(self) -> Disk:
        """The disk inside the file: its bytes, partition table and volumes."""
        from imgtool.disk.disk import open_disk

        return self._open.enter_context(open_disk(self.file))

    @fact
    def search(self) -> RootSearch:
        """The systems found on the disk, by the engine that was asked for."""
        return self._engine.search()

    @fact
    def _engine(self) -> Engine:
        from imgtool.guest.engine import Engine

        return Engine(self.file, self.disk, self.options.engine, self._open, tell=self.options.tell)

    @property
    def engine(self) -> Literal["native", "libguestfs"]:
        """What the image was read with; libguestfs where any part of it was."""
        if "_engine" not in self.__dict__.get("_facts", {}):
            return "native"
        try:
            return self._engine.used
        except ImgtoolError:
            return "native"

    @property
    def family(self) -> Literal["linux", "windows", "unknown"]:
        """Which system the disk holds; `unknown` also when the disk cannot be read."""
        try:
            root = self.search.root
        except ImgtoolError:
            return "unknown"
        return root.family if root else "unknown"

    @property
    def family_if_known(self) -> Literal["linux", "windows", "unknown"]:
        """The family when it was already found; never opens an image for it."""
        return self.family if "search" in self.__dict__.get("_facts", {}) else "unknown"

    @fact
    def linux(self) -> LinuxGuest:
        """The Linux system on the disk. Raises CannotRead where there is none."""
        from imgtool.guest.linux import LinuxGuest

        root = self.search.root
        if root is None or root.family != "linux":
            raise CannotRead(Text(en="No Linux system was found.", zh="未找到 Linux 系统。"))
        guest = LinuxGuest(root, self.disk)
        self._open.callback(guest.close)
        return guest

    @fact
    def windows(self) -> WindowsGuest:
        """The Windows system on the disk. Raises CannotRead where there is none."""
        from imgtool.guest.windows.guest import WindowsGuest

        root = self.search.root
        if root is None or root.family != "windows":
            raise CannotRead(Text(en="No Windows system was found.", zh="未找到 Windows 系统。"))
        return WindowsGuest(root, self.disk)
