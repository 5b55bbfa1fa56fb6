"""What one rehearsal needs: the processor and the firmware that the image wants, a private folder, the
overlay over the image, the firmware's variables. All that is made goes when the rehearsal ends."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from imgtool.errors import Stated
from imgtool.locked_folder import locked_folder, sweep
from imgtool.process import CommandFailed, run
from imgtool.rehearsal.firmware import Architecture, find_uefi
from imgtool.rehearsal.machine import Disk, Machine, Mode
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import ImageFile
    from imgtool.image import Image

PREFIX = "imgtool-rehearsal-"
LARGE = "/var/tmp"  # noqa: S108 - the folder made in it is private
SECTOR = 512
CPUS = 2  # of a machine, at most
FULL = (errno.ENOSPC, errno.EDQUOT)


class NoRoom(Stated):
    """The folder for temporary files can't be used, or is full."""

    exit_code: ClassVar[int] = 4


def no_room(folder: str, why: str) -> NoRoom:
    """What to do when the overlay finds no place."""
    return NoRoom(
        Text(
            en=f"A rehearsal writes to {folder}, and that can't be: {why}. Set TMPDIR to a folder with some "
            "GiB of room.",
            zh=f"预演需要写入 {folder}，但无法写入：{why}。请将 TMPDIR 设为有数 GiB 可用空间的目录。",
        )
    )


def how_to_boot(image: Image, mode: Mode | None = None) -> tuple[Architecture, Mode]:
    """The processor and the firmware that an image wants, as far as it can be read: else x86-64, and BIOS."""
    from imgtool.errors import ImgtoolError
    from imgtool.guest.boot_mode import read_boot_mode

    try:
        found = read_boot_mode(image.disk)
    except ImgtoolError:
        return "x86_64", mode or "bios"
    machines = {loader.machine for loader in found.loaders}
    if found.mode == "uefi" and "arm64" in machines and not machines & {"x86_64", "i386"}:
        return "aarch64", "uefi"
    return "x86_64", mode or ("uefi" if found.mode == "uefi" else "bios")


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder in $TMPDIR, else in /var/tmp, which is seldom kept in memory as /tmp is. Raises NoRoom."""
    place = os.environ.get("TMPDIR") or (LARGE if os.access(LARGE, os.W_OK) else tempfile.gettempdir())
    sweep(Path(place), PREFIX)
    try:
        folder, lock = locked_folder(Path(place).absolute(), PREFIX)
    except OSError as error:
        raise no_room(place, error.strerror or str(error)) from error
    try:
        yield folder
    except OSError as error:
        if error.errno in FULL:
            raise no_room(place, error.strerror or str(error)) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@contextmanager
def overlay(file: ImageFile, folder: Path) -> Iterator[Disk]:
    """The image with a new overlay over it. Raises UnsafeImage, CannotRead, MachineLacks, NoRoom."""
    from imgtool.convert.qemu_img import reading
    from imgtool.disk.nbd import image_node

    driver, options = reading(file)
    base, descriptors = image_node(file.path, driver, options)
    path = folder / "overlay.qcow2"
    size = (file.file_size if file.format == "raw" else file.virtual_size) or 0
    try:
        run(
            ["qemu-img", "create", "-q", "-f", "qcow2", str(path), str(-(-size // SECTOR) * SECTOR)],
            timeout=60,
        )
        yield Disk(base, path, descriptors)
    except CommandFailed as failure:
        if failure.command[0] == "qemu-img":
            raise no_room(str(folder), failure.stderr.strip()) from failure
        raise
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(OSError):
            path.unlink()


def assemble(
    disk: Disk,
    folder: Path,
    *,
    architecture: Architecture,
    mode: Mode,
    kvm: bool,
    cd: Path | None = None,
    metadata: str = "",
) -> Machine:
    """The machine for a disk; one that boots by UEFI gets an empty variable store. Raises MachineLacks."""
    code = variables = None
    if mode == "uefi" or architecture == "aarch64":
        firmware = find_uefi(architecture)
        code, variables = firmware.code, folder / "variables.fd"
        shutil.copyfile(firmware.variables, variables)
    return Machine(
        architecture,
        mode,
        disk,
        kvm,
        cpus=min(CPUS, os.cpu_count() or 1),
        code=code,
        variables=variables,
        cd=cd,
        metadata=metadata,
    )
