"""The disk inside an image file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from imgtool.disk.blocks import Blocks, Cached, RawBlocks
from imgtool.disk.partitions import PartitionTable, read_partition_table
from imgtool.errors import CannotRead, UnsafeImage
from imgtool.lazy import fact
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import ImageFile
    from imgtool.disk.volumes import Volume, VolumeGroup

    Found = tuple[tuple[Volume, ...], tuple[VolumeGroup, ...]]


class Disk:
    """A disk's bytes, and what lies on them; each part is read when first asked for."""

    def __init__(self, blocks: Blocks) -> None:
        self.blocks = blocks
        self._revise: Callable[[tuple[Volume, ...], tuple[VolumeGroup, ...]], Found] | None = None

    @fact
    def table(self) -> PartitionTable:
        """The partition table. Raises ReadFailed."""
        return read_partition_table(self.blocks)

    @fact
    def _found(self) -> Found:
        from imgtool.disk.volumes import find_volumes

        found = find_volumes(self.blocks, self.table)
        return self._revise(*found) if self._revise else found

    def revise(self, revise: Callable[[tuple[Volume, ...], tuple[VolumeGroup, ...]], Found]) -> None:
        """From now on, volumes and groups are what `revise` makes of those that were found natively."""
        self._revise = revise
        self.__dict__.get("_facts", {}).pop("_found", None)

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """Partitions, or the whole disk, then mirrors and logical volumes."""
        return self._found[0]

    @property
    def groups(self) -> tuple[VolumeGroup, ...]:
        """The LVM volume groups."""
        return self._found[1]


@contextmanager
def open_disk(file: ImageFile) -> Iterator[Disk]:
    """Open the disk inside an image; leaving the context ends whatever serves it.

    Raw images, fixed VHDs and plain qcow2 are read directly, the rest through QEMU's drivers, told the
    format that the probe found. Raises UnsafeImage when the probe names a hazard, CannotRead for what is not
    a disk image that the platform knows or that QEMU does not open, MachineLacks without qemu-nbd.
    """
    if file.hazards or file.damage:
        from imgtool.disk.refusal import lacking_files, refusal

        if file.hazards:
            raise UnsafeImage(refusal(file.hazards))
        if (lacking := lacking_files(file)) is not None:
            raise CannotRead(lacking)
    if file.qemu_format is None:
        raise CannotRead(_not_a_disk_of_the_platform(file))
    with ExitStack() as opened:
        yield Disk(_direct(file, opened) or _served(file, file.qemu_format, opened))


def _not_a_disk_of_the_platform(file: ImageFile) -> Text:
    from imgtool.convert.archives import ARCHIVES
    from imgtool.disk.commands import QEMU_NAMES, own_conversion

    if file.format in QEMU_NAMES or file.format in ARCHIVES:
        command = own_conversion(file)
        return Text(
            en=f"What is inside a file of format {file.format} is not judged. Convert it first, and judge the"
            f" result: {command}",
            zh=f"不判定 {file.format} 格式文件内部的镜像。请先转换格式，再检查转换结果：{command}",
        )
    return Text(
        en=f"The file is {file.format}, which is no disk image; `imgtool check` says what to do.",
        zh=f"该文件为 {file.format} 格式，不是磁盘镜像；处理方法见 imgtool check。",
    )


def _direct(file: ImageFile, opened: ExitStack) -> Blocks | None:
    if file.format == "raw" or (file.format == "vhd" and file.variant == "fixed"):
        size = None if file.format == "raw" else file.virtual_size
        return opened.enter_context(RawBlocks(file.path, size))
    if file.format == "qcow2":
        from imgtool.disk.qcow2_blocks import Qcow2Blocks, is_plain

        if file.backing is None and is_plain(file):
            return opened.enter_context(Qcow2Blocks(file.path))
    return None


def _served(file: ImageFile, driver: str, opened: ExitStack) -> Blocks:
    from imgtool.disk.nbd import serve

    options: Mapping[str, object] = {}
    if file.backing is not None:
        from imgtool.convert.qemu_img import reading

        options = reading(file)[1]
    elif driver == "vpc":  # a VHD's size is its footer's, not the one that its geometry rounds it to
        options = {"force_size_calc": "current_size"}
    return Cached(opened.enter_context(serve(file.path, driver, options)))
