"""Asking for an import: once, whatever becomes of the answer.

What is going to be asked for carries a mark in its description. An answer that is lost is no failure:
whether the platform heard is looked up by name and mark, in this run and in later ones, before anything is
asked again.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from imgtool.cloud.failures import CloudFailure, NotTheApi, Refusal, Unreachable
from imgtool.cloud.retry import may_retry
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.cloud.cvm import CloudImage, Cvm
    from imgtool.cloud.importing import Settled
    from imgtool.cloud.journal import Journal

DUPLICATE = "InvalidImageName.Duplicate"
ATTEMPTS, FIRST_WAIT, LONGEST_WAIT = 5, 0.5, 8.0  # seconds, doubling
# What a platform may answer after it has begun what was asked for.
_UNSURE = ("InternalError", "InternalServerError")


class AnswerLost(CloudFailure):
    """The platform was asked, and whether it heard can't be told: not a failure, and not to be repeated
    blindly.
    """


def new_mark() -> str:
    """A mark that nobody else's image has."""
    return f"imgtool-{secrets.token_hex(6)}"


def mark_of(*words: str) -> str:
    """The mark of one object imported in one way: the same words give the same mark in every run."""
    return f"imgtool-{hashlib.sha256(chr(0).join(words).encode()).hexdigest()[:12]}"


def marked(description: str, mark: str) -> str:
    """A description with a mark at its end."""
    return f"{description} [{mark}]".strip()


def ours(cvm: Cvm, name: str, mark: str) -> CloudImage | None:
    """The image of that name that carries the mark."""
    return next((image for image in cvm.images() if image.name == name and mark in image.description), None)


def import_once(cvm: Cvm, settled: Settled, link: Callable[[], str], journal: Journal) -> str:
    """Import, unless an earlier run did: the image's ID. link: a fresh one, good for one fetch."""
    name = str(settled.parameters["ImageName"])
    asked = journal.last("import.asked")
    again = asked is not None and asked["name"] == name
    if asked is not None and again:
        mark = str(asked["mark"])
        earlier = ours(cvm, name, mark)
        if earlier is not None:
            journal.add("import.begun", image_id=earlier.id, name=name)
            return earlier.id
    else:
        mark = new_mark()
        journal.add("import.asked", name=name, mark=mark)
    image_id = ask_for_image(cvm, {**settled.parameters, "ImageUrl": link()}, mark, unsure=again)
    journal.add("import.begun", image_id=image_id, name=name)
    return image_id


def ask_for_image(cvm: Cvm, parameters: Mapping[str, Any], mark: str, unsure: bool = False) -> str:
    """Ask for an import; where the answer is lost, look whether it was heard: the image's ID.

    unsure: an earlier run may have been heard. Raises Refusal; AnswerLost and Unreachable where it can't be
    told whether the platform heard.
    """
    name = str(parameters["ImageName"])
    given = {**parameters, "ImageDescription": marked(str(parameters.get("ImageDescription") or ""), mark)}
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return cvm.import_image(given)
        except (Refusal, CloudFailure) as error:
            failure: Refusal | CloudFailure = error
        taken = isinstance(failure, Refusal) and failure.code == DUPLICATE
        lost = may_have_been_heard(failure)
        unsure = unsure or lost
        if taken:
            # An earlier call may have been heard: then the image is there, or will be listed soon.
            holder = _holder(cvm, name, ATTEMPTS if unsure else 1)
            if holder is not None and mark in holder.description:
                return holder.id
            raise failure if holder is not None or not unsure else _lost_to_view(name)
        if lost:
            earlier = ours(cvm, name, mark)
            if earlier is not None:
                return earlier.id
        elif not may_retry(failure):
            raise failure
        if attempt == ATTEMPTS:
            raise failure
        _wait(attempt)
    raise AssertionError("the last attempt returns or raises")  # pragma: no cover


def ask_for_snapshot(cvm: Cvm, parameters: Mapping[str, Any], mark: str) -> str:
    """Ask for a snapshot's import: the task's ID. Raises Refusal; AnswerLost where it may have been heard.

    The reference has no call that lists snapshots or tasks (ref 22), so an answer that is lost can't be found
    again from here: it is never asked twice.
    """
    name = str(parameters["SnapshotName"])
    description = marked(str(parameters.get("SnapshotDescription") or ""), mark)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return cvm.import_snapshot({**parameters, "SnapshotDescription": description})
        except (Refusal, CloudFailure) as error:
            if may_have_been_heard(error):
                raise snapshot_lost(name, mark, error.statement()) from error
            if not may_retry(error) or attempt == ATTEMPTS:
                raise
        _wait(attempt)
    raise AssertionError("the last attempt returns or raises")  # pragma: no cover


def may_have_been_heard(error: Exception) -> bool:
    """Whether a call that failed so may have been carried out all the same."""
    if isinstance(error, Refusal):
        return error.code in _UNSURE
    return isinstance(error, NotTheApi) or (isinstance(error, Unreachable) and error.sent)


def snapshot_lost(name: str, mark: str, why: Text | None = None) -> AnswerLost:
    """What to say of a snapshot whose import may be under way. mark: "" where it has none."""
    en, zh = (f" ({why.en})", f"（{why.zh}）") if why is not None else ("", "")
    by = f" ({mark})" if mark else ""
    return AnswerLost(
        Text(
            en=f"The import of the snapshot {name} was asked for, and the answer was lost: it may be under "
            f"way. It is not asked for again by itself, since nothing lists snapshots here. Look in the "
            f"console whether {name}{by} is there; if it is not, run the command again (`prepare`: with "
            f"--restart).{en}",
            zh=f"已请求导入快照 {name}，但未收到应答：导入可能正在进行。由于接口无法查询快照，"
            f"不会自动重复请求。请在控制台确认 {name}{by} 是否存在；若不存在，请重新运行命令（prepare "
            f"需加 --restart）。{zh}",
        )
    )


def _holder(cvm: Cvm, name: str, looks: int) -> CloudImage | None:
    """The image that has a name, which may not be listed yet: looked for several times."""
    for look in range(1, looks + 1):
        found = next((image for image in cvm.images() if image.name == name), None)
        if found is not None:
            return found
        if look < looks:
            _wait(look)
    return None


def _lost_to_view(name: str) -> AnswerLost:
    return AnswerLost(
        Text(
            en=f"The import of {name} was asked for and the answer was lost; the platform now holds the "
            "name and does not list the image yet. Most likely it is being imported. Run the same command "
            "again in a few minutes: it looks for the image and goes on with it.",
            zh=f"已请求导入 {name}，但未收到应答；平台现已占用该名称，但尚未列出镜像，很可能正在导入。"
            "请过几分钟再次运行同一命令：会查找该镜像并继续。",
        )
    )


def _wait(attempt: int) -> None:
    time.sleep(min(LONGEST_WAIT, FIRST_WAIT * 2 ** (attempt - 1)))
