"""A draft reads as the guest will be, and only takes notes; the editors do what the notes say."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgtool.errors import CannotRead
from imgtool.guest.root import Root
from imgtool.guest.tree import NotInGuest, Tree
from imgtool.repair.apply import apply_steps, folded
from imgtool.repair.directory import DirectoryEditor, DirectoryFilesystem
from imgtool.repair.draft import KEPT_INODES, CannotMend, Draft
from imgtool.repair.editor import EditFailed, RegistryValue
from imgtool.repair.steps import Append, Edit, Outdated, Run
from tests.guest.stand_in import BOOT, ROOT


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "etc/sub").mkdir(parents=True)
    (tmp_path / "etc/fstab").write_text("one\ntwo\n")
    (tmp_path / "etc/link").symlink_to("fstab")
    (tmp_path / "lib").symlink_to("usr/lib")
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "etc/outside").symlink_to("../../../../../../../../etc")
    return tmp_path


@pytest.fixture
def filesystem(folder: Path) -> DirectoryFilesystem:
    return DirectoryFilesystem(folder)


@pytest.fixture
def draft(filesystem: DirectoryFilesystem) -> Draft:
    return Draft(Root("linux", Tree(filesystem, ROOT), ROOT))


def test_what_is_written_is_read_back_and_nothing_is_made(draft: Draft, folder: Path) -> None:
    draft.write("/etc/new/deep/file", "text")
    draft.edit("/etc/fstab", lambda text: text.replace("two", "2"))
    draft.append("/etc/fstab", b"three\n")
    draft.symlink("/etc/pointer", "new/deep/file")
    draft.chmod("/etc/fstab", 0o600, 1, 2)
    draft.remove("/etc/sub")
    tree = draft.tree
    assert tree.text("/etc/new/deep/file") == tree.text("/etc/pointer") == "text"
    assert tree.text("/etc/fstab") == "one\n2\nthree\n"
    assert tree.open("/etc/fstab").read() == b"one\n2\nthree\n"
    assert (tree.stat("/etc/fstab").mode, tree.stat("/etc/fstab").size) == (0o600, 12)
    assert tree.list("/etc") == ["fstab", "link", "new", "outside", "pointer"]
    assert not tree.exists("/etc/sub")
    assert (folder / "etc/fstab").read_text() == "one\ntwo\n"
    assert not (folder / "etc/new").exists()


def test_the_folders_editor_does_the_same(draft: Draft, filesystem: DirectoryFilesystem) -> None:
    draft.write("/etc/new/deep/file", "text", mode=0o755)
    draft.append("/etc/fstab", b"three\n")
    draft.symlink("/lib/pointer", "x")
    draft.remove("/etc/link")
    editor = DirectoryEditor(filesystem)
    for _ in range(2):
        apply_steps(editor, draft.steps)
        now = Tree(filesystem, ROOT)
        assert now.text("/etc/fstab") == "one\ntwo\nthree\n"
        assert now.stat("/etc/new/deep/file").mode == 0o755
        assert now.readlink("/usr/lib/pointer") == "x"
        assert not now.glob("/etc/link")


def test_links_are_followed_inside_the_guest_and_steps_name_what_they_lead_to(draft: Draft) -> None:
    draft.write("/etc/link", "changed\n")
    draft.write("/lib/modules-load.d/x.conf", "")
    assert [step.path for step in draft.steps] == [  # type: ignore[attr-defined]
        "/etc/fstab",
        "/usr/lib/modules-load.d/x.conf",
    ]


def test_a_link_out_of_the_guest_leads_to_its_own_root(draft: Draft, filesystem: DirectoryFilesystem) -> None:
    draft.write("/etc/outside/hostname", "guest\n")
    (step,) = draft.steps
    apply_steps(DirectoryEditor(filesystem), [step])
    assert (filesystem.folder / "etc/hostname").read_text() == "guest\n"
    with pytest.raises(EditFailed):
        DirectoryEditor(filesystem).write("/etc/outside/hostname", b"x")
    with pytest.raises(EditFailed):
        DirectoryEditor(filesystem).write("/etc/../../x", b"x")


def test_writing_what_is_there_already_is_no_step(draft: Draft) -> None:
    draft.write("/etc/fstab", "one\ntwo\n")
    draft.edit("/etc/fstab", lambda text: text)
    draft.symlink("/etc/link", "fstab")
    draft.remove("/etc/absent")
    draft.mkdir("/etc/sub")
    assert draft.steps == []


def test_what_is_in_the_way_is_said(draft: Draft) -> None:
    with pytest.raises(CannotMend):
        draft.write("/etc/fstab/x", "")
    with pytest.raises(CannotMend):
        draft.write("/etc/sub", "")
    with pytest.raises(NotInGuest):
        draft.edit("/etc/absent", lambda text: text)


def test_a_file_is_not_made_where_no_inode_is_left(filesystem: DirectoryFilesystem) -> None:
    """Blocks may be free all the same: `df` shows room, `df -i` none."""
    few = {"free_blocks": 1 << 20, "block_size": 4096, "free_inodes": KEPT_INODES + 2, "total_inodes": 100}
    volume = replace(ROOT, signature=replace(ROOT.signature, details=few))
    draft = Draft(Root("linux", Tree(filesystem, volume), volume))
    draft.write("/etc/fstab", "no new inode\n")
    draft.write("/etc/one", "1")
    with pytest.raises(CannotMend, match="no inodes left"):
        draft.write("/etc/new/file", "a folder and a file")
    xfs = replace(volume, signature=replace(volume.signature, type="xfs"))
    made = Draft(Root("linux", Tree(filesystem, xfs), xfs))
    made.write("/etc/a/b/c/d", "XFS makes inodes as it needs them")


def test_a_mount_point_that_the_appliances_kernel_would_follow_elsewhere_is_not_mounted(
    tmp_path: Path, filesystem: DirectoryFilesystem
) -> None:
    (tmp_path / "etc/dangling").symlink_to("/usr/sbin")
    tree = Tree(filesystem, ROOT)
    for point in ("/etc/sub", "/usr", "/etc/dangling", "/none/../../usr", "/new"):
        tree.mount(point, filesystem, BOOT)
    made = Draft(Root("linux", tree, ROOT)).tree
    in_place = {point for point in made.mounts if made.is_in_place(point)}
    assert in_place == {"/", "/etc/sub", "/usr", "/new"}


def test_a_draft_goes_back_to_where_it_was(draft: Draft) -> None:
    draft.write("/etc/fstab", "changed\n")
    restore = draft.saved()
    draft.write("/etc/fstab", "again\n")
    draft.remove("/etc/link")
    restore()
    assert draft.tree.text("/etc/fstab") == "changed\n"
    assert draft.tree.exists("/etc/link")
    assert len(draft.steps) == 1


def test_each_mounted_volume_has_changes_of_its_own(tmp_path: Path, filesystem: DirectoryFilesystem) -> None:
    boot = tmp_path / "elsewhere"
    boot.mkdir()
    tree = Tree(filesystem, ROOT)
    tree.mount("/boot", DirectoryFilesystem(boot), BOOT)
    draft = Draft(Root("linux", tree, ROOT))
    draft.write("/boot/grub/x", "1")
    assert draft.tree.text("/boot/grub/x") == "1"
    assert draft.tree.volume_of("/boot/grub/x") is BOOT
    with pytest.raises(CannotMend):
        draft.remove("/boot")


def test_a_file_that_vanished_or_changed_since_the_plan_is_not_overwritten(
    draft: Draft, filesystem: DirectoryFilesystem
) -> None:
    draft.edit("/etc/fstab", lambda text: text + "x\n")
    place = filesystem.folder / "etc/fstab"
    place.write_text("someone else's\n")
    with pytest.raises(Outdated):
        apply_steps(DirectoryEditor(filesystem), draft.steps)
    assert place.read_text() == "someone else's\n"
    place.unlink()
    with pytest.raises(Outdated):
        apply_steps(DirectoryEditor(filesystem), draft.steps)


def test_an_append_is_made_once(filesystem: DirectoryFilesystem) -> None:
    editor, step = DirectoryEditor(filesystem), Append("/etc/fstab", 8, sha256(b"one\ntwo\n"), b"more")
    step.apply(editor)
    step.apply(editor)
    assert editor.read("/etc/fstab") == b"one\ntwo\nmore"


@pytest.mark.parametrize(
    "here",
    [b"one\ntwO\n", b"one\ntw", b"one\ntwo\nmorE", b"one\ntwO\nmore", b"one\ntwo\nmoremore", None],
    ids=["another content", "shorter", "another end", "another head", "twice", "not there"],
)
def test_an_append_is_made_to_the_content_that_it_was_planned_for_alone(
    filesystem: DirectoryFilesystem, here: bytes | None
) -> None:
    editor = DirectoryEditor(filesystem)
    if here is None:
        editor.remove("/etc/fstab")
    else:
        editor.write("/etc/fstab", here)
    with pytest.raises(Outdated):
        Append("/etc/fstab", 8, sha256(b"one\ntwo\n"), b"more").apply(editor)
    assert editor.read("/etc/fstab") == here


def test_a_file_that_was_not_there_or_another_when_the_plan_was_made_is_not_overwritten(
    draft: Draft, filesystem: DirectoryFilesystem
) -> None:
    draft.write("/etc/new", "ours\n")
    draft.replace("/etc/fstab", b"")
    for path in ("etc/new", "etc/fstab"):
        (filesystem.folder / path).write_text("someone else's\n")
    for step in draft.steps:
        with pytest.raises(Outdated):
            step.apply(DirectoryEditor(filesystem))
    assert (filesystem.folder / "etc/new").read_text() == "someone else's\n"


def test_a_diff_shows_no_binaries_and_escapes_nothing_itself() -> None:
    assert Edit("/x", b"a\n", b"b\n").diff == "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"
    assert Edit("/x", b"\0", b"b").diff == ""
    assert "No newline" in Edit("/x", b"a\n", b"a").diff


@pytest.mark.parametrize(
    ("value", "raw"),
    [
        (RegistryValue("dword", 2), b"\x02\0\0\0"),
        (RegistryValue("sz", "a"), b"a\0\0\0"),
        (RegistryValue("multi_sz", ("a", "b")), b"a\0\0\0b\0\0\0\0\0"),
        (RegistryValue("binary", b"\x01"), b"\x01"),
    ],
)
def test_values_of_the_registry_are_as_a_hive_holds_them(value: RegistryValue, raw: bytes) -> None:
    assert value.encoded()[1] == raw


def test_edits_of_one_file_are_made_at_once_but_not_across_a_command() -> None:
    first, second, third = Edit("/x", b"1", b"2"), Edit("/x", b"2", b"3"), Edit("/x", b"3", b"4")
    command = Run("true")
    assert folded([first, second]) == [((first, second), Edit("/x", b"1", b"3"))]
    assert [step for _, step in folded([first, command, second, third])] == [
        first,
        command,
        Edit("/x", b"2", b"4"),
    ]


PATHS = ("/etc/fstab", "/etc/a", "/etc/sub/b", "/etc/sub")
CHANGES = {
    "write": lambda draft, path, word: draft.write(path, word, mode=0o600),
    "edit": lambda draft, path, word: draft.edit(path, lambda text: f"{word}{text}"),
    "append": lambda draft, path, word: draft.append(path, word.encode()),
    "replace": lambda draft, path, word: draft.replace(path, word.encode()),
    "remove": lambda draft, path, word: draft.remove(path),
    "link": lambda draft, path, word: draft.symlink(path, f"/{word}"),
    "chmod": lambda draft, path, word: draft.chmod(path, 0o640, 1, 2),
    "mkdir": lambda draft, path, word: draft.mkdir(path),
}


def state(draft_or_tree: Tree) -> dict[str, object]:
    """All below /etc as rules read it."""
    found: dict[str, object] = {}
    for path in ("/etc/fstab", "/etc/a", "/etc/sub", "/etc/sub/b"):
        if draft_or_tree.glob(path):
            it = draft_or_tree.lstat(path)
            content = draft_or_tree.read(path) if it.kind == "file" else b""
            to = draft_or_tree.readlink(path) if it.kind == "symlink" else ""
            owner = (it.mode, it.uid, it.gid) if it.kind == "file" else ()
            found[path] = it.kind, content, to, owner
    return found


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(CHANGES)), st.sampled_from(PATHS), st.sampled_from("xyz")),
        max_size=8,
    )
)
def test_any_plan_does_what_its_draft_shows_and_the_second_time_nothing(
    changes: list[tuple[str, str, str]],
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "etc/sub").mkdir(parents=True)
        (folder / "etc/fstab").write_text("one\n")
        (folder / "etc/sub/b").write_text("two\n")
        filesystem = DirectoryFilesystem(folder)
        filesystem.owned.update({"/etc/fstab": (0o644, 0, 0), "/etc/sub/b": (0o644, 0, 0)})
        draft = Draft(Root("linux", Tree(filesystem, ROOT), ROOT))
        for what, path, word in changes:
            if what in ("append", "replace") and not draft.tree.is_file(path):
                continue
            restore = draft.saved()
            try:
                CHANGES[what](draft, path, word)
            except (CannotMend, CannotRead):
                restore()
        expected = state(draft.tree)
        for _ in range(2):
            apply_steps(DirectoryEditor(filesystem), draft.steps)
            assert state(Tree(DirectoryFilesystem(folder, filesystem.owned), ROOT)) == expected
