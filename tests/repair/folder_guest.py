"""A guest in a folder, judged by the real rules, planned for on a draft, mended by the folder's editor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from imgtool.disk.volumes import Volume
from imgtool.guest.root import Root, RootSearch
from imgtool.guest.tree import Tree
from imgtool.image import Image, Options
from imgtool.lazy import preset
from imgtool.profiles import load_profile
from imgtool.repair.apply import apply_steps
from imgtool.repair.directory import DirectoryEditor, DirectoryFilesystem, Owners
from imgtool.repair.plan import Plan, make_plan
from imgtool.repair.registration import Wishes
from imgtool.rules import Finding, Severity, Status, discover, run
from tests.checks import boot_guest, linux_guest
from tests.guest import stand_in
from tests.guest.memory_tree import Link

ROOT = stand_in.ROOT
ROOT_UUID = stand_in.ROOT_UUID
RULES = discover()
ABOUT_A_GUEST = {name: rule for name, rule in RULES.items() if name.startswith(("linux.", "windows."))}
PATH_OF_NOTHING = Path("/nonexistent/image.raw")

DEBIAN: dict[str, bytes | str] = {
    **linux_guest.DEBIAN,
    **boot_guest.good(),
    "/etc/fstab": f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n",
}


class FolderGuest:
    """A good Debian 12 in a folder, but for the files given (None: not there)."""

    def __init__(
        self,
        folder: Path,
        changes: Mapping[str, bytes | str | None] | None = None,
        owned: Owners | None = None,
        *,
        volumes: tuple[Volume, ...] = (ROOT,),
        files: Mapping[str, bytes | str] = DEBIAN,
        **options: Any,
    ) -> None:
        kept = {
            path: content for path, content in {**files, **(changes or {})}.items() if content is not None
        }
        for path, content in kept.items():
            host = folder / path.lstrip("/")
            host.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Link):
                host.symlink_to(content)
            else:
                host.write_bytes(content.encode() if isinstance(content, str) else content)
                if str(content[:4]) in ("\x7fELF", "#!/b") or content[:4] == b"\x7fELF":
                    host.chmod(0o755)
        self.folder = folder
        self.filesystem = DirectoryFilesystem(folder, {**linux_guest.OWNED, **(owned or {})})
        self.volumes = volumes
        self.options = options

    def image(self) -> Image:
        """The image as it is now."""
        code = boot_guest.GRUB_CODE
        blocks = stand_in.ZeroBlocks(parts={512: b"core"})
        disk = stand_in.disk(*self.volumes, boot_code=code, blocks=blocks)
        root = Root("linux", Tree(self.filesystem, self.volumes[0]), self.volumes[0], agrees=True)  # type: ignore[arg-type]
        image = Image(PATH_OF_NOTHING, load_profile("tce"), Options(**self.options))
        preset(image, file=SimpleNamespace(), disk=disk, search=RootSearch((root,), (), "unknown"))
        return image

    def findings(self) -> list[Finding]:
        return run(self.image(), ABOUT_A_GUEST)

    def plan(self, *only: str, **wishes: Any) -> Plan:
        """The plan for these rules, or for all."""
        return make_plan(self.image(), ABOUT_A_GUEST, Wishes(**wishes), only or None)

    def mend(self, *only: str, **wishes: Any) -> tuple[Plan, DirectoryEditor]:
        """Plan and apply."""
        plan = self.plan(*only, **wishes)
        editor = DirectoryEditor(self.filesystem)
        apply_steps(editor, plan.steps)
        return plan, editor

    def text(self, path: str) -> str:
        return (self.folder / path.lstrip("/")).read_text()

    def state(self) -> dict[str, object]:
        """Everything that can be changed."""
        found: dict[str, object] = {"owned": dict(self.filesystem.owned)}
        for path in sorted(self.folder.rglob("*")):
            name = str(path.relative_to(self.folder))
            if path.is_symlink():
                found[name] = path.readlink()
            elif path.is_file():
                found[name] = path.read_bytes()
        return found


def broken(findings: list[Finding]) -> set[str]:
    """The rules that are errors or warnings."""
    faults = (Status.FAIL, Status.WARN)
    return {it.id for it in findings if it.status in faults and it.severity is not Severity.INFO}


def mends(guest: FolderGuest, rule: str, **wishes: Any) -> Plan:
    """The whole promise of a fix: the rule is broken before and kept after, nothing else got worse, what the
    plan expected came true, and a second plan has nothing to do."""
    before = guest.findings()
    assert rule in broken(before)
    plan, editor = guest.mend(rule, **wishes)
    assert {step.mends for step in plan.steps} == {rule}
    after = guest.findings()
    assert rule not in broken(after), [it.message.en for it in after if it.id == rule]
    assert broken(after) & {it.id for it in before if it.status is Status.PASS} <= broken(before)
    assert plan.spoiled == ()
    assert [(it.id, it.status) for it in after] == [(it.id, it.status) for it in plan.expected]
    state = guest.state()
    apply_steps(editor, plan.steps)
    assert guest.state() == state, "applying the same plan again changes nothing"
    assert guest.plan(rule, **wishes).steps == ()
    return plan
