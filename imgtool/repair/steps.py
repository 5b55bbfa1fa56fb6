"""The steps of a plan: each one change of the guest, with the rule that it mends."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from imgtool.errors import Stated
from imgtool.repair.editor import EditFailed
from imgtool.text import Text

if TYPE_CHECKING:
    from imgtool.repair.editor import Device, GuestEditor, RegistryValue

LARGEST_DIFF = 64 << 10
"""Bytes of a text file above which a plan tells its size instead of a diff."""
LONGEST_DIFF = 400
"""Lines of a diff that are shown."""


class Outdated(Stated):
    """The guest is not as it was when the plan was made."""

    def __init__(self, path: str) -> None:
        super().__init__(
            Text(
                en=f"{path} is not what it was when the plan was made. Make the plan again.",
                zh=f"{path} 与制定修复计划时不同。请重新制定计划。",
            )
        )


@dataclass(frozen=True)
class Step:
    """One change. mends: the rule's id; why: what it is for, "" where the rule itself says it."""

    mends: str = field(default="", kw_only=True)
    why: Text | None = field(default=None, kw_only=True)
    action: ClassVar[str] = ""

    @property
    def target(self) -> str:
        """What is changed, in one line."""
        raise NotImplementedError

    def apply(self, editor: GuestEditor) -> None:
        """Make the change; making it twice changes nothing the second time. Raises EditFailed, Outdated."""
        raise NotImplementedError

    def details(self) -> dict[str, Any]:
        """What JSON tells of it beside action, target, mends and why."""
        return {}

    @property
    def diff(self) -> str:
        """The unified diff of a text file; "" where there is none."""
        return ""


@dataclass(frozen=True)
class Edit(Step):
    """Another content for a file that is there; owner and mode stay."""

    path: str
    before: bytes
    after: bytes
    action: ClassVar[str] = "edit"

    @property
    def expects(self) -> str:
        """The SHA-256 of what has to be there."""
        return hashlib.sha256(self.before).hexdigest()

    @property
    def target(self) -> str:
        return self.path

    def apply(self, editor: GuestEditor) -> None:
        here = editor.read(self.path)
        if here == self.after:
            return
        if here != self.before:
            raise Outdated(self.path)
        editor.write(self.path, self.after)

    @property
    def diff(self) -> str:
        return unified(self.path, self.before, self.after)

    def details(self) -> dict[str, Any]:
        return {"diff": self.diff or None, "size": len(self.after)}


@dataclass(frozen=True)
class Upload(Step):
    """A file that is not there yet, or that is replaced as a whole. mode: None on a filesystem without;
    replaces: the SHA-256 of the content that it takes the place of, "" where nothing may be there."""

    path: str
    content: bytes
    mode: int | None = 0o644
    uid: int = 0
    gid: int = 0
    replaces: str = ""
    action: ClassVar[str] = "upload"

    @property
    def expects(self) -> str:
        """As `replaces`."""
        return self.replaces

    @property
    def target(self) -> str:
        mode = "" if self.mode is None else f"{self.mode:04o}, "
        return f"{self.path} ({mode}{len(self.content)} bytes)"

    def apply(self, editor: GuestEditor) -> None:
        here = editor.read(self.path)
        if here != self.content:
            if here is not None and hashlib.sha256(here).hexdigest() != self.replaces:
                raise Outdated(self.path)
            editor.write(self.path, self.content)
        if self.mode is not None:
            editor.chown(self.path, self.uid, self.gid)
            editor.chmod(self.path, self.mode)

    @property
    def diff(self) -> str:
        return unified(self.path, None, self.content)

    def details(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.content).hexdigest()
        mode = None if self.mode is None else f"{self.mode:04o}"
        return {"diff": self.diff or None, "size": len(self.content), "sha256": digest, "mode": mode}


@dataclass(frozen=True)
class Append(Step):
    """Bytes behind the end of a file of `size` bytes. sha256: of those; holds: what is added, for people."""

    path: str
    size: int
    sha256: str
    content: bytes
    holds: tuple[str, ...] = ()
    action: ClassVar[str] = "append"

    @property
    def expects(self) -> str:
        """The SHA-256 of what has to be there."""
        return self.sha256

    @property
    def target(self) -> str:
        return f"{self.path} (+{len(self.content)} bytes)"

    def apply(self, editor: GuestEditor) -> None:
        here = editor.read(self.path)
        if here is None or hashlib.sha256(here[: self.size]).hexdigest() != self.sha256:
            raise Outdated(self.path)
        if len(here) == self.size:
            editor.append(self.path, self.content)
        elif here[self.size :] != self.content:
            raise Outdated(self.path)

    def details(self) -> dict[str, Any]:
        digest = hashlib.sha256(self.content).hexdigest()
        return {"size": len(self.content), "sha256": digest, "holds": list(self.holds)}


@dataclass(frozen=True)
class Remove(Step):
    """A file, link or folder less."""

    path: str
    action: ClassVar[str] = "remove"

    @property
    def target(self) -> str:
        return self.path

    def apply(self, editor: GuestEditor) -> None:
        editor.remove(self.path)


@dataclass(frozen=True)
class Mkdir(Step):
    """A folder more."""

    path: str
    action: ClassVar[str] = "mkdir"

    @property
    def target(self) -> str:
        return self.path

    def apply(self, editor: GuestEditor) -> None:
        editor.mkdir(self.path)


@dataclass(frozen=True)
class Chmod(Step):
    """Another mode and owner."""

    path: str
    mode: int
    uid: int
    gid: int
    action: ClassVar[str] = "chmod"

    @property
    def target(self) -> str:
        return f"{self.path} ({self.mode:04o}, uid {self.uid}, gid {self.gid})"

    def apply(self, editor: GuestEditor) -> None:
        editor.chown(self.path, self.uid, self.gid)
        editor.chmod(self.path, self.mode)

    def details(self) -> dict[str, Any]:
        return {"mode": f"{self.mode:04o}", "uid": self.uid, "gid": self.gid}


@dataclass(frozen=True)
class Link(Step):
    """A symbolic link."""

    path: str
    to: str
    action: ClassVar[str] = "link"

    @property
    def target(self) -> str:
        return f"{self.path} -> {self.to}"

    def apply(self, editor: GuestEditor) -> None:
        editor.symlink(self.path, self.to)


@dataclass(frozen=True)
class Registry(Step):
    """A value of the registry set, or with value None removed; with name None too, the whole key removed."""

    hive: str
    key: str
    name: str | None
    value: RegistryValue | None
    action: ClassVar[str] = "registry"

    @property
    def target(self) -> str:
        where = f"{self.hive.rsplit('/', 1)[-1].upper()}\\{self.key}"
        named = "" if self.name is None else f"\\{self.name or '(default)'}"
        if self.value is None:
            return f"{where}{named} (removed)"
        return f"{where}{named} = {self.value.data!r} ({self.value.type})"

    def apply(self, editor: GuestEditor) -> None:
        if self.value is None:
            editor.registry_delete(self.hive, self.key, self.name)
        else:
            editor.registry_set(self.hive, self.key, self.name or "", self.value)


@dataclass(frozen=True)
class Run(Step):
    """A command run by the guest's own programs, only where the person asked for that."""

    command: str
    network: bool = False
    action: ClassVar[str] = "run"

    @property
    def target(self) -> str:
        return self.command

    def apply(self, editor: GuestEditor) -> None:
        try:
            editor.run(self.command, network=self.network)
        except EditFailed as error:
            raise EditFailed(_with_advice(error.statement())) if self.network else error from None

    def details(self) -> dict[str, Any]:
        return {"network": self.network}


@dataclass(frozen=True)
class CheckFilesystem(Step):
    """A filesystem's journal replayed, or the whole checked and mended by its own tool; before any mount."""

    device: Device
    replay_only: bool = False
    action: ClassVar[str] = "fsck"

    @property
    def target(self) -> str:
        return f"{self.device.name} ({self.device.type}{', journal' if self.replay_only else ''})"

    def apply(self, editor: GuestEditor) -> None:
        editor.check_filesystem(self.device, replay_only=self.replay_only)


def _with_advice(said: Text) -> Text:
    """Repositories that can't be reached from here, or have no such package any more, are common."""
    return Text(
        en=f"{said.en} Without the network: --cloud-init-packages DIR with the packages.",
        zh=f"{said.zh} 不联网时，可用 --cloud-init-packages DIR 提供软件包。",
    )


def unified(path: str, before: bytes | None, after: bytes) -> str:
    """The unified diff of two contents; "" where one is no text or they are too large to show."""
    old = b"" if before is None else before
    if b"\0" in old or b"\0" in after or max(len(old), len(after)) > LARGEST_DIFF:
        return ""
    try:
        first, second = (text.decode().splitlines(keepends=True) for text in (old, after))
    except UnicodeDecodeError:
        return ""
    made = difflib.unified_diff(first, second, "/dev/null" if before is None else f"a{path}", f"b{path}")
    shown = [line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in made]
    if len(shown) > LONGEST_DIFF:
        shown = [*shown[:LONGEST_DIFF], f"... {len(shown) - LONGEST_DIFF} more lines\n"]
    return "".join(shown)
