"""What a person is told of an image that is not opened because of what the probe found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.disk.probe import Hazard, ImageFile


def refusal(hazards: Sequence[Hazard]) -> Text:
    """Why an image with these hazards (one at least) is not opened: its key, or its data, is elsewhere."""
    named = "; ".join(f"{hazard.check}: {hazard.detail}" for hazard in hazards)
    if all(hazard.check == "encrypted" for hazard in hazards):
        how = ", ".join(hazard.detail for hazard in hazards)
        return Text(
            en=f"The image is encrypted ({how}); the key is not in it. Decrypt it first: "
            "`imgtool check` says how.",
            zh=f"镜像已加密（{how}），密钥不在镜像中。请先解密，方法见 imgtool check。",
        )
    return Text(
        en=f"The image was not opened, because it is not complete in this file or opening it would reach "
        f"beyond it ({named}).",
        zh=f"未打开该镜像，因为它不完整或打开它会访问该文件以外的内容（{named}）。",
    )


def lacking_files(file: ImageFile) -> Text | None:
    """What is said of a disk whose other files are not there; None where none is lacking."""
    missing = [damage.statement for damage in file.damage if damage.check == "extent_missing"]
    if not missing:
        return None
    return Text(
        en="The disk's data is in other files, and some of them are not there. "
        + " ".join(each.en for each in missing[:5])
        + " Put them beside it.",
        zh="磁盘数据位于其他文件中，且部分文件缺失。"
        + "".join(each.zh for each in missing[:5])
        + "请将这些文件放在同一目录。",
    )
