"""From a link to an image: choose the parameters, ask first (DryRun), wait.

Between the two it is asked for: `imgtool.cloud.asking`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imgtool.cloud.asking import marked, new_mark
from imgtool.cloud.codes import explain
from imgtool.cloud.failures import CloudFailure, Refusal
from imgtool.errors import UsageError
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.cloud.cvm import CloudImage, Cvm, Importable

NAME_LENGTH = 60  # ref 21
NORMAL, FAILED, IMPORTING = "NORMAL", "IMPORTFAILED", "IMPORTING"  # of ImageState
LONGEST_WAIT = 6 * 3600.0  # seconds
FIRST_LOOK, LAST_LOOK = 0.5, 30.0  # seconds between looks, growing
UNLISTED = 60.0  # seconds that a new image may take to be listed
_ANY = ("Other Linux", "Others", "Other")
BOOT_MODES = {"bios": "Legacy BIOS", "uefi": "UEFI"}


@dataclass(frozen=True)
class Wanted:
    """What the image is to be. system: ("Debian", "12") as found or asked for; boot_mode: bios, uefi or
    None.
    """

    name: str
    os_type: str
    os_version: str
    architecture: str
    description: str = ""
    force: bool = False
    boot_mode: str | None = None
    public_image: bool = False


@dataclass(frozen=True)
class Settled:
    """Parameters of ImportImage that a dry run accepted. notes: what a person should know of them."""

    parameters: Mapping[str, Any]
    notes: tuple[Text, ...] = ()


class ImportFailed(CloudFailure):
    """The platform took the image and found fault with it. code: the platform's (ref 01), "" where it
    names none.
    """

    def __init__(self, image: CloudImage) -> None:
        code, _, why = image.reason.partition(":")
        self.code, self.image = code, image
        super().__init__(_failure(image, code, why.strip()))


def require_name(name: str) -> None:
    """Raise UsageError unless an image may be called so."""
    if not name.strip() or len(name) > NAME_LENGTH or not name.isprintable():
        raise UsageError(
            Text(
                en=f"An image's name has 1 to {NAME_LENGTH} printable characters; this one has {len(name)}.",
                zh=f"镜像名称须为 1 到 {NAME_LENGTH} 个可打印字符；当前为 {len(name)} 个。",
            )
        )


def require_free(cvm: Cvm, name: str) -> None:
    """Raise CloudFailure when the name is taken or the quota used up: known before anything is uploaded."""
    images, quota = cvm.images(), cvm.quota()
    holder = next((image for image in images if image.name == name), None)
    if holder is not None:
        raise CloudFailure(
            Text(
                en=f"The name {name} is taken by {holder.id} ({holder.state}). Choose another --name, or "
                "delete that image.",
                zh=f"名称 {name} 已被 {holder.id}（{holder.state}）使用。请更换 --name，或删除该镜像。",
            )
        )
    if len(images) >= quota:
        raise CloudFailure(
            Text(
                en=f"The account has {len(images)} images, and its quota in {cvm.region} is {quota} "
                "(ImageQuotaLimitExceeded). Delete images that are no longer needed, or have the quota "
                "raised.",
                zh=f"账号在 {cvm.region} 已有 {len(images)} 个镜像，配额为 "
                f"{quota}（ImageQuotaLimitExceeded）。"
                "请删除不再需要的镜像，或申请提高配额。",
            )
        )


def choose_system(wanted: Wanted, offered: Importable) -> tuple[str, str, tuple[Text, ...]]:
    """OsType and OsVersion as this deployment lists them, for a system as the image has it. Raises
    CloudFailure.
    """
    listed = (*offered.linux, *offered.windows)
    if not listed:
        return wanted.os_type, wanted.os_version, ()
    system = wanted.os_type
    if wanted.os_version not in system:
        system = f"{system} {wanted.os_version}".strip()
    windows = _word(wanted.os_type).startswith("windows")
    by_word = {_word(name): name for name in listed}
    os_type = by_word.get(_word(wanted.os_type))
    notes: tuple[Text, ...] = ()
    if os_type is None and windows:
        os_type = _release_of_windows(wanted.os_version, offered.windows)
    if os_type is None:
        # Another Linux gets a Linux's disk, clock and settings; a Windows must never get them.
        os_type = None if windows else next((name for name in _ANY if name in listed), None)
        if os_type is None:
            names = ", ".join(offered.windows if windows and offered.windows else listed)
            raise CloudFailure(
                Text(
                    en=f"This deployment does not take {system or 'this system'}. It takes: "
                    f"{names}. Choose the "
                    "nearest with --os-type and --os-version.",
                    zh=f"该环境不支持 {system or '此系统'}。支持：{names}。"
                    "请用 --os-type 与 --os-version "
                    "指定最接近的系统。",
                )
            )
        notes = (
            Text(
                en=f"{wanted.os_type or 'The system'} is not in the deployment's list; it goes in as "
                f"{os_type}.",
                zh=f"{wanted.os_type or '该系统'} 不在该环境的列表中，将按 {os_type} 导入。",
            ),
        )
    versions = offered.versions.get(os_type, ())
    version = wanted.os_version
    if versions and version not in versions:
        major = version.partition(".")[0]
        version = major if major in versions else "-" if "-" in versions else ""
        if not version:
            known = ", ".join(versions)
            raise CloudFailure(
                Text(
                    en=f"This deployment does not take {os_type} {wanted.os_version or '(no version)'}. It "
                    "takes: "
                    f"{known}. Choose with --os-version.",
                    zh=f"该环境不支持 {os_type} {wanted.os_version or '（无版本）'}。支持：{known}。"
                    "请用 --os-version 指定。",
                )
            )
    return os_type, version or "-", notes


def _release_of_windows(version: str, listed: tuple[str, ...]) -> str | None:
    """The system of Windows whose name has this release: ref 23 writes "Windows Server 2016"."""
    fits = [name for name in listed if version and version in re.findall(r"[0-9]+", name)]
    return min(fits, key=len, default=None)


def settle(cvm: Cvm, wanted: Wanted, link: str) -> Settled:
    """Choose the parameters and have a dry run accept them. Raises CloudFailure, Refusal, Unreachable.

    BootMode is not in the reference; a deployment that knows it gets it, another is asked again without.
    """
    os_type, os_version, notes = choose_system(wanted, cvm.importable())
    parameters: dict[str, Any] = {
        "Architecture": wanted.architecture,
        "OsType": os_type,
        "OsVersion": os_version,
        "ImageUrl": link,
        "ImageName": wanted.name,
        "ImageDescription": wanted.description or None,
        "Force": True if wanted.force else None,
        "PublicImage": True if wanted.public_image else None,
        "BootMode": BOOT_MODES[wanted.boot_mode] if wanted.boot_mode == "uefi" else None,
    }
    # with a mark as the import will have one: what is too long then is too long now
    tried = {**parameters, "ImageDescription": marked(wanted.description, new_mark())}
    try:
        cvm.dry_run("ImportImage", tried)
    except Refusal as refusal:
        if refusal.code not in ("UnknownParameter", "InvalidParameter") or parameters["BootMode"] is None:
            raise
        parameters["BootMode"] = None
        cvm.dry_run("ImportImage", {**tried, "BootMode": None})
        notes += (
            Text(
                en="This deployment takes no BootMode. The image boots by UEFI: choose that when you make "
                "an instance.",
                zh="该环境的导入接口不接受 BootMode。此镜像以 UEFI 启动：创建实例时请选择 UEFI。",
            ),
        )
    return Settled({name: value for name, value in parameters.items() if value is not None}, notes)


def wait_until_normal(
    cvm: Cvm, image_id: str, told: Callable[[str], None] | None = None, longest: float = LONGEST_WAIT
) -> CloudImage:
    """Wait until the image is NORMAL. told: of each new state. Raises ImportFailed, CloudFailure.

    An image that was only just asked for may not be listed yet.
    """
    began, pause, state = time.monotonic(), FIRST_LOOK, ""
    while True:
        image = cvm.image(image_id)
        if image is None and not state and time.monotonic() - began < UNLISTED:
            time.sleep(pause)
            pause = min(LAST_LOOK, pause * 1.5)
            continue
        if image is None:
            raise CloudFailure(
                Text(
                    en=f"Image {image_id} is gone: somebody deleted it. Run the command with --restart to "
                    "import again.",
                    zh=f"镜像 {image_id} 已不存在：可能被人删除。如需重新导入，请使用 --restart。",
                )
            )
        if image.state != state and told is not None:
            told(image.state)
        state = image.state
        if state == NORMAL:
            return image
        if state == FAILED or "FAIL" in state.upper():
            raise ImportFailed(image)
        if time.monotonic() - began > longest:
            raise CloudFailure(
                Text(
                    en=f"Image {image_id} is still {state} after {longest / 3600:.1f} hours. Run the same "
                    "command again to "
                    "go on waiting, or look in the console.",
                    zh=f"镜像 {image_id} 在 {longest / 3600:.1f} 小时后仍为 "
                    f"{state}。可再次运行同一命令继续等待，"
                    "或在控制台查看。",
                )
            )
        time.sleep(pause)
        pause = min(LAST_LOOK, pause * 1.5)


def _failure(image: CloudImage, code: str, why: str) -> Text:
    if not code:
        return Text(
            en=f"The import of {image.id} failed. The platform says why in a message to the account "
            "(message centre); "
            "`imgtool check` on the uploaded file shows what it looks at.",
            zh=f"镜像 {image.id} 导入失败。原因见账号的站内信；可对上传的文件运行 imgtool check "
            "查看平台检查的项目。",
        )
    known = explain("import", code)
    said = f" {why}" if why else ""
    return Text(
        en=f"The import of {image.id} failed: {code}. {known.meaning.en} {known.action.en}{said}",
        zh=f"镜像 {image.id} 导入失败：{code}。{known.meaning.zh}{known.action.zh}{said}",
    )


def _word(name: str) -> str:
    return "".join(sign for sign in name.lower() if sign.isalnum())
