"""Which engine reads an image's filesystems: imgtool's own readers, libguestfs, or it where they can't."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

from imgtool.errors import CannotRead, ImgtoolError
from imgtool.guest.filesystem import Filesystem, NoReader, Unsupported
from imgtool.guest.root import open_natively
from imgtool.records import replace
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.disk import Disk
    from imgtool.disk.probe import ImageFile
    from imgtool.disk.volumes import Volume, VolumeGroup
    from imgtool.guest.libguestfs import Appliance
    from imgtool.guest.root import RootSearch

Choice = Literal["auto", "native", "libguestfs"]
Used = Literal["native", "libguestfs"]

STARTING = Text(
    en="Starting libguestfs's appliance (seconds with KVM, half a minute or more without) …",
    zh="正在启动 libguestfs 运行环境（有 KVM 时数秒，否则约半分钟或更久）……",
)


class Engine:
    """Opens the filesystems of one image, and starts the appliance when one is first needed from it.

    used: libguestfs as soon as something was read through it. tell: takes the word that the appliance starts.
    started: an appliance that has the image already.
    """

    def __init__(
        self,
        file: ImageFile,
        disk: Disk,
        choice: Choice,
        opened: ExitStack,
        *,
        tell: Callable[[Text], None] = lambda words: None,
        started: Appliance | None = None,
    ) -> None:
        self.used: Used = "native"
        self._file = file
        self._disk = disk
        self._choice = choice
        self._opened = opened
        self._tell = tell
        self._started: Appliance | ImgtoolError | None = started
        self._refused: list[Volume] = []

    def search(self) -> RootSearch:
        """The systems on the disk, found natively, through libguestfs, or through it where native reading
        leaves something open that matters: no system, or a volume that the system mounts."""
        from imgtool.guest.root import find_roots

        if self._choice == "libguestfs":
            self._disk.revise(self._through_appliance)
            return find_roots(self._disk, self._open_there)
        search = find_roots(self._disk, self._open_here)
        if self._choice == "native" or not self._may_help(search):
            return search
        if any(volume.unreadable for volume in self._refused):
            self._disk.revise(self._unreadable_ones)
        return find_roots(self._disk, self._open_anyhow)

    def _open_here(self, volume: Volume) -> Filesystem:
        try:
            return open_natively(self._disk, volume)
        except (Unsupported, NoReader):
            self._refused.append(volume)
            raise

    def _open_there(self, volume: Volume) -> Filesystem:
        """Raises MachineLacks where this machine has no appliance: it was asked for in words."""
        return self._mounted(volume)

    def _open_anyhow(self, volume: Volume) -> Filesystem:
        try:
            return open_natively(self._disk, volume)
        except (Unsupported, NoReader) as error:
            if not _mountable(volume):
                raise
            try:
                return self._mounted(volume)
            except ImgtoolError as other:
                raise CannotRead(_both(error.statement(), other.statement())) from other

    def _mounted(self, volume: Volume) -> Filesystem:
        from imgtool.guest.libguestfs import LibguestfsBtrfs

        if not _mountable(volume):
            return open_natively(self._disk, volume)  # which says what it is
        appliance = self._appliance()
        if volume.signature.type == "btrfs":
            return LibguestfsBtrfs(appliance, volume)
        return appliance.open(volume)

    def _may_help(self, search: RootSearch) -> bool:
        """Whether the appliance, if there is one, might read what matters and was not read."""
        self._refused += [
            volume
            for volume in self._disk.volumes
            if volume.kind == "lv" and volume.unreadable is not None and _complete(volume, self._disk.groups)
        ]
        root = search.root
        unread = [mount.volume for mount in root.unreadable_mounts] if root else self._refused
        if not any(
            volume in unread and (volume.unreadable or _mountable(volume)) for volume in self._refused
        ):
            return False
        from imgtool.appliance import available

        return available()

    def _through_appliance(
        self, volumes: tuple[Volume, ...], groups: tuple[VolumeGroup, ...]
    ) -> tuple[tuple[Volume, ...], tuple[VolumeGroup, ...]]:
        """Logical volumes as the appliance's kernel puts them together; partitions are ranges of the disk."""
        if not any(volume.kind == "lv" for volume in volumes):
            return volumes, groups
        return tuple(self._revised(volume) if volume.kind == "lv" else volume for volume in volumes), groups

    def _unreadable_ones(
        self, volumes: tuple[Volume, ...], groups: tuple[VolumeGroup, ...]
    ) -> tuple[tuple[Volume, ...], tuple[VolumeGroup, ...]]:
        revised = (
            self._revised(volume)
            if volume.kind == "lv" and volume.unreadable is not None and _complete(volume, groups)
            else volume
            for volume in volumes
        )
        return tuple(revised), groups

    def _revised(self, volume: Volume) -> Volume:
        from imgtool.disk.signatures import identify

        try:
            appliance = self._appliance()
            if volume.name not in appliance.logical_volumes():
                return volume
            blocks = appliance.blocks(appliance.device(volume))
            return replace(volume, blocks=blocks, signature=identify(blocks), unreadable=None)
        except CannotRead:
            if volume.unreadable is not None:
                return volume
            raise

    def _appliance(self) -> Appliance:
        """The one session; where it did not start, the reason again."""
        if self._started is None:
            from imgtool.appliance import appliance, drive_of, require
            from imgtool.guest.libguestfs import Appliance

            try:
                require()
                self._tell(STARTING)
                handle = self._opened.enter_context(appliance([drive_of(self._file)]))
                self._started = Appliance(handle)
            except ImgtoolError as error:
                self._started = error
        if isinstance(self._started, ImgtoolError):
            raise self._started
        self.used = "libguestfs"
        return self._started


def _complete(volume: Volume, groups: tuple[VolumeGroup, ...]) -> bool:
    name = volume.name.partition("/")[0]
    return all(group.complete for group in groups if group.name == name)


def _mountable(volume: Volume) -> bool:
    from imgtool.guest.libguestfs import MOUNTABLE

    return volume.signature.type in MOUNTABLE and volume.kind in ("partition", "lv", "disk")


def _both(native: Text, other: Text) -> Text:
    return Text(
        en=f"{native.en} libguestfs was tried as well: {other.en}",
        zh=f"{native.zh} 也尝试了 libguestfs：{other.zh}",
    )
