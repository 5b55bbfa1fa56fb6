"""A qcow2 laid over an image: what is written goes into it, the image itself is only read."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from imgtool.convert.qemu_img import QUESTION_TIMEOUT, reading
from imgtool.disk.nbd import image_node
from imgtool.disk.probe import probe
from imgtool.errors import CannotRead
from imgtool.process import run
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import ImageFile


def lay_over(file: ImageFile, overlay: Path) -> ImageFile:
    """Make an empty overlay; it reads as the image. Raises CannotRead, CommandFailed, MachineLacks."""
    driver, options = reading(file)
    try:
        str(file.path.absolute()).encode()
    except UnicodeEncodeError as error:
        raise CannotRead(
            Text(
                en=f"The name {os.fsencode(file.path)!a} is not UTF-8, which a repair needs. Rename it.",
                zh=f"文件名 {os.fsencode(file.path)!a} 不是 UTF-8，修复需要 UTF-8 文件名。请重命名。",
            )
        ) from error
    # QEMU keeps 1023 bytes of the name, and reads a plain one up to its first colon as a protocol
    below = f"file:{file.path.absolute()}"
    if options:
        below = "json:" + json.dumps(image_node(file.path, driver, options)[0])
    run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", driver, "-b", below, str(overlay.absolute())],
        timeout=QUESTION_TIMEOUT,
    )
    return over(file, overlay)


def over(file: ImageFile, overlay: Path) -> ImageFile:
    """An overlay of ours, as it is now. Its one hazard is the backing file that we gave it."""
    found = probe(overlay)
    return replace(found, hazards=(), backing=file, qemu_format="qcow2", virtual_size=file.virtual_size)
